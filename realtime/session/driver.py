"""From what the encoder saw to the code that is rendered: neutral face, what is shown while there is no face, and
edits, in this order. Pure: time is passed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from realtime.engines import Engine
from realtime.motion.calibration import Calibration
from realtime.motion.edits import Edits
from realtime.motion.expressions import worn
from realtime.motion.filters import Smoother
from realtime.motion.fit import Fit
from realtime.motion.presence import Presence
from realtime.motion.vocabulary import mirrored
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
    """One driver's motion, as it shall be shown. Used by one thread, that of the encoding stage.

    reference: the driver's neutral code where it is known beforehand, as in most motion tracks. As recorded: with
    `Live.mirror`, codes come in mirrored, and it is mirrored here.
    """

    def __init__(self, engine: Engine, reference: MotionCode | None = None) -> None:
        self._engine = engine
        self._known = reference
        self._calibration = Calibration(engine.directions)
        self._fit = Fit(engine.directions)
        self._presence = Presence(engine.directions)
        self._edited_for: Live | None = None
        self._edits = Edits(())
        self._observed: list[tuple[MotionCode, float]] = []
        self._smoother = Smoother()

    @property
    def face(self) -> str:
        """What the driver's face does: see `Presence.state`."""
        return self._presence.state

    @property
    def neutral(self) -> MotionCode | None:
        """The driver's neutral code as now believed; None before the first face."""
        return self._known if self._known is not None else self._calibration.reference

    @property
    def knows_beforehand(self) -> bool:
        """The neutral code was given, and is not learnt."""
        return self._known is not None

    @property
    def calibration(self) -> float:
        """How well the driver's neutral face is known, 0 to 1."""
        return 1.0 if self._known is not None else self._calibration.progress

    @property
    def fit(self) -> Fit:
        """How well the neutral face still sits."""
        return self._fit

    def update(self, code: MotionCode | None, live: Live, now: float) -> Drive:
        """`code`: what the encoder saw, None where there is no face."""
        rest = self._engine.portrait_code
        known = mirrored(self._known) if self._known is not None and live.mirror else self._known
        reference = known or self._calibration.reference
        if code is not None and self._known is None:
            reference = self._calibration.update(code, now)
        if code is not None and reference is not None and self.calibration >= 1.0:
            self._fit.update(code, reference, now)
        if live.absolute or reference is None:
            reference = rest
        if live is not self._edited_for:
            self._edited_for = live
            self._edits = Edits(self._engine.directions, live.edits, live.amplitude, live.hold_gaze)
        shown = self._presence.update(self._smoother.update(code, live.smoothing, now), reference, now)
        edited = self._edits.apply(shown, reference)
        if live.played:
            edited = worn(live.played, edited, self._engine.directions, now)
        return Drive(edited, reference)

    def recalibrate(self) -> None:
        """Take the driver's next steady frames as neutral."""
        self._known = None
        self._calibration.restart(told=True)
        self._fit.restart()

    # Looking ahead, where the whole clip is at hand

    def observe(self, code: MotionCode | None, now: float) -> bool:
        """Learn the neutral face from a code that is not shown yet. True once it is known well enough."""
        if code is not None and self._known is None:
            self._calibration.update(code, now)
            self._observed.append((code, now))
        return self._known is not None or self._calibration.settled

    def settle(self) -> None:
        """No more is to be seen: look at what was seen again, until the neutral face is found."""
        if self._known is None:
            self._calibration.settle(self._observed)
        self._observed.clear()
