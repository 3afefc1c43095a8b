import numpy as np
import pytest

from realtime.motion.filters import SLOWEST, OneEuro, Smoother, smoothing, smoothstep, soft_limit
from realtime.types import MotionCode


def settle(fps: float, seconds: float = 1.0) -> float:
    """Where a slow filter stands `seconds` after a step from 0 to 1."""
    low_pass = OneEuro(cutoff=1.0, beta=0.0)
    value = low_pass(np.zeros(1), 0.0)
    for n in range(round(seconds * fps)):
        value = low_pass(np.ones(1), (n + 1) / fps)
    return float(value[0])


def test_the_same_at_every_frame_rate():
    answers = [settle(fps, 0.3) for fps in (10, 25, 30, 60)]
    assert max(answers) - min(answers) < 0.1
    assert settle(60, 0.3) == pytest.approx(1 - np.exp(-2 * np.pi * 0.3), abs=0.03)


def test_still_at_rest_and_prompt_in_motion():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (200, 50))
    low_pass = OneEuro(cutoff=1.0, beta=1.0)
    out = np.array([low_pass(row, n / 30) for n, row in enumerate(noise)])
    assert out[20:].std() < 0.5 * noise.std()
    ramp = np.arange(60)[:, None] * 8.0  # 240 units a second
    low_pass.reset()
    out = np.array([low_pass(row, n / 30) for n, row in enumerate(ramp)])
    assert abs(out[-1] - ramp[-1])[0] < 0.5  # less than a tenth of a frame behind


def test_speeds_that_noise_reaches_can_count_as_none():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (200, 50))
    spread = []
    for rest in (0.0, 1.0):
        low_pass = OneEuro(cutoff=1.0, beta=4.0, rest=rest)
        spread.append(np.array([low_pass(row, n / 30) for n, row in enumerate(noise)])[20:].std())
        ramp = [low_pass(np.full(50, 8.0 * n), 100 + n / 30) for n in range(60)]
        assert abs(ramp[-1] - 8 * 59).max() < 0.2  # as prompt in motion
    assert spread[1] < 0.8 * spread[0]


def test_first_value_passes_and_time_that_stands_changes_nothing():
    low_pass = OneEuro()
    np.testing.assert_array_equal(low_pass(np.array([3.0]), 5.0), [3.0])
    np.testing.assert_array_equal(low_pass(np.array([9.0]), 5.0), [3.0])


@pytest.mark.parametrize("later", [4.0, 5.6])
def test_starts_afresh_after_a_pause_or_when_time_runs_back(later):
    low_pass = OneEuro(pause=0.5)
    low_pass(np.array([0.0]), 5.0)
    np.testing.assert_array_equal(low_pass(np.array([9.0]), later), [9.0])


def test_repeated_frames_only_bring_it_nearer():
    low_pass = OneEuro(cutoff=1.0, beta=0.0)
    low_pass(np.zeros(1), 0.0)
    seen = [float(low_pass(np.ones(1), n / 30)[0]) for n in range(1, 20)]
    assert seen == sorted(seen)
    assert seen[-1] <= 1


def test_results_are_not_shared_with_the_caller():
    low_pass = OneEuro()
    first = low_pass(np.zeros(2), 0.0)
    first[:] = 100
    assert abs(low_pass(np.zeros(2), 0.1)).max() == 0


def test_smoothing_and_smoothstep():
    assert smoothing(1.0, 0.0) == 0
    assert smoothing(1000.0, 1.0) == pytest.approx(1, abs=1e-3)
    assert [smoothstep(1, 3, x) for x in (0, 1, 2, 3, 4)] == [0, 0, 0.5, 1, 1]


def test_soft_limit_is_the_identity_inside_and_never_passes_the_limit():
    x = np.linspace(-200, 200, 4001)
    y = soft_limit(x, 30, 42)
    np.testing.assert_array_equal(y[abs(x) <= 30], x[abs(x) <= 30])
    assert abs(y).max() <= 42
    assert (np.diff(y) >= 0).all()
    np.testing.assert_allclose(y, -y[::-1], atol=1e-9)
    assert np.diff(y)[2340:2345] == pytest.approx(0.1, abs=0.02)  # no kink at the knee


def test_smoothing_lags_and_arrives_and_leaves_others_alone():
    def code(value: float) -> MotionCode:
        return MotionCode("mesh", np.full(3, value, np.float32))

    smoother = Smoother()
    still = code(1.0)
    assert smoother.update(still, 0.0, 0.0) is still, "without smoothing nothing is touched"
    seen = [smoother.update(code(2.0), 1.0, (n + 1) / 30).values[0] for n in range(60)]
    assert np.all(np.diff(seen) >= 0)
    assert seen[0] < 1.2
    assert seen[int(30 * SLOWEST) - 1] == pytest.approx(1 + (1 - np.exp(-1)), abs=0.02)
    assert seen[-1] == pytest.approx(2.0, abs=0.01)
    assert smoother.update(None, 1.0, 2.1) is None
    assert smoother.update(code(7.0), 1.0, 2.2).values[0] == 7.0, "who comes back is not seen to travel there"
    assert smoother.update(code(9.0), 1.0, 9.0).values[0] == 9.0, "after a gap it begins anew"
