"""A made-up person for tests: head, trunk and limbs where they belong."""

from __future__ import annotations

import numpy as np

from realtime.film.wan.people import Person, hide_outside

_AT = np.array([
    (0, -100), (0, -60), (-40, -60), (-60, -10), (-70, 40), (40, -60), (60, -10), (70, 40), (-25, 40), (-25, 110),
    (-25, 180), (25, 40), (25, 110), (25, 180), (-10, -110), (10, -110), (-20, -105), (20, -105), (35, 190),
    (-35, 190),
], float)  # fmt: skip
"""The 20 points around the trunk's middle, of a person 300 pixels tall."""


def someone(
    x: float = 200, y: float = 200, scale: float = 1.0, height: int = 400, width: int = 1000, hand: bool = False
) -> Person:
    """Someone who stands around (x, y) in a picture of this size, in which only what lies inside is seen."""
    points = np.column_stack([_AT * scale + [x, y], np.ones(len(_AT))])
    face = np.array([x - 25 * scale, y - 125 * scale, x + 25 * scale, y - 75 * scale])
    wrist = points[4, :2]
    fingers = np.column_stack([wrist + np.outer(np.arange(21), [-1.0, 2.0]) * scale, np.ones(21)])
    return Person(
        hide_outside(points, height, width),
        None,
        hide_outside(fingers, height, width) if hand else None,
        face,
        np.zeros((0, 0), bool),
        True,
    )
