"""What `describe_gpu` says, on this machine and on ones made up here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realtime.checks import gpu
from realtime.checks.gpu import Finding, describe_gpu, frame_path


def absent(name):
    raise OSError(name)


def test_a_machine_without_a_driver_is_told_exactly_that():
    finding = gpu.driver(absent)
    assert finding.status == "missing"
    assert "driver" in finding.detail
    path = frame_path([finding])
    assert path.status == "warn"
    assert path.detail == f"run on the CPU, because {finding.detail}"


class Driver:
    """A driver library that says which CUDA it is for."""

    def __init__(self, version):
        self.version = version

    def cuDriverGetVersion(self, target):
        target._obj.value = self.version


def test_the_drivers_cuda_version_is_read():
    assert gpu.driver(lambda name: Driver(13020)) == Finding("driver", "ok", "for CUDA up to 13.2")
    old = gpu.driver(lambda name: Driver(11040))
    assert old.status == "missing"
    assert "update" in old.cure


def test_the_first_thing_that_is_missing_decides(monkeypatch):
    monkeypatch.setattr(gpu, "driver", lambda: Finding("driver", "ok", ""))
    monkeypatch.setattr(gpu, "pytorch", lambda: Finding("pytorch", "ok", ""))
    monkeypatch.setattr(gpu, "cupy", lambda: Finding("cupy", "missing", "CuPy is not installed", "pip install x"))
    monkeypatch.setattr(gpu, "own_kernels", lambda: pytest.fail("looked at kernels without CuPy"))
    findings = describe_gpu()
    assert [f.name for f in findings] == ["driver", "pytorch", "cupy", gpu.LIA]
    assert findings[-1].cure == "pip install x"
    assert "on the GPU, eagerly" in findings[-1].detail


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def captured_graphs():
        raise RuntimeError("CUDA error: operation not\n permitted")

    for name in ("driver", "pytorch", "cupy", "own_kernels"):
        monkeypatch.setattr(gpu, name, lambda name=name: Finding(name, "ok", ""))
    monkeypatch.setattr(gpu, "captured_graphs", captured_graphs)
    findings = describe_gpu()
    assert findings[-2].status == "missing"
    assert "operation not permitted" in findings[-1].detail


def test_everything_there_is_one_graph_per_frame():
    assert "one CUDA graph per frame" in frame_path([Finding("driver", "ok", "")]).detail


def test_pytorch_without_cuda_is_named():
    torch = pytest.importorskip("torch")
    if torch.backends.cuda.is_built():
        pytest.skip("this PyTorch has CUDA")
    finding = gpu.pytorch()
    assert finding.status == "missing"
    assert "built without CUDA" in finding.detail


def test_without_a_driver_neither_torch_nor_cupy_is_loaded():
    code = (
        "import sys; from realtime.checks import gpu; gpu.driver = lambda: gpu.Finding('driver', 'missing', 'none');"
        "gpu.describe_gpu(); assert not {'torch', 'cupy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(gpu.__file__).parents[2])
