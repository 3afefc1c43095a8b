"""How much of each pixel is a person."""

from __future__ import annotations

import platform
import subprocess
import sys

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
    monkeypatch.setattr(matte, "_salient", lambda square: pytest.fail("asked again"))
    assert (matte.fine_matte(astronaut) == first).all()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory goes back to the system by glibc's malloc_trim")
def test_the_network_leaves_no_memory_behind():
    grown = """if True:
    import numpy as np
    from realtime.media import matte
    def mib():
        return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    before = mib()
    matte._standing_out(picture)
    print(mib() - before)
    """
    done = subprocess.run([sys.executable, "-c", grown], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60, "MiB; 210 where the network is kept"


def test_where_the_networks_differ_the_surer_one_is_believed(monkeypatch):
    said = {"selfie": np.array([[0.6, 0.999, 0.6]]), "salient": np.array([[0.001, 0.4, 0.6]])}
    monkeypatch.setattr(matte, "quick_matte", lambda image: said["selfie"].astype(np.float32))
    monkeypatch.setattr(matte, "_standing_out", lambda image: said["salient"].astype(np.float32))
    cloud, jacket, both = matte.fine_matte(np.zeros((1, 3, 3), np.uint8))[0]
    assert cloud < 0.25
    assert jacket > 0.98
    assert both == pytest.approx(0.6)
