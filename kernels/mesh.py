"""Mesh warp: triangles with depth to a backward flow, and a flow to a picture; see mesh.cu."""

from __future__ import annotations

import math
from typing import Any

from . import arrays
from .arrays import KernelError, require, same_device, view
from .backends import backend_for, f32, i32, pointer

OUTSIDE = -1.0e4
"""What the flow holds where no triangle lies: far outside every texture."""


def mesh_flow(
    points: Any,
    depth: Any,
    uv: Any,
    triangles: Any,
    *,
    size: tuple[int, int] | None = None,
    outside: float | None = OUTSIDE,
    scratch: Any = None,
    out: Any = None,
) -> Any:
    """For every pixel the texture coordinate of the nearest triangle that covers it.

    points: float32 (n, 2), pixels; pixel (x, y) is drawn where its centre (x, y) is inside. depth: float32 (n),
    smaller is nearer, of equal depths the earlier triangle wins. uv: float32 (n, 2). triangles: int32 (m, 3), either
    winding; corners must be valid indices. size: (H, W), or taken from `out`.
    outside: value where nothing is drawn; None leaves what `out` holds (a layer drawn over another).
    scratch: uint64 or int64 (H, W), contiguous; give it where nothing may be allocated.
    Returns float32 (2, H, W): x, y. Raises KernelError.
    """
    p = require(view(points, "points"), dtype="float32", shape=(None, 2), layout="contiguous")
    n = p.shape[0]
    z = require(view(depth, "depth"), dtype="float32", shape=(n,), layout="contiguous")
    t = require(view(uv, "uv"), dtype="float32", shape=(n, 2), layout="contiguous")
    k = require(view(triangles, "triangles"), dtype="int32", shape=(None, 3), layout="contiguous")
    if out is None:
        if size is None or outside is None:
            raise KernelError("give out, or size and a value for outside")
        out = arrays.like(points, (2, *size), "float32")
    o = require(view(out, "out"), dtype="float32", shape=(2, *(size or (None, None))), layout="contiguous")
    device = same_device(p, z, t, k, o)
    height, width = o.shape[1:]
    backend = backend_for(device)
    if backend is None:
        from . import reference

        return reference.mesh_flow(points, depth, uv, triangles, out, outside)
    if scratch is None:
        scratch = arrays.like(points, (height, width), "int64")
    nearest = require(view(scratch, "scratch"), dtype=("int64", "uint64"), shape=(height, width), layout="contiguous")
    same_device(p, nearest)
    tiles = (-(-width // 32), -(-height // 8))
    clear = [pointer(nearest), i32(height * width)]
    backend.launch("mesh", "mesh_clear", (-(-height * width // 256),), (256,), clear, device)
    if k.shape[0]:
        drawn = [pointer(p), pointer(z), pointer(k), pointer(nearest), i32(height), i32(width)]
        backend.launch("mesh", "mesh_raster", (k.shape[0],), (128,), drawn, device)
    fill = f32(math.nan if outside is None else outside)
    args = [pointer(p), pointer(t), pointer(k), pointer(nearest), pointer(o), i32(height), i32(width), fill]
    backend.launch("mesh", "mesh_flow", tiles, (32, 8), args, device)
    return out


def remap(picture: Any, flow: Any, *, behind: Any = None, repeat_border: bool = False, out: Any = None) -> Any:
    """Backward warp: out[y, x] = picture at (flow[0, y, x], flow[1, y, x]), bilinear.

    picture: uint8 (PH, PW, 1, 3 or 4), contiguous. flow: float32 (2, H, W), contiguous, pixels of the picture.
    repeat_border: outside the picture its border repeats; otherwise it is 0.
    behind: uint8 (H, W, 3); picture then is RGB multiplied by alpha, then alpha, and is laid over it.
    Returns uint8 (H, W, channels), with `behind` (H, W, 3). Raises KernelError.
    """
    a = require(view(picture, "picture"), dtype="uint8", shape=(None, None, None), layout="contiguous")
    f = require(view(flow, "flow"), dtype="float32", shape=(2, None, None), layout="contiguous")
    channels, (height, width) = a.shape[2], f.shape[1:]
    if channels not in (1, 3, 4):
        raise KernelError(f"picture must have 1, 3 or 4 channels, not {channels}")
    back = None
    if behind is not None:
        back = require(view(behind, "behind"), dtype="uint8", shape=(height, width, 3), layout="contiguous")
        if channels != 4:
            raise KernelError("only a picture with alpha (4 channels) can be laid over another")
    shape = (height, width, 3 if back else channels)
    device = same_device(a, f, back)
    backend = backend_for(device)
    if backend is None:
        from . import reference

        return reference.copied(reference.remap(picture, flow, behind=behind, repeat_border=repeat_border), out)
    if out is None:
        out = arrays.like(picture, shape, "uint8")
    o = require(view(out, "out"), dtype="uint8", shape=shape, layout="contiguous")
    same_device(a, o)
    args = [
        pointer(a),
        *(i32(n) for n in a.shape),
        pointer(f),
        pointer(back),
        pointer(o),
        *(i32(n) for n in (height, width, repeat_border)),
    ]
    backend.launch("mesh", "remap_u8", (-(-width // 32), -(-height // 8)), (32, 8), args, device)
    return out
