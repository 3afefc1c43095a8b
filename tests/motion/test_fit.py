"""Whether a neutral face still sits: made-up drivers beside one that was learnt."""

from __future__ import annotations

import numpy as np

from realtime.engines.mesh.motion.code import DIRECTIONS
from realtime.motion.fit import Fit
from tests.motion.test_calibration import NAMED, NEUTRAL, changed, code, talker


def watched(driver, seconds: float = 15.0, fps: float = 30.0) -> Fit:
    fit = Fit(DIRECTIONS)
    for n in range(round(seconds * fps)):
        fit.update(code(driver(n / fps)), code(NEUTRAL), n / fps)
    return fit


def test_who_sits_as_he_was_learnt_sits_well():
    noise = np.random.default_rng(0)
    fit = watched(lambda t: NEUTRAL + noise.normal(0, 0.02, NEUTRAL.size))
    assert fit.quality > 0.9
    assert fit.off == ""


def test_talking_and_turning_is_no_misfit():
    fit = watched(talker, 25.0)
    assert fit.quality is None or fit.quality > 0.6


def test_a_camera_that_was_moved_is_told_from_another_face():
    fit = watched(lambda t: changed(yaw=24, pitch=-14))
    assert fit.quality < 0.4
    assert fit.off == "head"
    other = {name: 0.5 * (d.hi - d.lo) for d in DIRECTIONS for name in [d.name] if d.group in ("mouth", "brows")}
    fit = watched(lambda t: changed(**other))
    assert fit.quality < 0.4
    assert fit.off == "face"


def test_nothing_is_said_before_enough_was_seen_or_after_a_new_start():
    fit = watched(lambda t: NEUTRAL, 3.0)
    assert (fit.quality, fit.off) == (None, "")
    fit = watched(lambda t: changed(yaw=30))
    assert fit.off == "head"
    fit.restart()
    assert (fit.quality, fit.off) == (None, "")
    assert Fit([]).quality is None
    assert set(NAMED) >= {"yaw", "pitch"}
