"""Flow head, warp and blend of a LIA-type decoder level in one pass over memory; see warp.cu."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import arrays
from .arrays import Array, KernelError, require, same_device, view
from .backends import backend_for, f32, i32, i64, pointer, suffix

THREADS = 256


class Warped(NamedTuple):
    """Results of `warp_blend`. warped is None where it was not asked for."""

    warped: Any  # (B, C, H, W)
    blended: Any  # (B, C, H, W)
    logits: Any  # (B, 3, H, W) float32
    picture: Any = None  # (B, 3, H, W) float32


class Colour(NamedTuple):
    """A colour head for `warp_blend`: picture = leaky_relu(weight . warped + inner, slope) + outer + up2(previous).

    weight: (3, C), inner and outer: (3), previous: (B, 3, H/2, W/2) or None; all float32, contiguous.
    """

    weight: Any
    inner: Any
    outer: Any
    previous: Any = None
    slope: float = 0.2


def warp_blend(
    features: Any,
    trunk: Any,
    logits: Any = None,
    previous: Any = None,
    *,
    align_corners: bool,
    head: Any = None,
    bias: Any = None,
    post: Any = None,
    colour: Colour | None = None,
    want_warped: bool = True,
    out: Warped | None = None,
) -> Warped:
    """Move the portrait's features by a flow and blend them with the trunk.

    With l = (logits, or head . trunk) + bias + up2(previous), offsets tanh(l[0:2]) in x and y, mask m = sigmoid(l[2])
    and base grid linspace(-1, 1) in both axes (LIA, arXiv 2203.09043, equations 4 and 5):
    warped = bilinear(features, grid + offset, zeros outside) * m; blended = (warped + (1 - m) * trunk) * post.

    features: (B or 1, C, H, W), float16 or float32, channels-last; a batch of one is shared.
    trunk: (B, C, H, W), same dtype, channels-last.
    logits: (B, 3, H, W) float32, any strides. Or `head`: (B, 3, C) float32, a 1 x 1 convolution of the trunk that is
        then part of the same pass.
    previous: (B, 3, H/2, W/2) float32, any strides: the logits this function returned for the coarser level.
    align_corners: as in `grid_sample`; False for LIA, True for LIA-X.
    bias: (3) float32. post: (C) or (B, C) float32, the style of the next convolution.
    colour: makes the level's picture in the same pass. want_warped: False saves writing `warped`.
    out: results to write into.

    Flow and mask are float32 throughout. A flow that is not a number shows nothing (warped = 0), a mask that is not
    a number keeps the trunk. Raises KernelError.
    """
    h = view(trunk, "trunk")
    require(h, dtype=arrays.FLOATS, shape=(None,) * 4, layout="channels_last")
    b, c, height, width = h.shape
    f = view(features, "features")
    require(f, dtype=h.dtype, shape=(None, c, height, width), layout="channels_last")
    if f.shape[0] not in (1, b):
        raise KernelError(f"features have a batch of {f.shape[0]}; the trunk has {b}")
    if (logits is None) == (head is None):
        raise KernelError("give either logits or head")
    flow = None if logits is None else require(view(logits, "logits"), dtype="float32", shape=(b, 3, height, width))
    weight = None
    if head is not None:
        weight = require(view(head, "head"), dtype="float32", shape=(b, 3, c), layout="contiguous")
        if weight.ptr % 16:
            raise KernelError("head must start at an address that is a multiple of 16 bytes")
    before = None
    if previous is not None:
        if height % 2 or width % 2:
            raise KernelError(f"previous logits are half as large, so {height} x {width} must be even")
        before = require(view(previous, "previous"), dtype="float32", shape=(b, 3, height // 2, width // 2))
    shift = None if bias is None else require(view(bias, "bias"), dtype="float32", shape=(3,), layout="contiguous")
    gain, gain_batch = arrays.per_channel(post, "post", b, c)
    heads = _colour_views(colour, b, c, height, width)
    device = same_device(h, f, flow, weight, before, shift, gain, *heads)
    backend = backend_for(device)
    if backend is None:
        from . import reference

        return reference.copied(
            reference.warp_blend(
                features,
                trunk,
                logits,
                previous,
                align_corners=align_corners,
                head=head,
                bias=bias,
                post=post,
                colour=colour,
            ),
            out,
            Warped,
            drop_first=not want_warped,
        )

    if out is None:
        shape = (b, c, height, width)
        out = Warped(
            arrays.like(trunk, shape, h.dtype, channels_last=True) if want_warped else None,
            arrays.like(trunk, shape, h.dtype, channels_last=True),
            arrays.like(trunk, (b, 3, height, width), "float32"),
            arrays.like(trunk, (b, 3, height, width), "float32") if colour else None,
        )
    warped = None
    if out.warped is not None:
        warped = require(view(out.warped, "out.warped"), dtype=h.dtype, shape=h.shape, layout="channels_last")
    blended = require(view(out.blended, "out.blended"), dtype=h.dtype, shape=h.shape, layout="channels_last")
    raw = require(view(out.logits, "out.logits"), dtype="float32", shape=(b, 3, height, width), layout="contiguous")
    picture = None
    if colour is not None:
        picture = require(
            view(out.picture, "out.picture"), dtype="float32", shape=(b, 3, height, width), layout="contiguous"
        )
    same_device(h, warped, blended, raw, picture)

    lanes, shift_x, rows = _tile(c // (8 if h.dtype == "float16" else 4), height, width, b)
    tiles = -(-width // (1 << shift_x)) * -(-height // rows)
    fl, pl = (flow.strides if flow else (0,) * 4), (before.strides if before else (0,) * 4)
    args = [
        pointer(f),
        i64(0 if f.shape[0] == 1 else c * height * width),
        pointer(h),
        pointer(flow),
        *(i64(s) for s in fl),
        pointer(weight),
        pointer(shift),
        pointer(before),
        *(i64(s) for s in pl),
        pointer(gain),
        i64(gain_batch),
        pointer(warped),
        pointer(blended),
        pointer(raw),
        *(i32(n) for n in (c, height, width, align_corners, shift_x, rows)),
        *(pointer(a) for a in heads),
        pointer(picture),
        f32(colour.slope if colour else 0.0),
    ]
    name = f"{'flow_' if head is not None else ''}warp_blend_{'colour_' if colour else ''}{suffix(h.dtype)}"
    backend.launch("warp", name, (tiles, b), (lanes, THREADS // lanes), args, device)
    return out


def _colour_views(colour: Colour | None, b: int, c: int, height: int, width: int) -> list[Array | None]:
    """weight, inner, outer and previous of a colour head, checked."""
    if colour is None:
        return [None] * 4
    weight = require(view(colour.weight, "colour.weight"), dtype="float32", shape=(3, c), layout="contiguous")
    if weight.ptr % 16:
        raise KernelError("colour.weight must start at an address that is a multiple of 16 bytes")
    inner, outer = (
        require(view(v, f"colour.{name}"), dtype="float32", shape=(3,), layout="contiguous")
        for v, name in ((colour.inner, "inner"), (colour.outer, "outer"))
    )
    before = None
    if colour.previous is not None:
        if height % 2 or width % 2:
            raise KernelError(f"the previous picture is half as large, so {height} x {width} must be even")
        shape = (b, 3, height // 2, width // 2)
        before = require(view(colour.previous, "colour.previous"), dtype="float32", shape=shape, layout="contiguous")
    return [weight, inner, outer, before]


def _tile(vectors: int, height: int, width: int, batch: int) -> tuple[int, int, int]:
    """Lanes per pixel, log2 of the tile's width, and its height.

    The largest tile that still gives every multiprocessor of a large GPU several blocks; square, for the cache.
    """
    lanes = 1
    while lanes * 2 <= min(vectors, 32):
        lanes *= 2
    sizes = [(4, 16), (4, 8), (3, 8), (3, 4), (2, 4), (2, 2)]
    least = THREADS // lanes
    fitting = [(s, r) for s, r in sizes if (r << s) >= min(least, 256)] or sizes[:1]
    for shift, rows in fitting:
        if batch * -(-width // (1 << shift)) * -(-height // rows) >= 1024:
            return lanes, shift, rows
    return lanes, *fitting[-1]
