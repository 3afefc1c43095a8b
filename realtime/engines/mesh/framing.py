"""From any picture to a portrait: read it, find the face, crop and frame it with room for head and shoulders."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from pathlib import Path

import cv2
import numpy as np

from realtime.engines.mesh.motion.code import code_values
from realtime.errors import BadFile, BadPortrait, BadValue
from realtime.face.face_model import CHIN, FOREHEAD, OVAL, load_face_model
from realtime.face.landmarks import find_faces
from realtime.face.pose import HeadPose, angles, fit_pose
from realtime.face.upright import CUT, is_cut

SMALLEST_SIZE, LARGEST_SIZE = 64, 2160
"""Limits of the output picture's sides, pixels."""
MAX_PIXELS = 100_000_000
"""Larger picture files are refused before they are decoded."""
SMALLEST_FACE = 60
"""A face must be this high (forehead to chin, pixels of the given picture)."""
SEARCH_SIDE = 1600
"""Faces are sought in a copy of the picture no larger than this."""
FACE_SHARE = 0.40
"""Height of the face over the height of the frame, where there is room to choose."""
LEAST_SHARE_KEPT = 0.16
"""A picture of the right proportions whose face has at least this share is taken whole."""
HALF_BODY_KEPT = 0.12
"""The same where these are not square: such a size is chosen for what it shows beside the face, as of a person down
to the waist. A picture of other proportions is cut to them, and no further, where its face then has at least this."""
TIGHTEST_SHARE = 0.50
"""How tight the frame may become before the picture is continued beyond its edges."""
FACE_HEIGHT_IN_FRAME = 0.46
"""Where the middle of the face lies in the frame, from the top."""
MARGIN = 0.10
"""How much is kept beyond the frame on each side, for what comes into view when the head moves."""
TURNED, VERY_TURNED = 30.0, 55.0
"""Degrees of yaw from which a portrait earns a warning, and at which it is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class FramedPortrait:
    """picture: uint8 (H, W, 3), what will be shown at rest, as far as the given picture covers it. canvas: the same
    with `margin` pixels more on each side. real: (x0, y0, x1, y1), the part of the canvas that it covers.
    landmarks: float32 (478, 3), pixels of `picture`. pose: of the mean face. values: the face's motion code as an
    encoder would read it off the picture as given, before it was cropped. warnings: sentences for the user."""

    picture: np.ndarray
    canvas: np.ndarray
    margin: int
    real: tuple[int, int, int, int]
    landmarks: np.ndarray
    pose: HeadPose
    values: np.ndarray
    warnings: tuple[str, ...]


def output_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """(width, height) from a side or a (width, height) pair. Raises BadValue."""
    try:
        width, height = (index(side) for side in (size if isinstance(size, tuple | list) else (size, size)))
    except (TypeError, ValueError):
        raise BadValue("size", size, "a whole number of pixels, or a pair (width, height)") from None
    if not all(SMALLEST_SIZE <= side <= LARGEST_SIZE for side in (width, height)):
        raise BadValue("size", size, f"each side must be {SMALLEST_SIZE} to {LARGEST_SIZE} pixels")
    if not 0.4 <= width / height <= 2.5:
        raise BadValue("size", size, "one side can be at most 2.5 times the other")
    return width, height


def load_picture(path: str | Path) -> np.ndarray:
    """Read a picture file: uint8 (H, W, 3) RGB, turned upright as its EXIF data says.

    Grey, 16-bit and paletted pictures are converted; transparency is laid over light grey. Raises BadFile.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.exists():
        raise BadFile(path, "there is no such file")
    if path.is_dir():
        raise BadFile(path, "this is a folder; give the path of a picture")
    try:
        with Image.open(path) as file:
            if file.width * file.height > MAX_PIXELS:
                raise BadFile(path, f"it has more than {MAX_PIXELS // 1_000_000} million pixels; scale it down")
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith(("I", "F")):
                return _from_deep(np.asarray(image))
            if "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (224, 224, 224, 255)), image)
            return np.array(image.convert("RGB"))
    except BadFile:
        raise
    except Image.DecompressionBombError:
        raise BadFile(path, "the picture is too large to open; scale it down") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        reason = "truncated or damaged" if not isinstance(error, UnidentifiedImageError) else "in an unknown format"
        raise BadFile(path, f"the picture is {reason}; PNG, JPEG and WebP work") from error


def _from_deep(values: np.ndarray) -> np.ndarray:
    """A 16-bit, 32-bit or float grey picture as uint8 RGB."""
    values = values.astype(np.float64)
    top = 255.0 if values.max(initial=0.0) <= 255.0 else 65535.0
    if values.max(initial=0.0) <= 1.0:
        top = 1.0
    grey = np.clip(values / top * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))


def frame_portrait(image: np.ndarray, size: int | tuple[int, int] = 512) -> FramedPortrait:
    """Find the face in `image` (uint8 (H, W, 3) RGB, any size) and frame it for an output of `size`.

    Raises BadPortrait with one sentence that says why the picture cannot serve.
    """
    width, height = output_size(size)
    image = _checked(image)
    landmarks = _choose_face(image)
    return _framed(image, landmarks, choose_frame(landmarks, (image.shape[1], image.shape[0]), width / height), size)


def frame_view(image: np.ndarray, size: int | tuple[int, int], place: HeadPose) -> FramedPortrait:
    """Frame another picture of a portrait's person so that the head is as large, and lies, as `place` says: the pose
    of the portrait's own head. Raises BadPortrait as `frame_portrait` does."""
    width, height = output_size(size)
    image = _checked(image)
    landmarks = _choose_face(image)
    own = fit_pose(load_face_model().mean, landmarks.astype(np.float64))
    scale = place.scale / own.scale
    x0, y0 = own.translation[:2] + 0.5 - (place.translation[:2] + 0.5) / scale
    return _framed(image, landmarks, (x0, y0, x0 + width / scale, y0 + height / scale), size)


def _framed(
    image: np.ndarray, landmarks: np.ndarray, box: tuple[float, float, float, float], size: int | tuple[int, int]
) -> FramedPortrait:
    """The picture, whose face has these landmarks, cut to the `box`."""
    width, height = output_size(size)
    scale = width / (box[2] - box[0])
    margin = round(MARGIN * max(width, height))
    canvas, real = _cut(image, box, (width, height), margin)
    picture = np.ascontiguousarray(canvas[margin : margin + height, margin : margin + width])
    framed = landmarks.astype(np.float64)
    framed[:, :2] = (framed[:, :2] + 0.5 - box[:2]) * scale - 0.5
    framed[:, 2] *= scale
    pose = fit_pose(load_face_model().mean, framed)
    place = np.append((pose.translation[:2] + 0.5) / scale + box[:2] - 0.5, pose.translation[2] / scale)
    given = HeadPose(pose.scale / scale, pose.rotation, place)
    values = code_values(pose.to_face(framed), given, image.shape[1], image.shape[0])
    warnings = _warnings(pose, is_cut(landmarks, image))
    return FramedPortrait(picture, canvas, margin, real, framed.astype(np.float32), pose, values, warnings)


def _checked(image: np.ndarray) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadPortrait("a portrait is a uint8 array of shape (height, width, 3), RGB")
    if min(image.shape[:2]) < SMALLEST_FACE:
        raise BadPortrait(f"the picture is only {image.shape[1]}x{image.shape[0]} pixels; give a larger one")
    return np.ascontiguousarray(image)


def _choose_face(image: np.ndarray) -> np.ndarray:
    """Landmarks (478, 3) of the face to use, in pixels of `image`: the largest, and of equals the most central."""
    shrink = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    sought = image
    if shrink < 1.0:
        sought = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    faces = [face.astype(np.float64) / (shrink, shrink, shrink) for face in find_faces(sought)]
    if not faces:
        raise BadPortrait(
            "no human face found; use a picture in which one face is seen from the front (animals do not work)"
        )
    middle = np.array([image.shape[1], image.shape[0]]) / 2.0
    tallest = max(_face_height(face) for face in faces)
    large = [face for face in faces if _face_height(face) > 0.75 * tallest]
    face = min(large, key=lambda face: float(np.linalg.norm(face[list(OVAL), :2].mean(axis=0) - middle)))
    if _face_height(face) < SMALLEST_FACE:
        raise BadPortrait(
            f"the face is only {_face_height(face):.0f} pixels high; use a picture in which it has at least"
            f" {SMALLEST_FACE}"
        )
    yaw, _, _ = angles(fit_pose(load_face_model().mean, face).rotation)
    if abs(yaw) > VERY_TURNED:
        raise BadPortrait("the face is seen from the side; use a picture in which it looks towards the camera")
    return face


def _face_height(face: np.ndarray) -> float:
    return float(np.linalg.norm(face[FOREHEAD] - face[CHIN]))


def _warnings(pose: HeadPose, cut: bool) -> tuple[str, ...]:
    yaw, _, _ = angles(pose.rotation)
    turned = f"the face is turned by {abs(yaw):.0f} degrees; a portrait that looks into the camera moves better"
    return (turned,) * (abs(yaw) > TURNED) + (CUT,) * cut


def choose_frame(landmarks: np.ndarray, picture: tuple[int, int], aspect: float) -> tuple[float, float, float, float]:
    """The rectangle (x0, y0, x1, y1) of the picture to show; it may reach beyond the picture.

    landmarks: (478, 3). picture: its (width, height). aspect: width over height of the output. A picture that is
    framed as a portrait already is taken whole; one that shows more of the body as much of it as an output that is
    not square can show. Else the frame gets head-and-shoulders room around the face; it is pushed into the picture
    and tightened, and only what still does not fit reaches beyond.
    """
    width, height = picture
    fh = _face_height(landmarks)
    x, y = landmarks[list(OVAL), :2].mean(axis=0)
    near_aspect = abs(width / height / aspect - 1.0) < 0.02
    square = abs(aspect - 1.0) < 0.02
    if near_aspect and fh / height >= (LEAST_SHARE_KEPT if square else HALF_BODY_KEPT):
        return 0.0, 0.0, float(width), float(height)
    # first tighten until the frame fits, but no further than a head needs; a wide output may go on being wide
    fits = min(float(height), width / aspect)
    half_body = not square and fh / fits >= HALF_BODY_KEPT
    tall = max(fits if half_body else min(fh / FACE_SHARE, fits), fh / TIGHTEST_SHARE)
    wide = tall * aspect
    x0 = _place(x - wide / 2.0, wide, width)
    y0 = _place(y - FACE_HEIGHT_IN_FRAME * tall, tall, height)
    return x0, y0, x0 + wide, y0 + tall


def _place(start: float, length: float, room: float) -> float:
    """Push the interval into 0..room; centre the room in it where it does not fit."""
    if length >= room:
        return min(0.0, max(room - length, start))
    return min(max(start, 0.0), room - length)


def _cut(
    image: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int], margin: int
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The frame with its margins at output size, and the part of it that the picture covers.

    Beyond the picture's edges it is mirrored, for want of anything better (`beyond.py` has it).
    """
    width, height = size
    scale = width / (box[2] - box[0])
    full = (width + 2 * margin, height + 2 * margin)
    source, shrink = image, 1.0
    while scale / shrink < 0.5:  # bilinear sampling needs a picture not much larger than the result
        source = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        shrink *= 0.5
    s = scale / shrink
    x0, y0 = box[0] * shrink, box[1] * shrink
    # pixel centres: target = (source + 0.5 - x0) s - 0.5 + margin
    matrix = np.array([[s, 0.0, (0.5 - x0) * s - 0.5 + margin], [0.0, s, (0.5 - y0) * s - 0.5 + margin]])
    if 0.5 <= s < 0.98:
        source = cv2.GaussianBlur(source, (0, 0), 0.42 * np.sqrt(1.0 / s**2 - 1.0) + 1e-3)
    identity = abs(s - 1.0) < 1e-9 and abs(x0 - round(x0)) < 1e-9 and abs(y0 - round(y0)) < 1e-9
    flags = cv2.INTER_NEAREST if identity else cv2.INTER_CUBIC
    canvas = cv2.warpAffine(source, matrix, full, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    h, w = source.shape[:2]
    edges = [matrix[0, 2] - 0.5 * s + 0.5, matrix[1, 2] - 0.5 * s + 0.5]
    real = (
        int(np.clip(np.ceil(edges[0] - 1e-6), 0, full[0] - 1)),
        int(np.clip(np.ceil(edges[1] - 1e-6), 0, full[1] - 1)),
        int(np.clip(np.floor(edges[0] + w * s + 1e-6), 1, full[0])),
        int(np.clip(np.floor(edges[1] + h * s + 1e-6), 1, full[1])),
    )
    return canvas, real
