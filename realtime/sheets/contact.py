"""Contact sheets: many small pictures in one, with words beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from realtime.engines import Engine
from realtime.media.pictures import fit_into
from realtime.motion.edits import Edits
from realtime.types import Direction

LABEL = 22
"""Height of a line of words, pixels."""
STEPS = 5
WHOLE = ("head", "body")
"""Groups of directions that are shown in the whole picture, not close up."""
"""Values at which a direction is shown."""


def edited_portrait(
    engine: Engine, amounts: dict[str, float], amplitude: dict[str, float] | None = None, hold_gaze: bool = False
) -> np.ndarray:
    """The engine's portrait with edits by name, at rest otherwise: uint8 (H, W, 3) RGB.

    Leaves `engine.reference` at the portrait's own code. Raises UnknownName, BadValue."""
    rest = engine.portrait_code
    engine.reference = rest
    return engine.render(Edits(engine.directions, amounts, amplitude, hold_gaze).apply(rest, rest))


def amounts_of(direction: Direction, steps: int = STEPS) -> list[float]:
    """`steps` values from one end of the direction's range to the other; 0 is among them where it can be."""
    values = np.linspace(direction.lo, direction.hi, steps)
    if direction.lo < 0 < direction.hi:
        half = steps // 2
        values = np.concatenate(
            [np.linspace(direction.lo, 0, half + 1)[:-1], np.linspace(0, direction.hi, steps - half)]
        )
    return [float(v) for v in values]


def direction_sheet(
    engine: Engine,
    directions: Sequence[Direction],
    cell: int = 144,
    columns: int = 3,
    on_row: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Every direction at five values: uint8 (H, W, 3) RGB. What moves a part of the face is shown close up.

    `on_row` is called after each direction."""
    rows = []
    whole = (slice(None), slice(None))
    close = face_box(engine, [d for d in directions if d.group not in WHOLE]) or whole
    for direction in directions:
        amounts = amounts_of(direction)
        unit = f" {direction.unit}" if direction.unit else ""
        part = whole if direction.group in WHOLE else close
        pictures = [edited_portrait(engine, {direction.name: amount})[part] for amount in amounts]
        words = f"{direction.name}  {amounts[0]:.3g} ... {amounts[-1]:.3g}{unit}"
        rows.append(contact_row([fit_into(p, cell, cell) for p in pictures], words))
        on_row()
    blank = np.full_like(rows[0], 255)
    per_column = -(-len(rows) // columns)
    rows += [blank] * (per_column * columns - len(rows))
    blocks = [np.vstack(rows[i * per_column : (i + 1) * per_column]) for i in range(columns)]
    gap = np.full((blocks[0].shape[0], 12, 3), 255, np.uint8)
    parts = [part for block in blocks for part in (block, gap)]
    return np.hstack(parts[:-1])


def face_box(engine: Engine, directions: Sequence[Direction], threshold: int = 32) -> tuple[slice, slice] | None:
    """The square (rows, columns) of the picture in which several of these directions change something; None where
    there is no such place."""
    rest = edited_portrait(engine, {}).astype(np.int16)
    votes = np.zeros(rest.shape[:2], np.int32)
    for direction in directions:
        for amount in (direction.lo, direction.hi):
            moved = edited_portrait(engine, {direction.name: amount})
            votes += np.abs(moved - rest).max(-1) > threshold
    moving = votes >= min(4, len(directions))
    rows, columns = (np.flatnonzero(moving.sum(axis) > 2) for axis in (1, 0))
    if not (rows.size and columns.size):
        return None
    height, width = moving.shape
    side = min(int(1.25 * max(rows[-1] - rows[0], columns[-1] - columns[0], 16)), height, width)
    top = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, height - side))
    left = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, width - side))
    return slice(top, top + side), slice(left, left + side)


def contact_row(pictures: Sequence[np.ndarray], words: str) -> np.ndarray:
    """Pictures of one size side by side, under a line of words: uint8 (H + LABEL, sum of W, 3) RGB."""
    import cv2

    row = np.hstack(pictures)
    strip = np.full((LABEL, row.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, words, (4, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([strip, row])
