"""What the neural engines would run on here: device, libraries, own kernels, captured graphs; and what is missing."""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from realtime.extras import install_command

Status = Literal["ok", "warn", "missing"]
LIA = "lia, lia-x"
"""Name of the row that says how these engines run."""


@dataclass(frozen=True)
class Finding:
    """One part of the GPU path. status: "ok"; "warn": it runs, more slowly; "missing": what it is for does not work.
    cure: the one command or act that mends it."""

    name: str
    status: Status
    detail: str
    cure: str = ""


def describe_gpu() -> list[Finding]:
    """Driver, PyTorch, CuPy, own kernels, and last the path that frames take. Never raises; does not load torch or
    CuPy where there is no driver to use them with."""
    findings: list[Finding] = []
    for look in (driver, pytorch, cupy, own_kernels, captured_graphs):
        if any(f.status == "missing" for f in findings):
            break
        try:
            findings.append(look())
        except Exception as error:  # a broken CUDA installation fails in any way it likes
            text = " ".join(str(error).split())[:160] or type(error).__name__
            findings.append(Finding(look.__name__.replace("_", " "), "missing", f"fails: {text}", "nvidia-smi"))
    return [*findings, frame_path(findings)]


def frame_path(findings: list[Finding]) -> Finding:
    """What follows from the other findings: how LIA and LIA-X run here, and what would make it faster."""
    for finding in findings:
        if finding.status == "missing":
            where = "on the CPU" if finding.name in ("driver", "pytorch") else "on the GPU, eagerly"
            return Finding(LIA, "warn", f"run {where}, because {finding.detail}", finding.cure)
    return Finding(LIA, "ok", "run on the GPU as one CUDA graph per frame, on own kernels")


def driver(load: Callable[[str], Any] = ctypes.CDLL) -> Finding:
    """The NVIDIA driver's own library, which everything else needs."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    if sys.platform == "darwin":
        return Finding("driver", "missing", "there is no CUDA on macOS; the mesh engine needs none")
    try:
        library = load(name)
    except OSError:
        return Finding("driver", "missing", f"there is no NVIDIA driver ({name})", "install the NVIDIA driver")
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if version.value < 12000:
        detail = f"the driver is for CUDA {version.value // 1000}; 12 is the oldest that works"
        return Finding("driver", "missing", detail, "update the NVIDIA driver")
    return Finding("driver", "ok", f"for CUDA up to {version.value // 1000}.{version.value % 1000 // 10}")


def pytorch() -> Finding:
    """PyTorch, built for CUDA, that sees a device."""
    if find_spec("torch") is None:
        extra = "cuda12" if "up to 12" in driver().detail else "cuda13"
        return Finding("pytorch", "missing", "PyTorch is not installed", install_command(extra))
    import torch

    if not torch.backends.cuda.is_built():
        detail = f"PyTorch {torch.__version__} is built without CUDA"
        return Finding("pytorch", "missing", detail, "pip install --force-reinstall torch")
    if not torch.cuda.is_available():
        detail = f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}) finds no device it can use"
        return Finding("pytorch", "missing", detail, "nvidia-smi")
    name = torch.cuda.get_device_name(0)
    major, minor = torch.cuda.get_device_capability(0)
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    detail = f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {name} (sm_{major}{minor}, {memory:.0f} GiB)"
    if (major, minor) < (7, 0):
        return Finding("pytorch", "warn", f"{detail}; half precision is slow before sm_70")
    return Finding("pytorch", "ok", detail)


def cupy() -> Finding:
    """CuPy, which compiles the project's kernels, of the same CUDA as PyTorch."""
    import torch

    wanted = "13" if (torch.version.cuda or "").startswith("13") else "12"
    installed = [n for n in ("cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x", "cupy") if _version(n)]
    cure = install_command(f"cuda{wanted}")
    if not installed:
        return Finding("cupy", "missing", "CuPy is not installed; own kernels are not used", cure)
    if len(installed) > 1:
        names = " and ".join(installed)
        return Finding("cupy", "missing", f"{names} are both installed and clash", f"pip uninstall {installed[-1]}")
    if installed[0] not in ("cupy", f"cupy-cuda{wanted}x"):
        detail = f"{installed[0]} does not fit PyTorch's CUDA {torch.version.cuda}"
        return Finding("cupy", "missing", detail, f"pip uninstall {installed[0]} && {cure}")
    import cupy as library

    library.cuda.runtime.getDeviceCount()
    return Finding("cupy", "ok", f"{installed[0]} {_version(installed[0])}")


def own_kernels() -> Finding:
    """Whether the kernels compile and give a right answer on this device."""
    import torch

    from realtime import kernels
    from realtime.kernels import reference

    x = (
        torch.linspace(-3, 3, 64, device="cuda")
        .reshape(1, 8, 2, 4)
        .half()
        .contiguous(memory_format=torch.channels_last)
    )
    got = kernels.bias_act(x, torch.ones(8, device="cuda"), gain=1.0)
    if not torch.allclose(got.float(), reference.bias_act(x, torch.ones(8, device="cuda")).float(), atol=4e-3):
        return Finding(
            "own kernels", "missing", "give a wrong answer on this device", "report this with the device's name"
        )
    return Finding("own kernels", "ok", "compiled and checked")


def captured_graphs() -> Finding:
    """Whether a CUDA graph can be captured and replayed with one of our kernels in it."""
    import torch

    from realtime import kernels
    from realtime.engines.gpu.graph import CudaDevice

    device = CudaDevice(torch.device("cuda:0"))
    x = torch.ones(1, 8, 2, 4, device="cuda").contiguous(memory_format=torch.channels_last)
    out = torch.zeros_like(x)

    def work() -> None:
        kernels.bias_act(x, gain=2.0, out=out)

    device.warm_up(work, 1)
    replay = device.capture(work)
    out.zero_()
    device.run(lambda: None, replay, lambda: None).wait()
    if not bool((out == 2).all()):
        return Finding(
            "captured graphs", "missing", "a replayed graph does not do its work", "update the NVIDIA driver"
        )
    return Finding("captured graphs", "ok", "captured and replayed")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
