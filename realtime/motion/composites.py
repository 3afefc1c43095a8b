"""Composites: the sliders people expect, made of the dictionary's measurements.

A composite says how far a few measurements move at amount 1; how the rest of the face goes along is the fitted
dictionary's likeliest completion (`ExpressionDictionary.complete`). What lids do is said apart, as a share of the
opening of each eye, because eyes close in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from realtime.motion.dictionary import INDEX, load_dictionary
from realtime.types import Group


@dataclass(frozen=True, slots=True)
class Composite:
    """One slider.

    wanted: measurements at amount 1, in hundredths of the face height; "corner_up" means both sides.
    lids: change of the opening of the right and of the left eye at amount 1, as a share of it (-1 closes).
    """

    name: str
    lo: float
    hi: float
    group: Group
    about: str
    wanted: dict[str, float] = field(default_factory=dict)
    lids: tuple[float, float] = (0.0, 0.0)


COMPOSITES = (
    Composite(
        "smile", -1, 1, "mouth", "a broad smile; below 0 the corners of the mouth drop",
        {"corner_out": 3.6, "corner_up": 3.2, "corner_back": 2.0, "cheek_up": 1.8, "jaw_open": 0.0}, (-0.14, -0.14),
    ),
    Composite(
        "mouth_open", 0, 1, "mouth", "the jaw drops as for a long 'ah'",
        {"jaw_open": 11.0, "lower_lip_down": 11.5, "upper_lip_up": 0.8},
    ),
    Composite(
        "o_mouth", 0, 1, "mouth", "the lips round as for 'oh'",
        {"corner_out": -4.0, "lower_lip_down": 4.5, "upper_lip_up": 1.2, "lower_lip_forward": 2.0,
         "upper_lip_forward": 1.8, "jaw_open": 4.0},
    ),
    Composite(
        "pout", 0, 1, "mouth", "the closed lips are pushed out",
        {"corner_out": -4.5, "upper_lip_forward": 2.2, "lower_lip_forward": 2.2, "lower_lip_down": 0.0,
         "upper_lip_up": 0.0},
    ),
    Composite(
        "mouth_side", -1, 1, "mouth", "the mouth moves to the right of the picture",
        {"upper_lip_side": 2.2, "lower_lip_side": 2.8, "jaw_side": 2.0},
    ),
    Composite(
        "blink", -0.5, 1, "eyes", "both eyes close; below 0 they open wider",
        {"upper_lid_up": -3.2, "lower_lid_down": -0.3, "brow_middle_up": -0.1}, (-1.0, -1.0),
    ),
    Composite(
        "wink_right", 0, 1, "eyes", "the person's right eye closes",
        {"upper_lid_up_right": -3.2, "lower_lid_down_right": -0.5, "upper_lid_up_left": 0.0, "cheek_up_right": 0.8},
        (-1.0, 0.0),
    ),
    Composite(
        "wink_left", 0, 1, "eyes", "the person's left eye closes",
        {"upper_lid_up_left": -3.2, "lower_lid_down_left": -0.5, "upper_lid_up_right": 0.0, "cheek_up_left": 0.8},
        (0.0, -1.0),
    ),
    Composite(
        "squint", 0, 1, "eyes", "the eyes narrow from below",
        {"lower_lid_down": -1.2, "upper_lid_up": -0.6, "cheek_up": 0.8}, (-0.45, -0.45),
    ),
    Composite(
        "brows", -1, 1, "brows", "the brows rise; below 0 they drop",
        {"brow_inner_up": 3.6, "brow_middle_up": 3.8, "brow_outer_up": 3.0}, (0.15, 0.15),
    ),
    Composite(
        "frown", 0, 1, "brows", "the brows are drawn down and together",
        {"brow_inner_up": -2.0, "brow_middle_up": -1.2, "brow_in": 1.5}, (-0.12, -0.12),
    ),
    Composite(
        "worry", 0, 1, "brows", "the inner ends of the brows rise",
        {"brow_inner_up": 3.0, "brow_middle_up": 1.0, "brow_outer_up": -0.8, "brow_in": 0.8},
    ),
    Composite(
        "cheeks", 0, 1, "cheeks", "the cheeks rise and fill out",
        {"cheek_up": 2.0, "cheek_forward": 1.2}, (-0.15, -0.15),
    ),
    Composite(
        "sneer", 0, 1, "cheeks", "the nose wrinkles and lifts the upper lip",
        {"nostril_up": 1.4, "nostril_out": 0.6, "upper_lip_edge_up_side": 1.6, "brow_inner_up": -0.8}, (-0.1, -0.1),
    ),
)  # fmt: skip
"""In the order of their entries in the code."""

_SIDES = ("right", "left")


def both_sides(wanted: dict[str, float], known: set[str]) -> dict[str, float]:
    """`wanted` with each paired name that stands without a side replaced by its two sides."""
    spread: dict[str, float] = {}
    for name, amount in wanted.items():
        for full in (name,) if name in known else tuple(f"{name}_{side}" for side in _SIDES):
            spread[full] = amount
    return spread


@lru_cache(maxsize=1)
def composite_matrices() -> tuple[np.ndarray, np.ndarray]:
    """What amounts of the composites do: expression values (14, K), and shares of the eyes' opening (14, 2)."""
    dictionary = load_dictionary()
    rows = [dictionary.complete(both_sides(c.wanted, set(INDEX))) for c in COMPOSITES]
    return np.array(rows), np.array([c.lids for c in COMPOSITES])
