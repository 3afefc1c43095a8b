"""Smooth openings: the region between an upper and a lower curve that share their ends (eyelids, lips).

An opening lives in its own frame: `u` runs from 0 at the first corner to 1 at the second, `v` is the distance from
the line through the corners, in pixels, positive downwards. Both curves are tables over u, so that the inner loops
look a height up instead of testing a polygon, and the edge is smooth at every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.flow.jit import compiled

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
    """frame: float64 (5,): the first corner x, y, the unit vector towards the second one x, y, and how far it is, in
    pixels. upper, lower: float64 (SAMPLES,), heights over u, pixels; lower is never above upper."""

    frame: np.ndarray
    upper: np.ndarray
    lower: np.ndarray

    @property
    def length(self) -> float:
        """Pixels between the corners."""
        return float(self.frame[4])

    @property
    def height(self) -> float:
        """The widest gap, pixels."""
        return float((self.lower - self.upper).max())

    def box(self, margin: float, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Pixels (x0, y0, x1, y1) that the opening can touch in a picture of that size; None when outside."""
        top, bottom = float(self.upper.min()), float(self.lower.max())
        ox, oy, ax, ay, n = self.frame.tolist()
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
    frame, upper, lower = np.empty(5), np.empty(SAMPLES), np.empty(SAMPLES)
    build_opening(np.ascontiguousarray(ring, np.float64), upper_inset, lower_inset, frame, upper, lower)
    return Opening(frame, upper, lower)


@compiled("void(float64[:,::1], float64, float64, float64[::1], float64[::1], float64[::1])")
def build_opening(
    ring: np.ndarray,
    upper_inset: float,
    lower_inset: float,
    frame: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
) -> None:
    """`opening` for compiled loops: fills `frame`, `upper` and `lower` of an `Opening`."""
    n = len(ring)
    half = n // 2
    x0 = ring[0, 0]
    y0 = ring[0, 1]
    dx = ring[half, 0] - x0
    dy = ring[half, 1] - y0
    length = max(1e-3, np.sqrt(dx * dx + dy * dy))
    ax = dx / length
    ay = dy / length
    frame[0], frame[1], frame[2], frame[3], frame[4] = x0, y0, ax, ay, length
    us = np.empty(half + 1)
    vs = np.empty(half + 1)
    for side in range(2):
        for i in range(half + 1):
            k = i if side == 0 else (n - i) % n
            ox = ring[k, 0] - x0
            oy = ring[k, 1] - y0
            u = min(1.0, max(0.0, (ox * ax + oy * ay) / length))
            us[i] = max(u, us[i - 1]) if i > 0 else 0.0  # never falling, as a table needs it
            vs[i] = oy * ax - ox * ay
        us[half] = 1.0
        _tabulate(us, vs, upper if side == 0 else lower)
    most = 2.0 * (abs(upper_inset) + abs(lower_inset))
    for i in range(len(upper)):
        if lower[i] < upper[i]:
            upper[i] = lower[i] = 0.5 * (upper[i] + lower[i])
        share = min(1.0, (lower[i] - upper[i]) / max(most, 1e-6))
        upper[i] += share * upper_inset
        lower[i] = max(upper[i], lower[i] - share * lower_inset)
