"""Triangles of meshes."""

from __future__ import annotations

import numpy as np


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Twice the signed area of `triangles` (m, 3) of `points` (n, 2): (m,)."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
