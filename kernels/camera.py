"""Camera frame to network input in one pass; see camera.cu."""

from __future__ import annotations

from typing import Any, Literal

from . import arrays
from .arrays import Array, KernelError, require, same_device, view
from .backends import backend_for, f32, i32, i64, pointer, suffix

Format = Literal["rgb24", "nv12", "i420"]
FORMATS: dict[str, int] = {"rgb24": 0, "nv12": 1, "i420": 2}
MATRICES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Weights of red and blue in luma (ITU-R BT.601-7 and BT.709-6)."""


def colour_constants(matrix: str, full_range: bool) -> tuple[float, float, float, float, float, float]:
    """luma offset, luma gain, R per Cr, G per Cb, G per Cr, B per Cb, for 8-bit YCbCr to RGB 0..255."""
    if matrix not in MATRICES:
        raise KernelError(f"matrix must be one of {', '.join(MATRICES)}, not {matrix!r}")
    red, blue = MATRICES[matrix]
    green = 1.0 - red - blue
    offset, luma, chroma = (0.0, 1.0, 1.0) if full_range else (16.0, 255.0 / 219.0, 255.0 / 224.0)
    red_v, blue_u = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    return offset, luma, red_v, -blue_u * blue / green, -red_v * red / green, blue_u


def frame_size(frame: Array, format: str) -> tuple[int, int]:
    """Height and width of a frame in `format`; raises KernelError where its shape does not fit."""
    if format not in FORMATS:
        raise KernelError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if format == "rgb24":
        require(frame, dtype="uint8", shape=(None, None, 3), layout="contiguous")
        return frame.shape[0], frame.shape[1]
    require(frame, dtype="uint8", shape=(None, None), layout="contiguous")
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    if frame.shape[0] % 3 or height % 2 or width % 2:
        raise KernelError(f"{frame.name} is not {format}: its shape is (H * 3 / 2, W) with even H and W")
    return height, width


def box_view(box: Any, name: str) -> Array | None:
    """A box in device memory: float32 (4): left, top, right, bottom."""
    return None if box is None else require(view(box, name), dtype="float32", shape=(4,), layout="contiguous")


def preprocess(
    frame: Any,
    *,
    size: tuple[int, int] | None = None,
    format: Format = "rgb24",
    box: Any = None,
    mirror: bool = False,
    matrix: str = "bt709",
    full_range: bool = False,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    dtype: str = "float16",
    channels_last: bool = True,
    out: Any = None,
) -> Any:
    """One frame to network input: colour conversion, crop, antialiased resize, (v / 255 - mean) / std.

    frame: uint8, contiguous: (H, W, 3) for "rgb24", (H * 3 / 2, W) for "nv12" and "i420".
    box: the crop: float32 (4) on the frame's device: left, top, right, bottom in pixels; None: the whole frame. It
    may reach beyond the frame, whose border then repeats. It is read when the kernel runs, so a captured graph
    follows it.
    matrix, full_range: how YCbCr was made. mirror: left and right exchanged.
    size: (height, width) of the result; taken from `out` where that is given.
    out: (1, 3, height, width), float16 or float32, any strides (one entry of a batch, for instance).
    The filter is Pillow's and torch's antialiased bilinear. Raises KernelError.
    """
    a = view(frame, "frame")
    height, width = frame_size(a, format)
    constants = colour_constants(matrix, full_range)
    crop = box_view(box, "box")
    device = same_device(a, crop)
    backend = backend_for(device)
    if out is None:
        if size is None:
            raise KernelError("give size or out")
        if dtype not in arrays.FLOATS:
            raise KernelError(f"dtype must be float16 or float32, not {dtype!r}")
        out = arrays.like(frame, (1, 3, *size), dtype, channels_last=channels_last)
    o = require(view(out, "out"), dtype=arrays.FLOATS, shape=(1, 3, *(size or (None, None))))
    same_device(a, o)
    if backend is None:
        from . import reference

        result = reference.preprocess(
            frame, o.shape[2:], format, box, mirror=mirror, constants=constants, mean=mean, std=std
        )
        return reference.copied(result, out)
    args = [
        pointer(a),
        *(i32(n) for n in (FORMATS[format], height, width)),
        pointer(crop),
        pointer(o),
        *(i64(s) for s in o.strides[1:]),
        *(i32(n) for n in (*o.shape[2:], mirror)),
        *(f32(k) for k in constants),
        *(f32(1 / (255 * s)) for s in std),
        *(f32(-m / s) for m, s in zip(mean, std, strict=True)),
    ]
    grid = (-(-o.shape[3] // 32), -(-o.shape[2] // 8))
    backend.launch("camera", f"preprocess_{suffix(o.dtype)}", grid, (32, 8), args, device)
    return out
