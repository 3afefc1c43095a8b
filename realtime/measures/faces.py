"""What landmarks say about a picture of a face, measured alike on driving frames and on rendered pictures.

Landmarks are float64 (478, 3): 468 of the face and 5 per iris, x and y in pixels, z in pixels with the head's
centre near 0 and negative towards the camera. The measures are this benchmark's own: no engine's code is used to
judge an engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

# Vertices that move with the skull: forehead, temples, nose bridge, eye corners, cheek bones.
RIGID = np.array([
    10, 67, 109, 338, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 234, 454, 151, 108, 337, 69, 299, 104, 333,
    68, 298, 71, 301, 139, 368, 34, 264, 168, 6, 197, 195, 193, 417, 122, 351, 33, 133, 362, 263, 116, 345, 117, 346,
])  # fmt: skip
OVAL = np.array([
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
])  # fmt: skip
LIPS = np.array([
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
])  # fmt: skip
IRISES = np.arange(468, 478)
_EYES = (  # outer corner, inner corner, iris centre, (upper, lower) lid pairs
    (33, 133, 468, ((160, 144), (159, 145), (158, 153))),
    (263, 362, 473, ((387, 373), (386, 374), (385, 380))),
)


class FaceReader:
    """Landmarks by MediaPipe FaceMesh with irises, each picture on its own, read until they settle.

    One reading after detection depends on where the detector put its box: about 0.9 px at 256 px, as much as what
    is to be measured. So the tracker starts anew for every picture and reads it `passes` times, each time from the
    landmarks before: 0.1 px is left, and the answer does not depend on what was read earlier.
    """

    def __init__(self, passes: int = 4) -> None:
        import mediapipe as mp

        self._mesh = mp.solutions.face_mesh.FaceMesh(
            static_image_mode=False, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.3
        )
        self._passes = passes
        self._known: dict[bytes, np.ndarray | None] = {}

    def read(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks of the one face in uint8 (H, W, 3) RGB, None where there is none."""
        key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        if key not in self._known:
            self._mesh.reset()
            found = None
            for _ in range(self._passes):
                found = self._once(image)
            self._known[key] = found
        return self._known[key]

    def track(self, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        """Landmarks of consecutive pictures, one reading each after the first has settled, as a live tracker does."""
        self._mesh.reset()
        for _ in range(self._passes):
            self._once(images[0])
        return [self._once(image) for image in images]

    def _once(self, image: np.ndarray) -> np.ndarray | None:
        faces = self._mesh.process(image).multi_face_landmarks
        if not faces:
            return None
        h, w = image.shape[:2]
        return np.array([(p.x, p.y, p.z) for p in faces[0].landmark]) * (w, h, w)

    def close(self) -> None:
        """Free the tracker."""
        self._mesh.close()

    def __enter__(self) -> FaceReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def average_distance(a: np.ndarray, b: np.ndarray, which: np.ndarray | None = None) -> float:
    """AKD: mean distance in the picture between the same landmarks of two faces, px."""
    d = np.linalg.norm(a[:, :2] - b[:, :2], axis=1)
    return float(d.mean() if which is None else d[which].mean())


def face_mask(landmarks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """bool (H, W): inside the face oval."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[OVAL, :2]).astype(np.int32)], 1)
    return mask.astype(bool)


def face_height(landmarks: np.ndarray) -> float:
    """Forehead to chin (landmarks 10 and 152), px."""
    return float(np.linalg.norm(landmarks[10] - landmarks[152]))


def rigid_motion(
    start: np.ndarray, end: np.ndarray, depth_weight: float = 0.2
) -> tuple[float, np.ndarray, np.ndarray, float]:
    """How the skull moved between two readings of ONE face: (scale, rotation (3, 3), shift (3,), residual px).

    Minimises the sum over RIGID vertices of |s R a + t - b|^2 with the z residual weighted by `depth_weight`
    (scaled orthographic; Gauss-Newton). The rotation is in the camera's axes. The residual is the root mean
    square over x and y.
    """
    a, b = start[RIGID], end[RIGID]
    centre = a.mean(axis=0)
    a = a - centre
    spread_a = np.sqrt((a[:, :2] ** 2).sum())
    b0 = b - b.mean(axis=0)
    s, r, t = float(np.sqrt((b0[:, :2] ** 2).sum()) / spread_a), np.eye(3), b.mean(axis=0)
    weight = np.tile((1.0, 1.0, depth_weight), len(a))
    for _ in range(8):
        y = s * a @ r.T
        residual = (b - t - y).ravel()
        jac = np.zeros((len(a), 3, 7))
        jac[:, :, 0] = y  # by log scale
        jac[:, 0, 2], jac[:, 0, 3] = y[:, 2], -y[:, 1]  # by a small rotation w: w x y
        jac[:, 1, 1], jac[:, 1, 3] = -y[:, 2], y[:, 0]
        jac[:, 2, 1], jac[:, 2, 2] = y[:, 1], -y[:, 0]
        jac[:, (0, 1, 2), (4, 5, 6)] = 1
        j = jac.reshape(-1, 7)
        step = np.linalg.lstsq((j * weight[:, None]).T @ j, (j * weight[:, None]).T @ residual, rcond=None)[0]
        s *= float(np.exp(step[0]))
        r = Rotation.from_rotvec(step[1:4]).as_matrix() @ r
        t = t + step[4:]
    left = (b - t - s * a @ r.T)[:, :2]
    return s, r, t - s * r @ centre, float(np.sqrt((left**2).sum(axis=1).mean()))


def degrees(rotation: np.ndarray) -> float:
    """The angle of a rotation matrix, degrees."""
    return float(np.degrees(np.linalg.norm(Rotation.from_matrix(rotation).as_rotvec())))


def axes(rotation: np.ndarray) -> np.ndarray:
    """(3,): a rotation matrix as a turn about the picture's x (nod), y (shake) and z axis (tilt), degrees."""
    return np.degrees(Rotation.from_matrix(rotation).as_rotvec())


def mouth_gap(landmarks: np.ndarray) -> float:
    """Gap between the inner lips, px."""
    return float(np.mean([np.linalg.norm(landmarks[u] - landmarks[l]) for u, l in ((13, 14), (82, 87), (312, 317))]))


def eye_opening(landmarks: np.ndarray) -> float:
    """Lid gap over eye width, mean of both eyes."""
    ratios = []
    for outer, inner, _, lids in _EYES:
        width = np.linalg.norm(landmarks[outer] - landmarks[inner])
        ratios.append(np.mean([np.linalg.norm(landmarks[u] - landmarks[l]) for u, l in lids]) / width)
    return float(np.mean(ratios))


def gaze(landmarks: np.ndarray) -> np.ndarray:
    """(2,): iris centre from the middle of the eye's corners, along and across, in eye widths, mean of both eyes.

    The first entry grows as the eyes turn to the right side of the picture.
    """
    out = []
    for outer, inner, iris, _ in _EYES:
        a, b = (outer, inner) if outer == 33 else (inner, outer)
        axis = landmarks[b, :2] - landmarks[a, :2]
        width = np.linalg.norm(axis)
        axis = axis / width
        d = landmarks[iris, :2] - (landmarks[a, :2] + landmarks[b, :2]) / 2
        out.append((d @ axis / width, d @ (-axis[1], axis[0]) / width))
    return np.mean(out, axis=0)


_SIDE = 96
_PLACES = np.array([(0.30, 0.38), (0.70, 0.38), (0.50, 0.78)]) * _SIDE  # eyes and mouth in the aligned crop
_HOG = cv2.HOGDescriptor((_SIDE, _SIDE), (16, 16), (8, 8), (8, 8), 9)


def face_descriptor(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """A deterministic embedding of the face, float32 (D,) of length 1: gradients and textures of an aligned crop.

    The crop is 96 px, with the middles of the eyes and of the mouth brought to fixed places. Half of the vector is
    its histogram of oriented gradients (Dalal and Triggs 2005), half its local binary patterns (Ojala et al. 2002;
    59 uniform patterns on 8 x 8 cells, square roots). It is no face recognition network: it tells people apart less
    well, and sees light and expression too; `quality` reports its distance between people beside the figures.
    """
    points = np.array([
        landmarks[[33, 133], :2].mean(axis=0), landmarks[[263, 362], :2].mean(axis=0),
        landmarks[[61, 291], :2].mean(axis=0),
    ])  # fmt: skip
    matrix = cv2.getAffineTransform(points.astype(np.float32), _PLACES.astype(np.float32))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    crop = cv2.warpAffine(grey, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gradients = _HOG.compute(crop).ravel()
    textures = np.sqrt(_uniform_patterns(crop))
    halves = [v / max(1e-9, float(np.linalg.norm(v))) for v in (gradients, textures)]
    return (np.concatenate(halves) / np.sqrt(2)).astype(np.float32)


def _uniform_patterns(grey: np.ndarray) -> np.ndarray:
    """Histograms of the 8-neighbour uniform local binary patterns on a grid of 8 x 8 cells, (3776,)."""
    p = cv2.GaussianBlur(grey, (3, 3), 0.7).astype(np.int16)
    ring = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    inner = p[1:-1, 1:-1]
    code = np.zeros(inner.shape, np.uint8)
    for bit, (dy, dx) in enumerate(ring):
        neighbour = p[1 + dy : p.shape[0] - 1 + dy, 1 + dx : p.shape[1] - 1 + dx]
        code |= (neighbour >= inner).astype(np.uint8) << bit
    label = _UNIFORM[code]
    cells = [cell for row in np.array_split(label, 8) for cell in np.array_split(row, 8, axis=1)]
    return np.concatenate([np.bincount(c.ravel(), minlength=59) for c in cells]).astype(np.float32)


def _uniform_table() -> np.ndarray:
    """Label of each of the 256 patterns: those with at most two changes around the ring have their own."""
    table, label = np.full(256, 58, np.uint8), 0
    for code in range(256):
        bits = [(code >> k) & 1 for k in range(8)]
        if sum(bits[k] != bits[k - 1] for k in range(8)) <= 2:
            table[code], label = label, label + 1
    return table


_UNIFORM = _uniform_table()


def fold_over(rest: np.ndarray, moved: np.ndarray, mask: np.ndarray) -> float:
    """Share of the pixels in `mask` where the picture turned inside out, by dense optical flow to `rest`.

    Where 1 + the flow's gradient has a determinant of 0 or less, neighbours have changed places.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    d = flow.calc(*(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (moved, rest)), None)
    ux, uy = np.gradient(d[..., 0], axis=1), np.gradient(d[..., 0], axis=0)
    vx, vy = np.gradient(d[..., 1], axis=1), np.gradient(d[..., 1], axis=0)
    folded = (1 + ux) * (1 + vy) - uy * vx <= 0
    return float(folded[mask].mean()) if mask.any() else float("nan")


def trembling(track: Sequence[np.ndarray | None]) -> float:
    """Mean length of the landmarks' acceleration from picture to picture, px for a face 110 px high.

    track: landmarks (N, 3) of consecutive pictures; those without a face are left out.
    """
    points = np.array([t[:468, :2] for t in track if t is not None])
    if len(points) < 3:
        return float("nan")
    height = np.linalg.norm(points[:, 10] - points[:, 152], axis=1).mean()
    second = points[2:] - 2 * points[1:-1] + points[:-2]
    return float(np.linalg.norm(second, axis=-1).mean() * 110 / height)


def follow(pictures: Sequence[np.ndarray], start: np.ndarray) -> list[np.ndarray]:
    """Where the landmarks `start` of the first picture lie in each of them, by Lucas and Kanade's optical flow.

    For pictures that hardly differ this is far steadier than reading landmarks: a landmark tracker fed its own
    last answer circles by up to 0.08 px on one and the same picture, and this gives exactly 0.
    """
    greys = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pictures]
    points = start[:, None, :2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 0.001)
    out = []
    for grey in greys:
        moved, _, _ = cv2.calcOpticalFlowPyrLK(greys[0], grey, points, None, None, None, (21, 21), 1, stop)
        out.append(moved[:, 0].astype(np.float64))
    return out
