"""From a decoded PyAV frame to RGB pixels, with colour matrix and range said explicitly, turned upright, and scaled
down where it is larger than needed. Used by all sources that decode video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import av

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_BT709, _BT470BG, _SMPTE170M, _SMPTE240M, _BT2020 = 1, 5, 6, 7, 9
_SWS_MATRIX = {_BT709: 1, 4: 4, _BT470BG: 5, _SMPTE170M: 5, _SMPTE240M: 7, _BT2020: 9, 10: 9}
_FULL, _LIMITED = 2, 1
_BILINEAR, _AREA = 0x2, 0x20
_EXACT = 0x40000 | 0x2000
"""swscale: exact rounding and full chroma. Without them pictures darken by a grey level, ten times as fast."""


def matrix_of(frame: av.VideoFrame) -> int:
    """The swscale number of the YUV matrix of `frame`. Where the file does not say: BT.601 for JPEG and for
    pictures of less than 720 lines, BT.709 above (what cameras and players do)."""
    stated = _SWS_MATRIX.get(int(frame.colorspace))
    if stated is not None:
        return stated
    if frame.format.name.startswith("yuvj") or frame.height < 720:
        return _SWS_MATRIX[_SMPTE170M]
    return _SWS_MATRIX[_BT709]


def range_of(frame: av.VideoFrame) -> int:
    """1 for limited (16 to 235), 2 for full range. JPEG formats and RGB are full; unstated YUV is limited."""
    if frame.format.name.startswith("yuvj") or frame.format.is_rgb:
        return _FULL
    return _FULL if int(frame.color_range) == _FULL else _LIMITED


def target_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """The size to convert to: the same, or scaled down in proportion so that no side is above `max_side`."""
    scale = min(1.0, max_side / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def to_rgb(frame: av.VideoFrame, reformatter: Any, max_side: int, exact: bool = True) -> np.ndarray:
    """uint8 (H, W, 3) RGB, C-contiguous and upright. `reformatter` is an `av.video.reformatter.VideoReformatter`
    kept by the caller, so that its tables are made once per size. `exact`: colours come back to half a grey level;
    otherwise to one and a half, in a tenth of the time, which is enough to find a face."""
    width, height = target_size(frame.width, frame.height, max_side)
    converted = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix_of(frame),
        src_color_range=range_of(frame),
        dst_color_range=_FULL,
        interpolation=(_BILINEAR if (width, height) == (frame.width, frame.height) else _AREA) | (_EXACT * exact),
    )
    image = converted.to_ndarray()
    turns = round(frame.rotation / 90) % 4  # rotation: degrees counter-clockwise that set the picture upright
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else np.ascontiguousarray(image)
