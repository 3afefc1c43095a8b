"""What a client commands, done to whatever plays its avatar; and what is told of it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from realtime.engines import Engine
from realtime.errors import BadValue, UsageError
from realtime.media.backgrounds import Behind, Chosen
from realtime.motion.edits import Edits
from realtime.motion.vocabulary import of_today
from realtime.server.common import messages
from realtime.server.hosting.gallery import Gallery, GalleryPortrait, PortraitChoice
from realtime.settings import Live
from realtime.types import MotionCode

FACES: dict[str, messages.Face] = {
    "unknown": "waiting",
    "tracked": "tracking",
    "returning": "tracking",
    "held": "holding",
    "leaving": "easing",
}
"""The driver's word for its state, and the page's; all others mean that the avatar rests."""


class NothingBrought(UsageError):
    """A background of one's own was chosen before there is one."""

    def __str__(self) -> str:
        return "Bring a picture or a clip first: there is no background of your own yet"


class OneShape(UsageError):
    """Another shape was asked of an engine that has one."""

    def __str__(self) -> str:
        return "The engine makes pictures of one shape: choose it as the server starts (--size)"


class Handle(Protocol):
    """A session that can be steered. Every method may be called from any thread and returns at once."""

    engine: Engine
    gallery: Gallery
    choice: PortraitChoice

    @property
    def live(self) -> Live:
        """The settings in force."""

    @property
    def portrait(self) -> GalleryPortrait:
        """What is shown, as the client shall be told."""

    @property
    def preparing(self) -> bool:
        """Another one is chosen and will be told once it is shown."""

    @property
    def source(self) -> messages.Source:
        """What drives the avatar."""

    @property
    def calibrated(self) -> bool:
        """The driver's neutral face is known."""

    @property
    def calibration(self) -> float:
        """How well it is known, 0 to 1."""

    @property
    def neutral(self) -> list[float] | None:
        """The neutral code, where it was learnt on request."""

    @property
    def face(self) -> messages.Face:
        """What the driver's face does."""

    def change(self, **fields: Any) -> object:
        """Replace fields of `live`. Raises UsageError."""

    def recalibrate(self, neutral: list[float] | None) -> None:
        """Learn the driver's neutral face from his next few seconds, or take the given code. Raises UsageError."""

    def express(self, name: str, on: bool | None, seconds: float) -> None:
        """Put an expression on or off. Raises UnknownName."""

    def choose_source(self, source: messages.Source) -> None:
        """Let something else drive. Raises UsageError."""

    def choose_shape(self, shape: messages.Shape) -> None:
        """Another shape of the picture. Raises OneShape."""


def follow(handle: Handle, command: messages.Command) -> None:
    """Follow a command of the client. Raises UsageError with a sentence where it cannot be followed."""
    match command:
        case messages.SetEdits(values=values):
            Edits(handle.engine.directions, values)  # raises where a name or an amount is wrong
            edits = {**handle.live.edits, **values}
            handle.change(edits={name: amount for name, amount in edits.items() if amount != 0.0})
        case messages.ResetEdits():
            handle.change(edits={})
        case messages.Pause(paused=paused):
            handle.change(paused=paused)
        case messages.Mirror(on=on):
            handle.change(mirror=on)
        case messages.Amplitude(values=values):
            factors = {**handle.live.amplitude, **values}
            Edits(handle.engine.directions, amplitude=factors)
            handle.change(amplitude={part: factor for part, factor in factors.items() if factor != 1.0})
        case messages.HoldGaze(on=on):
            handle.change(hold_gaze=on)
        case messages.Smoothing(amount=amount):
            handle.change(smoothing=amount)
        case messages.Express(name=name, on=on, seconds=seconds):
            handle.express(name, on, seconds)
        case messages.Calibrate(neutral=neutral):
            handle.recalibrate(neutral)
        case messages.ChoosePortrait(id=id):
            handle.choice.choose(handle.gallery.get(id))
        case messages.ChooseBackground(background=background, strength=strength):
            handle.choice.choose(behind=_behind(handle, background, strength))
        case messages.ChooseShape(shape=shape):
            handle.choose_shape(shape)
        case messages.ChooseSource(source=source):
            handle.choose_source(source)


def _behind(handle: Handle, background: Chosen, strength: float) -> Behind:
    """Raises NothingBrought."""
    if background != "own":
        return Behind(background, strength if background == "blur" else 1.0)
    if handle.choice.own is None:
        raise NothingBrought
    return Behind("own", own=handle.choice.own)


def neutral_code(engine: Engine, neutral: list[float] | None) -> MotionCode | None:
    """The neutral code that a client brings, None where he brings none. Raises BadValue."""
    rest = engine.portrait_code
    if neutral is None:
        return None
    values = of_today(rest.kind, np.array(neutral, np.float64))
    if values.size != rest.values.size:
        raise BadValue("neutral", f"{len(neutral)} numbers", f"a code of this engine has {rest.values.size}")
    return rest.with_values(values)


def neutral_told(code: MotionCode | None) -> list[float] | None:
    """The same, as clients are told it."""
    return None if code is None else [round(float(value), 4) for value in code.values]


def state_of(handle: Handle) -> messages.State:
    """What is shown now."""
    live = handle.live
    return messages.State(
        portrait=handle.portrait.id,
        edits=dict(live.edits),
        paused=live.paused,
        mirror=live.mirror,
        amplitude=dict(live.amplitude),
        hold_gaze=live.hold_gaze,
        smoothing=live.smoothing,
        background=handle.choice.wanted.behind.name,
        blur=handle.choice.wanted.behind.strength,
        shape=handle.choice.wanted.shape,
        source=handle.source,
        calibrated=handle.calibrated,
        calibration=handle.calibration,
        neutral=handle.neutral,
        face=handle.face,
        preparing=handle.preparing,
    )
