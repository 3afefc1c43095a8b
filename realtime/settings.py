"""Settings: frozen dataclasses, built once at the edge (command line, server), each part handed only its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from realtime.errors import BadValue

if TYPE_CHECKING:
    from realtime.motion.expressions import Played


def _empty() -> Mapping[str, float]:
    return MappingProxyType({})


SIDES = (64, 2048)
"""Shortest and longest side of a picture, pixels."""
PROPORTIONS = {"square": (1, 1), "1:1": (1, 1), "16:9": (16, 9), "9:16": (9, 16), "4:3": (4, 3), "3:4": (3, 4)}
"""Shapes of the picture by name: width to height."""
SHAPES = ("1:1", "16:9", "9:16", "4:3", "3:4")
"""Those of them that a page offers."""
USUAL_SIDE = 512
"""The shorter side of a shape without a number, pixels."""


@dataclass(frozen=True)
class Shape:
    """size: side of the picture in pixels, or (width, height). round: only the circle in it is shown."""

    size: int | tuple[int, int]
    round: bool = False

    @classmethod
    def parse(cls, text: str) -> Shape:
        """ "512", "640x480", "16:9" (the shorter side 512), "16:9@720", "round", "round@400". Raises BadValue."""
        name, at, side = text.strip().lower().partition("@")
        if at and not (side.isdecimal() and name in (*PROPORTIONS, "round")):
            raise BadValue("--size", text, f"write SHAPE@N, as in 16:9@720 or round@400; shapes: {shapes()}")
        shorter = int(side) if at else USUAL_SIDE
        if name == "round":
            return cls(shorter, round=True)
        if name in PROPORTIONS:
            wide, high = sides_of(name, shorter)
            return cls(wide if wide == high else (wide, high))
        sides = [part.strip() for part in name.split("x")]
        if not (1 <= len(sides) <= 2 and all(part.isdecimal() for part in sides)):
            raise BadValue("--size", text, f"{PIXELS}, or a shape: {shapes()}")
        return cls(int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1])))


PIXELS = f"pixels, from {SIDES[0]} to {SIDES[1]}, as in 512 or 640x480"


def shapes() -> str:
    """The names of shapes, for people."""
    return ", ".join((*PROPORTIONS, "round"))


def sides_of(proportions: str, shorter: int) -> tuple[int, int]:
    """Width and height of a picture of these `PROPORTIONS`, even, with that shorter side, pixels."""
    parts = PROPORTIONS[proportions]
    wide, high = (even(shorter * part / min(parts)) for part in parts)
    return wide, high


def even(length: float) -> int:
    """The even number next to `length`, as video wants its sides."""
    return 2 * math.floor(length / 2.0 + 0.5)


@dataclass(frozen=True)
class EngineSettings:
    """Which engine renders, and how."""

    name: str = "auto"
    """A name of `ENGINES`, or "auto": the best one that can run here."""
    size: int | tuple[int, int] = 512
    """Side of the picture in pixels, or (width, height); 64 to 2048."""
    device: str = "auto"
    """"auto", "cpu", "cuda" or "cuda:N"."""
    weights: str | None = None
    """A weight file, for the engines that need one."""
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """What else the engine is made with: the keyword arguments of its class, as `crop` and `paste_back` of the
    neural engines."""
    round: bool = False
    """Of the pictures only the circle in their middle is shown, by whatever shows them."""

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if not all(SIDES[0] <= side <= SIDES[1] for side in sides):
            raise BadValue("--size", "x".join(map(str, sides)), PIXELS)


@dataclass(frozen=True)
class Live:
    """What may change while a session runs. Replaced as a whole, so that a stage never sees half a change."""

    edits: Mapping[str, float] = field(default_factory=_empty)
    """Added to the motion code: direction name to amount, in the direction's unit."""
    amplitude: Mapping[str, float] = field(default_factory=_empty)
    """Part of the face (`motion.edits.AMPLITUDE_GROUPS`) to factor: 1 as driven, 0 still, 2 twice as much."""
    smoothing: float = 0.0
    """How much slower the avatar follows, so that it is calmer: 0 at once, 1 within about a third of a second."""
    hold_gaze: bool = False
    """The eyes look at the viewer whatever the driver's do."""
    mirror: bool = False
    """The driving frame is flipped left to right, as in a mirror; so is the code of a motion track."""
    absolute: bool = False
    """The portrait takes the driver's pose as it is; otherwise it moves by the driver's change from neutral."""
    paused: bool = False
    """No driving frame is used; the avatar idles."""
    played: tuple[Played, ...] = ()
    """Expressions that were put on (`motion.expressions`), in seconds of `time.monotonic()`."""


@dataclass(frozen=True)
class PipelineSettings:
    """How a session runs."""

    fps: float = 30.0
    """Rate asked of a camera and of paced sinks; idle motion is shown at this rate too."""
    lossless: bool = False
    """True: every frame in order, as fast as it goes (`render`). False: the newest frame only (`run`)."""
    duration: float | None = None
    """Stop after this many seconds; None: when the source ends."""
    stats: Path | None = None
    """Where the statistics are written when the session ends."""

    def __post_init__(self) -> None:
        if not 1 <= self.fps <= 240:
            raise BadValue("--fps", self.fps, "frames a second, from 1 to 240")
        if self.duration is not None and not 0 < self.duration < math.inf:
            raise BadValue("--duration", self.duration, "seconds, above 0")
