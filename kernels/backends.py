"""Where a kernel runs: on a GPU through CuPy, or, for tests, on the CPU through the host shim.

The wrappers compute grid, block and arguments once; a backend only launches. So what the tests run on the CPU is the
same source with the same launch as on a GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .arrays import Array, KernelError
from .sources import HERE, MODULES, kernel_names, source


class Backend(Protocol):
    """Runs one kernel of one module; asynchronous where the device is."""

    def launch(
        self, module: str, kernel: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], device: str
    ) -> None: ...


_emulator: ContextVar[Backend | None] = ContextVar("emulator", default=None)


@contextmanager
def emulated(*, falling: bool = False, folder: Path = HERE) -> Iterator[None]:
    """Run kernels on CPU arrays through the host shim (needs g++) instead of PyTorch's operators.

    falling: the threads of a block take turns in falling instead of rising order; a result that differs shows a
    missing barrier. folder: where the `.cu` files are.
    """
    from .host import HostBackend

    token = _emulator.set(HostBackend(falling=falling, folder=folder))
    try:
        yield
    finally:
        _emulator.reset(token)


def backend_for(device: str) -> Backend | None:
    """The backend for arrays on `device`; None: use the PyTorch reference."""
    if device == "cpu":
        return _emulator.get()
    if device.startswith("mps:"):
        return None
    if not device.startswith("cuda:"):
        raise KernelError(
            f"no kernels for the device {device}; they run on cuda and, by PyTorch's operators, on cpu and mps"
        )
    return cuda_backend()


@functools.cache
def cuda_backend() -> CudaBackend:
    """The CuPy backend. Raises KernelError where CuPy cannot be used."""
    reason = why_unavailable()
    if reason:
        raise KernelError(f"the GPU kernels cannot run: {reason}")
    return CudaBackend()


def available() -> bool:
    """Whether the kernels can run on a GPU here."""
    return not why_unavailable()


@functools.cache
def why_unavailable() -> str:
    """What keeps the kernels from a GPU here, with the cure; empty where nothing does."""
    try:
        import torch
    except ModuleNotFoundError:
        return "PyTorch is not installed: pip install 'realtime-avatar[torch]'"
    if not torch.backends.cuda.is_built():
        return "this PyTorch is built without CUDA: install a CUDA build of torch"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device: check the driver with nvidia-smi"
    version = (torch.version.cuda or "12").split(".")[0]
    try:
        import cupy  # after torch, which brings the CUDA libraries CuPy needs into the process

        cupy.cuda.runtime.getDeviceCount()
    except ModuleNotFoundError:
        return f"CuPy is not installed: pip install 'realtime-avatar[cuda{version}]'"
    except Exception as error:  # a broken CuPy install fails in many ways; the reason is what the user needs
        return f"CuPy does not work here ({type(error).__name__}: {str(error).strip().splitlines()[0]})"
    return ""


class CudaBackend:
    """CuPy: a module is compiled at its first use (NVRTC, kept on disk by CuPy) for the GPU at hand."""

    def __init__(self) -> None:
        import cupy
        import torch

        self._cupy, self._torch = cupy, torch
        self._functions: dict[tuple[str, str, str], Any] = {}
        self._modules: dict[str, Any] = {}

    def launch(
        self, module: str, kernel: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], device: str
    ) -> None:
        index = int(device.partition(":")[2])
        stream = self._torch.cuda.current_stream(index).cuda_stream
        with self._cupy.cuda.Device(index), self._cupy.cuda.ExternalStream(stream, index):
            self._function(module, kernel, device)(tuple(grid), tuple(block), tuple(args))

    def warm_up(self, device: str, modules: Sequence[str] = MODULES) -> None:
        """Compile `modules` now, so that no frame waits for it."""
        index = int(device.partition(":")[2])
        with self._cupy.cuda.Device(index):
            for module in modules:
                for kernel in kernel_names(module):
                    self._function(module, kernel, device)

    def _function(self, module: str, kernel: str, device: str) -> Any:
        key = (module, kernel, device)
        if key not in self._functions:
            self._functions[key] = self._module(module).get_function(kernel)
        return self._functions[key]

    def _module(self, module: str) -> Any:
        if module not in self._modules:  # CuPy itself keeps one compiled copy per device
            self._modules[module] = self._cupy.RawModule(code=source(module), options=("-std=c++17",))
        return self._modules[module]


def pointer(array: Array | None) -> np.uint64:
    """Argument for a pointer parameter; null for None."""
    return np.uint64(array.ptr if array is not None else 0)


def suffix(dtype: str) -> str:
    """How the kernels for an element type end."""
    return "f16" if dtype == "float16" else "f32"


def i32(value: int) -> np.int32:
    """Argument for an `int` parameter."""
    return np.int32(value)


def i64(value: int) -> np.int64:
    """Argument for a `long long` parameter."""
    return np.int64(value)


def f32(value: float) -> np.float32:
    """Argument for a `float` parameter."""
    return np.float32(value)
