"""Painting a part of a mesh in colours of its points, where the picture has nothing that is fit to be seen."""

from __future__ import annotations

import cv2
import numpy as np

from realtime.engines.mesh.raster import rasterise
from realtime.flow.jit import compiled

COARSE = 2
"""It is drawn in a picture so many times smaller."""
GRAIN_SIDE = 7
"""What differs from the mean of so many pixels around is grain."""


def painted(
    points: np.ndarray,
    depth: np.ndarray,
    paint: np.ndarray,
    triangles: np.ndarray,
    size: tuple[int, int],
    share: float,
) -> tuple[slice, slice, np.ndarray] | None:
    """`triangles` (m, 3) of a mesh in their colours: rows and columns of a picture of `size` (width, height), and
    what is painted there, float32 (h, w, 4) or a little larger, RGB multiplied by the fourth. None where nothing is.

    points: (n, 2), pixels. depth: float32 (n,). paint: float32 (n, 4), RGB (0 to 255) and how much of it each point
    takes (0 to 1). share: how much of all this.
    """
    at = points[paint[:, 3] > 0.0]
    if not len(at):
        return None
    low = np.clip(np.floor(at.min(axis=0)).astype(int) - 2, 0, size)
    high = np.clip(np.ceil(at.max(axis=0)).astype(int) + 3, 0, size)
    coarse = -((low - high) // COARSE)
    if (coarse < 2).any():
        return None
    inside = np.ascontiguousarray((points - low + 0.5) / COARSE - 0.5, np.float32)
    layers = np.empty((4, coarse[1], coarse[0]), np.float32)
    near = np.empty((coarse[1], coarse[0]), np.float32)
    for k in (0, 2):
        values = np.ascontiguousarray(paint[:, k : k + 2])
        rasterise(inside, depth, values, triangles, 0, layers[k], layers[k + 1], near)
    drawn = np.ascontiguousarray(np.maximum(layers, 0.0).transpose(1, 2, 0))
    drawn[..., 3] *= share
    drawn[..., :3] *= drawn[..., 3:]
    drawn = cv2.resize(cv2.blur(drawn, (3, 3)), None, fx=COARSE, fy=COARSE, interpolation=cv2.INTER_LINEAR)
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    return rows, columns, drawn


def lay_over(paint: np.ndarray, out: np.ndarray, grain: float = 0.0) -> None:
    """Lay `paint` (float32 (h, w, 4) or a little larger, RGB multiplied by the fourth) over `out` (uint8 (h, w, 3)),
    of which so many grey levels stay as grain."""
    _lay_over(paint, cv2.blur(out, (GRAIN_SIDE, GRAIN_SIDE)), grain, out)


@compiled("void(float32[:,:,::1], uint8[:,:,::1], float64, uint8[:,:,:])")
def _lay_over(paint: np.ndarray, calm: np.ndarray, most: float, out: np.ndarray) -> None:
    """Lay `paint` (float32 (H, W, 4), RGB multiplied by the fourth) over `out` (uint8 (H, W, 3)), which keeps its
    difference from `calm` up to `most`."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            cover = paint[y, x, 3]
            if cover < 0.004:
                continue
            for c in range(3):
                value = float(out[y, x, c])
                grain = min(max(value - float(calm[y, x, c]), -most), most)
                value += float(paint[y, x, c]) + float(cover) * (grain - value) + 0.5
                out[y, x, c] = np.uint8(min(max(value, 0.0), 255.0))
