"""Runs the CUDA sources on the CPU: g++ compiles them as C++ through `shim.h`, and blocks run one after the other.

This is for tests and for looking at a kernel in a debugger; it is slow on purpose (plain code, every thread in turn).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import KernelError
from ..sources import HERE, kernel_names

COMPILER = os.environ.get("CXX", "g++")
FLAGS = ("-x", "c++", "-std=c++17", "-O2", "-fPIC", "-shared", "-w", "-U_FORTIFY_SOURCE", "-ffp-contract=off")
FAULTS = {1: "a 16-byte access is not aligned"}


def missing() -> str:
    """Why kernels cannot be emulated here; empty where they can."""
    return "" if shutil.which(COMPILER) else f"no C++ compiler ({COMPILER}) on the PATH"


@functools.cache
def library(module: str, folder: Path = HERE, extra: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The compiled `module` of `folder`. Kept in the temporary folder under a name made of all that goes into it."""
    reason = missing()
    if reason:
        raise KernelError(reason)
    parts = [folder / f"{module}.cu", *sorted(folder.glob("*.cuh")), HERE / "host" / "shim.h"]
    digest = hashlib.sha256("\0".join([COMPILER, *FLAGS, *extra, *(p.read_text() for p in parts)]).encode())
    target = Path(tempfile.gettempdir()) / f"avatar-kernels-{os.getuid()}" / f"{module}-{digest.hexdigest()[:20]}.so"
    if not target.exists():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".so", delete=False) as made:
            command = [COMPILER, *FLAGS, *extra, f"-I{HERE}", "-o", made.name, str(folder / f"{module}.cu")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise KernelError(f"{module}.cu does not compile as C++:\n{done.stderr}")
            os.replace(made.name, target)
        finally:
            Path(made.name).unlink(missing_ok=True)
    return ctypes.CDLL(str(target))


class HostBackend:
    """A `Backend` for CPU arrays. The shim has one global machine, hence the lock."""

    _lock = threading.Lock()

    def __init__(self, *, falling: bool = False, folder: Path = HERE) -> None:
        self.falling, self.folder = falling, folder

    def launch(
        self, module: str, kernel: str, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], device: str
    ) -> None:
        loaded = library(module, self.folder)
        sizes = (ctypes.c_int * 64)()
        count = getattr(loaded, f"sizes_{kernel}")(sizes)
        given = [int(a.nbytes) for a in args]
        if given != list(sizes[:count]):
            raise KernelError(f"{kernel} takes parameters of {list(sizes[:count])} bytes, but was given {given}")
        limits = (2**31 - 1, 65535, 65535, 1024, 1024, 64)
        dims = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))]
        if (
            any(not 1 <= n <= most for n, most in zip(dims, limits, strict=True))
            or dims[3] * dims[4] * dims[5] > 1024
        ):
            raise KernelError(f"{kernel} was launched with grid {dims[:3]} and block {dims[3:]}")
        cells = [np.array(a) for a in args]
        pointers = (ctypes.c_void_p * len(cells))(*(c.ctypes.data for c in cells))
        text = (self.folder / f"{module}.cu").read_text()
        fibers = "__syncthreads" in text or "_sync(" in text
        with self._lock:
            fault = getattr(loaded, f"launch_{kernel}")(pointers, (ctypes.c_int * 6)(*dims), fibers, self.falling)
        if fault:
            raise KernelError(f"{kernel}: {FAULTS.get(fault, fault)}")


def kernels_of(module: str) -> list[str]:
    """Names of the kernels that the compiled `module` offers, checked against the source."""
    return [name for name in kernel_names(module) if hasattr(library(module), f"launch_{name}")]
