"""LivePortrait's warps of a feature volume; see volume.cu."""

from __future__ import annotations

from typing import Any

from . import arrays
from .arrays import Array, KernelError, require, same_device, view
from .backends import backend_for, i32, i64, pointer, suffix

THREADS = 256


def keypoint_warp(thin: Any, source: Any, driving: Any, *, out: Any = None) -> Any:
    """What the dense motion reads: for each motion its heat, then the thin volume moved by it.

    The K + 1 motions are none, and for each keypoint the shift from `driving` to `source`. A heat is
    exp(-50 |g - driving|^2) - exp(-50 |g - source|^2) on the grid g of linspace(-1, 1) in every axis, 0 for none.
    Sampling is trilinear, zeros outside, align_corners False.

    thin: (B or 1, C, D, H, W), float16 or float32, channels-last; a batch of one is shared. bfloat16 runs on
    PyTorch's operators.
    source, driving: (B, K, 3) float32, contiguous: x, y, z.
    Returns (B, (K + 1) (C + 1), D, H, W), channels-last, motion by motion. Raises KernelError.
    """
    k = require(view(driving, "driving"), dtype="float32", shape=(None, None, 3), layout="contiguous")
    s = require(view(source, "source"), dtype="float32", shape=k.shape, layout="contiguous")
    t = _volume(thin, "thin", k.shape[0])
    device = same_device(k, s, t)
    backend = backend_for(device) if t.dtype in arrays.FLOATS else None
    batch, count, _ = k.shape
    _, c, d, h, w = t.shape
    if backend is None:
        from . import reference

        return reference.copied(reference.keypoint_warp(thin, source, driving), out)
    shape = (batch, (count + 1) * (c + 1), d, h, w)
    if out is None:
        out = _like(thin, shape, t.dtype)
    o = _checked(view(out, "out"), shape, t.dtype)
    same_device(k, o)
    args = [
        pointer(t), i64(0 if t.shape[0] == 1 else c * d * h * w), pointer(s), pointer(k), pointer(o),
        *(i32(n) for n in (count, c, d, h, w)),
    ]  # fmt: skip
    grid = (-(-d * h * w * (count + 1) // THREADS), batch)
    backend.launch("volume", f"keypoint_warp_{suffix(t.dtype)}", grid, (THREADS,), args, device)
    return out


def mask_warp(logits: Any, volume: Any, source: Any, driving: Any, *, out: Any = None) -> Any:
    """The whole volume, moved by the mean of the motions of `keypoint_warp`, weighted by the softmax of `logits`.

    logits: (B, K + 1, D, H, W), volume: (B or 1, C, D, H, W), both float16 or both float32, channels-last; C a
    multiple of 8 (float16) or 4 (float32). source, driving: (B, K, 3) float32, contiguous.
    Returns (B, D C, H, W), channels-last: a map whose channels are those of depth 0, then of depth 1, and so on.
    A motion that is not a number shows nothing. Raises KernelError.
    """
    k = require(view(driving, "driving"), dtype="float32", shape=(None, None, 3), layout="contiguous")
    s = require(view(source, "source"), dtype="float32", shape=k.shape, layout="contiguous")
    batch, count, _ = k.shape
    v = _volume(volume, "volume", batch)
    _, c, d, h, w = v.shape
    lanes = 8 if v.dtype == "float16" else 4
    if c % lanes or v.ptr % 16:
        raise KernelError(f"volume has {c} channels at {v.ptr:#x}; {v.dtype} needs a multiple of {lanes}, aligned")
    shares = _checked(view(logits, "logits"), (batch, count + 1, d, h, w), v.dtype)
    device = same_device(k, s, v, shares)
    backend = backend_for(device) if v.dtype in arrays.FLOATS else None
    if backend is None:
        from . import reference

        return reference.copied(reference.mask_warp(logits, volume, source, driving), out)
    shape = (batch, d * c, h, w)
    if out is None:
        out = arrays.like(volume, shape, v.dtype, channels_last=True)
    o = require(view(out, "out"), dtype=v.dtype, shape=shape, layout="channels_last")
    same_device(k, o)
    args = [
        pointer(shares), pointer(v), i64(0 if v.shape[0] == 1 else c * d * h * w), pointer(s), pointer(k), pointer(o),
        *(i32(n) for n in (count, c, d, h, w)),
    ]  # fmt: skip
    grid = (-(-d * h * w // THREADS), batch)
    backend.launch("volume", f"mask_warp_{suffix(v.dtype)}", grid, (THREADS,), args, device)
    return out


def _volume(x: Any, name: str, batch: int) -> Array:
    """A volume of that batch, or of one that the batch shares."""
    a = require(view(x, name), dtype=(*arrays.FLOATS, "bfloat16"), shape=(None,) * 5)
    if a.shape[0] not in (1, batch):
        raise KernelError(f"{name} has a batch of {a.shape[0]}; the keypoints have {batch}")
    return _checked(a, a.shape, a.dtype)


def _checked(a: Array, shape: tuple[int, ...], dtype: str) -> Array:
    require(a, dtype=dtype, shape=shape)
    if not a.channels_last:
        raise KernelError(f"{a.name} must be channels-last; use .to(memory_format=torch.channels_last_3d)")
    return a


def _like(x: Any, shape: tuple[int, ...], dtype: str) -> Any:
    b, c, d, h, w = shape
    made = arrays.like(x, (b, d, h, w, c), dtype)
    axes = (0, 4, 1, 2, 3)
    return made.permute(*axes) if hasattr(made, "permute") else made.transpose(*axes)
