"""Those who watch one avatar: each has a box with the newest picture, marked, on the avatar's clock."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realtime.flow.mailbox import Mailbox
from realtime.media.backgrounds import GREEN, Background, Chosen
from realtime.media.marks import draw_mark
from realtime.media.round import PLAIN, on_colour
from realtime.media.watermark import embed
from realtime.server.hosting.clock import AvatarClock
from realtime.server.hosting.frames import Shown, Stream, to_yuv


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who gets pictures. background: its own, None for the session's."""

    box: Mailbox[Shown]
    background: Background | None = None

    def look(self, behind: Chosen | None) -> Background | None:
        """The background that has to be rendered for it apart; None where the session's, `behind`, will do."""
        return self.background if self.background != behind else None


class Viewers:
    """Every method may be called from any thread; `publish` from one at a time.

    badge: draw "AI avatar" into the pictures. mark: put the invisible mark into what is sent. round: of each
    picture only the circle in its middle is shown; around it is green where that is the background, to be keyed too.
    """

    def __init__(
        self, *, badge: bool, mark: bool, round: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._badge, self._mark, self._round, self._now = badge, mark, round, clock
        self.sparing = False
        """The machine is full: see `Stream`."""
        self._avatar = AvatarClock()
        self._lock = threading.Lock()
        self._viewers: list[Viewer] = []
        self._newest: Shown | None = None
        self._streams: defaultdict[Background | None, Stream] = defaultdict(Stream)  # one for each look
        self._closed = False

    def __len__(self) -> int:
        return len(self._viewers)

    def watch(self, background: Background | None = None) -> Mailbox[Shown]:
        """A box that gets each new picture, the newest only. Close it to leave. background: the viewer's own."""
        box: Mailbox[Shown] = Mailbox()
        with self._lock:
            if self._closed:
                box.close()
                return box
            self._viewers.append(Viewer(box, background))
            newest = self._newest if background is None else None
        if newest is not None:
            box.put(newest)
        return box

    def publish(
        self,
        image: np.ndarray,
        captured: float,
        now: float,
        media: float | None = None,
        index: int = 0,
        *,
        keep: bool = False,
        behind: Chosen | None = None,
    ) -> Shown | None:
        """Show a picture, uint8 (H, W, 3) RGB, to all who want no background of their own; None where nobody watches.

        captured, index: of what drove it. now: when its turn came. media: the driver's own media time in seconds,
        None without one. keep: the picture is needed again, nothing is drawn into it. behind: its background."""
        if not self._viewers:
            return None
        pts = self._avatar.stamp(now, media)
        shown = self._send(image, pts, captured, index, keep, behind, None)
        with self._lock:
            self._newest = shown if self._viewers else None  # nobody gets a picture of long ago
        return shown

    def looks(self, behind: Chosen | None) -> set[Background]:
        """Backgrounds beside `behind` that somebody wants."""
        with self._lock:
            return {look for viewer in self._viewers if (look := viewer.look(behind)) is not None}

    def publish_look(self, image: np.ndarray, shown: Shown, behind: Chosen | None, look: Background) -> None:
        """Show the picture that was `shown`, before another background, to those who want it."""
        self._send(image, shown.pts, shown.captured, shown.index, False, behind, look)

    def _send(
        self,
        image: np.ndarray,
        pts: int,
        captured: float,
        index: int,
        keep: bool,
        behind: Chosen | None,
        look: Background | None,
    ) -> Shown:
        if self._round:
            image, keep = on_colour(image, GREEN if (look or behind) == "green" else PLAIN), False
        if self._badge:
            image = draw_mark(image if image.flags.writeable and not keep else image.copy())
        yuv = to_yuv(image)
        if self._mark:
            embed(yuv[: yuv.shape[0] * 2 // 3])
        stream = self._streams[look]
        stream.sparing = self.sparing
        shown = Shown(image, yuv, pts, captured, self._now(), index, stream)
        with self._lock:
            viewers = [viewer for viewer in self._viewers if viewer.look(behind) == look]
        gone = [viewer for viewer in viewers if not viewer.box.put(shown)]
        if gone:
            with self._lock:
                self._viewers = [viewer for viewer in self._viewers if viewer not in gone]
        return shown

    def close(self) -> None:
        """Tell all that it is over. Safe to call twice."""
        with self._lock:
            self._closed = True
            viewers, self._viewers = self._viewers, []
            self._newest = None
        for viewer in viewers:
            viewer.box.close()
