"""Counts, rates and percentiles."""

from __future__ import annotations

import math
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.flow.metrics import Histogram, RunStats, Window


@given(st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_histogram_agrees_with_the_sorted_list(values: list[float], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[math.ceil(q * len(values)) - 1]
    assert histogram.percentile(q) == pytest.approx(exact, rel=0.0076)


def test_a_window_is_read_while_another_thread_adds_to_it() -> None:
    """A worker thread shows pictures while the server's clock asks for their rate."""
    window, over = Window(), threading.Event()

    def add() -> None:
        while not over.is_set():
            window.add(0.01, 1.0)

    adding, before = threading.Thread(target=add), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    adding.start()
    try:
        for _ in range(3000):
            assert window.rate(1.0) >= 0
            assert window.percentile(0.5) in (0.0, 0.01)
    finally:
        over.set()
        adding.join()
        sys.setswitchinterval(before)


def test_a_histogram_does_not_grow() -> None:
    histogram = Histogram()
    size = len(histogram._counts)
    for value in np.random.default_rng(0).lognormal(-5, 3, 20_000):
        histogram.add(float(value))
    histogram.add(-1.0)
    histogram.add(1e9)
    assert len(histogram._counts) == size
    assert histogram.count == 20_002
    assert Histogram().percentile(0.5) == 0.0


def test_a_window_forgets() -> None:
    window = Window(size=3)
    for n, value in enumerate([100.0, 1.0, 2.0, 3.0]):
        window.add(value, now=n * 0.1)
    assert window.percentile(0.5) == 2.0
    assert window.percentile(1.0) == 3.0
    assert window.rate(now=0.3) == pytest.approx(10.0)
    assert window.rate(now=60.0) == 0.0


def test_stages_add_up_to_the_total() -> None:
    stats = RunStats("fake", "cpu", 256)
    for n in range(3):
        start = float(n)
        stamps = {"capture": start + 0.002, "encode": start + 0.006, "render": start + 0.016}
        stats.delivered(start, stamps, start + 0.02)
    latency = stats.to_json()["latency_ms"]
    expected = {"total": 20.0, "capture": 2.0, "encode": 4.0, "render": 10.0, "deliver": 4.0}
    for name, milliseconds in expected.items():
        assert latency[name]["p50"] == pytest.approx(milliseconds, rel=0.01)
    assert stats.fps() == pytest.approx(1.0)
    assert stats.recent(now=2.1)["p50"] == pytest.approx(20.0)


def test_statistics_of_nothing_are_zero() -> None:
    stats = RunStats("fake", "cpu", 256).to_json()
    assert stats["fps"] == 0
    assert set(stats["frames"].values()) == {0}
    assert stats["latency_ms"]["total"] == {"p50": 0, "p95": 0, "p99": 0}
