"""How much of each pixel is a person."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media import matte
from realtime.media.portraits import builtin_portrait


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return builtin_portrait()


@pytest.mark.parametrize("find", [matte.quick_matte, matte.fine_matte])
def test_a_person_is_found(astronaut, find):
    found = find(astronaut)
    assert found.shape == astronaut.shape[:2]
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[350:450, 350:450].min() > 0.95, "the face"
    assert found[20:120, 20:120].max() < 0.05, "the wall"


def test_the_fused_output_is_taken():
    """The six others are blurred: coarser guesses at the same."""
    found = matte._standing_out(builtin_portrait())
    assert ((found > 0.1) & (found < 0.9)).mean() < 0.06


def test_a_picture_that_was_seen_is_not_looked_at_again(astronaut, monkeypatch):
    first = matte.fine_matte(astronaut)
    monkeypatch.setattr(matte, "_salient", lambda: pytest.fail("asked again"))
    assert (matte.fine_matte(astronaut) == first).all()


def test_where_the_networks_differ_the_surer_one_is_believed(monkeypatch):
    said = {"selfie": np.array([[0.6, 0.999, 0.6]]), "salient": np.array([[0.001, 0.4, 0.6]])}
    monkeypatch.setattr(matte, "quick_matte", lambda image: said["selfie"].astype(np.float32))
    monkeypatch.setattr(matte, "_standing_out", lambda image: said["salient"].astype(np.float32))
    cloud, jacket, both = matte.fine_matte(np.zeros((1, 3, 3), np.uint8))[0]
    assert cloud < 0.25
    assert jacket > 0.98
    assert both == pytest.approx(0.6)
