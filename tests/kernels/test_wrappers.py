"""The wrappers of the kernels: checks, outputs, other libraries' arrays, and what the CUDA compiler says."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from realtime import kernels
from realtime.kernels import backends, host, reference, sources
from realtime.kernels.arrays import KernelError
from tests.support.kernel_checks import nhwc

needs_compiler = pytest.mark.skipif(bool(host.missing()), reason=host.missing() or "a C++ compiler is there")


def good_warp() -> dict:
    x = nhwc(torch.randn(2, 16, 4, 6))
    return {"features": x[:1], "trunk": x, "logits": torch.zeros(2, 3, 4, 6), "align_corners": True}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trunk": torch.randn(2, 16, 4, 6)}, "trunk must be channels-last"),
        ({"trunk": nhwc(torch.randn(2, 16, 4, 6).double())}, "trunk must be float16 or float32, not float64"),
        ({"trunk": nhwc(torch.randn(2, 6, 4, 6))}, "6 channels; float32 needs a multiple of 4"),
        ({"features": nhwc(torch.randn(1, 16, 4, 5))}, r"features must have shape \(any, 16, 4, 6\)"),
        ({"features": nhwc(torch.randn(3, 16, 4, 6))}, "features have a batch of 3; the trunk has 2"),
        ({"logits": None}, "either logits or head"),
        ({"logits": torch.zeros(2, 3, 4, 6).half()}, "logits must be float32"),
        ({"post": torch.zeros(3, 16)}, r"post must be contiguous \(16\) or \(2, 16\)"),
        ({"trunk": [1, 2]}, "trunk must be an array"),
        ({"logits": torch.zeros(2, 3, 4, 6, device="meta")}, "logits is on meta"),
    ],
)
def test_wrong_arguments_are_named(change, says):
    with pytest.raises(KernelError, match=says):
        kernels.warp_blend(**{**good_warp(), **change})


@needs_compiler
def test_misaligned_arrays_are_refused_by_wrapper_and_shim():
    raw = torch.zeros(1 + 8 * 4)
    x = raw[1:].view(1, 2, 2, 8).permute(0, 3, 1, 2)
    with pytest.raises(KernelError, match="multiple of 16 bytes"):
        kernels.bias_act(x)
    backend = host.HostBackend()
    null, zero, one = np.uint64(0), np.int64(0), np.float32(1)
    args = [np.uint64(x.data_ptr()), null, zero, null, null, zero, null, np.uint64(raw.data_ptr())]
    args += [np.int32(8), np.int64(4), np.float32(0.2), one, one]
    with pytest.raises(KernelError, match="not aligned"):
        backend.launch("activation", "bias_act_f32", (1,), (2, 8), args, "cpu")
    with pytest.raises(KernelError, match="takes parameters of"):
        backend.launch("activation", "bias_act_f32", (1,), (2, 8), args[:-1], "cpu")


def test_pictures_and_frames_of_the_wrong_shape_are_named():
    with pytest.raises(KernelError, match="even sides"):
        kernels.postprocess(torch.zeros(1, 3, 5, 4), format="nv12")
    with pytest.raises(KernelError, match="is not i420"):
        kernels.preprocess(torch.zeros(10, 4, dtype=torch.uint8), format="i420", size=(2, 2))
    with pytest.raises(KernelError, match="down must be 1"):
        kernels.blur(nhwc(torch.zeros(1, 8, 8, 8)), (1, 1), down=2, act="before")
    with pytest.raises(KernelError, match="belong to the activation"):
        kernels.blur(nhwc(torch.zeros(1, 8, 8, 8)), (1, 1), bias=torch.zeros(8))


def test_cpu_tensors_run_pytorchs_operators_and_fill_out():
    x = nhwc(torch.randn(1, 8, 5, 5).half())
    out = torch.empty_like(x)
    assert kernels.bias_act(x, torch.ones(8), out=out) is out
    torch.testing.assert_close(out, reference.bias_act(x, torch.ones(8), gain=math.sqrt(2)))
    good = good_warp()
    result = kernels.warp_blend(**good, want_warped=False)
    assert result.warped is None
    assert result.blended.shape == (2, 16, 4, 6)


@needs_compiler
def test_arrays_of_other_libraries_pass_without_a_copy():
    class OnlyDlpack:
        def __init__(self, x):
            self.x = x

        def __dlpack__(self, **options):
            return self.x.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.x.__dlpack_device__()

    x = np.random.default_rng(0).standard_normal((1, 4, 4, 8)).astype(np.float32).transpose(0, 3, 1, 2)
    want = reference.bias_act(torch.from_numpy(x))
    out = np.full_like(x, np.nan)
    with backends.emulated():
        assert kernels.bias_act(OnlyDlpack(x), gain=1.0, out=out) is out
        assert isinstance(kernels.bias_act(x, gain=1.0), np.ndarray)
    np.testing.assert_allclose(out, want, rtol=1e-6)


def test_importing_the_package_loads_neither_torch_nor_cupy():
    code = "import sys, kernels; assert not {'torch', 'cupy', 'numpy', 'realtime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=sources.HERE.parent)


def test_why_unavailable_gives_a_reason_where_there_is_no_gpu():
    assert kernels.available() == (kernels.why_unavailable() == "")
    if not torch.cuda.is_available():
        with pytest.raises(KernelError, match="cannot run"):
            backends.backend_for("cuda:0")


class FakeCupy:
    """As much of CuPy as the backend calls, writing down what it is asked."""

    def __init__(self):
        self.compiled, self.launched, self.entered = [], [], []
        self.cuda = self

    def Device(self, index):
        return self._entering(("device", index))

    def ExternalStream(self, pointer, index):
        return self._entering(("stream", pointer, index))

    @contextmanager
    def _entering(self, what):
        self.entered.append(what)
        yield

    def RawModule(self, code, options):
        self.compiled.append((code, options))
        return self

    def get_function(self, name):
        return lambda grid, block, args: self.launched.append((name, grid, block, args, tuple(self.entered[-2:])))


def test_on_a_gpu_a_module_is_compiled_once_and_launched_on_the_callers_stream(monkeypatch):
    cupy = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    stream = SimpleNamespace(cuda_stream=4711)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: stream)
    backend = backends.CudaBackend()
    for _ in range(2):
        backend.launch("activation", "bias_act_f16", (3, 1), (8, 32), [np.int32(1)], "cuda:1")
    backend.launch("activation", "bias_act_f32", (3, 1), (8, 32), [np.int32(1)], "cuda:1")
    assert len(cupy.compiled) == 1
    assert cupy.compiled[0][0] == sources.source("activation")
    name, grid, block, args, where = cupy.launched[0]
    assert (name, grid, block, args) == ("bias_act_f16", (3, 1), (8, 32), (np.int32(1),))
    assert where == (("device", 1), ("stream", 4711, 1))


# --- the CUDA compiler ---------------------------------------------------------------------------------------------


def test_source_for_runtime_compilation_includes_nothing():
    for module in sources.MODULES:
        text = sources.source(module)
        assert "#include" not in text
        assert text.count("struct half16 {") == 1
        assert sources.kernel_names(module)


@needs_compiler
def test_every_kernel_is_exported():
    for module in sources.MODULES:
        assert host.kernels_of(module) == sources.kernel_names(module)


ARCHITECTURES = ("75", "90")  # the oldest and the newest that the project is for
if os.environ.get("AVATAR_ALL_ARCHITECTURES"):
    ARCHITECTURES = ("75", "80", "86", "87", "88", "89", "90", "100", "103", "120")


def test_nvcc_compiles_every_kernel_for_every_architecture(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on the PATH")
    listed = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout
    found = [a for a in ARCHITECTURES if f"sm_{a}" in listed.split()]
    assert found

    def build(job):
        module, arch = job
        code = tmp_path / f"{module}.cu"
        command = [nvcc, f"-arch=sm_{arch}", "-std=c++17", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings"]
        command += ["-o", str(tmp_path / f"{module}.{arch}.cubin"), str(code)]
        return module, arch, subprocess.run(command, capture_output=True, text=True, check=False)

    for module in sources.MODULES:  # the very text that CuPy compiles
        (tmp_path / f"{module}.cu").write_text(sources.source(module))
    jobs = [(module, arch) for module in sources.MODULES for arch in found]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for module, arch, done in pool.map(build, jobs):
            assert done.returncode == 0, f"{module} for sm_{arch}:\n{done.stderr}"
            assert done.stderr.count("Compiling entry function") == len(sources.kernel_names(module))
            spilled = [
                line for line in done.stderr.splitlines() if "spill" in line and " 0 bytes spill stores" not in line
            ]
            assert not spilled or int(arch) > 90, f"{module} for sm_{arch}: {spilled}"


def test_kernel_sources_are_packaged():
    listed = (Path(sources.HERE).parent / "pyproject.toml").read_text()
    assert all(f'"{ending}"' in listed for ending in ("*.cu", "*.cuh", "*.h"))
