"""How many sessions a machine takes."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.cluster.trial import MOST, Trial, measure
from realtime.errors import EngineError
from tests.support.server import DotEngine, portrait_picture


@pytest.mark.parametrize(
    ("frame_s", "cores", "slots"), [(0.010, 2, 4), (0.010, 1, 2), (0.2, 2, 1), (0.001, 2, MOST), (0.010, 64, MOST)]
)
def test_slots_follow_from_the_cost_of_a_picture(frame_s, cores, slots):
    assert Trial(frame_s).slots(cores) == slots


def test_a_gpu_takes_what_its_memory_holds():
    gib = 1 << 30
    assert Trial(0.001, gpu_bytes=3 * gib, gpu_free=16 * gib).slots(64) == 4
    assert Trial(0.001, gpu_bytes=30 * gib, gpu_free=16 * gib).slots(64) == 1


def test_a_trial_measures_and_says_what_is_wrong(monkeypatch):
    monkeypatch.setattr("realtime.cluster.trial.TRIAL_S", 0.05)
    assert 0 < measure(DotEngine(), portrait_picture()).frame_s < 1
    dark = np.zeros((64, 64, 3), np.uint8)
    dark[0, 0] = 35
    with pytest.raises(EngineError, match="give --slots"):
        measure(DotEngine(), dark)
