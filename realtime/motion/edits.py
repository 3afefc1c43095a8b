"""Live edits: sliders, amplitude per part of the face, and eyes held on the camera. Works on any engine's codes.

An edit adds to one entry of the code: ``values[direction.index] += amount``. Amplitude scales how far a code is from
the driver's neutral code, the reference, part by part. Both are looked up in the engine's `directions`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from realtime.errors import BadValue, UnknownName
from realtime.motion.vocabulary import Gaze, vocabulary_of
from realtime.types import Direction, MotionCode

AMPLITUDE_GROUPS = {
    "head": ("head",),
    "mouth": ("mouth", "cheeks"),
    "eyes": ("eyes", "gaze"),
    "brows": ("brows",),
    "body": ("body",),
}
"""What can be given an amplitude, and which groups of directions each part covers."""
AMPLITUDE_RANGE = (0.0, 3.0)

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)


def parse_setting(text: str) -> tuple[str, float, str]:
    """Name, amount and unit of a setting such as "smile=0.3", "yaw=-10deg", "blink=50%".

    The unit is "", "deg" or "%". Raises BadValue.
    """
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise BadValue("--set", text, "it takes NAME=VALUE, such as smile=0.3 or yaw=-10deg")
    match = _NUMBER.fullmatch(rest.strip())
    if match is None:
        raise BadValue(f"--set {name}", rest.strip(), "a number, such as 0.3 or -10deg")
    amount, unit = float(match[1]), match[2].strip().lower().replace("°", "deg").replace("degrees", "deg")
    if not math.isfinite(amount):
        raise BadValue(f"--set {name}", rest.strip(), "a finite number")
    if unit not in ("", "deg", "%"):
        raise BadValue(f"--set {name}", rest.strip(), f"the unit {match[2].strip()!r} is not known; deg and % are")
    return name, amount, unit


def find_direction(name: str, directions: Sequence[Direction]) -> Direction:
    """The direction of that name, or, for a whole number, the one that moves that entry of the code.

    Raises UnknownName, with the nearest name suggested.
    """
    wanted = name.strip().lower().replace("-", "_")
    for direction in directions:
        if direction.name.lower() == wanted:
            return direction
    if wanted.isdecimal():
        for direction in directions:
            if direction.index == int(wanted):
                return direction
    raise UnknownName("direction", name, (d.name for d in directions), "avatar directions lists them")


def check_amount(direction: Direction, amount: float) -> float:
    """`amount`, where a setting may have it: the slider's range, and as much again to either side.

    Raises BadValue.
    """
    room = direction.hi - direction.lo
    if not (math.isfinite(amount) and direction.lo - room <= amount <= direction.hi + room):
        expected = f"{direction.lo:g} to {direction.hi:g}{' ' + direction.unit if direction.unit else ''}"
        raise BadValue(direction.name, amount, f"it takes {expected}")
    return float(amount)


def parse_settings(texts: Iterable[str], directions: Sequence[Direction]) -> dict[str, float]:
    """Amount by direction name of settings such as "smile=0.3"; a later one of the same name wins.

    "%" means hundredths of the slider's end on that side. Raises BadValue, UnknownName.
    """
    amounts: dict[str, float] = {}
    for text in texts:
        name, amount, unit = parse_setting(text)
        direction = find_direction(name, directions)
        if unit == "%":
            amount *= (direction.hi if amount >= 0 else -direction.lo) / 100
        elif unit and unit != direction.unit:
            takes = f"in {direction.unit}" if direction.unit else "a plain number"
            raise BadValue(f"--set {name}", text.partition("=")[2].strip(), f"{direction.name} is {takes}")
        amounts[direction.name] = check_amount(direction, amount)
    return amounts


class Edits:
    """All edits of one session, resolved once against an engine's directions. Immutable; make a new one to change.

    amounts: by direction name or number. amplitude: factor by part (`AMPLITUDE_GROUPS`; or one group of directions),
    1 where absent. hold_gaze: the eyes stay on the camera whatever the head does.
    Raises BadValue, UnknownName.
    """

    def __init__(
        self,
        directions: Sequence[Direction],
        amounts: Mapping[str, float] | None = None,
        amplitude: Mapping[str, float] | None = None,
        hold_gaze: bool = False,
    ) -> None:
        self._add: dict[int, float] = {}
        for name, amount in (amounts or {}).items():
            direction = find_direction(name, directions)
            amount = check_amount(direction, amount)
            self._add[direction.index] = self._add.get(direction.index, 0.0) + amount
        factors = _group_factors(amplitude or {})
        self._scale = {d.index: factors[d.group] for d in directions if factors.get(d.group, 1.0) != 1.0}
        self._held = {d.name: d.index for d in directions} if hold_gaze else {}
        self._scale_index = np.array(list(self._scale), int)
        self._scale_factor = np.array(list(self._scale.values()), np.float32)

    def __bool__(self) -> bool:
        """Whether anything is edited at all."""
        return bool(self._add or self._scale or self._held)

    def apply(self, code: MotionCode, reference: MotionCode) -> MotionCode:
        """The edited code. `reference` is the driver's neutral code, about which amplitude scales."""
        gaze = self._held_gaze(code.kind)
        if gaze is None and not self._add and not self._scale:
            return code
        values = np.array(code.values, np.float32)
        if self._scale:
            neutral = reference.values[self._scale_index]
            values[self._scale_index] = neutral + self._scale_factor * (values[self._scale_index] - neutral)
        for index, amount in self._add.items():
            values[index] += amount
        if gaze is not None:
            self._hold(gaze, values, reference.values)
        return code.with_values(values)

    def _held_gaze(self, kind: str) -> Gaze | None:
        """The gaze to hold, where codes of that kind have one."""
        gaze = vocabulary_of(kind).gaze if self._held else None
        return gaze if gaze is not None and gaze.x in self._held and gaze.y in self._held else None

    def _hold(self, gaze: Gaze, values: np.ndarray, neutral: np.ndarray) -> None:
        def since_neutral(name: str) -> float:
            k = self._held.get(name, -1)
            return float(values[k] - neutral[k]) if k >= 0 else 0.0

        x, y = self._held[gaze.x], self._held[gaze.y]
        # Eyes turn against the head: nose to the right, eyes to the left; face up, eyes down.
        against = gaze.per_degree * np.array((-since_neutral(gaze.yaw), since_neutral(gaze.pitch)))
        values[x], values[y] = gaze.camera + np.clip(against, -gaze.farthest, gaze.farthest)
        values[x] += self._add.get(x, 0.0)
        values[y] += self._add.get(y, 0.0)


def _group_factors(amplitude: Mapping[str, float]) -> dict[str, float]:
    """Factor by group of directions. A part's own name outranks the wider part that covers it."""
    groups = {g for covered in AMPLITUDE_GROUPS.values() for g in covered}
    factors: dict[str, float] = {}
    for part, factor in sorted(amplitude.items(), key=lambda item: item[0] not in AMPLITUDE_GROUPS):
        if part not in AMPLITUDE_GROUPS and part not in groups:
            raise UnknownName("part", part, AMPLITUDE_GROUPS)
        low, high = AMPLITUDE_RANGE
        if not low <= factor <= high:
            raise BadValue(f"amplitude {part}", factor, f"a factor from {low:g} to {high:g}")
        for group in AMPLITUDE_GROUPS.get(part, (part,)):
            if group == part or group not in amplitude:
                factors[group] = float(factor)
    return factors
