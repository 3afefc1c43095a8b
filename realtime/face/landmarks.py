"""Face landmarks from pictures: `FaceTracker` for live video, `find_faces` for still pictures.

Both use MediaPipe's FaceMesh with iris refinement, whose models are inside the mediapipe wheel; the tracker does
without MediaPipe's graph where it can, see `facemesh`. Landmarks are float32 (478, 3): x and y in pixels, z on the
same scale (smaller is nearer), see `face_model` for the indices.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from realtime.face.face_model import CHIN, FOREHEAD, LANDMARKS, SKIN
from realtime.face.facemesh import FaceMesh
from realtime.face.litert import available

FULL_SIZE_FACE = 200
"""Face height in pixels that FaceMesh can make use of; a frame is halved while its face stays above this."""
SEARCH_HEIGHT = 480
"""Frames are halved down to about this height while a face is sought."""
SETTLING_PASSES = 5
"""Further readings of the frame in which a face is found; each starts from the one before."""
PATIENCE = 20
"""Frames for which a face that was lost may come back before another one is followed."""
DARK = 6
"""A frame without any pixel brighter than this (of 255) is a covered lens, not a picture."""

_silence_lock = threading.RLock()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what native code prints on stderr away from the user's terminal.

    MediaPipe's libraries write start-up notes straight to file descriptor 2, whatever the logging settings are.
    """
    with _silence_lock:
        try:
            saved = os.dup(2)
        except OSError:  # No stderr at all: nothing to keep quiet.
            yield
            return
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


class FaceTracker:
    """Follows one face through a video.

    Not thread-safe; use one per driver. The first call takes some tenths of a second to load the models.
    """

    def __init__(self) -> None:
        self._mesh: FaceMesh | _Graph | None = None
        self._spoken = False  # Native code has said all it says when it first meets a face.
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Forget the face followed so far."""
        self._last: np.ndarray | None = None  # Corners and height of the face last seen, in shares of the picture.
        self._missed = 1
        self._face_pixels = 0.0
        if self._mesh is not None:
            self._mesh.reset()

    def track(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks of the face in the next frame: float32 (478, 3) in pixels of `image`; None where there is none.

        image: uint8 (H, W, 3) RGB, of any size, also another size than the last one. With several faces, the one
        followed before goes on being followed. After a loss, it is looked for alone for a while.
        """
        height, width = image.shape[:2]
        if min(height, width) < 16 or image[:: max(1, height // 32), :: max(1, width // 32)].max() <= DARK:
            self._miss()
            return None
        small = _shrink(image, self._face_pixels)
        landmarks = self._process(small)
        if landmarks is not None and not plausible(landmarks):
            landmarks = None
        if landmarks is not None and self._stranger(landmarks):
            covered = _cover(small, landmarks)
            self._process(covered)  # Loses the stranger; only then another face is sought.
            landmarks = self._process(covered)
            if landmarks is not None and (not plausible(landmarks) or self._stranger(landmarks)):
                landmarks = None
        if landmarks is not None and self._missed:  # A first reading depends on the detector's box: let it settle.
            for _ in range(SETTLING_PASSES):
                again = self._process(small)
                landmarks = again if again is not None and not self._stranger(again) else landmarks
        if landmarks is None:
            self._miss()
            return None
        landmarks = landmarks * np.array([width, height, width], np.float32)
        self._missed = 0
        box = landmarks[:SKIN, :2]
        tall = float(np.linalg.norm(landmarks[FOREHEAD] - landmarks[CHIN]))
        self._face_pixels = tall
        self._last = np.array([*box.mean(axis=0) / (width, height), tall / height, width / height])
        return landmarks

    def close(self) -> None:
        """Free the models. Safe to call twice."""
        if self._mesh is not None:
            self._mesh.close()
            self._mesh = None
        self._closed = True

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _miss(self) -> None:
        self._missed += 1
        self._face_pixels = 0.0
        if self._missed > PATIENCE:
            self._last = None

    def _stranger(self, landmarks: np.ndarray) -> bool:
        """True where the face is too far from the one followed to be the same person."""
        if self._last is None:
            return False
        x, y, tall, aspect = self._last
        center = landmarks[:SKIN, :2].mean(axis=0)
        apart = np.hypot((center[0] - x) * aspect, center[1] - y) / max(tall, 1e-6)
        # A head moves up to its own height between frames; the longer it was away, the farther it may have gone.
        return bool(apart > 0.9 + 0.05 * self._missed)

    def _process(self, image: np.ndarray) -> np.ndarray | None:
        """FaceMesh's landmarks (478, 3) in shares of the picture."""
        if self._closed:
            raise ValueError("the tracker is closed")
        with contextlib.nullcontext() if self._spoken else silenced():
            if self._mesh is None:
                self._mesh = FaceMesh() if available() else _Graph()
            found = self._mesh.process(image)
        self._spoken |= found is not None
        return found


class _Graph:
    """MediaPipe's own way, where LiteRT is not installed: the same landmarks for more processor time."""

    def __init__(self) -> None:
        self._graph = _face_mesh()

    def process(self, image: np.ndarray) -> np.ndarray | None:
        """See `FaceMesh.process`."""
        faces = self._graph.process(image).multi_face_landmarks
        return _numbers(faces[0]) if faces else None

    def reset(self) -> None:
        """Forget the face. To start the graph again would take longer, and speak on stderr."""
        for _ in range(2):
            self.process(np.zeros((64, 64, 3), np.uint8))

    def close(self) -> None:
        """Free the models."""
        self._graph.close()


def find_faces(image: np.ndarray, limit: int = 8) -> list[np.ndarray]:
    """Landmarks of the faces in a still picture, the largest first: float32 (478, 3) in pixels of `image`.

    image: uint8 (H, W, 3) RGB. Only faces that the full-range face detector confirms count: FaceMesh alone sees a
    face in every dog. Photographs, paintings, cartoons and statues of people pass.
    """
    image = np.ascontiguousarray(image)
    found = []
    for x, y, side in _detect(image)[:limit]:
        crop, (left, top), scale = _crop(image, x, y, 1.1 * side)
        with silenced(), _face_mesh() as mesh:
            faces = None
            for _ in range(4):  # The first pass starts from the detector's box, the next ones from the face itself.
                faces = mesh.process(crop).multi_face_landmarks
        landmarks = _numbers(faces[0]) if faces else None
        if landmarks is None or not plausible(landmarks):
            continue
        size = crop.shape[0] / scale
        found.append((landmarks * size + np.array([left, top, 0.0])).astype(np.float32))
    found.sort(key=lambda face: -float(np.linalg.norm(face[FOREHEAD] - face[CHIN])))
    return found


def _face_mesh() -> Any:
    from mediapipe.python.solutions.face_mesh import FaceMesh

    return FaceMesh(
        static_image_mode=False,
        max_num_faces=1,
        refine_landmarks=True,
        min_detection_confidence=0.5,
        min_tracking_confidence=0.5,
    )


def _detect(image: np.ndarray, least: float = 0.35) -> list[tuple[float, float, float]]:
    """Centre and side of the faces that the full-range detector finds, in pixels, the largest first.

    The detector looks at 192 pixels: where it finds nothing in the whole picture it looks at overlapping quarters."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    height, width = image.shape[:2]
    parts = [(0, 0, height, width)]
    if min(height, width) >= 400:
        h, w = (height * 3) // 5, (width * 3) // 5
        parts += [(y, x, h, w) for y in (0, height - h) for x in (0, (width - w) // 2, width - w)]
    found: list[tuple[float, float, float]] = []
    with silenced(), FaceDetection(model_selection=1, min_detection_confidence=least) as detector:
        for n, (top, left, h, w) in enumerate(parts):
            part = np.ascontiguousarray(image[top : top + h, left : left + w])
            for face in detector.process(part).detections or ():
                box = face.location_data.relative_bounding_box
                x, y = left + (box.xmin + box.width / 2) * w, top + (box.ymin + box.height / 2) * h
                side = max(box.width * w, box.height * h)
                if all(np.hypot(x - a, y - b) > 0.5 * max(side, s) for a, b, s in found):
                    found.append((x, y, side))
            if n == 0 and found:
                break
    return sorted(found, key=lambda face: -face[2])


def _crop(image: np.ndarray, x: float, y: float, half: float) -> tuple[np.ndarray, tuple[int, int], float]:
    """A square around (x, y), `half` to each side, at most 640 pixels wide: picture, left top corner, scale."""
    import cv2

    left, top = int(np.floor(x - half)), int(np.floor(y - half))
    side = max(16, int(np.ceil(2 * half)))
    height, width = image.shape[:2]
    pad = [max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width)]
    inside = image[max(0, top) : min(height, top + side), max(0, left) : min(width, left + side)]
    crop = cv2.copyMakeBorder(inside, pad[0], pad[1], pad[2], pad[3], cv2.BORDER_REPLICATE)
    scale = min(1.0, 640 / side) if side >= 256 else 256 / side
    if scale != 1:
        target = (round(side * scale), round(side * scale))
        crop = cv2.resize(crop, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        scale = crop.shape[0] / side
    return np.ascontiguousarray(crop), (left, top), scale


def _shrink(image: np.ndarray, face_pixels: float) -> np.ndarray:
    """`image`, halved as often as the face can bear (or, with no face known, down to `SEARCH_HEIGHT`)."""
    import cv2

    factor = 1
    while face_pixels >= 2 * factor * FULL_SIZE_FACE if face_pixels else image.shape[0] >= 2 * factor * SEARCH_HEIGHT:
        factor *= 2
    if factor > 1:
        size = (max(1, image.shape[1] // factor), max(1, image.shape[0] // factor))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


def _cover(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A copy of `image` with the face at `landmarks` (shares of the picture) painted over."""
    height, width = image.shape[:2]
    low, high = landmarks[:SKIN, :2].min(axis=0), landmarks[:SKIN, :2].max(axis=0)
    low, high = low - 0.3 * (high - low), high + 0.3 * (high - low)
    x0, y0 = (np.clip(low, 0, 1) * (width, height)).astype(int)
    x1, y1 = (np.clip(high, 0, 1) * (width, height)).astype(int)
    covered = image.copy()
    covered[y0:y1, x0:x1] = 128
    return covered


def plausible(landmarks: np.ndarray) -> bool:
    """False for what FaceMesh invents when the face has left the picture. landmarks: (478, 3), shares of it."""
    box = landmarks[:SKIN, :2]
    inside = ((box > 0) & (box < 1)).all(axis=1).mean()
    eyes = landmarks[[33, 263], :2]
    return bool(inside > 0.4 and np.isfinite(landmarks).all() and ((eyes > 0) & (eyes < 1)).all(axis=1).any())


def _numbers(face: Any) -> np.ndarray:
    """A NormalizedLandmarkList as float32 (478, 3)."""
    wire = face.SerializeToString()
    if len(wire) == 17 * LANDMARKS:  # Two bytes of header, then tag and float thrice: x, y, z.
        rows = np.frombuffer(wire, np.uint8).reshape(LANDMARKS, 17)
        return np.ascontiguousarray(rows[:, [3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16]]).view("<f4")
    return np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32)
