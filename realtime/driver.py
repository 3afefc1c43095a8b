"""From what the encoder saw to the code that is rendered: neutral face, amplitude, edits, and what is shown while
there is no face. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from realtime.engines import Engine
from realtime.settings import Live
from realtime.types import MotionCode


@dataclass(frozen=True, slots=True)
class Drive:
    """What the rendering stage needs for one frame.

    code: what to render. reference: the driver's neutral code that goes with it.
    stamps: when the stages so far finished, see `Picture.stamps`.
    """

    code: MotionCode
    reference: MotionCode
    stamps: dict[str, float] = field(default_factory=dict)


class Driver:
    """Used by one thread, that of the encoding stage."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last: MotionCode | None = None
        self._reference: MotionCode | None = None
        self.face = "unknown"
        """"unknown", "tracked" or "lost"."""
        self.calibration = 0.0

    def update(self, code: MotionCode | None, live: Live, now: float) -> Drive:
        """`code`: what the encoder saw, None where there is no face."""
        if code is None:
            self.face = "lost" if self._last is not None else "unknown"
            code = self._last
        else:
            self.face = "tracked"
        rest = self._engine.portrait_code
        if code is None:
            return Drive(rest, rest)
        self._last = code
        if self._reference is None:
            self._reference = code
        return Drive(code, rest if live.absolute else self._reference)

    def recalibrate(self) -> None:
        """Take the next steady frames as neutral."""
        self._reference = None
