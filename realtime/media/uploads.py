"""Pictures from strangers: looked at before they are decoded, decoded by few formats, and made anew."""

from __future__ import annotations

import io
import itertools
import re
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from realtime.errors import BadPortrait

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF")
NAMES = "PNG, JPEG, WebP, GIF, TIFF, AVIF or HEIC"
LARGEST_SIDE = 1536
"""Pixels. Larger portraits are scaled down: no engine draws more."""
SMALLEST_SIDE = 64
MOST_SCANS = 32
"""Of a JPEG. A progressive one has 10 as encoders make them; each is a pass over the whole picture."""
MOST_PARTS = 5000
"""Markers of a JPEG, chunks of a PNG or a WebP: what comes in as many pieces is no photograph."""
MOST_FRAMES = 200
"""Of an animation, of which the first is taken."""
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, RuntimeError)
"""What Pillow's decoders raise for a picture that is damaged; AVIF's the last."""
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""Not FF00 and FFD0 to FFD7, which belong to a scan."""
_ALONE = (b"\x01", b"\xd8")
"""Markers without a length."""


def check_cost(data: bytes) -> None:
    """Raise BadPortrait for a picture that its decoder would work on for long, by its outer form alone: the scans,
    frames and pieces that it consists of are counted, nothing is decoded. What has no such form passes."""
    names = Counter(itertools.islice(_pieces(data), MOST_PARTS + 1))
    if names[b"\xda"] > MOST_SCANS:
        raise BadPortrait(f"a JPEG of more than {MOST_SCANS} scans takes too long to decode; save it anew")
    if names[b"fcTL"] + names[b"ANMF"] > MOST_FRAMES:
        raise BadPortrait(f"an animation of more than {MOST_FRAMES} frames; bring a still picture")
    if names.total() > MOST_PARTS:
        raise BadPortrait(f"a picture of more than {MOST_PARTS} pieces takes too long to decode; save it anew")


def _pieces(data: bytes) -> Iterator[bytes]:
    """The markers of a JPEG (T.81, annex B), the chunks of a PNG or a WebP, by name."""
    if data.startswith(b"\xff\xd8"):
        at = 2
        while (marker := _MARKER.search(data, at)) and marker[1] != b"\xd9":
            yield marker[1]
            length = data[marker.end() : marker.end() + 2]
            at = marker.end() + (0 if marker[1] in _ALONE else int.from_bytes(length, "big"))
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        at = 8
        while at + 8 <= len(data):
            size, name = struct.unpack_from(">I4s", data, at)
            yield name
            at += 12 + size
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        at = 12
        while at + 8 <= len(data):
            name, size = struct.unpack_from("<4sI", data, at)
            yield name
            at += 8 + size + size % 2


def decode_portrait(data: bytes, max_pixels: int) -> np.ndarray:
    """The picture in `data` (`NAMES`): uint8 (H, W, 3) RGB, upright, no side above `LARGEST_SIDE`.

    What it would cost is judged first (`check_cost`); the size is read from the header and checked before any pixel
    is decoded; only the first frame of an animation is taken; transparency is laid over white; names, places and all
    else in the file's metadata are left behind. Raises BadPortrait; MemoryError where there is too little."""
    check_cost(data)
    know_heif()
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
                return flatten(upright)
        except UnidentifiedImageError:
            raise BadPortrait(f"this is not a {NAMES} picture") from None
        except Image.DecompressionBombError:
            raise BadPortrait(f"its pixels are too many; at most {max_pixels // 1_000_000} million") from None
        except DAMAGED:
            raise BadPortrait("the picture is damaged") from None


@lru_cache(maxsize=1)
def know_heif() -> None:
    """HEIC, as telephones write it."""
    pillow_heif.register_heif_opener(thumbnails=False)


def flatten(picture: Image.Image) -> np.ndarray:
    """RGB over white."""
    if picture.mode.startswith(("I", "F")):  # 16 bits or more of grey, which `convert` would cut off
        grey = np.asarray(picture, np.float64)
        top = next((top for top in (1.0, 255.0, 65535.0) if grey.max() <= top), float(grey.max()))
        picture = Image.fromarray(np.clip(grey / top * 255.0 + 0.5, 0, 255).astype(np.uint8))
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
