"""Smooth openings: the region between an upper and a lower curve that share their ends (eyelids, lips).

An opening lives in its own frame: `u` runs from 0 at the first corner to 1 at the second, `v` is the distance from
the line through the corners, in pixels, positive downwards. Both curves are tables over u, so that the inner loops
look a height up instead of testing a polygon, and the edge is smooth at every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.engines.mesh.jit import compiled

SAMPLES = 65
"""Entries of a curve's table."""


@compiled("void(float64[::1], float64[::1], float64[::1])")
def _tabulate(u: np.ndarray, v: np.ndarray, table: np.ndarray) -> None:
    """Cubic Hermite curve through the points (u, v), u rising, at equal steps of u from 0 to 1."""
    n = len(u)
    k = 0
    for i in range(len(table)):
        x = i / (len(table) - 1.0)
        while k < n - 2 and u[k + 1] < x:
            k += 1
        width = max(u[k + 1] - u[k], 1e-6)
        slope = (v[k + 1] - v[k]) / width
        before = (v[k + 1] - v[k - 1]) / max(u[k + 1] - u[k - 1], 1e-6) if k > 0 else slope
        after = (v[k + 2] - v[k]) / max(u[k + 2] - u[k], 1e-6) if k < n - 2 else slope
        t = min(1.0, max(0.0, (x - u[k]) / width))
        s = 1.0 - t
        table[i] = (
            v[k] * s * s * (1 + 2 * t) + v[k + 1] * t * t * (3 - 2 * t) + width * t * s * (before * s - after * t)
        )


@dataclass(frozen=True, slots=True)
class Opening:
    """origin: the first corner, (2,) pixels. along, down: unit vectors. length: pixels between the corners.
    upper, lower: float64 (SAMPLES,), heights over u, pixels; lower is never above upper."""

    origin: tuple[float, float]
    along: tuple[float, float]
    length: float
    upper: np.ndarray
    lower: np.ndarray

    def box(self, margin: float, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Pixels (x0, y0, x1, y1) that the opening can touch in a picture of that size; None when outside."""
        top, bottom = float(self.upper.min()), float(self.lower.max())
        (ox, oy), (ax, ay), n = self.origin, self.along, self.length
        xs = [ox + ax * u - ay * v for u in (0.0, n) for v in (top, bottom)]
        ys = [oy + ay * u + ax * v for u in (0.0, n) for v in (top, bottom)]
        if not all(map(math.isfinite, xs + ys)):
            return None
        x0, y0 = max(0, math.floor(min(xs) - margin)), max(0, math.floor(min(ys) - margin))
        x1, y1 = min(width, math.ceil(max(xs) + margin) + 1), min(height, math.ceil(max(ys) + margin) + 1)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def opening(ring: np.ndarray, upper_inset: float = 0.0, lower_inset: float = 0.0) -> Opening:
    """The opening inside a ring of points (n, 2): corner, upper edge, corner, lower edge backwards.

    upper_inset, lower_inset: pixels by which each edge moves into the opening, at most half of it. Negative ones
    move outwards, less where it is narrow.
    """
    half = len(ring) // 2
    start, end = ring[0], ring[half]
    dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
    length = max(1e-3, math.hypot(dx, dy))
    ax, ay = dx / length, dy / length
    offset = ring - start
    u = (offset[:, 0] * ax + offset[:, 1] * ay) / length
    v = offset[:, 1] * ax - offset[:, 0] * ay
    upper, lower = np.empty(SAMPLES), np.empty(SAMPLES)
    _tabulate(_rising(u[: half + 1]), np.ascontiguousarray(v[: half + 1]), upper)
    order = np.r_[0, len(ring) - 1 : half - 1 : -1]
    _tabulate(_rising(u[order]), np.ascontiguousarray(v[order]), lower)
    gap = np.maximum(lower - upper, 0.0)
    share = np.minimum(1.0, gap / max(2.0 * (abs(upper_inset) + abs(lower_inset)), 1e-6))
    middle = (upper + lower) / 2.0
    upper = np.where(lower < upper, middle, upper) + share * upper_inset
    lower = np.maximum(upper, np.where(lower < upper, middle, lower) - share * lower_inset)
    return Opening((float(start[0]), float(start[1])), (ax, ay), length, upper, lower)


def _rising(u: np.ndarray) -> np.ndarray:
    """u clipped to 0..1 and never falling, as a table needs it."""
    u = np.maximum.accumulate(np.clip(u, 0.0, 1.0))
    u[0], u[-1] = 0.0, 1.0
    return u
