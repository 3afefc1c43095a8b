"""A board of named expressions, put on and off by keys: they come and go by minimum-jerk curves, over what the driver
does. Pure: time is passed in. Works on any engine whose directions have the names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from realtime.errors import UnknownName
from realtime.motion.curves import minimum_jerk
from realtime.types import Direction, MotionCode

RISE, FALL = 0.22, 0.4
"""Seconds in which an expression comes, and goes."""
HOLD = 1.2
"""Seconds for which one that is played stays, unless told otherwise."""
LONGEST = 60.0


@dataclass(frozen=True)
class Expression:
    """One key of the board. amounts: by direction; the first whose directions an engine all has is its own."""

    name: str
    about: str
    amounts: tuple[Mapping[str, float], ...]

    def of(self, directions: Iterable[Direction]) -> Mapping[str, float] | None:
        """The amounts for an engine with these directions, None where it cannot show this."""
        names = {direction.name for direction in directions}
        return next((amounts for amounts in self.amounts if amounts.keys() <= names), None)


BOARD = (
    Expression("smile", "a broad smile", ({"smile": 0.9, "squint": 0.2}, {"smile": 0.8})),
    Expression(
        "laugh",
        "a laugh with the mouth open",
        ({"smile": 0.9, "mouth_open": 0.5, "squint": 0.5, "brows": 0.2}, {"smile": 0.9, "mouth_open": 0.5}),
    ),
    Expression("wink", "one eye closes", ({"wink_right": 1.0, "smile": 0.35}, {"wink": 1.0, "smile": 0.3})),
    Expression(
        "surprise",
        "brows, lids and mouth open",
        ({"brows": 0.9, "blink": -0.4, "o_mouth": 0.7}, {"brows": 0.8, "blink": -0.3, "mouth_open": 0.5}),
    ),
    Expression(
        "sad", "brows and corners of the mouth sink", ({"worry": 0.9, "smile": -0.7, "pitch": -4.0}, {"smile": -0.25})
    ),
    Expression(
        "angry", "the brows are drawn together", ({"frown": 1.0, "squint": 0.35, "sneer": 0.25}, {"brows": -0.9})
    ),
    Expression("kiss", "the lips are pushed out", ({"pout": 1.0, "squint": 0.2}, {"pout": 0.8})),
    Expression("disgust", "the nose wrinkles", ({"sneer": 0.9, "frown": 0.4},)),
    Expression("sleep", "the eyes stay shut", ({"blink": 1.0, "pitch": -5.0},)),
)
"""In the order of their keys, 1 to 9."""


def board_of(directions: Sequence[Direction]) -> tuple[Expression, ...]:
    """What an engine with these directions can show; none where its directions have no names."""
    return tuple(expression for expression in BOARD if expression.of(directions) is not None)


@dataclass(frozen=True)
class Played:
    """An expression that was put on. begun: when. until: when it begins to go; infinite while it is held."""

    name: str
    begun: float
    until: float = math.inf

    def weight(self, now: float) -> float:
        """How much of it is seen, 0 to 1."""
        risen = minimum_jerk((min(now, self.until) - self.begun) / RISE)
        return risen * (1.0 - minimum_jerk((now - self.until) / FALL)) if now > self.until else risen

    def over(self, now: float) -> bool:
        """Nothing of it is left."""
        return now - self.until >= FALL


def played(
    before: Sequence[Played],
    name: str,
    directions: Sequence[Direction],
    now: float,
    on: bool | None = None,
    seconds: float = HOLD,
) -> tuple[Played, ...]:
    """What is put on after an expression was. on: True until it is taken off, False takes it off, None for `seconds`.

    Raises UnknownName for one that is not on the board of an engine with these directions."""
    board = [expression.name for expression in board_of(directions)]
    if name not in board:
        raise UnknownName("expression", name, board)
    kept = [each for each in before if not each.over(now)]
    if on is False:
        return tuple(replace(each, until=min(each.until, now)) if each.name == name else each for each in kept)
    until = math.inf if on else now + RISE + min(max(seconds, 0.0), LONGEST)
    held = next((each for each in kept if each.name == name and each.until > now), None)
    if held is not None:  # it stays, and is not seen to begin again
        return tuple(replace(each, until=until) if each is held else each for each in kept)
    return (*kept, Played(name, now, until))


def worn(on: Sequence[Played], code: MotionCode, directions: Sequence[Direction], now: float) -> MotionCode:
    """The code with what was put on, added; itself where nothing is to be seen of it."""
    weights: dict[str, float] = {}
    for each in on:
        weights[each.name] = max(weights.get(each.name, 0.0), each.weight(now))
    if not any(weights.values()):
        return code
    by_name = {direction.name: direction for direction in directions}
    sums: dict[str, float] = {}
    for expression in BOARD:
        for name, amount in (expression.of(directions) or {}).items():
            sums[name] = sums.get(name, 0.0) + weights.get(expression.name, 0.0) * amount
    values = np.array(code.values, np.float32)
    for name, amount in sums.items():
        direction = by_name[name]
        values[direction.index] += min(max(amount, direction.lo), direction.hi)
    return code.with_values(values)
