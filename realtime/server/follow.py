"""What the avatar does with the driver's face: follow, hold, ease, be still."""

from __future__ import annotations

from realtime.engines import Engine
from realtime.server.messages import Face
from realtime.types import MotionCode


class Follower:
    """Decides which code is rendered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.face: Face = "waiting"
        self.calibrated = False
        self._last: MotionCode | None = None
        self._seen = 0.0

    def follow(self, code: MotionCode | None, now: float, paused: bool) -> MotionCode | None:
        if code is not None and not paused:
            self.face = "tracking"
            self._last, self._seen = code, now
            return code
        return self.wait(now, paused)

    def wait(self, now: float, paused: bool) -> MotionCode | None:
        if self._last is None:
            self.face = "waiting"
            return None
        self.face = "holding"
        return self._last

    def calibrate(self) -> None:
        if self._last is not None:
            self._engine.reference = self._last
            self.calibrated = True

    def portrait_changed(self) -> None:
        pass

    def restart(self) -> None:
        self._engine.reference = None
        self._engine.reset()
        self._last = None
        self.calibrated = False
        self.face = "waiting"
