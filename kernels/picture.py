"""Network output to a picture in one pass; see picture.cu."""

from __future__ import annotations

from typing import Any

from . import arrays
from .arrays import KernelError, require, same_device, view
from .backends import backend_for, f32, i32, i64, pointer, suffix
from .camera import FORMATS, Format, box_view


def postprocess(
    x: Any,
    *,
    size: tuple[int, int] | None = None,
    format: Format = "rgb24",
    background: Any = None,
    box: Any = None,
    feather: float = 0.0,
    out: Any = None,
) -> Any:
    """One network output to an 8-bit picture: resize, paste into the portrait, colour conversion.

    x: (1, 3, H, W), float16 or float32, any strides, -1 ... 1 (clamped; what is not a number becomes black).
    background: the portrait, uint8 (height, width, 3), contiguous; box: float32 (4) on the same device: left, top,
    right, bottom of where the output lies in it; feather: width in pixels of the ramp inside the box's edges (an edge
    on the picture's border does not fade). Without a background the output fills the picture.
    size: (height, width) of the picture; default: the background's, else x's.
    Returns uint8 (height, width, 3) for "rgb24", (height * 3 / 2, width) for "nv12" and "i420" (BT.709, limited
    range, even sides), values rounded to nearest. Raises KernelError.
    """
    a = view(x, "x")
    require(a, dtype=arrays.FLOATS, shape=(1, 3, None, None))
    behind = None
    if background is not None:
        behind = require(view(background, "background"), dtype="uint8", shape=(None, None, 3), layout="contiguous")
        if size is not None and tuple(size) != behind.shape[:2]:
            raise KernelError(f"size {size} is not the background's {behind.shape[:2]}")
    elif box is not None:
        raise KernelError("box says where the output lies in a background: give background")
    height, width = size or (behind.shape[:2] if behind else a.shape[2:])
    if format not in FORMATS:
        raise KernelError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if format != "rgb24" and (height % 2 or width % 2):
        raise KernelError(f"{format} needs even sides, not {height} x {width}")
    crop = box_view(box, "box")
    device = same_device(a, behind, crop)
    backend = backend_for(device)
    shape = (height, width, 3) if format == "rgb24" else (height * 3 // 2, width)
    if out is None:
        out = arrays.like(x, shape, "uint8")
    o = require(view(out, "out"), dtype="uint8", shape=shape, layout="contiguous")
    same_device(a, o)
    if backend is None:
        from . import reference

        result = reference.postprocess(x, (height, width), format, background, box, feather)
        return reference.copied(result, out)
    args = [
        pointer(a),
        *(i64(s) for s in a.strides[1:]),
        *(i32(n) for n in a.shape[2:]),
        pointer(behind),
        pointer(crop),
        f32(feather),
        pointer(o),
        *(i32(n) for n in (FORMATS[format], width, height)),
        f32(127.5),
        f32(127.5),
    ]
    step = 1 if format == "rgb24" else 2
    grid = (-(-width // (32 * step)), -(-height // (8 * step)))
    backend.launch("picture", f"postprocess_{suffix(a.dtype)}", grid, (32, 8), args, device)
    return out
