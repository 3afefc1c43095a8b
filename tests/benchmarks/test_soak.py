"""What a soak makes of its readings, and that those who come and go really do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import numpy as np
import pytest

from benchmarks.live import soak
from benchmarks.live.caller import Second
from benchmarks.live.loopback import offer_loopback
from benchmarks.live.peers import encode_clip
from benchmarks.report.result import Result
from benchmarks.report.statistics import growth
from realtime.server.common.limits import Limits
from realtime.server.places.here import StudioSettings
from tests.support.server import make_studio, portrait_picture, running


def readings(hours: float, leak: float = 0.0, seed: int = 0) -> list[tuple[float, float, int, int]]:
    """A process of about 400 MiB that wanders and grows by `leak` MiB an hour."""
    rng = np.random.default_rng(seed)
    at = np.arange(0, 3600 * hours, 5.0)
    wander = 3 * np.convolve(rng.normal(size=at.size + 40), np.ones(40) / 6, "valid")[: at.size]
    memory = 400 + wander + leak * at / 3600
    return [(t, m, 20, 30 + int(rng.integers(3))) for t, m in zip(at.tolist(), memory.tolist(), strict=True)]


def judged(held, calls: int = 1, left: int = 0, **counts: int) -> Result:
    seconds = [Second(t, 30, 0.05, calls) for t, *_ in held]
    result = Result("soak", settings={"minutes": held[-1][0] / 60})
    soak.figures(result, held, seconds, Counter({name.replace("_", " "): n for name, n in counts.items()}), left)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_told_from_a_process_that_wanders(seed):
    assert soak.passed(judged(readings(2.0, seed=seed)))
    grows = judged(readings(2.0, leak=80.0, seed=seed))
    assert not soak.passed(grows)
    assert grows.get("memory.growth at least").value <= 80 <= grows.get("memory.growth at most").value
    assert grows.get("threads.growth").value == 0


def test_what_the_warm_up_adds_is_told_apart_from_growth():
    held = [(t, m + min(0.0, t - 200), *rest) for t, m, *rest in readings(2.0)]  # 200 MiB in the first 200 s
    result = judged(held)
    assert soak.passed(result)
    assert result.get("memory.warm-up").value == pytest.approx(200, abs=15)
    assert abs(result.get("memory.growth").value) < 10
    assert result.get("threads.warm-up").value == 0


def test_a_short_run_judges_no_growth():
    assert soak.passed(judged(readings(0.1, leak=5000.0)))


@pytest.mark.parametrize("fault", [{"calls": 2}, {"left": 1}, {"uploads refused: 500": 1}])
def test_what_is_lost_or_left_behind_fails(fault):
    assert soak.passed(judged(readings(0.1), **{"uploads refused: 503": 4}))
    assert not soak.passed(judged(readings(0.1), **fault))


def test_a_slope_of_alike_neighbours_has_a_wide_interval():
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=3000))
    slope, low, high = growth(np.arange(3000.0), walk - np.linspace(0, walk[-1], 3000))
    assert low < slope < high
    assert np.isnan(growth([1, 2, 3], [1, 2, 3])[0])


def test_a_run_is_drawn(tmp_path):
    from benchmarks.report.figures import save

    save(soak.figure(judged(readings(0.5))), str(tmp_path / "soak.svg"))
    assert (tmp_path / "soak.svg").stat().st_size > 5000


async def test_those_who_come_and_go_use_the_server(monkeypatch):
    offer_loopback()
    clip = encode_clip([portrait_picture(128)] * 30, 30)
    limits = Limits(sessions=8, connect_s=3, grace_s=0.5, idle_s=0.5, silent_s=5)
    with running(make_studio(StudioSettings(limits))) as server:
        crowd = soak.Crowd(server.url, clip, pause=0.1)
        parts = [asyncio.create_task(part) for part in (crowd.callers(), crowd.uploaders(), crowd.motion())]
        until = time.monotonic() + 60
        while min(crowd.counts[n] for n in ("calls", "uploads", "motion sockets")) < 2 and time.monotonic() < until:
            await asyncio.sleep(0.1)
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        monkeypatch.setattr(soak, "SETTLING_S", 20.0)
        assert await soak.left_behind(server.url, 0) == 0
    assert crowd.counts["calls"] >= 2
    assert crowd.counts["uploads"] >= 2
    assert crowd.counts["motion sockets"] >= 2
    assert crowd.counts["calls without a picture"] == 0
