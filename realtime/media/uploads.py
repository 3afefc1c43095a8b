"""Pictures from strangers: looked at before they are decoded, decoded by few formats, and made anew."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from realtime.errors import BadPortrait

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_SIDE = 1536
"""Pixels. Larger portraits are scaled down: no engine draws more."""
SMALLEST_SIDE = 64


def decode_portrait(data: bytes, max_pixels: int) -> np.ndarray:
    """The picture in `data` (PNG, JPEG or WebP): uint8 (H, W, 3) RGB, upright, no side above `LARGEST_SIDE`.

    The size is read from the header and checked before any pixel is decoded; only the first frame of an animation
    is taken; transparency is laid over white; names, places and all else in the file's metadata are left behind.
    Raises BadPortrait."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise BadPortrait(
                        f"{width} x {height} pixels are too many; at most {max_pixels // 1_000_000} million"
                    )
                if min(width, height) < SMALLEST_SIDE:
                    raise BadPortrait(f"{width} x {height} pixels are too few; each side needs {SMALLEST_SIDE}")
                picture.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))  # lets JPEG decode at a fraction of its size
                picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
                upright = ImageOps.exif_transpose(picture)
                return _flatten(upright)
        except UnidentifiedImageError:
            raise BadPortrait("this is not a PNG, JPEG or WebP picture") from None
        except Image.DecompressionBombError:
            raise BadPortrait(f"its pixels are too many; at most {max_pixels // 1_000_000} million") from None
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError):
            raise BadPortrait("the picture is damaged") from None


def _flatten(picture: Image.Image) -> np.ndarray:
    """RGB over white."""
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(picture.convert("RGB"), np.uint8)


def encode_jpeg(image: np.ndarray, side: int | None = None, quality: int = 88) -> bytes:
    """uint8 (H, W, 3) RGB as JPEG without metadata; `side`: cropped to a centred square of that many pixels."""
    picture = Image.fromarray(image)
    if side is not None:
        picture = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS, centering=(0.5, 0.3))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()
