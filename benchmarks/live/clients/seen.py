"""What a client saw and heard, and the line of the table that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.live.sync import offsets
from realtime.errors import DeviceError

ENOUGH = 60
"""Pictures without which flashes are not looked for."""


@dataclass
class Seen:
    """first: seconds from the client's request to its first picture. seen: the moment and the pixels of each picture,
    heard: the moment of each beep, on one clock, seconds. believed: milliseconds by which a browser says that its
    sound is late."""

    first: float | None = None
    seen: list[tuple[float, np.ndarray]] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    believed: list[float] = field(default_factory=list)

    def line(self, since: float = 0.0) -> Line:
        """The line of a client that watched. since: what came before counts for `held` alone."""
        moments = [at for at, _ in self.seen]
        if self.first is None or not moments:
            return Line(why="no picture came")
        counted = [at for at in moments if at >= since]
        believed = float(np.median(self.believed)) if self.believed else None
        return Line(self.first, moments[-1] - moments[0], rate(counted), self.sound_late(since), believed=believed)

    def sound_late(self, since: float = 0.0) -> float | None:
        """Median of the milliseconds by which the beeps come after their flashes; None where there are none."""
        late = [(at, image) for at, image in self.seen if at >= since]
        if not self.heard or len(late) < ENOUGH:
            return None
        found = offsets(late, self.heard)
        return 1000 * float(np.median(found)) if found else None


@dataclass(frozen=True)
class Line:
    """A client's line in the table. first, held: seconds; rate: pictures a second; sound_late: milliseconds, negative
    where the sound is early; believed: the same, as the browser that plays it reckons it. why: what was in the way;
    skipped: it could not be tried here."""

    first: float | None = None
    held: float | None = None
    rate: float | None = None
    sound_late: float | None = None
    why: str = ""
    skipped: bool = False
    believed: float | None = None


class Absent(DeviceError):
    """A client that cannot be tried here. Raised before anything is sent."""


def rate(moments: list[float]) -> float | None:
    """Pictures a second; None for fewer than two."""
    return (len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 1 else None


def from_page(found: dict[str, Any]) -> Seen:
    """What `probe.js` gives."""
    seen = [(at, np.array(grid, np.int16).reshape(24, 32, 1)) for at, grid in found["seen"]]
    return Seen(found["first"], seen, found["heard"], found["believed"])
