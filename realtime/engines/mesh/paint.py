"""Painting a part of a mesh in colours of its points, where the picture has nothing that is fit to be seen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.raster import rasterise
from realtime.flow.jit import compiled

COARSE = 2
"""It is drawn in a picture so many times smaller."""
GRAIN_SIDE = 7
"""What differs from the mean of so many pixels around is grain."""


@dataclass(frozen=True, slots=True)
class CoarseBox:
    """A part of a picture, `COARSE` times smaller. low: (2,), its first column and row in the picture. size: (width,
    height) of the small one."""

    low: np.ndarray
    size: tuple[int, int]

    @classmethod
    def around(cls, points: np.ndarray, size: tuple[int, int]) -> CoarseBox | None:
        """What is around `points` (n, 2; pixels) in a picture of `size` (width, height), None where nothing is."""
        if not len(points):
            return None
        low = np.clip(np.floor(points.min(axis=0)).astype(int) - 2, 0, size)
        high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 3, 0, size)
        width, height = (-((low - high) // COARSE)).tolist()
        return cls(low, (width, height)) if min(width, height) >= 2 else None

    def part(self, x: int, y: int, width: int, height: int) -> CoarseBox:
        """What begins in the small picture's column `x` and row `y`."""
        return CoarseBox(self.low + COARSE * np.array([x, y]), (width, height))

    def map(
        self, points: np.ndarray, depth: np.ndarray, values: np.ndarray, triangles: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two `values` (n, 2) of a mesh's points, drawn: float32 (h, w) each, see `rasterise`."""
        inside = np.ascontiguousarray((points - self.low + 0.5) / COARSE - 0.5, np.float32)
        first, second, near = (np.empty(self.size[::-1], np.float32) for _ in range(3))
        rasterise(inside, depth, np.ascontiguousarray(values, np.float32), triangles, 0, first, second, near)
        return first, second

    def painted(self, points: np.ndarray, depth: np.ndarray, paint: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        """A mesh in the colours of its points: float32 (h, w, 4), RGB multiplied by the fourth.

        points: (n, 2), pixels. depth: float32 (n,). paint: float32 (n, 4), RGB (0 to 255) and how much of it each
        point takes (0 to 1). triangles: int32 (m, 3).
        """
        layers = [layer for k in (0, 2) for layer in self.map(points, depth, paint[:, k : k + 2], triangles)]
        drawn = np.maximum(np.stack(layers, axis=2), 0.0)
        drawn[..., :3] *= drawn[..., 3:]
        return drawn

    def lay_over(self, paint: np.ndarray, out: np.ndarray, share: float, grain: float = 0.0) -> None:
        """Lay a `share` of what `painted` made over `out` (uint8 (H, W, 3)), of which so many grey levels stay as
        grain."""
        paint = cv2.resize(cv2.blur(paint, (3, 3)), None, fx=COARSE, fy=COARSE, interpolation=cv2.INTER_LINEAR)
        (x, y), (width, height) = self.low, self.size
        box = out[y : y + COARSE * height, x : x + COARSE * width]
        calm = cv2.blur(box, (GRAIN_SIDE, GRAIN_SIDE)) if grain > 0.0 else np.ascontiguousarray(box)
        _lay_over(paint, share, calm, grain, box)


@compiled("void(float32[:,:,::1], float64, uint8[:,:,::1], float64, uint8[:,:,:])")
def _lay_over(paint: np.ndarray, share: float, calm: np.ndarray, most: float, out: np.ndarray) -> None:
    """Lay a `share` of `paint` (float32 (H, W, 4), RGB multiplied by the fourth) over `out` (uint8 (H, W, 3)), which
    keeps its difference from `calm` up to `most`."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            cover = share * float(paint[y, x, 3])
            if cover < 0.004:
                continue
            for c in range(3):
                value = float(out[y, x, c])
                grain = min(max(value - float(calm[y, x, c]), -most), most)
                value += share * float(paint[y, x, c]) + cover * (grain - value) + 0.5
                out[y, x, c] = np.uint8(min(max(value, 0.0), 255.0))
