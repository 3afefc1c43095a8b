"""What the entries of a motion code mean, as far as code that works on any engine's codes makes use of it.

Each kind of code says it for itself: its family's line in `realtime.families` names a `Vocabulary`. Where a family
says nothing (the directions of a learned dictionary have no meaning that anyone knows) `UNKNOWN` stands for it: such
codes are not mirrored, any calm face counts as neutral, the eyes go with the face, and the idle avatar rests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from realtime.families import FAMILIES, target
from realtime.types import MotionCode


@dataclass(frozen=True)
class Worn:
    """An expression that a face may wear for long, such as a smile, and how it is told from looks that are a person's
    own. Its amount in a code is ``weights @ values - usual``: 0 for most people at rest, 1 for the full expression.

    own: amounts, either way, up to which people differ at rest. moves: what amount 1 changes in a code.
    """

    weights: np.ndarray
    usual: float
    own: float
    moves: np.ndarray
    both: bool = False
    """It has an opposite: amounts below 0 count as well."""

    def amount(self, values: np.ndarray) -> np.ndarray:
        """How much of it codes (..., length) wear: (...,), at least 0 where it has no opposite."""
        amount = values @ self.weights - self.usual
        return amount if self.both else np.maximum(amount, 0.0)

    def excess(self, values: np.ndarray) -> np.ndarray:
        """The amount beyond half of what may be the person's own, at least 0: (...,)."""
        return np.maximum(np.abs(self.amount(values)) - self.own / 2, 0.0)

    def without(self, values: np.ndarray) -> np.ndarray:
        """A code (length,) with less of it where it wears more than may be the person's own: the more there is, the
        surer it is an expression, and the less is left (``own**2 / amount``)."""
        amount = float(self.amount(values))
        if abs(amount) <= self.own:
            return values
        return values - (amount - self.own**2 / amount) * self.moves


@dataclass(frozen=True)
class Neutral:
    """How a neutral face is told from others, beside being calm.

    straight: directions that are 0 then, and how far off is as bad as 1.
    open: directions whose mean is then high within what was seen (the eyes' openings); so much less is as bad as 1.
    shut: entries whose mean is 0 then, and more otherwise (the lips' gaps); so much is as bad as 1.
    worn: expressions that it does not wear.
    restful: entries that are neutral most of the time, whatever the rest of the face does (eyes and brows), and how
    far off one may be. mobile: entries that are neutral only in a neutral face (mouth and cheeks).
    """

    straight: Mapping[str, float] = field(default_factory=dict)
    open: tuple[tuple[str, ...], float] = ((), 1.0)
    shut: tuple[tuple[int, ...], float] = ((), 1.0)
    worn: tuple[Worn, ...] = ()
    restful: Mapping[int, float] = field(default_factory=dict)
    mobile: tuple[int, ...] = ()


@dataclass(frozen=True)
class Gaze:
    """How eyes are kept on the camera.

    x, y: directions of the gaze, right and down in the picture. camera: their values as the eyes look into the
    camera. yaw, pitch: directions of the head, degrees, nose to the right and face up. per_degree: how far the eyes
    move against the head. farthest: they move no farther.
    """

    x: str
    y: str
    camera: tuple[float, float]
    yaw: str
    pitch: str
    per_degree: float
    farthest: float


@dataclass(frozen=True)
class Idle:
    """What an avatar does when nobody drives it.

    breath: amounts at the top of a breath, by direction. sway: slow wandering, by direction: amount, and seconds of a
    period. blink: the direction that shuts the eyes at 1.
    """

    breath: Mapping[str, float] = field(default_factory=dict)
    sway: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    blink: str = ""


@dataclass(frozen=True)
class Shapes:
    """A face as blend shapes. amounts: 0 to 1, by ARKit's names; those that cannot be told are not there. head: yaw,
    pitch and roll in degrees, as in `realtime.face.pose`."""

    amounts: Mapping[str, float]
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Speech:
    """How lips speak in these codes.

    rest: (length,), the code of a face that looks into the camera, its lips closed. moves: what each thing that lips
    do adds to a code at 1, (length,): "open", "round", "wide", "teeth" (the lower lip under the upper teeth) and
    "shut" (the lips touch, whatever else they do).
    """

    rest: np.ndarray
    moves: Mapping[str, np.ndarray]

    def values(self, mouth: np.ndarray) -> np.ndarray:
        """What a mouth adds to a code, (length,). mouth: (5,), the amounts of `voice.lips.MOUTH`."""
        opened, rounded, wide, teeth, shut = (float(amount) for amount in mouth)
        parted = opened * (1 - 0.8 * teeth) * (1 - shut)
        amounts = {"open": parted, "round": rounded * (1 - 0.5 * shut), "wide": wide * (1 - 0.5 * shut)}
        amounts |= {"teeth": teeth * (1 - shut), "shut": shut}
        return sum((amount * self.moves[name] for name, amount in amounts.items()), np.zeros(len(self.rest)))


@dataclass(frozen=True)
class Vocabulary:
    """length: entries of a code. earlier: lengths of the codes of earlier releases: their entries are the first ones
    of today's, and the later ones are 0, unmoved. mirror: from the values (length,) of a code those of the flipped
    driving picture.
    since_start: entries that say what has moved since this session's start, 0 there.
    shapes: from a code's values and the driver's neutral ones the blend shapes; of_shapes: a code's values from them.
    """

    length: int = 0
    earlier: tuple[int, ...] = ()
    since_start: tuple[int, ...] = ()
    mirror: Callable[[np.ndarray], np.ndarray] | None = None
    neutral: Neutral = Neutral()
    gaze: Gaze | None = None
    idle: Idle = Idle()
    shapes: Callable[[np.ndarray, np.ndarray], Shapes] | None = None
    of_shapes: Callable[[Shapes], np.ndarray] | None = None
    speech: Speech | None = None


UNKNOWN = Vocabulary()


def vocabulary_of(kind: str) -> Vocabulary:
    """That of codes of this kind; `UNKNOWN` where its family has none."""
    family = FAMILIES.get(kind)
    return target(family.vocabulary) if family is not None and family.vocabulary else UNKNOWN


def of_today(kind: str, values: np.ndarray) -> np.ndarray:
    """Codes (..., length) of an earlier release with the entries that came later, 0; others as they are."""
    known = vocabulary_of(kind)
    length = values.shape[-1]
    if length not in known.earlier:
        return values
    later = np.zeros((*values.shape[:-1], known.length - length), values.dtype)
    later[np.isnan(values[..., :1]).repeat(later.shape[-1], axis=-1)] = np.nan  # a frame without a face
    return np.concatenate([values, later], axis=-1)


def of_earlier_session(code: MotionCode) -> MotionCode:
    """A neutral code learnt in an earlier session, as it holds in this one: what it says of that one's start is 0."""
    known = vocabulary_of(code.kind)
    if not known.since_start or code.values.shape != (known.length,):
        return code
    values = code.values.copy()
    values[list(known.since_start)] = 0.0
    return code.with_values(values)


def can_mirror(kind: str) -> bool:
    """Whether codes of this kind can be mirrored."""
    return vocabulary_of(kind).mirror is not None


def mirrored(code: MotionCode) -> MotionCode:
    """What the encoder would have seen, had the driving picture been flipped left to right; `code` itself where its
    kind cannot be mirrored.

    A driving frame is flipped before it is encoded. A motion track has no picture any more, so its codes are mirrored
    instead.
    """
    known = vocabulary_of(code.kind)
    if known.mirror is None or code.values.shape != (known.length,):
        return code
    return code.with_values(known.mirror(code.values))
