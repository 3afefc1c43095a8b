"""How measures are shown: figures as short numbers, pictures as contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.measures.media import to_size


def number(value: float | None) -> str:
    """Three significant digits, without exponents for the sizes met here."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4}f}"


def sheet(rows: Sequence[Sequence[np.ndarray]], side: int, gap: int = 2) -> np.ndarray:
    """Pictures in rows, each `side` px, on white. Rows may differ in length."""
    width = max(len(r) for r in rows)
    out = np.full((len(rows) * (side + gap) - gap, width * (side + gap) - gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            at = (slice(y * (side + gap), y * (side + gap) + side), slice(x * (side + gap), x * (side + gap) + side))
            out[at] = to_size(image, side)
    return out
