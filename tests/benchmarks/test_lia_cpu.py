"""The straightforward loop that the engine is timed against is LIA itself."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.device import lia_cpu  # noqa: E402
from realtime.engines.latent.lia import Lia  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402
from tests.support.golden import Comparison, picture, reference  # noqa: E402


def test_the_straightforward_loop_gives_the_published_outputs() -> None:
    check = Comparison(np.load(reference("lia", "vectors_size64_seed1.npz")))
    net = Lia(64)
    recipe.fill(net, 1)
    loop = lia_cpu.StraightforwardLia(net.state_dict(), 64)
    with torch.no_grad():
        start = loop.code(loop.encode(picture(check.vectors, "start"))[0])
        image = loop.frame(picture(check.vectors, "source"), picture(check.vectors, "drive"), start)
    check.exact("alpha.start", start, 2e-5)
    check.image("rel", image, 3e-4, 1e-3)


def test_a_short_run_gives_all_figures() -> None:
    before = torch.get_num_threads()
    try:
        result = lia_cpu.run(argparse.Namespace(size=64, frames=1, threads=1, seed=1, quick=True))
    finally:
        torch.set_num_threads(before)
    figures = {f.name: f.value for f in result.figures}
    assert figures["engine fp32.largest difference"] < 5e-3
    assert {"straightforward.cpu", "engine fp32.faster", "engine bf16.faster"} <= set(figures)
    assert any("no trained weights" in note for note in result.notes)
