"""Which points and triangles the mesh has: the face, the strips that close its holes, and helpers on polygons."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtime.face.face_model import (
    EYES,
    LIPS_INNER,
    load_face_model,
)


def ring_strip(ring: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles that fill a closed ring of even length: corner, upper edge, corner, lower edge backwards.

    The upper and the lower edge are joined point by point, so that a lid or a lip can close without a fold.
    """
    half = len(ring) // 2
    upper, lower = ring[1:half], ring[:half:-1]
    triangles = [(ring[0], upper[0], lower[0])]
    for i in range(len(upper) - 1):
        triangles.append((upper[i], upper[i + 1], lower[i]))
        triangles.append((upper[i + 1], lower[i + 1], lower[i]))
    triangles.append((upper[-1], ring[half], lower[-1]))
    return triangles


@lru_cache(maxsize=1)
def face_triangles() -> np.ndarray:
    """int32 (m, 3): the skin of the face with the eyes and the mouth closed by strips."""
    strips = [triangle for ring in (*EYES, LIPS_INNER) for triangle in ring_strip(ring)]
    return np.concatenate([load_face_model().triangles, np.array(strips, np.int32)]).astype(np.int32)


def signed_distance(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of `points` (n, 2) to the outline of `polygon` (m, 2), negative inside. Same unit as the points."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    edge = end - start
    to_point = points[:, None] - start[None]  # (n, m, 2)
    along = np.clip((to_point * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-12), 0.0, 1.0)
    distance = np.linalg.norm(to_point - along[..., None] * edge, axis=-1).min(axis=1)
    y, y0, y1 = points[:, None, 1], start[None, :, 1], end[None, :, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = start[None, :, 0] + (y - y0) / (y1 - y0) * edge[None, :, 0]
    crosses = ((y0 <= y) != (y1 <= y)) & (points[:, None, 0] < crossing)
    inside = crosses.sum(axis=1) % 2 == 1
    return np.where(inside, -distance, distance)


def smoothstep(low: float, high: float, x: np.ndarray | float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth cubic between."""
    t = np.clip((np.asarray(x) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
