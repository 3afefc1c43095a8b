"""The mesh outside the face: hair, ears, neck, shoulders and what lies behind.

Points around the face follow the head with weights that depend on where they lie in *face coordinates* (origin in
the middle of the face oval, x across, y towards the chin, unit the face height). Four tables over these coordinates,
fitted to optical flow by `realtime/training/fits/outer.py`, say how much a point takes part in the head's shift and
change of scale (`follow`), in its rotation (`turn`), and how deep it lies (`depth`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import cv2
import numpy as np
from scipy.spatial import Delaunay

from realtime.engines.mesh.topology import signed_distance, smoothstep
from realtime.face.face_model import LANDMARKS, OVAL
from realtime.face.pose import HeadPose

RINGS = ((1.05, 1), (1.12, 1), (1.24, 1), (1.42, 2), (1.7, 2), (2.1, 3))
"""Rings of points around the face: how much wider than the oval, and taking every n-th of its points."""
RINGS_REACH = 2.25
"""The grid begins where the rings end."""
GRID_CELLS = 21
"""Cells of the grid along the longer side of the picture."""
SKIN_REACH = 0.15
"""How far the skin around the face follows the face's expression, in face heights (e-fold)."""
USUAL_SHOULDERS = 0.9
"""Where the tables have the shoulders' outline, in face coordinates (v)."""
HIGHEST_SHOULDERS = 0.25
"""What reaches higher beside the face (v) is hair."""
BODY = (0.55, 0.9)
"""From the lower neck to the shoulders (v): what belongs to the body."""
HELD_SIDES, HELD_BOTTOM = 0.15, 0.06
"""How far from the picture's sides (share of its width) and bottom (face heights) a body that is cut off there moves
less and less."""
NECK = 0.45
"""Half the width of a neck with its collar, in face heights: beside it shoulders are looked for."""


@dataclass(frozen=True, slots=True)
class OuterTables:
    """Weights over face coordinates; symmetric, so that `us` holds |x|. Each table is float32 (len(vs), len(us))."""

    us: np.ndarray
    vs: np.ndarray
    follow: np.ndarray
    turn: np.ndarray
    depth: np.ndarray

    def sample(self, table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """`table` at face coordinates (u, v), bilinear, the border value beyond the border."""
        x = (np.abs(u) - self.us[0]) / (self.us[1] - self.us[0])
        y = (v - self.vs[0]) / (self.vs[1] - self.vs[0])
        x = np.clip(x, 0.0, len(self.us) - 1.0).astype(np.float32)[None]
        y = np.clip(y, 0.0, len(self.vs) - 1.0).astype(np.float32)[None]
        return cv2.remap(table, x, y, cv2.INTER_LINEAR)[0].astype(np.float64)


@lru_cache(maxsize=1)
def outer_tables() -> OuterTables:
    """The fitted tables that come with the package."""
    with resources.files("realtime.data").joinpath("outer_tables.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return OuterTables(**{name: stored[name].astype(np.float32) for name in OuterTables.__slots__})


@dataclass(frozen=True, slots=True)
class OuterMesh:
    """Points and triangles around the face of one portrait.

    points: float64 (n, 2), pixels of the portrait. triangles: int32 (m, 3), indices into the face's 478 landmarks
    followed by these points. depth: float64 (n,), pixels, in the portrait's camera (z away from it).
    follow, turn: float64 (n,). skin: float64 (n, len(OVAL)), how the expression at the oval reaches each point.
    """

    points: np.ndarray
    triangles: np.ndarray
    depth: np.ndarray
    follow: np.ndarray
    turn: np.ndarray
    skin: np.ndarray

    def move(self, shape_change: np.ndarray, start: HeadPose, pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
        """Where the points go when the head goes from pose `start` to `pose`: pixels (n, 2) and depth (n,).

        shape_change: (len(OVAL), 3), how the expression moves the oval, in the face frame.
        """
        growth = pose.scale / start.scale
        arm = np.column_stack([self.points, self.depth]) - start.translation
        turned = arm @ (pose.rotation @ start.rotation.T).T
        shift = (pose.translation - start.translation)[:2] + (growth - 1.0) * arm[:, :2]
        rotation = growth * (turned - arm)[:, :2]
        skin = (self.skin @ (shape_change @ pose.rotation[:2].T)) * pose.scale
        moved = self.points + self.follow[:, None] * shift + self.turn[:, None] * (rotation + skin)
        return moved, pose.translation[2] + growth * turned[:, 2]


@dataclass(frozen=True, slots=True)
class Shoulders:
    """The outline of a person's shoulders in face coordinates: `us` (n,) rises from negative (the picture's left of
    the face) to positive, `vs` (n,) is where the body begins."""

    us: np.ndarray
    vs: np.ndarray

    @classmethod
    def find(cls, matte: np.ndarray, oval: np.ndarray, pose: HeadPose) -> Shoulders | None:
        """From the matte (H, W; 0 to 1) of the picture, None where no shoulders are seen.

        In a column beside the face, the first background from the bottom up ends the body, unless hair hides it.
        """
        height, width = matte.shape
        step = max(1, round(0.02 * pose.scale))
        ys, xs = np.mgrid[height - 1 : -1 : -step, 0:width:step]
        u, v = face_coordinates(np.column_stack([xs.ravel(), ys.ravel()]).astype(np.float64), oval, pose)
        u, v = u.reshape(xs.shape), v.reshape(xs.shape)
        person = matte[ys, xs] > 0.5
        body = person[0] & ~person.all(axis=0)
        columns = np.flatnonzero(body)
        rows = np.argmin(person[:, columns], axis=0)
        us, vs = u[rows, columns], v[rows, columns]
        beside = (np.abs(us) > NECK) & (vs > HIGHEST_SHOULDERS)
        if beside.sum() < 3:
            return None
        order = np.argsort(us[beside])
        return cls(us[beside][order], vs[beside][order])

    def lifted(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """`v` with the body moved down to where the tables have it. High shoulders are still shoulders."""
        line = np.interp(u, self.us, self.vs)
        lift = np.maximum(USUAL_SHOULDERS - line, 0.0)
        return v + lift * smoothstep(-0.12, 0.03, v - np.maximum(line, 0.62 - 0.3 * np.minimum(np.abs(u), NECK)))


def face_coordinates(points: np.ndarray, oval: np.ndarray, pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates (u, v) of `points` (n, 2; pixels) for a face with this `oval` (k, 2; pixels) and pose."""
    down = pose.rotation[:2, 1] / max(1e-9, float(np.linalg.norm(pose.rotation[:2, 1])))
    across = np.array([down[1], -down[0]])
    offset = (points - oval.mean(axis=0)) / pose.scale
    return offset @ across, offset @ down


def build_outer_mesh(
    landmarks: np.ndarray,
    pose: HeadPose,
    size: tuple[int, int],
    margin: int,
    shoulders: Shoulders | None = None,
) -> OuterMesh:
    """Mesh what surrounds the face in a picture of `size` (width, height) and in the `margin` around that, pixels.

    landmarks: (478, 3), pixels, z away from the camera. shoulders: where the body begins, where that is seen.
    """
    unit = float(max(size))
    low, high = np.full(2, -float(margin)), np.array(size) - 1.0 + margin
    fh = pose.scale
    oval = landmarks[list(OVAL), :2]
    points = _scatter(oval, low, high, unit / GRID_CELLS)
    triangles = _triangulate(points, oval)

    distance = np.maximum(0.0, signed_distance(points, oval)) / fh
    squared = ((points[:, None] - oval[None]) ** 2).sum(-1) / fh**2
    nearness = 1.0 / (squared + 1e-3) ** 2
    nearness /= nearness.sum(axis=1, keepdims=True)

    tables = outer_tables()
    u, v = face_coordinates(points, oval, pose)
    at_oval = np.exp(-distance / 0.05)
    depth = at_oval * (nearness @ landmarks[list(OVAL), 2])
    depth += (1.0 - at_oval) * (tables.sample(tables.depth, u, v) * fh + pose.translation[2])
    below = v if shoulders is None else shoulders.lifted(u, v)
    follow, turn = tables.sample(tables.follow, u, below), tables.sample(tables.turn, u, below)
    # next to the oval the skin must move as the face does, or the seam shows
    follow, turn = at_oval + (1.0 - at_oval) * follow, at_oval + (1.0 - at_oval) * turn
    # a body cut off by the picture's edge stays there: what the edge hides is not known
    beside = np.minimum(points[:, 0], size[0] - 1.0 - points[:, 0])
    free = smoothstep(0.0, HELD_SIDES * size[0], beside)
    free *= smoothstep(0.0, HELD_BOTTOM * fh, size[1] - 1.0 - points[:, 1])
    free = 1.0 - smoothstep(*BODY, below) * (1.0 - free)
    # the rim of the rectangle stays, so that no gap opens beyond it
    rim = np.minimum(points - low, high - points).min(axis=1)
    held = smoothstep(0.0, 0.03 * unit, rim)
    return OuterMesh(
        points=points,
        triangles=triangles,
        depth=depth + 0.02 * fh,
        follow=follow * held * free,
        turn=turn * held * free,
        skin=nearness * np.exp(-distance / SKIN_REACH)[:, None],
    )


def _scatter(oval: np.ndarray, low: np.ndarray, high: np.ndarray, step: float) -> np.ndarray:
    """Points outside the oval: rings near it, a grid farther out, and the rim of the rectangle."""
    middle = oval.mean(axis=0)
    rings = np.concatenate([middle + (oval[::every] - middle) * wider for wider, every in RINGS])
    rings = rings[((rings > low + 1.0) & (rings < high - 1.0)).all(axis=1)]
    axes = [np.linspace(low[i], high[i], max(2, round((high[i] - low[i]) / step) + 1)) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    on_rim = ((grid == low) | (grid == high)).any(axis=1)
    reach = middle + (oval - middle) * RINGS_REACH
    grid = grid[on_rim | (signed_distance(grid, reach) > 0)]
    points = np.concatenate([rings, grid])
    return points[signed_distance(points, oval) > 1.0]


def _triangulate(points: np.ndarray, oval: np.ndarray) -> np.ndarray:
    """Delaunay triangles between the oval and the points, those inside the oval left out."""
    everything = np.concatenate([oval, points])
    simplices = Delaunay(everything).simplices
    outside = signed_distance(everything[simplices].mean(axis=1), oval) > 0
    index = np.concatenate([np.array(OVAL), LANDMARKS + np.arange(len(points))])
    return np.ascontiguousarray(index[simplices[outside]], dtype=np.int32)
