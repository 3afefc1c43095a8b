"""Contact sheets: many small pictures in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.measures.media import to_size


def sheet(rows: Sequence[Sequence[np.ndarray]], side: int, gap: int = 2) -> np.ndarray:
    """Pictures in rows, each `side` px, on white. Rows may differ in length."""
    width = max(len(r) for r in rows)
    out = np.full((len(rows) * (side + gap) - gap, width * (side + gap) - gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            at = (slice(y * (side + gap), y * (side + gap) + side), slice(x * (side + gap), x * (side + gap) + side))
            out[at] = to_size(image, side)
    return out
