"""The figures of `liveportrait-cpu`: sizes against what was published, times and ratios from known steps."""

from __future__ import annotations

import argparse

import pytest

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402

from benchmarks.device import liveportrait_cpu  # noqa: E402
from benchmarks.report.result import Result  # noqa: E402
from realtime.errors import BadValue  # noqa: E402


def test_parameters_and_work_are_those_that_were_published() -> None:
    result = Result("liveportrait-cpu")
    liveportrait_cpu.add_sizes(result, 256)
    for name, known in liveportrait_cpu.KNOWN.items():
        assert result.get(f"{name}.parameters").value == pytest.approx(known.parameters, rel=1e-6)
        assert result.get(f"{name}.work").value == pytest.approx(known.work, rel=1e-4)
    for part, (work, _) in liveportrait_cpu.KNOWN_PARTS.items():
        assert result.get(f"{part}.work").value == pytest.approx(work, rel=5e-3)


class Told(liveportrait_cpu.Way):
    """A way whose steps take what the test says, and whose picture is all of one value."""

    def __init__(self, took: dict[str, list[float]], value: float) -> None:
        super().__init__()
        self.spent, self.pictures = took, [torch.full((1, 3, 4, 4), value)] * 3


def test_ratios_are_round_by_round_and_have_their_target() -> None:
    result = Result("liveportrait-cpu", settings={"size": 256, "dtypes": ["fp32"]})
    plain = Told({"G": [80.0, 90.0, 400.0], "frame": [100.0, 110.0, 500.0]}, 0.5)
    engine = Told({"G": [40.0, 45.0, 100.0], "frame": [50.0, 55.0, 200.0]}, 0.5004)
    liveportrait_cpu.add_times(result, {"straightforward": plain, "engine fp32": engine})
    faster = result.get("frame.engine fp32.faster")
    assert (faster.value, faster.samples, faster.met) == (2.0, [2.0, 2.0, 2.5], True)
    assert result.get("G.straightforward").value == 90.0
    assert result.get("engine fp32.largest difference").value == pytest.approx(4e-4, abs=1e-6)
    console = Console(record=True, width=200)
    liveportrait_cpu.show(result, console)
    assert "18,897" in console.export_text()  # the authors' frame stands beside ours


def test_a_precision_that_is_none_is_refused_before_anything_is_made() -> None:
    options = argparse.Namespace(size=128, frames=1, threads=1, dtypes="fp16", seed=1, quick=True)
    with pytest.raises(BadValue, match="fp32, bf16"):
        liveportrait_cpu.run(options)


@pytest.mark.slow
def test_a_short_run_gives_all_figures() -> None:
    before = torch.get_num_threads()
    try:
        options = argparse.Namespace(size=128, frames=1, threads=1, dtypes="fp32,bf16", seed=1, quick=True)
        result = liveportrait_cpu.run(options)
    finally:
        torch.set_num_threads(before)
    figures = {f.name: f.value for f in result.figures}
    for step in ("F", "M", "keypoints", "W", "G", "frame"):
        for way in ("straightforward", "engine fp32", "engine bf16"):
            assert figures[f"{step}.{way}"] >= 0
    assert figures["frame.straightforward"] >= figures["G.straightforward"] > 0
    assert figures["engine fp32.largest difference"] < 1e-3
    assert figures["engine bf16.largest difference"] < 0.2
    assert any("no trained weights" in note for note in result.notes)
