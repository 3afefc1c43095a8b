"""A motion track as a driver: codes at their own pace, no pictures. Also what `avatar encode` writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from realtime.errors import BadFile, BadValue
from realtime.flow.pacing import MediaClock
from realtime.home import user_path
from realtime.motion.track import MotionTrack, builtin_track
from realtime.sources import SourceBase, SourceOptions, Unseen
from realtime.types import Direction, MotionCode

BUILTIN = "builtin"


class MotionTrackSource(SourceBase):
    """`argument`: a path, or "builtin" for the track that comes with the package."""

    def __init__(self, argument: str, options: SourceOptions) -> None:
        super().__init__(options)
        self.argument = argument
        self.name = "the built-in motion track" if argument == BUILTIN else Path(argument).name
        self._clock = MediaClock()
        self._next = 0
        self._round = 0

    def check(self) -> None:
        """Raises BadFile where it is no motion track, or an empty one."""
        path = user_path(self.argument)
        self.track = builtin_track() if self.argument == BUILTIN else MotionTrack.load(path)
        if len(self.track) == 0:
            raise BadFile(self.argument, "holds no frames")
        self.fps, self.frames, self.kind = self.track.fps, len(self.track), self.track.kind
        self.reference = self.track.reference_code

    def fit(self, kind: str, directions: Sequence[Direction]) -> None:
        try:
            self.track.check(kind, directions)
        except BadValue as error:
            raise BadFile(self.argument, error.expected) from error

    def read(self) -> MotionCode | Unseen | None:
        if self._next >= len(self.track):
            if not (self.options.loop and self.options.paced):
                return None
            self._next, self._round = 0, self._round + 1
        n = self._next
        self._next += 1
        index = self._round * len(self.track) + n
        pts = float(self.track.times[n] - self.track.times[0]) + self._round * self.track.duration
        if self.options.paced:
            self.sleep_until(self._clock.due(pts, time.monotonic()))
        captured = time.monotonic()
        code = self.track.code(n)
        if code is None:
            return Unseen(captured, pts, index)
        return MotionCode(code.kind, code.values, captured, pts, index)
