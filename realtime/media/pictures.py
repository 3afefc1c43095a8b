"""Pictures in files: any common format in, RGB out, and back. Paths with any characters work on every system."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from realtime.errors import BadFile, BadValue
from realtime.home import user_path
from realtime.outputs import not_written, write_whole


def read_picture(path: str | Path, max_side: int | None = None) -> np.ndarray:
    """The picture in `path`: uint8 (H, W, 3) RGB, upright (EXIF), transparency laid over white.

    `max_side`: scale down where a side is larger, pixels. Raises BadFile.
    """
    import cv2

    path = user_path(path)
    if not path.exists():
        raise BadFile(path, "no such file")
    if path.is_dir():
        raise BadFile(path, "is a folder, not a picture")
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise BadFile(path, f"may not be read ({error.strerror})") from error
    if data.size == 0:
        raise BadFile(path, "is empty")
    image = _decode(data)
    if image is None:
        image = _decode_with_pillow(data.tobytes())
    if image is None:
        image = _decode_with_av(path)
    if image is None:
        raise BadFile(path, "is not a picture that can be read (PNG, JPEG, WebP, BMP, GIF, TIFF, AVIF, HEIC)")
    if max_side is not None and max(image.shape[:2]) > max_side:
        scale = max_side / max(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


def write_picture(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB, or (H, W, 4) with transparency, to `path`; its suffix (.png, .jpg, .webp, ...) says
    how. Raises BadFile, NotWritten."""
    import cv2

    path = user_path(path)
    check_picture_target(path)
    ok, data = cv2.imencode(
        path.suffix, cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    )
    if not ok:
        raise BadFile(path, "the picture cannot be written in this format")
    write_whole(path, data.tobytes())


def check_picture_target(path: str | Path) -> None:
    """Raise BadFile where a picture could not be written to `path`; writes nothing."""
    path = user_path(path)
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}:
        raise BadFile(path, "the name must end in .png, .jpg or .webp")
    check_folder_of(path)


def check_folder_of(path: Path) -> None:
    """Raise BadFile where no file can be made at `path`: its folder is missing or may not be written, it is a folder
    itself, or a file that may not be changed. Leaves everything as it was."""
    path = user_path(path)
    if path.is_dir():
        raise BadFile(path, "is a folder")
    if not path.parent.is_dir():
        raise BadFile(path, f"there is no folder {path.parent}")
    try:  # to ask for the permission would not do: a mount may be read-only, or of a kind that takes no files
        if path.is_file():
            path.open("r+b").close()
        if path.is_file() or not path.exists():
            tempfile.TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise not_written(path, error) from error


def check_frame(image: object) -> None:
    """Raise BadValue where `image` is no driving frame: uint8 (H, W, 3), at least one pixel."""
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        given = type(image).__name__ if shape is None else f"{dtype} {tuple(shape)}"
        raise BadValue("frame", given, "a driving frame is uint8 (height, width, 3), RGB")


def fit_into(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """`image`, uint8 (H, W, 3), scaled in proportion into (height, width, 3), black around. Where it is right
    already, or has a row or column too many (video wants even sizes), it is only cut."""
    if image.shape[0] - height in (0, 1) and image.shape[1] - width in (0, 1):
        return np.ascontiguousarray(image[:height, :width])
    import cv2

    scale = min(width / image.shape[1], height / image.shape[0])
    inner_w = min(width, max(1, round(image.shape[1] * scale)))
    inner_h = min(height, max(1, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, (inner_w, inner_h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    out[top : top + inner_h, left : left + inner_w] = scaled
    return out


def _decode(data: np.ndarray) -> np.ndarray | None:
    import cv2

    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if image is None:
        return None
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if raw is not None and raw.ndim == 3 and raw.shape[2] == 4 and raw.shape[:2] == image.shape[:2]:
        alpha = raw[..., 3:].astype(np.float32) / (65535.0 if raw.dtype == np.uint16 else 255.0)
        image = (image * alpha + 255.0 * (1.0 - alpha) + 0.5).astype(np.uint8)
    return image


def _decode_with_pillow(data: bytes) -> np.ndarray | None:
    """Formats that OpenCV does not read (HEIC of a telephone, which is of many tiles; AVIF; GIF): the first frame."""
    import io

    from PIL import Image, ImageOps

    from realtime.media.uploads import DAMAGED, flatten, know_heif

    know_heif()
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return flatten(ImageOps.exif_transpose(picture))
    except (*DAMAGED, Image.DecompressionBombError):
        return None


def _decode_with_av(path: Path) -> np.ndarray | None:
    """Formats that OpenCV does not read (AVIF, animated WebP), through FFmpeg: the first frame."""
    import av
    from av.video.reformatter import VideoReformatter

    from realtime.media.decode import to_rgb

    try:
        with av.open(str(path.absolute())) as container:  # a:b.png alone would be an address to FFmpeg
            frame = next(container.decode(video=0))
            return to_rgb(frame, VideoReformatter(), max_side=8192)
    except (av.FFmpegError, OSError, ValueError, IndexError, StopIteration):
        return None
