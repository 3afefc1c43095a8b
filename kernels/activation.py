"""Bias, leaky ReLU and gain with demodulation, next style and residual; see activation.cu."""

from __future__ import annotations

import math
from typing import Any

from . import arrays
from .arrays import KernelError, require, same_device, view
from .backends import backend_for, f32, i32, i64, pointer, suffix

SQRT2 = math.sqrt(2.0)
THREADS, IN_FLIGHT = 256, 4


def bias_act(
    x: Any,
    bias: Any = None,
    *,
    scale: Any = None,
    post: Any = None,
    residual: Any = None,
    slope: float = 0.2,
    gain: float = SQRT2,
    out_gain: float = 1.0,
    out: Any = None,
) -> Any:
    """out = (leaky_relu(x * scale + bias, slope) * gain * post + residual) * out_gain.

    x, residual, out: (B, C, H, W), float16 or float32, channels-last; out may be x.
    bias: (C) float32. scale, post: (C) or (B, C) float32: the demodulation of the convolution before and the style of
    the convolution after (StyleGAN2, arXiv 1912.04958, equations 1 to 3), or a residual branch's own gain.
    Raises KernelError.
    """
    a = view(x, "x")
    require(a, dtype=arrays.FLOATS, shape=(None,) * 4, layout="channels_last")
    b, c, height, width = a.shape
    shift, _ = arrays.per_channel(bias, "bias", 1, c)
    before, before_batch = arrays.per_channel(scale, "scale", b, c)
    after, after_batch = arrays.per_channel(post, "post", b, c)
    other = None
    if residual is not None:
        other = require(view(residual, "residual"), dtype=a.dtype, shape=a.shape, layout="channels_last")
    if b > 65535:
        raise KernelError(f"a batch of {b} is too large")
    device = same_device(a, shift, before, after, other)
    backend = backend_for(device)
    if backend is None:
        from . import reference

        result = reference.bias_act(
            x, bias, scale=scale, post=post, residual=residual, slope=slope, gain=gain, out_gain=out_gain
        )
        return reference.copied(result, out)
    if out is None:
        out = arrays.like(x, a.shape, a.dtype, channels_last=True)
    o = require(view(out, "out"), dtype=a.dtype, shape=a.shape, layout="channels_last")
    same_device(a, o)
    vectors, plane = c // (8 if a.dtype == "float16" else 4), height * width
    lanes = min(vectors, 128)
    rows = THREADS // lanes
    grid = (-(-plane // (rows * IN_FLIGHT)), b, -(-vectors // lanes))
    args = [
        pointer(a),
        pointer(before),
        i64(before_batch),
        pointer(shift),
        pointer(after),
        i64(after_batch),
        pointer(other),
        pointer(o),
        i32(c),
        i64(plane),
        f32(slope),
        f32(gain),
        f32(out_gain),
    ]
    backend.launch("activation", f"bias_act_{suffix(a.dtype)}", grid, (lanes, rows), args, device)
    return out
