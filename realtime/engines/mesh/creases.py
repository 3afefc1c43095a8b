"""Creases that come with an expression, as soft dark and light in the portrait's own tones.

A crease is a line through landmarks. How deep it is follows from how far the face moved from the portrait's own (the
folds beside the nose from a smile, the lines of the forehead from raised brows, those between the brows from a frown,
those beside the eyes from eyes that laugh), so a portrait at rest is left as it is. Skin without any texture, and
pictures drawn in few colours, get none: see `crease_strength`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from realtime.face.face_model import OVAL, load_face_model
from realtime.face.pose import HeadPose, angles
from realtime.flow.jit import compiled
from realtime.motion.filters import smoothstep

TEXTURE = (0.5, 1.2)
"""What is finer than `FINE`, as a percentage of the light: up to the first a doll has it, from the second on skin."""
COLOURS = (1.5, 3.0)
"""Spread of the face's colours that its light does not explain (Lab units): below the first there is one ink."""
FINE = 0.01
"""Face heights: detail smaller than this is texture."""
NO_SKIN = 40.0
"""How far (Lab units, the light counting less) a colour is from the skin's where something else lies over it."""
TURNED_AWAY = (12.0, 30.0)
"""Degrees of yaw over which the creases of the far side go."""
LIGHT = 0.22
"""How much lighter the skin beside a crease becomes, as a share of how much darker the crease."""
STEPS = 14
"""Points of a line."""


@dataclass(frozen=True, slots=True)
class Crease:
    """points: ((landmark, landmark, share of the second), ...), the line. width: half of it, face heights. depth:
    share of the light that it takes at most. fold: which expression draws it. side: -1 the right of the person, 1 the
    left, 0 both. lit: -1 or 1, on which side of the line (to its left or right as it runs, in the picture) the skin
    bulges; 0 for a mere groove."""

    points: tuple[tuple[int, int, float], ...]
    width: float
    depth: float
    fold: str
    side: int
    lit: float

    def on(self, face: np.ndarray) -> np.ndarray:
        """The line on a face (478, d): (n, d)."""
        a, b, share = _places(self.points)
        return face[a] + (face[b] - face[a]) * share


@lru_cache
def _places(points: tuple[tuple[int, int, float], ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The landmarks (n,) and (n,) and the shares (n, 1) of a line's points."""
    a, b, share = zip(*points, strict=True)
    return np.array(a), np.array(b), np.array(share)[:, None]


_NOSE_FOLD = ((129, 203, 0.35), (203, 206, 0.5), (206, 216, 0.45), (216, 212, 0.2), (216, 212, 0.8))
_BROW_FOLD = ((55, 8, 0.45), (107, 9, 0.40), (108, 151, 0.30))
_EYE_FOLDS = (
    ((33, 156, 0.45), (156, 139, 0.35)),
    ((33, 143, 0.70), (143, 34, 0.75)),
    ((33, 111, 0.65), (111, 227, 0.55)),
)
_BROWS = (70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300)
_FOREHEAD = (71, 68, 104, 69, 108, 151, 337, 299, 333, 298, 301)


def _creases() -> tuple[Crease, ...]:
    mirror = load_face_model().mirror.tolist()
    found = []
    for side in (-1, 1):
        for points, width, depth, fold, lit in (
            (_NOSE_FOLD, 0.018, 0.18, "smile", -float(side)),
            (_BROW_FOLD, 0.008, 0.13, "frown", 0.0),
            *((points, 0.006, 0.10, "laugh", 0.0) for points in _EYE_FOLDS),
        ):
            line = points if side < 0 else tuple((mirror[a], mirror[b], share) for a, b, share in points)
            found.append(Crease(line, width, depth, fold, side, lit))
    for share in (0.55, 1.05):
        line = tuple((a, b, share) for a, b in zip(_BROWS, _FOREHEAD, strict=True))
        found.append(Crease(line, 0.009, 0.09, "brows", 0, 0.0))
    return tuple(found)


CREASES = _creases()


@dataclass(frozen=True, slots=True)
class Creases:
    """The creases of one portrait.

    lines: those that lie on its skin. strength: 0..1, how much of them. tone: float64 (3,), how much of what is dark
    each channel loses.
    """

    lines: tuple[Crease, ...]
    strength: float
    tone: np.ndarray

    def draw(self, out: np.ndarray, shape: np.ndarray, rest: np.ndarray, pose: HeadPose) -> None:
        """Draw the creases of the face `shape` (478, 3; face frame) in `pose` into `out`, uint8 (H, W, 3).

        rest: the portrait's own face, whose creases its picture shows.
        """
        if self.strength <= 0.02:
            return
        depths = folds(shape, rest)
        yaw = angles(pose.rotation)[0]
        for crease in self.lines:
            amount = self.strength * depths[crease.fold, crease.side]
            amount *= 1.0 - smoothstep(*TURNED_AWAY, yaw * crease.side)
            if amount < 0.04:
                continue
            line = pose.to_picture(crease.on(shape))[:, :2]
            _draw_line(out, _smooth(line), crease.width * pose.scale, amount * crease.depth, crease.lit, self.tone)


_FOLDS = ((-1, 61, 205, 105, 55, (159, 145)), (1, 291, 425, 334, 285, (386, 374)))
"""Side, corner of the mouth, cheek, brow, its inner end, lids."""
_FOLDED = (61, 205, 105, 55, 159, 145, 291, 425, 334, 285, 386, 374, 52, 282)


def folds(shape: np.ndarray, rest: np.ndarray) -> dict[tuple[str, int], float]:
    """How deep each kind of crease is, 0..1, by its name and side. shape, rest: (478, 3), faces in the face frame."""
    at = list(_FOLDED)  # plain numbers: many small sums
    new, old = dict(zip(at, shape[at].tolist(), strict=True)), dict(zip(at, rest[at].tolist(), strict=True))

    def moved(point: int, axis: int) -> float:
        return float(new[point][axis] - old[point][axis])

    depths: dict[tuple[str, int], float] = {}
    for side, corner, cheek, brow, inner, lids in _FOLDS:
        smile = -moved(corner, 1) + 0.5 * side * moved(corner, 0) - 0.3 * moved(cheek, 1)
        was_open = old[lids[1]][1] - old[lids[0]][1]
        open_ = (new[lids[1]][1] - new[lids[0]][1]) / max(was_open, 1e-3)
        frown = -side * moved(inner, 0) + 0.5 * moved(brow, 1)
        depths["smile", side] = smoothstep(0.015, 0.075, smile)
        depths["laugh", side] = depths["smile", side] * smoothstep(0.0, 0.5, 1.0 - open_)
        depths["frown", side] = smoothstep(0.006, 0.028, frown)
    raised = (
        -(sum(moved(point, 1) for point in (105, 334, 52, 282)) / 4 + 0.15 * (moved(55, 1) + moved(285, 1))) / 1.3
    )
    depths["brows", 0] = smoothstep(0.010, 0.035, raised)
    return depths


def prepare_creases(picture: np.ndarray, landmarks: np.ndarray, fh: float) -> Creases:
    """The creases of a portrait. picture: uint8 (H, W, 3). landmarks: (478, 3), its pixels. fh: face height, px."""
    lab = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), max(0.8, FINE * fh)), cv2.COLOR_RGB2LAB)
    skin = np.median(_at(picture, landmarks[list(_SKIN)]), axis=0).astype(np.float64)
    usual = np.median(_at(lab, landmarks[list(_SKIN)]), axis=0).astype(np.float64)
    lines = []
    for crease in CREASES:  # hair and glasses do not crease
        apart = np.abs(_at(lab, _smooth(crease.on(landmarks[:, :2]))) - usual) @ (0.4, 1.0, 1.0)
        if np.mean(apart > NO_SKIN) < 0.25:
            lines.append(crease)
    tone = 1.0 - 0.45 * skin / max(1.0, float(skin.max()))
    return Creases(tuple(lines), crease_strength(picture, landmarks, fh), tone / tone.mean())


def crease_strength(picture: np.ndarray, landmarks: np.ndarray, fh: float) -> float:
    """0..1: how much of creases a picture bears: none in skin as smooth as a doll's, none in a drawing of one ink."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), max(0.8, FINE * fh))
    reach = max(2, round(0.03 * fh))
    found = []
    for x, y in landmarks[list(_SKIN), :2].round().astype(int):
        here = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
        if grey[here].size:
            found.append(100.0 * float(fine[here].std()) / max(20.0, float(grey[here].mean())))
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(mask, [landmarks[list(OVAL), :2].round().astype(np.int32)], (1.0,))
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[mask > 0].astype(np.float64)
    if not found or len(lab) < 16:
        return 0.0
    light = np.column_stack([lab[:, 0], lab[:, 0] ** 2, np.ones(len(lab))])
    left = lab[:, 1:] - light @ np.linalg.lstsq(light, lab[:, 1:], rcond=None)[0]
    colours = float(np.sqrt((left**2).sum(axis=1).mean()))
    return float(smoothstep(*TEXTURE, float(np.percentile(found, 30))) * smoothstep(*COLOURS, colours))


_SKIN = (50, 280, 205, 425, 151, 108, 337, 117, 346, 187, 411)


def _at(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The pixels (n, 3) of `picture` at `points` (n, 2 or more; x, y)."""
    x = np.clip(points[:, 0].round().astype(int), 0, picture.shape[1] - 1)
    y = np.clip(points[:, 1].round().astype(int), 0, picture.shape[0] - 1)
    return picture[y, x]


def _smooth(line: np.ndarray) -> np.ndarray:
    """`STEPS` points on a smooth curve near the corners of `line` (n, 2): its quadratic B-spline."""
    return _spline(len(line)) @ line


@lru_cache
def _spline(n: int) -> np.ndarray:
    """(STEPS, n): what each corner of a line counts in the points of its quadratic B-spline, the ends held."""
    at = np.linspace(0.0, n - 1e-6, STEPS)
    k = at.astype(int)
    t = at - k
    weights = np.zeros((STEPS, n))
    for corner, share in ((k - 1, 0.5 * (1 - t) ** 2), (k, 0.5 * (1 + 2 * t - 2 * t * t)), (k + 1, 0.5 * t * t)):
        np.add.at(weights, (np.arange(STEPS), np.clip(corner, 0, n - 1)), share)
    return weights


@compiled("void(uint8[:,:,::1], float64[:,::1], float64, float64, float64, float64[::1])")
def _draw_line(out: np.ndarray, line: np.ndarray, width: float, depth: float, lit: float, tone: np.ndarray) -> None:
    """A groove along `line` (n, 2; pixels) that fades to its ends. depth: share of the light taken in its middle."""
    width = max(width, 0.7)
    reach = (3.2 if lit != 0.0 else 2.0) * width
    n = len(line)
    x0 = y0 = 1e9
    x1 = y1 = -1e9
    for k in range(n):
        x0, x1 = min(x0, line[k, 0]), max(x1, line[k, 0])
        y0, y1 = min(y0, line[k, 1]), max(y1, line[k, 1])
    if not (x1 - x0 < 1e5 and y1 - y0 < 1e5):
        return
    left, right = max(0, int(x0 - reach)), min(out.shape[1], int(x1 + reach) + 1)
    top, bottom = max(0, int(y0 - reach)), min(out.shape[0], int(y1 + reach) + 1)
    if left >= right or top >= bottom:
        return
    near = np.full((bottom - top, right - left), reach * reach)  # to the nearest piece, squared
    along = np.zeros((bottom - top, right - left))
    side = np.zeros((bottom - top, right - left))
    for k in range(n - 1):  # only the pixels about each piece
        ax, ay, bx, by = line[k, 0], line[k, 1], line[k + 1, 0], line[k + 1, 1]
        ex, ey = bx - ax, by - ay
        for y in range(max(top, int(min(ay, by) - reach)), min(bottom, int(max(ay, by) + reach) + 1)):
            for x in range(max(left, int(min(ax, bx) - reach)), min(right, int(max(ax, bx) + reach) + 1)):
                px, py = x - ax, y - ay
                t = min(1.0, max(0.0, (px * ex + py * ey) / max(ex * ex + ey * ey, 1e-9)))
                off = (px - t * ex) ** 2 + (py - t * ey) ** 2
                if off < near[y - top, x - left]:
                    near[y - top, x - left] = off
                    along[y - top, x - left] = (k + t) / (n - 1.0)
                    side[y - top, x - left] = ex * py - ey * px
    for y in range(top, bottom):
        for x in range(left, right):
            off = near[y - top, x - left]
            if off >= reach * reach:
                continue
            away = np.sqrt(off) / width
            at = along[y - top, x - left]
            fade = 4.0 * at * (1.0 - at)
            dark = np.exp(-away * away)
            if lit != 0.0:
                over = away if side[y - top, x - left] * lit > 0.0 else -away
                dark -= LIGHT * np.exp(-((over - 1.8) ** 2))
            taken = depth * fade * dark
            for c in range(3):
                value = out[y, x, c] * (1.0 - taken * tone[c])
                out[y, x, c] = np.uint8(min(255.0, max(0.0, value + 0.5)))
