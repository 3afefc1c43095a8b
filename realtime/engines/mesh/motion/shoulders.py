"""The shoulders below a face: where they are, frame by frame, for one to three milliseconds of processor time.

MediaPipe's BlazePose (Bazarevsky et al. 2020, "BlazePose: On-device Real-time Body Pose tracking"), whose model lies
in the mediapipe wheel, says where the shoulders are. It takes as long as a frame's face and picture do, so it is run
in pieces, one in every other frame, and its answer is of a frame that has gone by. What moved meanwhile is
told by optical flow of points on the chest (Lucas and Kanade), which are at hand in each frame and do not tremble.
Flow drifts and the network trembles: each answer corrects a part of what the flow says.

Where the network looks is known from the face; no detector is run. As the part that finds silhouettes is left out,
the network takes two thirds of its time.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from weakref import ref

import cv2
import numpy as np

from realtime.face.face_model import CHIN, FOREHEAD
from realtime.face.litert import Runner, available, model_of, part_of, stretches
from realtime.motion.filters import smoothing, smoothstep

SIDE = 256
"""Pixels to a side of what the network sees."""
BELOW, ACROSS = 3.2, 10.0
"""Where it looks: so far below the face's middle, so much to a side, face heights. MediaPipe's own detector looks 3.3
to 4.2 below and 10.4 to 13 across where head and shoulders are seen (three clips). Of eight crops this one agrees
best with what it finds there, to 0.04 to 0.06 face heights over a clip; nearer ones read shoulders up to 0.18 too
high."""
PIECES, PER_SECOND = 14, 15.0
"""The network is run in so many pieces, and so many of them a second."""
SHOULDERS = (12, 11)
"""Landmarks: the person's right shoulder and his left one."""
LANDMARKS, NUMBERS = 39, 5
"""Of the network's answer: x, y, z, visibility and presence of each landmark."""
TRUNK = np.array([[0.22, 0.28], [0.7, 0.62], [0.75, 1.7]])
"""Where a trunk surely is: its half outline below the chin (across and down), face heights."""
FINE = 48.0
"""Pixels to a face height of the picture in which flow is looked for."""
REACH = (0.9, 0.1, 1.8)
"""What flow looks at: so far to either side of the chin, and from below it to farther below, face heights."""
POINTS, LEAST_POINTS = 40, 8
"""So many points are followed, and so few are not believed."""
RENEWED = 8
"""Frames for which the same points are followed."""
FLOW_STEP = 0.3
"""A body does not move farther from frame to frame, face heights."""
AT_LEAST, UNSUPPORTED = 0.04, 0.3
"""Share of a correction that is taken, where flow supports what is known, and where there is nothing to follow."""
ASTRAY = (0.4, 0.8)
"""Corrections (face heights) from which more is taken, and all: the flow followed something else."""
EAGER = 2
"""Answers that are looked for in one frame each while no shoulders are known; then there is time."""
SAME_SHAPE = 0.02
"""Pictures of another size whose sides' ratio differs by no more show the same."""
SETTLING = 8
"""Readings over which an error of the first one is told from motion."""
OUTSIDE = (0.15, 0.4)
"""Shoulders so far beyond the picture's edge (face heights) are less believed, and not at all."""
BELOW_CHIN = (0.2, 0.4)
"""Of whom less is seen below the chin (face heights) no shoulders are seen, and from the second on they may be: the
network guesses where it does not see."""
SURE = (0.5, 0.8)
"""Visibility from which shoulders are believed somewhat, and fully."""
TURN_SHARE, TURN_CUTOFF = 0.35, 1.2
"""Share of each reading that the chest's turn takes, and the filter between readings, Hz."""


@dataclass(frozen=True, slots=True)
class Shoulders:
    """points, start: (2, 2), the right and the left shoulder (the person's own) now, and when they were first seen;
    pixels of the frame. turn: of the chest since then, degrees, to the right of the picture. sure: 0 to 1. scale: the
    height of the face at first, pixels."""

    points: np.ndarray
    start: np.ndarray
    turn: float
    sure: float
    scale: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer of the network: shoulders (2, 2; pixels of the frame), the chest's turn in degrees, visibility."""

    points: np.ndarray
    turn: float
    visible: float


class BodyTracker:
    """Follows the shoulders of the person whose face is known. Not thread-safe; deterministic. One per driver."""

    def __init__(self) -> None:
        self._network = _Network()
        self.reset()

    def reset(self) -> None:
        """Forget the person."""
        self._network.stop()
        self._points: np.ndarray | None = None
        self._start = np.zeros((2, 2))
        self._scale, self._first_scale = 0.0, 0.0
        self._turn, self._first_turn, self._shown_turn = 0.0, 0.0, 0.0
        self._visible = 0.0
        self._readings = 0
        self._asked = np.zeros((2, 2))
        self._time = 0.0
        self._due = 0.0
        self._tries = 0
        self._paused = False
        self._size: tuple[int, int] | None = None
        self._flow = _Flow()

    def close(self) -> None:
        """Let go of the network. Safe to call twice; nothing can be followed any more."""
        self._network.close()

    def pause(self) -> None:
        """The face was lost, or nobody looks: nothing is known of what happens until the next `follow`."""
        self._network.stop()
        self._flow = _Flow()
        self._visible, self._paused = 0.0, True

    def follow(self, image: np.ndarray, face: np.ndarray, now: float) -> Shoulders | None:
        """The shoulders in the next frame; None where they never were seen.

        image: uint8 (H, W, 3) RGB. face: landmarks (478, 3), pixels of it. now: seconds."""
        self._see(image.shape[0], image.shape[1])
        tall = max(float(np.linalg.norm(face[FOREHEAD, :2] - face[CHIN, :2])), 1.0)
        step = min(max(now - self._time, 0.0), 0.5)
        self._time = now
        self._scale = tall if not self._scale else self._scale + smoothing(0.5, step) * (tall - self._scale)
        supported = True
        if self._points is not None:
            moved = self._flow.follow(image, face[CHIN, :2], self._scale)
            supported = moved is not None
            if moved is not None:
                self._points = self._points @ moved[:, :2].T + moved[:, 2]
        room = (image.shape[0] - float(face[CHIN, 1])) / self._scale
        if self._network.running or room > BELOW_CHIN[0]:
            self._ask(image, face, step, supported)
        if self._points is None:
            return None
        self._shown_turn += smoothing(TURN_CUTOFF, step) * (self._turn - self._first_turn - self._shown_turn)
        sure = smoothstep(*SURE, self._visible) * smoothstep(*BELOW_CHIN, room) * self._inside(image.shape)
        return Shoulders(self._points.copy(), self._start.copy(), self._shown_turn, sure, self._first_scale)

    def _see(self, height: int, width: int) -> None:
        """Frames may come in another size from now on: what is known goes along, if their shape stays."""
        if self._size is None or self._size == (height, width):
            self._size = height, width
            return
        grown = np.array([width / self._size[1], height / self._size[0]])
        if self._points is None or abs(grown[0] / grown[1] - 1.0) > SAME_SHAPE:
            self.reset()
        else:
            self._points, self._start = self._points * grown, self._start * grown
            self._scale, self._first_scale = self._scale * grown[1], self._first_scale * grown[1]
            self._network.stop()
            self._flow = _Flow()
        self._size = height, width

    def _inside(self, shape: tuple[int, ...]) -> float:
        """1 where both shoulders are in the picture, less beyond its edge."""
        assert self._points is not None
        beyond = np.maximum(-self._points, self._points - (shape[1] - 1, shape[0] - 1)).max() / self._scale
        return 1.0 - smoothstep(*OUTSIDE, float(beyond))

    def _ask(self, image: np.ndarray, face: np.ndarray, step: float, supported: bool) -> None:
        """Run as much of the network as this frame may, and take its answer where there is one."""
        if not self._network.running:
            middle = (face[FOREHEAD, :2] + face[CHIN, :2]) / 2
            middle[1] += BELOW * self._scale
            self._network.begin(image, middle, ACROSS * self._scale)
            self._asked = np.zeros((2, 2)) if self._points is None else self._points.copy()
            self._due = 0.0
        self._due += step * PER_SECOND
        eager = self._points is None and self._tries < EAGER
        pieces = PIECES if eager else int(min(self._due + 0.5, PIECES))
        self._due = max(0.0, self._due - pieces)
        reading = self._network.go_on(pieces)
        if reading is not None:
            self._take(reading, supported)

    def _take(self, reading: Reading, supported: bool) -> None:
        """Let an answer, which is of the frame `_asked` is of, correct what is known."""
        self._visible = reading.visible
        self._tries += 1
        if reading.visible < SURE[0]:
            return
        if self._points is None:
            self._points, self._start = reading.points, reading.points.copy()
            self._turn = self._first_turn = reading.turn
            self._first_scale, self._readings = self._scale, 1
            return
        off = reading.points - self._asked
        least = max(AT_LEAST if supported else UNSUPPORTED, 1.0 / (self._readings + 1))
        astray = 1.0 if self._paused else smoothstep(*ASTRAY, float(np.abs(off).max()) / self._scale)
        share = least + (1.0 - least) * astray
        self._paused = False
        self._points = self._points + share * off
        turned = TURN_SHARE * (reading.turn - self._turn)
        self._turn += turned
        if supported and share == least and self._readings < SETTLING:  # flow is right: the first reading was off
            self._start = self._start + share * off
            self._first_turn += turned
        self._readings += 1


def find_shoulders(image: np.ndarray, face: np.ndarray) -> np.ndarray | None:
    """The right and the left shoulder (2, 2; pixels) of the person in a still picture, uint8 (H, W, 3) RGB, whose
    face's landmarks (478, 3) are known; None where they are not seen, or LiteRT is not installed."""
    if not available():
        return None
    tracker = BodyTracker()
    seen = tracker.follow(image, face, 0.0)
    tracker.close()
    return seen.points if seen is not None and seen.sure > 0.5 else None


class Pieces:
    """The network's pieces, one set of them for all of a process; each is run by one thread at a time. They are made
    when the first is run."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._runners: list[tuple[Runner, threading.Lock]] | None = None

    def run(self, which: int, values: list[np.ndarray]) -> list[np.ndarray]:
        """What piece `which` makes of the values that the one before made."""
        with self._making:
            if self._runners is None:
                self._runners = [(Runner(model), threading.Lock()) for model in parts()]
        runner, lock = self._runners[which]
        with lock:
            return runner(*values)


_shared_lock = threading.Lock()
_shared: ref[Pieces] | None = None


def shared_pieces() -> Pieces:
    """The pieces that others in this process hold, or new ones; they go when nobody holds them any more."""
    global _shared
    with _shared_lock:
        pieces = None if _shared is None else _shared()
        if pieces is None:
            pieces = Pieces()
            _shared = ref(pieces)
        return pieces


class _Network:
    """BlazePose, run in pieces."""

    def __init__(self) -> None:
        self._pieces: Pieces | None = shared_pieces()
        self.stop()

    def close(self) -> None:
        """Let go of the pieces."""
        self.stop()
        self._pieces = None

    @property
    def running(self) -> bool:
        """Whether an answer is on its way."""
        return self._values is not None

    def stop(self) -> None:
        """Ask no more."""
        self._values: list[np.ndarray] | None = None
        self._at = 0
        self._left_top, self._unit = np.zeros(2), 1.0

    def begin(self, image: np.ndarray, middle: np.ndarray, side: float) -> None:
        """Ask for the shoulders in a square of the picture. Beyond the picture it is black."""
        unit = side / SIDE
        left, top = middle - side / 2
        matrix = np.array([[unit, 0.0, left], [0.0, unit, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_CONSTANT)
        self._values, self._at = [np.multiply(seen, np.float32(1 / 255))[None]], 0
        self._left_top, self._unit = np.array([left, top]), unit

    def go_on(self, pieces: int) -> Reading | None:
        """Run so many more pieces; the answer where that was the last one."""
        assert self._pieces is not None
        assert self._values is not None
        for _ in range(pieces):
            self._values = self._pieces.run(self._at, self._values)
            self._at += 1
            if self._at == PIECES:
                landmarks, flag, world = self._values
                self._values = None
                return self._read(landmarks, flag, world)
        return None

    def _read(self, landmarks: np.ndarray, flag: np.ndarray, world: np.ndarray) -> Reading:
        there = landmarks.reshape(LANDMARKS, NUMBERS)[list(SHOULDERS)]
        points = there[:, :2] * self._unit + self._left_top
        across = np.subtract(*world.reshape(LANDMARKS, 3)[list(SHOULDERS[::-1])])  # from the right to the left one
        turn = math.degrees(math.atan2(float(across[2]), max(float(across[0]), 1e-6)))
        visible = float((1.0 / (1.0 + np.exp(-there[:, 3]))).min()) * float(flag.item())
        return Reading(points.astype(np.float64), turn, visible)


@lru_cache(maxsize=1)
def parts() -> tuple[bytes, ...]:
    """The model in the mediapipe wheel cut into `PIECES` model files: half a second, once in a process."""
    model = model_of("pose_landmark/pose_landmark_full.tflite")
    graph = model.subgraphs[0]
    named = {graph.tensors[int(tensor)].name.decode(): int(tensor) for tensor in graph.outputs}
    wanted = [named["Identity"], named["Identity_1"], named["Identity_4"]]  # landmarks, whether they are there, world
    return tuple(part_of(model, begin, end) for begin, end in stretches(model, wanted, PIECES))


class _Flow:
    """Follows the chest from frame to frame."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._points: np.ndarray | None = None
        self._box = (0, 0, 0, 0)
        self._age = 0
        self._size: tuple[int, ...] = ()

    def follow(self, image: np.ndarray, chin: np.ndarray, scale: float) -> np.ndarray | None:
        """How the chest moved since the last frame: a similarity (2, 3) of pixels, None where nothing tells.

        chin: (2,), where it is now. scale: of the face, pixels."""
        moved = None
        if self._before is not None and self._points is not None and self._size == image.shape:
            moved = self._moved(image, scale)
        if moved is None or self._age >= RENEWED:
            self._renew(image, chin, scale)
        return moved

    def _moved(self, image: np.ndarray, scale: float) -> np.ndarray | None:
        assert self._before is not None
        assert self._points is not None
        now = self._grey(image)
        window = {
            "winSize": (11, 11),
            "maxLevel": 2,
            "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 0.03),
        }
        points, found, _ = cv2.calcOpticalFlowPyrLK(self._before, now, self._points, None, **window)
        kept = found.ravel() > 0
        if kept.sum() < LEAST_POINTS:
            return None
        matrix, fits = cv2.estimateAffinePartial2D(
            self._points[kept], points[kept], method=cv2.RANSAC, ransacReprojThreshold=0.7, maxIters=60, refineIters=4
        )
        if matrix is None or fits.sum() < max(LEAST_POINTS, 0.4 * kept.sum()):
            return None
        self._before, self._points = now, points[kept][fits.ravel() > 0]
        self._age += 1
        return self._in_picture(matrix, scale)

    def _in_picture(self, matrix: np.ndarray, scale: float) -> np.ndarray | None:
        """A similarity of the small picture as one of the frame; None where no body moves so."""
        x0, y0, x1, y1 = self._box
        assert self._before is not None
        units = np.array([(x1 - x0) / self._before.shape[1], (y1 - y0) / self._before.shape[0]])
        origin = np.array([x0, y0]) + units / 2 - 0.5
        linear = matrix[:, :2] * units[:, None] / units
        shift = units * matrix[:, 2] + origin - linear @ origin
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        far = float(np.linalg.norm(linear @ middle + shift - middle)) / scale
        grown = math.hypot(matrix[0, 0], matrix[1, 0])
        return np.column_stack([linear, shift]) if far < FLOW_STEP and 0.9 < grown < 1.1 else None

    def _renew(self, image: np.ndarray, chin: np.ndarray, scale: float) -> None:
        """Choose what to follow from now on: corners on the chest and the shoulders, not what is behind."""
        height, width = image.shape[:2]
        x0, x1 = (int(np.clip(chin[0] + side * REACH[0] * scale, 0, width)) for side in (-1.0, 1.0))
        y0, y1 = (int(np.clip(chin[1] + down * scale, 0, height)) for down in REACH[1:])
        self._age, self._size, self._points = 0, image.shape, None
        if min(x1 - x0, y1 - y0) < 0.2 * scale:
            return
        self._box = x0, y0, x1, y1
        self._before = self._grey(image)
        small = (self._before.shape[1] / (x1 - x0), self._before.shape[0] / (y1 - y0))
        trunk = np.concatenate([TRUNK * (-1.0, 1.0), TRUNK[::-1]]) * scale + chin
        where = np.zeros(self._before.shape, np.uint8)
        cv2.fillPoly(where, [np.round((trunk - (x0, y0)) * small).astype(np.int32)], (255.0,))
        self._points = cv2.goodFeaturesToTrack(self._before, POINTS, 0.02, 4, mask=where, blockSize=5)

    def _grey(self, image: np.ndarray) -> np.ndarray:
        """What lies in the box, small: uint8 (h, w)."""
        x0, y0, x1, y1 = self._box
        unit = max(1.0, (x1 - x0) / (FINE * 4.0), (y1 - y0) / (FINE * 2.0))
        size = (max(8, round((x1 - x0) / unit)), max(8, round((y1 - y0) / unit)))
        every = max(1, int(unit / 2))
        green = np.ascontiguousarray(image[y0:y1:every, x0:x1:every, 1])
        return cv2.resize(green, size, interpolation=cv2.INTER_AREA)
