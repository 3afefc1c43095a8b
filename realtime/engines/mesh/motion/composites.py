"""Composites: the sliders people expect, made of the dictionary's measurements.

A composite says how far a few measurements move at amount 1; how the rest of the face goes along is the fitted
dictionary's likeliest completion (`ExpressionDictionary.complete`). What lids do is said apart, as a share of the
opening of each eye, because eyes close in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from realtime.engines.mesh.motion.dictionary import INDEX, load_dictionary
from realtime.types import Group


@dataclass(frozen=True, slots=True)
class Composite:
    """One slider.

    moves: the groups of measurements that may go along; all others stay.
    wanted: measurements at amount 1, in hundredths of the face height; "corner_up" means both sides.
    lids: change of the opening of the right and of the left eye at amount 1, as a share of it (-1 closes).
    below, lids_below: the same at amount -1, where that is not simply the opposite.
    """

    name: str
    lo: float
    hi: float
    group: Group
    about: str
    moves: tuple[Group, ...]
    wanted: dict[str, float]
    lids: tuple[float, float] = (0.0, 0.0)
    below: dict[str, float] | None = None
    lids_below: tuple[float, float] | None = None


_MOUTH: tuple[Group, ...] = ("mouth", "cheeks")
_EYES: tuple[Group, ...] = ("eyes", "cheeks")
_BROWS: tuple[Group, ...] = ("brows", "eyes")

COMPOSITES = (
    Composite(
        "smile", -1, 1, "mouth", "a broad smile; below 0 the corners of the mouth drop", _MOUTH,
        {"corner_out": 3.6, "corner_up": 4.0, "corner_back": 2.0, "cheek_up": 2.2, "lower_lip_down": -0.3,
         "upper_lip_up": 0.0, "lower_lip_down_side": 0.0, "upper_lip_up_side": 0.3},
        (-0.14, -0.14),
        below={"corner_up": -2.4, "corner_out": -0.3, "lower_lip_down": -0.3, "cheek_up": -0.3},
    ),
    Composite(
        "mouth_open", 0, 1, "mouth", "the jaw drops as for a long 'ah'", _MOUTH,
        {"jaw_open": 11.0, "lower_lip_down": 11.5, "upper_lip_up": 0.8},
    ),
    Composite(
        "o_mouth", 0, 1, "mouth", "the lips round as for 'oh'", _MOUTH,
        {"corner_out": -4.0, "lower_lip_down": 4.5, "upper_lip_up": 1.2, "lower_lip_forward": 2.0,
         "upper_lip_forward": 1.8, "jaw_open": 4.0},
    ),
    Composite(
        "pout", 0, 1, "mouth", "the closed lips are pushed out", _MOUTH,
        {"corner_out": -4.0, "upper_lip_forward": 2.2, "lower_lip_forward": 2.2, "lower_lip_down": -0.2,
         "upper_lip_up": -0.1, "jaw_open": 0.0},
    ),
    Composite(
        "mouth_side", -1, 1, "mouth", "the mouth moves to the right of the picture", _MOUTH,
        {"upper_lip_side": 4.4, "lower_lip_side": 5.0, "corner_out_left": 3.6, "corner_out_right": -4.6,
         "jaw_side": 3.2, "lower_lip_down": 0.0, "jaw_open": 0.0},
    ),
    Composite(
        "blink", -0.5, 1, "eyes", "both eyes close; below 0 they open wider", _EYES,
        {"upper_lid_up": -3.2, "lower_lid_down": -0.3}, (-1.0, -1.0),
        below={"upper_lid_up": 1.2, "lower_lid_down": 0.2}, lids_below=(0.6, 0.6),
    ),
    Composite(
        "wink_right", 0, 1, "eyes", "the person's right eye closes", _EYES,
        {"upper_lid_up_right": -3.2, "lower_lid_down_right": -0.6, "upper_lid_up_left": 0.0, "cheek_up_right": 1.2,
         "cheek_up_left": 0.0},
        (-1.0, 0.0),
    ),
    Composite(
        "wink_left", 0, 1, "eyes", "the person's left eye closes", _EYES,
        {"upper_lid_up_left": -3.2, "lower_lid_down_left": -0.6, "upper_lid_up_right": 0.0, "cheek_up_left": 1.2,
         "cheek_up_right": 0.0},
        (0.0, -1.0),
    ),
    Composite(
        "squint", 0, 1, "eyes", "the eyes narrow from below", _EYES,
        {"lower_lid_down": -1.2, "upper_lid_up": -0.6, "cheek_up": 0.8}, (-0.45, -0.45),
    ),
    Composite(
        "brows", -1, 1, "brows", "the brows rise; below 0 they drop", _BROWS,
        {"brow_inner_up": 3.8, "brow_middle_up": 4.0, "brow_outer_up": 3.0}, (0.12, 0.12),
    ),
    Composite(
        "frown", 0, 1, "brows", "the brows are drawn down and together", _BROWS,
        {"brow_inner_up": -2.4, "brow_middle_up": -1.5, "brow_in": 2.0}, (-0.12, -0.12),
    ),
    Composite(
        "worry", 0, 1, "brows", "the inner ends of the brows rise", _BROWS,
        {"brow_inner_up": 3.2, "brow_middle_up": 1.0, "brow_outer_up": -0.8, "brow_in": 1.0},
    ),
    Composite(
        "cheeks", 0, 1, "cheeks", "the cheeks rise towards the eyes", _EYES,
        {"cheek_up": 3.2, "cheek_forward": 1.2, "lower_lid_down": -0.8}, (-0.2, -0.2),
    ),
    Composite(
        "sneer", 0, 1, "cheeks", "the nose wrinkles and lifts the upper lip", ("cheeks", "mouth", "brows"),
        {"nostril_up": 2.4, "nostril_out": 1.0, "upper_lip_edge_up_side": 2.6, "upper_lip_up_side": 2.0,
         "brow_inner_up": -1.2, "brow_in": 0.8, "jaw_open": 0.0}, (-0.15, -0.15),
    ),
)  # fmt: skip
"""In the order of their entries in the code."""

SIDES = ("right", "left")


def both_sides(wanted: dict[str, float], known: set[str]) -> dict[str, float]:
    """`wanted` with each paired name that stands without a side replaced by its two sides."""
    spread: dict[str, float] = {}
    for name, amount in wanted.items():
        for full in (name,) if name in known else tuple(f"{name}_{side}" for side in SIDES):
            spread[full] = amount
    return spread


@dataclass(frozen=True, slots=True)
class CompositeTables:
    """The composites as tables, for amounts (14,): what positive amounts do, and what negative ones do.

    faces, faces_below: expression values (14, K) per unit. lids, lids_below: share of the eyes' opening (14, 2).
    """

    faces: np.ndarray
    faces_below: np.ndarray
    lids: np.ndarray
    lids_below: np.ndarray

    def expression(self, amounts: np.ndarray) -> np.ndarray:
        """Expression values (..., K) of amounts (..., 14)."""
        return np.maximum(amounts, 0) @ self.faces + np.minimum(amounts, 0) @ self.faces_below

    def opening(self, amounts: np.ndarray) -> np.ndarray:
        """What the opening of the right and of the left eye is multiplied with: (..., 2), at least 0."""
        change = np.maximum(amounts, 0) @ self.lids + np.minimum(amounts, 0) @ self.lids_below
        return np.maximum(1 + change, 0.0)


@lru_cache(maxsize=1)
def composite_tables() -> CompositeTables:
    """The tables of `COMPOSITES`, completed by the fitted dictionary."""
    dictionary = load_dictionary()
    known = set(INDEX)

    def face(wanted: dict[str, float], composite: Composite) -> np.ndarray:
        return dictionary.complete(both_sides(wanted, known), composite.moves)

    faces = [face(c.wanted, c) for c in COMPOSITES]
    below = [up if c.below is None else -face(c.below, c) for c, up in zip(COMPOSITES, faces, strict=True)]
    lids = [c.lids for c in COMPOSITES]
    lids_below = [c.lids if c.lids_below is None else tuple(-x for x in c.lids_below) for c in COMPOSITES]
    return CompositeTables(*(np.array(table) for table in (faces, below, lids, lids_below)))
