"""FaceMesh's network without MediaPipe's graph around it: the same landmarks for less processor time.

MediaPipe's "attention mesh" (Grishchenko et al. 2020, "Attention Mesh: High-fidelity Face Mesh Prediction in
Real-time") is a trunk that sees the face at 192 x 192 and gives 468 landmarks and a grid of features, and three heads
that see a piece of that grid each, cut out around lips and eyes, and refine what lies there. Cutting out is done by
operators of MediaPipe's own that no other runtime has, so the model file, which lies in the mediapipe wheel, is taken
apart at them: LiteRT (XNNPACK) runs trunk and heads, what is between and around them is here.

From picture to picture the face is looked for where it was, in a square around its landmarks, as MediaPipe does it.
Where there was none, MediaPipe's detector says where one is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from realtime.face.face_model import LANDMARKS, LEFT_EYE_CORNERS, LEFT_IRIS, RIGHT_EYE_CORNERS, RIGHT_IRIS, SKIN
from realtime.face.litert import Runner, model_of, part_of
from realtime.flow.jit import compiled

SIDE = 192
"""Pixels to a side of what the trunk sees."""
GRID, PIECE = 48, 16
"""Cells to a side of the trunk's features, and of the piece of them that a head sees."""
MARGIN = 1.5
"""The square is so much larger than the face's box."""
PRESENT = 0.0
"""How sure the trunk must be that it sees a face: the logarithm of the odds, here even ones."""
LIDS = 16
"""So many landmarks, the first ones of an eye's region, are its lids, from which the iris takes its depth."""


@dataclass(frozen=True, slots=True)
class Square:
    """Where a face is looked for: middle and side in pixels, turned by `angle` (radians, clockwise)."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def around(cls, points: np.ndarray, start: np.ndarray, end: np.ndarray) -> Square:
        """Around `points` (n, 2; pixels), with the line from `start` to `end` (the person's right eye to his left
        one) level in it."""
        low, high = points.min(axis=0), points.max(axis=0)
        x, y = (low + high) / 2
        along = end - start
        side = MARGIN * float((high - low).max())
        return cls(float(x), float(y), side, math.atan2(float(along[1]), float(along[0])))

    def cut(self, image: np.ndarray) -> np.ndarray:
        """What lies in it: uint8 (192, 192, 3). Beyond the border the picture's edge goes on."""
        corners = cv2.boxPoints(((self.x, self.y), (self.side, self.side), math.degrees(self.angle)))
        to = np.array([[0, SIDE], [0, 0], [SIDE, 0], [SIDE, SIDE]], np.float32)
        matrix = cv2.getPerspectiveTransform(corners, to)
        return cv2.warpPerspective(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)

    def to_picture(self, landmarks: np.ndarray) -> np.ndarray:
        """From pixels of what was cut out (n, 3) to pixels of the picture."""
        scale = self.side / SIDE
        c, s = scale * math.cos(self.angle), scale * math.sin(self.angle)
        turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, scale]], np.float32)
        half = SIDE / 2
        at = (self.x - half * (c - s), self.y - half * (s + c), 0.0)
        return landmarks @ turn + np.array(at, np.float32)


@dataclass(frozen=True, slots=True)
class Region:
    """What one head sees and refines. landmarks: the indices that it refines, in its order; they give its box, too.
    start, end: the line between them lies level in it."""

    landmarks: np.ndarray
    start: int
    end: int
    scale: float

    def place(self, mesh: np.ndarray) -> np.ndarray:
        """Where its piece lies: the affine map (2, 3) from cells of the piece to cells of the grid.

        mesh: float32 (468, 3), pixels of the cut."""
        to_grid = np.empty((2, 3))
        _place(mesh, self.landmarks, self.start, self.end, self.scale, to_grid)
        return to_grid


@compiled("void(float32[:,::1], int64[::1], int64, int64, float64, float64[:,::1])")
def _place(mesh: np.ndarray, landmarks: np.ndarray, start: int, end: int, scale: float, to_grid: np.ndarray) -> None:
    along_x = float(mesh[end, 0] - mesh[start, 0])
    along_y = float(mesh[end, 1] - mesh[start, 1])
    length = max(np.hypot(along_x, along_y), 1e-12)
    c, s = along_x / length, along_y / length
    left = top = np.inf
    right = bottom = -np.inf
    for k in landmarks:
        x, y = c * mesh[k, 0] + s * mesh[k, 1], c * mesh[k, 1] - s * mesh[k, 0]
        left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    cell = GRID / SIDE
    wide, high = cell * scale / PIECE * (right - left), cell * scale / PIECE * (bottom - top)
    x, y = cell * (left + right) / 2, cell * (top + bottom) / 2
    half = PIECE / 2
    to_grid[0, 0], to_grid[0, 1] = c * wide, -s * high
    to_grid[1, 0], to_grid[1, 1] = s * wide, c * high
    to_grid[0, 2] = c * x - s * y - half * (to_grid[0, 0] + to_grid[0, 1])
    to_grid[1, 2] = s * x + c * y - half * (to_grid[1, 0] + to_grid[1, 1])


def cut_piece(features: np.ndarray, to_grid: np.ndarray) -> np.ndarray:
    """A piece of the grid by bilinear interpolation, 0 outside: float32 (1, 16, 16, channels).

    features: float32 (48, 48, channels). to_grid: see `Region.place`."""
    piece = np.empty((1, PIECE, PIECE, features.shape[2]), np.float32)
    _cut_piece(features, to_grid, piece[0])
    return piece


@compiled("void(float32[:,:,::1], float64[:,::1], float32[:,:,::1])")
def _cut_piece(features: np.ndarray, to_grid: np.ndarray, piece: np.ndarray) -> None:
    last = GRID - 1
    for row in range(PIECE):
        for column in range(PIECE):
            x = to_grid[0, 0] * (column + 0.5) + to_grid[0, 1] * (row + 0.5) + to_grid[0, 2] - 0.5
            y = to_grid[1, 0] * (column + 0.5) + to_grid[1, 1] * (row + 0.5) + to_grid[1, 2] - 0.5
            if not (0 <= x <= last and 0 <= y <= last):
                piece[row, column] = 0
                continue
            i, j = min(int(x), last - 1), min(int(y), last - 1)
            u, v = np.float32(x - i), np.float32(y - j)
            one = np.float32(1)
            for k in range(features.shape[2]):
                above = (one - u) * features[j, i, k] + u * features[j, i + 1, k]
                below = (one - u) * features[j + 1, i, k] + u * features[j + 1, i + 1, k]
                piece[row, column, k] = (one - v) * above + v * below


@dataclass(frozen=True, slots=True)
class Parts:
    """FaceMesh's model file taken apart. trunk, heads: models of their own, as LiteRT reads them.

    refined: what the heads' outputs say, in their order: the index of the region, and the landmarks that it
    replaces."""

    trunk: bytes
    heads: bytes
    regions: tuple[Region, ...]
    refined: tuple[tuple[int, np.ndarray], ...]


@lru_cache(maxsize=1)
def parts() -> Parts:
    """The model in the mediapipe wheel, taken apart: a fifth of a second, once in a process."""
    from flatbuffers import flexbuffers

    model = model_of("face_landmark/face_landmark_with_attention.tflite")
    graph = model.subgraphs[0]
    named = {tensor.name.decode(): index for index, tensor in enumerate(graph.tensors)}
    made = {int(output): op for op in graph.operators for output in op.outputs}

    def custom(name: str) -> list[Any]:
        return [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].customCode == name.encode()]

    regions = []
    for op in custom("Landmarks2TransformMatrix"):
        said = flexbuffers.Loads(bytes(op.customOptions))
        indices = np.array(said["subset_idxs"])
        regions.append(Region(indices, said["left_rotation_idx"], said["right_rotation_idx"], said["scale_x"]))
    matrices = [int(op.outputs[0]) for op in custom("Landmarks2TransformMatrix")]
    cuts = {int(op.inputs[1]): op for op in custom("TransformTensorBilinear")}
    refined, answers = [], []
    irises = iter((RIGHT_IRIS, LEFT_IRIS))
    for op in custom("TransformLandmarks"):
        region = matrices.index(int(made[int(op.inputs[1])].inputs[0]))
        answers.append(int(op.inputs[0]))
        known = regions[region].landmarks
        whole = graph.tensors[answers[-1]].shape[1] == len(known)
        refined.append((region, known if whole else np.array(next(irises))))
    pieces = [int(cuts[matrix].outputs[0]) for matrix in matrices]
    features = int(cuts[matrices[0]].inputs[0])
    trunk = [named["output_mesh_identity"], named["conv_faceflag"], features]
    return Parts(
        part_of(model, [int(graph.inputs[0])], trunk),
        part_of(model, pieces, answers),
        tuple(regions),
        tuple(refined),
    )


class FaceMesh:
    """Finds one face and follows it from picture to picture. Not thread-safe."""

    def __init__(self) -> None:
        whole = parts()
        self._regions, self._refined = whole.regions, whole.refined
        self._trunk, self._heads = Runner(whole.trunk), Runner(whole.heads)
        self._detector: Any = None
        self._last: np.ndarray | None = None  # In shares: the next picture may have another size.
        self._seen = np.empty((1, SIDE, SIDE, 3), np.float32)

    def process(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks of the face in the next picture: float32 (478, 3) in shares of it, None where there is none; it
        is looked for in the next picture then.

        image: uint8 (H, W, 3) RGB."""
        height, width = image.shape[:2]
        size = np.array([width, height, width], np.float32)
        square = self._found(image) if self._last is None else around_face(self._last * size)
        landmarks = None if square is None else self.read(image, square)
        self._last = None if landmarks is None else landmarks / size
        return self._last

    def reset(self) -> None:
        """Forget the face."""
        self._last = None

    def close(self) -> None:
        """Free the detector; the rest goes with the object."""
        if self._detector is not None:
            self._detector.close()
            self._detector = None

    def _found(self, image: np.ndarray) -> Square | None:
        """Where MediaPipe's detector for faces near the camera sees one."""
        from mediapipe.python.solutions.face_detection import FaceDetection

        if self._detector is None:
            self._detector = FaceDetection(model_selection=0, min_detection_confidence=0.5)
        faces = self._detector.process(image).detections
        if not faces:
            return None
        height, width = image.shape[:2]
        where = faces[0].location_data
        box, eyes = where.relative_bounding_box, where.relative_keypoints[:2]
        corners = [(box.xmin, box.ymin), (box.xmin + box.width, box.ymin + box.height)]
        return Square.around(*(np.array(c) * (width, height) for c in (corners, *((e.x, e.y) for e in eyes))))

    def read(self, image: np.ndarray, square: Square) -> np.ndarray | None:
        """Landmarks of the face in `square`: float32 (478, 3), pixels of `image`; None where there is none.

        image: uint8 (H, W, 3) RGB."""
        np.multiply(square.cut(image), np.float32(1 / 255), out=self._seen[0])
        skin, flag, features = self._trunk(self._seen)
        if not flag.item() >= PRESENT:
            return None
        mesh = skin.reshape(SKIN, 3)
        maps = [region.place(mesh) for region in self._regions]
        pieces = [cut_piece(features[0], to_grid) for to_grid in maps]
        found = np.empty((LANDMARKS, 3), np.float32)
        found[:SKIN] = mesh
        for (region, landmarks), answer in zip(self._refined, self._heads(*pieces), strict=True):
            to_cut = maps[region] * np.array([1.0, 1.0, SIDE / GRID])  # answers count in cells of a quarter's size
            found[landmarks, :2] = answer.reshape(-1, 2) @ to_cut[:, :2].T + to_cut[:, 2]
            if landmarks[0] >= SKIN:
                found[landmarks, 2] = mesh[self._regions[region].landmarks[:LIDS], 2].mean()
        return square.to_picture(found)


def around_face(landmarks: np.ndarray) -> Square:
    """Where the face with these landmarks (478, 3; pixels) is looked for in the next picture."""
    points = landmarks[:, :2]
    return Square.around(points, points[RIGHT_EYE_CORNERS[0]], points[LEFT_EYE_CORNERS[0]])
