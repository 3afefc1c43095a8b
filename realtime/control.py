"""The handle on a running session: what may be changed while it runs, and what it says about itself.

One object for everyone who wants to steer: the command line, a preview window, the web server. Every method may be
called from any thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from realtime.errors import UnknownName
from realtime.metrics import Stats
from realtime.settings import Live
from realtime.types import Direction


@dataclass(frozen=True)
class Notice:
    """One sentence for the user. at: seconds of `time.monotonic()`."""

    text: str
    at: float
    level: str = "info"
    """"info" or "warning"."""


@dataclass(frozen=True)
class PortraitChange:
    """A request for another portrait: a picture, or a name under which one was prepared ahead."""

    image: np.ndarray
    """uint8 (H, W, 3) RGB."""
    name: str


class Control:
    """Desired state of a session. Stages read `live` at the start of each frame; it is replaced as a whole."""

    def __init__(self, live: Live, directions: Iterable[Direction], stats: Stats) -> None:
        self._directions = {d.name: d for d in directions}
        self._lock = threading.Lock()
        self._live = live
        self._portrait: PortraitChange | None = None
        self._portrait_name = ""
        self._recalibrate = False
        self._stop = threading.Event()
        self._on_stop: list[Callable[[], None]] = []
        self._notices: deque[Notice] = deque(maxlen=50)
        self._listeners: list[Callable[[Notice], None]] = []
        self.stats = stats
        self.phase = "starting"
        """"starting", "running", "paused" or "stopped"."""
        self.face = "unknown"
        """What the driver's face does: "unknown", "tracked", "held", "returning", "idle"."""
        self.calibration = 0.0
        """How far the calibration of the neutral face has come, 0 to 1."""
        self._check_edits(live.edits)

    @property
    def live(self) -> Live:
        """The settings in force now."""
        return self._live

    def change(self, **fields: Any) -> Live:
        """Replace fields of `Live`. Raises BadValue, UnknownName (a direction), and then changes nothing."""
        with self._lock:
            live = replace(self._live, **fields)
            self._check_edits(live.edits)
            self._live = live
            return live

    def set_edit(self, name: str, value: float) -> None:
        """Set one edit; 0 removes it. Raises UnknownName, BadValue."""
        edits = {**self._live.edits, name: value}
        self.change(edits={n: v for n, v in edits.items() if v != 0.0})

    def pause(self) -> None:
        """Use no driving frame until `resume`; the avatar idles."""
        self.change(paused=True)

    def resume(self) -> None:
        self.change(paused=False)

    def recalibrate(self) -> None:
        """Take the driver's next steady frames as neutral."""
        with self._lock:
            self._recalibrate = True

    def set_portrait(self, image: np.ndarray, name: str = "") -> None:
        """Show another portrait, uint8 (H, W, 3) RGB, as soon as it is prepared. A picture that cannot serve is
        refused with a notice, and the old portrait stays."""
        with self._lock:
            self._portrait = PortraitChange(image, name)

    def stop(self) -> None:
        """End the session: files are finished, devices let go."""
        self._stop.set()
        with self._lock:
            listeners = list(self._on_stop)
        for listener in listeners:
            listener()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def tell(self, text: str, level: str = "info") -> None:
        """Say one sentence to the user."""
        notice = Notice(text, time.monotonic(), level)
        with self._lock:
            self._notices.append(notice)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(notice)

    def subscribe(self, listener: Callable[[Notice], None]) -> None:
        """Call `listener` with every notice, from the thread in which it arises."""
        with self._lock:
            self._listeners.append(listener)

    def snapshot(self) -> dict[str, Any]:
        """State and statistics, ready for JSON."""
        live = self._live
        with self._lock:
            notices = [asdict(n) for n in self._notices]
        now = time.monotonic()
        return {
            "phase": "paused" if live.paused and self.phase == "running" else self.phase,
            "face": self.face,
            "calibration": round(self.calibration, 2),
            "portrait": self._portrait_name,
            "edits": dict(live.edits),
            "amplitude": dict(live.amplitude),
            "hold_gaze": live.hold_gaze,
            "mirror": live.mirror,
            "absolute": live.absolute,
            "now": self.stats.recent(now),
            "stats": self.stats.to_json(),
            "notices": notices,
        }

    # For the pipeline

    def when_stopping(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the session is asked to stop; at once if it already was."""
        with self._lock:
            self._on_stop.append(listener)
        if self.stopping:
            listener()

    def take_recalibrate(self) -> bool:
        """True once after each `recalibrate`."""
        with self._lock:
            asked, self._recalibrate = self._recalibrate, False
            return asked

    def take_portrait(self) -> PortraitChange | None:
        """The newest portrait asked for, once."""
        with self._lock:
            asked, self._portrait = self._portrait, None
            return asked

    def portrait_is(self, name: str) -> None:
        """The pipeline says which portrait is shown now."""
        self._portrait_name = name

    def _check_edits(self, edits: Mapping[str, float]) -> None:
        for name in edits:
            if name not in self._directions:
                raise UnknownName("direction", name, self._directions)
