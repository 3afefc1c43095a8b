"""What a kernel needs to know of an array, and the checks that come before a launch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FLOATS = ("float16", "float32")


class KernelError(ValueError):
    """An argument of a kernel has the wrong device, dtype, shape or memory layout; the text says which and how."""


@dataclass(frozen=True, slots=True)
class Array:
    """Address and layout of an array of another library; `owner` keeps the memory alive.

    strides: in elements. device: "cpu" or "cuda:N".
    """

    name: str
    ptr: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    device: str
    owner: Any

    @property
    def contiguous(self) -> bool:
        """Row-major without gaps."""
        return _dense(self.shape, self.strides)

    @property
    def channels_last(self) -> bool:
        """(B, C, H, W) or (B, C, D, H, W) whose channels lie side by side in memory, without gaps."""
        if len(self.shape) not in (4, 5):
            return False
        (b, c, *sides), (sb, sc, *steps) = self.shape, self.strides
        return _dense((b, *sides, c), (sb, *steps, sc))


def _dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    expected = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and s != expected:
            return False
        expected *= n
    return True


def view(x: Any, name: str) -> Array:
    """Look at `x`, a torch tensor, or an array with `__cuda_array_interface__`, `__array_interface__` or DLPack."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        device = "cpu" if x.device.type == "cpu" else f"{x.device.type}:{x.device.index or 0}"
        dtype = str(x.dtype).removeprefix("torch.")
        return Array(name, x.data_ptr(), tuple(x.shape), tuple(x.stride()), dtype, device, x)
    for attribute, kind in (("__cuda_array_interface__", "cuda"), ("__array_interface__", "cpu")):
        facts = getattr(x, attribute, None)
        if facts is None:
            continue
        dtype, size = _dtype(facts["typestr"], name)
        shape = tuple(facts["shape"])
        strides = facts.get("strides")
        if strides is None:
            steps, n = [], 1
            for side in reversed(shape):
                steps.append(n)
                n *= side
            in_elements = tuple(reversed(steps))
        else:
            in_elements = tuple(s // size for s in strides)
        device = "cpu"
        if kind == "cuda":
            device = f"cuda:{getattr(getattr(x, 'device', None), 'id', 0)}"
        return Array(name, facts["data"][0], shape, in_elements, dtype, device, x)
    if hasattr(x, "__dlpack__"):
        from torch.utils.dlpack import from_dlpack

        return view(from_dlpack(x), name)
    raise KernelError(f"{name} must be an array (torch, CuPy, DLPack), not {type(x).__name__}")


def _dtype(typestr: str, name: str) -> tuple[str, int]:
    kinds = {"f": "float", "u": "uint", "i": "int", "b": "bool"}
    kind, size = typestr[1], int(typestr[2:])
    if kind not in kinds or typestr[0] == ">":
        raise KernelError(f"{name} has the element type {typestr}, which no kernel takes")
    return ("bool" if kind == "b" else f"{kinds[kind]}{8 * size}"), size


def require(array: Array, *, dtype: str | Sequence[str], shape: Sequence[int | None], layout: str = "") -> Array:
    """Check one array. shape: None means any size. layout: "", "contiguous" or "channels_last".

    Channels-last arrays are moved 16 bytes at a time: channels must be a multiple of 8 (float16) or 4 (float32), and
    the address a multiple of 16.
    """
    wanted = (dtype,) if isinstance(dtype, str) else tuple(dtype)
    if array.dtype not in wanted:
        raise KernelError(f"{array.name} must be {' or '.join(wanted)}, not {array.dtype}")
    if len(array.shape) != len(shape) or any(
        w is not None and w != n for w, n in zip(shape, array.shape, strict=True)
    ):
        sides = ", ".join("any" if s is None else str(s) for s in shape)
        raise KernelError(f"{array.name} must have shape ({sides}), not {array.shape}")
    if layout == "contiguous" and not array.contiguous:
        raise KernelError(f"{array.name} must be contiguous; call .contiguous() once, outside the frame loop")
    if layout == "channels_last":
        if not array.channels_last:
            raise KernelError(f"{array.name} must be channels-last; use .to(memory_format=torch.channels_last)")
        lanes = 8 if array.dtype == "float16" else 4
        if array.shape[1] % lanes:
            raise KernelError(
                f"{array.name} has {array.shape[1]} channels; {array.dtype} needs a multiple of {lanes}"
            )
        if array.ptr % 16:
            raise KernelError(f"{array.name} must start at an address that is a multiple of 16 bytes")
    return array


def same_device(*arrays: Array | None) -> str:
    """The one device all `arrays` are on; None entries are skipped."""
    present = [a for a in arrays if a is not None]
    for a in present[1:]:
        if a.device != present[0].device:
            raise KernelError(f"{a.name} is on {a.device}, but {present[0].name} is on {present[0].device}")
    return present[0].device


def per_channel(x: Any, name: str, batch: int, channels: int) -> tuple[Array | None, int]:
    """A float32 parameter (C), (1, C) or (B, C): the array and its batch stride, 0 where the batch shares it."""
    if x is None:
        return None, 0
    a = view(x, name)
    if a.dtype != "float32":
        raise KernelError(f"{name} must be float32, not {a.dtype}")
    if a.shape not in ((channels,), (1, channels), (batch, channels)) or not a.contiguous:
        raise KernelError(f"{name} must be contiguous ({channels}) or ({batch}, {channels}), not {a.shape}")
    if a.ptr % 16:
        raise KernelError(f"{name} must start at an address that is a multiple of 16 bytes")
    return a, channels if len(a.shape) == 2 and a.shape[0] == batch and batch > 1 else 0


def like(x: Any, shape: Sequence[int], dtype: str, *, channels_last: bool = False) -> Any:
    """A new, uninitialised array of the library and device of `x`."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        kwargs = {"memory_format": torch.channels_last} if channels_last else {}
        return torch.empty(tuple(shape), dtype=getattr(torch, dtype), device=x.device, **kwargs)
    if hasattr(x, "__cuda_array_interface__"):
        import cupy as library
    else:
        import numpy as library
    if not channels_last:
        return library.empty(tuple(shape), dtype)
    b, c, h, w = shape
    return library.empty((b, h, w, c), dtype).transpose(0, 3, 1, 2)
