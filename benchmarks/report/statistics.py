"""Percentiles, slopes and intervals: the arithmetic of all benchmarks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def percentiles(values: Sequence[float], which: Sequence[int] = (50, 95, 99)) -> dict[str, float]:
    """{"p50": ..., ...}; empty where there are no values."""
    data = np.asarray(values, float)
    return {f"p{q}": float(np.percentile(data, q)) for q in which} if data.size else {}


def chunks(values: Sequence[float] | np.ndarray, count: int) -> list[np.ndarray]:
    """`values` cut into `count` runs of neighbours: samples that are nearly independent of each other."""
    return [c for c in np.array_split(np.asarray(values, float), count) if c.size]


def slope(times: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray) -> float:
    """Growth of `values` per unit of `times` by the median of all pairs' slopes (Theil and Sen): robust to spikes."""
    from scipy.stats import theilslopes

    if len(times) < 3:
        return float("nan")
    step = max(1, len(times) // 400)  # the number of pairs grows with the square
    return float(theilslopes(np.asarray(values, float)[::step], np.asarray(times, float)[::step]).slope)


def growth(times: Sequence[float], values: Sequence[float], parts: int = 30) -> tuple[float, float, float]:
    """Growth of `values` per unit of `times` and its 95 % interval: (slope, low, high), by Theil and Sen.

    Readings that follow each other are alike, so that an interval over all of them would be far too narrow: the
    slopes are those between medians of `parts` stretches. NaN where there are fewer than five of them.
    """
    from scipy.stats import theilslopes

    at, of = (np.array([np.median(c) for c in chunks(x, parts)]) for x in (times, values))
    if len(at) < 5:
        return float("nan"), float("nan"), float("nan")
    found = theilslopes(of, at, 0.95)
    return float(found.slope), float(found.low_slope), float(found.high_slope)


def ratio_interval(
    old: Sequence[float], new: Sequence[float], level: float = 0.95, rounds: int = 2000, seed: int = 0,
    of: Callable[..., np.ndarray] = np.mean,
) -> tuple[float, float, float]:  # fmt: skip
    """new/old and its bootstrap interval (percentile method, both sides resampled): (ratio, low, high).

    One sample on a side counts as itself, without spread. NaN where the old figure is 0.
    """
    a, b = np.asarray(old, float), np.asarray(new, float)
    if not a.size or not b.size or of(a) == 0:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn_a = of(a[rng.integers(0, a.size, (rounds, a.size))], axis=1)
    drawn_b = of(b[rng.integers(0, b.size, (rounds, b.size))], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = drawn_b / drawn_a
    ratios = ratios[np.isfinite(ratios)]
    if not ratios.size:
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(of(b) / of(a)), float(low), float(high)
