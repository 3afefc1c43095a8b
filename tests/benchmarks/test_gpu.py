"""The GPU benchmarks' own code, on the CPU; and that they refuse where there is nothing to measure."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.__main__ import main  # noqa: E402
from benchmarks.device import gpu as gpu_benchmark  # noqa: E402
from benchmarks.device import kernels as kernel_benchmark  # noqa: E402
from benchmarks.device.device import seconds_each  # noqa: E402
from benchmarks.device.subjects import DRY, SUBJECTS  # noqa: E402
from realtime import kernels  # noqa: E402
from realtime.kernels import host  # noqa: E402

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["kernels", "gpu"])
def test_without_a_gpu_they_refuse_in_one_sentence(name, capsys):
    if kernels.available():
        pytest.skip("there is a GPU")
    assert main([name]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: GPU: nothing to measure")
    assert "--dry" in said
    assert said.count("\n") == 1


@pytest.mark.skipif(bool(host.missing()), reason=host.missing() or "a C++ compiler is there")
def test_a_dry_run_measures_every_kernel_and_each_is_right(tmp_path, capsys):
    path = tmp_path / "k.json"
    assert main(["kernels", "--dry", "--no-compile", "--quick", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    figures = {f["name"]: f["value"] for f in data["figures"]}
    for name in kernel_benchmark.CASES:
        assert figures[f"{name}.error"] < 4e-3
        assert figures[f"{name}.us"] > 0
    assert any("not measured on a GPU" in note for note in data["notes"])
    assert "not measured on a GPU" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(kernel_benchmark.CASES))
def test_the_chain_computes_what_the_kernel_does(name):
    job = kernel_benchmark.CASES[name](CPU, True)
    outputs = job.chain()
    if name.startswith("warp_blend"):
        outputs = outputs[0] if "both heads" in name else outputs[1]
    want = job.exact()
    assert kernel_benchmark.relative_error(outputs.reshape(want.shape), want) < 2e-2


def test_a_dry_run_of_the_frames_gives_all_figures(tmp_path):
    path = tmp_path / "g.json"
    assert main(["gpu", "--dry", "--no-compile", "--quick", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    figures = {f["name"]: f for f in data["figures"]}
    for name in (
        "authors fp32.p50", "eager fp16.p99", "graph.p50", "graph.rate", "graph.of matmul", "graph.first frame",
        "graph over authors fp32", "graph.p99 over p50", "batch 2.rate", "graph.encode p50",
    ):  # fmt: skip
        assert figures[f"lia-8.{name}"]["value"] > 0
    assert figures["lia-8.graph.apart"]["value"] < 2
    assert len(data["series"]["lia-8.graph"]["ms"]) >= 4


@pytest.mark.slow
def test_a_dry_run_takes_liveportrait_apart(tmp_path):
    path = tmp_path / "g.json"
    arguments = ["gpu", "--dry", "--quick", "--no-compile", "--engines", "liveportrait-256", "--frames", "1"]
    assert main([*arguments, "--json", str(path)]) == 0
    figures = {
        f["name"].removeprefix("liveportrait-256."): f["value"] for f in json.loads(path.read_text())["figures"]
    }
    stages = ["stage M", "stage keypoints", "stage W", "stage G", "graph.encode p50", "graph.render p50"]
    for name in (*stages, "authors fp32.p50", "eager fp16.p50", "graph.p50", "batch 2.rate"):
        assert figures[name] > 0
    assert figures["graph.apart"] < 2
    assert figures["sessions at 30 fps"] == 0  # on a CPU


def test_the_work_of_a_frame_of_liveportrait_is_known():
    work = SUBJECTS["liveportrait"].work(None, CPU)
    assert sum(work.values()) == pytest.approx(1245.28e9, rel=1e-4)


def test_an_unknown_engine_is_refused(capsys):
    assert main(["gpu", "--dry", "--engines", "lia-x-9"]) == 2
    assert "lia-x-9" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lia-8", pytest.param("liveportrait-256", marks=pytest.mark.slow)])
def test_the_compiled_frame_and_ours_draw_what_the_authors_do(name):
    from realtime.engines.neural.place import Placement

    subject = DRY[name]
    net = subject.define()
    side = subject.reads(net)
    portrait = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    frame = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    with torch.inference_mode():
        fast = subject.prepare(net, Placement(CPU))
    authors = subject.authors(net, portrait, CPU)(frame).astype(int)
    compiled = gpu_benchmark.CompiledFrame(subject.whole(fast, portrait), CPU)(frame)
    ours = gpu_benchmark.OwnFrame(subject.programs(fast), portrait, CPU)(frame)
    assert authors.std() > 10
    assert np.abs(compiled - authors).max() <= 2
    assert np.abs(ours - authors).max() <= 2


def test_bytes_are_each_input_and_output_once():
    job = kernel_benchmark.CASES["bias_act 64x512x512"](CPU, True)
    assert job.bytes == 3 * 16 * 16 * 16 * 2


def test_time_is_per_call():
    calls = []
    seconds_each([lambda: calls.append(1)] * 3, CPU)
    assert len(calls) == 3
