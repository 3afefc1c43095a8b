"""FIR filters of StyleGAN-type networks, with the activation before or after; see fir.cu."""

from __future__ import annotations

from typing import Any, Literal

from . import arrays
from .activation import SQRT2
from .arrays import KernelError, require, same_device, view
from .backends import backend_for, f32, i32, i64, pointer, suffix

THREADS, COLUMNS = 128, 2
STRIP = {1: 8, 2: 4}


def blur(
    x: Any,
    pad: tuple[int, int],
    *,
    down: int = 1,
    gain: float = 1.0,
    act: Literal["before", "after"] | None = None,
    bias: Any = None,
    scale: Any = None,
    post: Any = None,
    slope: float = 0.2,
    act_gain: float = SQRT2,
    out: Any = None,
) -> Any:
    """Zero-pad both axes by `pad` = (before, after), filter with outer([1,3,3,1]) / 64 * gain, keep every `down`-th.

    act: an activation leaky_relu(v * scale + bias, slope) * act_gain * post of every sample before filtering (padding
    is zero after it), or of every result. So the encoder's activation and blur, and the up-sampling convolution's
    blur, demodulation and activation (pad (1, 1), gain 4) are one pass each.

    x: (B, C, H, W), float16 or float32, channels-last. bias: (C), scale and post: (C) or (B, C), float32; they need
    `act`. down: 1, or 2 without `act`. Returns (B, C, (H + sum(pad) - 4) // down + 1, ...). Raises KernelError.
    """
    a = view(x, "x")
    require(a, dtype=arrays.FLOATS, shape=(None,) * 4, layout="channels_last")
    b, c, height, width = a.shape
    if down not in STRIP or (down == 2 and act):
        raise KernelError("down must be 1, or 2 without an activation")
    if act not in (None, "before", "after"):
        raise KernelError(f"act must be 'before', 'after' or None, not {act!r}")
    if act is None and not (bias is None and scale is None and post is None):
        raise KernelError("bias, scale and post belong to the activation: give act='before' or act='after'")
    if min(pad) < 0 or min(height, width) + sum(pad) < 4:
        raise KernelError(f"{height} x {width} with padding {pad} is smaller than the filter")
    out_h, out_w = ((n + sum(pad) - 4) // down + 1 for n in (height, width))
    shift, _ = arrays.per_channel(bias, "bias", 1, c)
    before, before_batch = arrays.per_channel(scale, "scale", b, c)
    after, after_batch = arrays.per_channel(post, "post", b, c)
    device = same_device(a, shift, before, after)
    backend = backend_for(device)
    if backend is None:
        from . import reference

        result = reference.blur(
            x, pad, down=down, gain=gain, act=act, bias=bias, scale=scale, post=post, slope=slope, act_gain=act_gain
        )
        return reference.copied(result, out)
    if out is None:
        out = arrays.like(x, (b, c, out_h, out_w), a.dtype, channels_last=True)
    o = require(view(out, "out"), dtype=a.dtype, shape=(b, c, out_h, out_w), layout="channels_last")
    same_device(a, o)
    lanes, rows, groups = _split(c, a.dtype)
    name = {None: "blur" if down == 1 else "blur_down2", "before": "act_blur", "after": "blur_act"}[act]
    args = [
        pointer(a),
        pointer(o),
        *(i32(n) for n in (c, height, width, out_h, out_w, pad[0])),
        f32(gain),
        pointer(before),
        i64(before_batch),
        pointer(shift),
        pointer(after),
        i64(after_batch),
        f32(slope),
        f32(act_gain),
    ]
    grid = (-(-out_w // (COLUMNS * rows)), -(-out_h // STRIP[down]), b * groups)
    backend.launch("fir", f"{name}_{suffix(a.dtype)}", grid, (lanes, rows), args, device)
    return out


def upsample2(x: Any, *, add: Any = None, out: Any = None) -> Any:
    """x2 FIR up-sampling, plus `add`: a zero after every sample, padding (2, 1), filter with gain 4.

    x: (B, C, H, W), float16 or float32, channels-last. add, out: (B, C, 2H, 2W), same dtype, channels-last.
    Raises KernelError.
    """
    a = view(x, "x")
    require(a, dtype=arrays.FLOATS, shape=(None,) * 4, layout="channels_last")
    b, c, height, width = a.shape
    shape = (b, c, 2 * height, 2 * width)
    other = None
    if add is not None:
        other = require(view(add, "add"), dtype=a.dtype, shape=shape, layout="channels_last")
    device = same_device(a, other)
    backend = backend_for(device)
    if backend is None:
        from . import reference

        return reference.copied(reference.upsample2(x, add=add), out)
    if out is None:
        out = arrays.like(x, shape, a.dtype, channels_last=True)
    o = require(view(out, "out"), dtype=a.dtype, shape=shape, layout="channels_last")
    same_device(a, o)
    lanes, rows, groups = _split(c, a.dtype)
    args = [pointer(a), pointer(other), pointer(o), i32(c), i32(height), i32(width)]
    grid = (-(-width // rows), height, b * groups)
    backend.launch("fir", f"upsample2_{suffix(a.dtype)}", grid, (lanes, rows), args, device)
    return out


def picture_skip(
    x: Any,
    previous: Any = None,
    *,
    act_bias: Any = None,
    bias: Any = None,
    slope: float = 0.2,
    gain: float = SQRT2,
    out: Any = None,
) -> Any:
    """The running picture of a decoder: out = leaky_relu(x + act_bias, slope) * gain + bias + up2(previous).

    x: (B, C, H, W) with few channels, float16 or float32, any strides. Without `act_bias` no activation is applied.
    act_bias, bias: (C) float32. previous: (B, C, H/2, W/2) float32, contiguous. Returns float32, contiguous.
    Raises KernelError.
    """
    a = view(x, "x")
    require(a, dtype=arrays.FLOATS, shape=(None,) * 4)
    b, c, height, width = a.shape
    before = None
    if previous is not None:
        if height % 2 or width % 2:
            raise KernelError(f"the previous picture is half as large, so {height} x {width} must be even")
        before = require(
            view(previous, "previous"), dtype="float32", shape=(b, c, height // 2, width // 2), layout="contiguous"
        )
    first, second = (
        None if p is None else require(view(p, name), dtype="float32", shape=(c,), layout="contiguous")
        for p, name in ((act_bias, "act_bias"), (bias, "bias"))
    )
    device = same_device(a, before, first, second)
    backend = backend_for(device)
    if backend is None:
        from . import reference

        result = reference.picture_skip(x, previous, act_bias=act_bias, bias=bias, slope=slope, gain=gain)
        return reference.copied(result, out)
    if out is None:
        out = arrays.like(x, a.shape, "float32")
    o = require(view(out, "out"), dtype="float32", shape=a.shape, layout="contiguous")
    same_device(a, o)
    args = [
        pointer(a),
        *(i64(s) for s in a.strides),
        pointer(first),
        pointer(second),
        pointer(before),
        pointer(o),
        *(i32(n) for n in (c, height, width)),
        f32(slope),
        f32(gain),
    ]
    grid = (-(-width // THREADS), height, b * c)
    backend.launch("fir", f"picture_skip_{suffix(a.dtype)}", grid, (THREADS,), args, device)
    return out


def _split(channels: int, dtype: str) -> tuple[int, int, int]:
    """Lanes over the channels and rows over the columns of a block, and blocks over the channels."""
    vectors = channels // (8 if dtype == "float16" else 4)
    lanes = min(vectors, 32)
    return lanes, THREADS // lanes, -(-vectors // lanes)
