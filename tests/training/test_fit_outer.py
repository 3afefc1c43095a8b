"""The fit of how hair and shoulders follow the head, on observations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.outer import outer_tables
from realtime.training.fits.outer import error, fit, prior


def observations(follow: float, turn: float, depth: float, seed: int) -> np.ndarray:
    """Rows of one invented clip in which every point obeys the same three numbers."""
    rng = np.random.default_rng(seed)
    rows = np.empty((30_000, 10))
    rows[:, 0], rows[:, 1] = rng.uniform(-0.5, 0.5, len(rows)), rng.uniform(-0.5, 1.0, len(rows))
    rows[:, 2:8] = rng.normal(0, 0.1, (len(rows), 6))
    a, b, c = rows[:, 2:4], rows[:, 4:6], rows[:, 6:8]
    rows[:, 8:10] = follow * a + turn * (b + depth * c) + rng.normal(0, 0.005, (len(rows), 2))
    wild = rng.random(len(rows)) < 0.1  # flow that went astray
    rows[wild, 8:10] += rng.normal(0, 0.2, (int(wild.sum()), 2))
    return rows


def test_the_fit_finds_the_truth_despite_stray_flow():
    seen = [observations(0.7, 0.5, 0.3, seed) for seed in range(4)]
    tables = fit(seen, prior())
    u, v = np.array([0.0, 0.3, -0.3]), np.array([0.0, 0.5, 0.8])
    for table, truth in ((tables.follow, 0.7), (tables.turn, 0.5), (tables.depth, 0.3)):
        assert tables.sample(table, u, v) == pytest.approx(truth, abs=0.05)
    assert error(seen[0], tables) < 0.5 * error(seen[0], prior())


def test_where_nothing_was_seen_the_prior_stays():
    tables = fit([observations(0.7, 0.5, 0.3, seed) for seed in range(4)], prior())
    far = (np.array([1.4]), np.array([-1.2]))
    assert tables.sample(tables.follow, *far) == pytest.approx(prior().sample(prior().follow, *far), abs=0.02)


def test_the_shipped_tables_hold_the_head_and_loosen_the_shoulders():
    tables = outer_tables()
    head = tables.sample(tables.follow, np.array([0.0, 0.4]), np.array([-0.8, -0.3]))
    assert head == pytest.approx(1.0, abs=0.1)
    shoulders = tables.sample(tables.turn, np.array([0.6]), np.array([1.2]))
    assert 0.1 < shoulders[0] < 0.6
    for table in (tables.follow, tables.turn, tables.depth):
        assert np.isfinite(table).all()
