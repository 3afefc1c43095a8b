"""The body below the neck as a layer of its own: shoulders, chest and clothes, moved by the body's directions.

It is a part of the mesh outside the face, so that the neck, where head and body share their points by how far down
they lie, bends and cannot tear. Trunk and clothes go along with the shoulders' line, turn as a barrel does, and bend
where one shoulder is raised. Where the picture cuts the body off it gives way, so that the cut stays out of sight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.engines.mesh.motion.body import BodyMotion
from realtime.engines.mesh.topology import smoothstep

FROM, TO = 0.5, 0.95
"""From the neck, which goes with the head, down to the shoulders (v, where the tables have them): the body."""
USUAL = np.array([[-0.72, 1.12], [0.72, 1.12]])
"""The person's right and left shoulder in face heights from the face's middle, where nothing is known of them."""
BARREL, LEAST_HALF = 0.3, 0.5
"""How far the breastbone lies before the shoulders, and the least half of the distance of these, face heights."""
INWARDS, DOWNWARDS = 0.4, 0.75
"""How far towards the neck, and downwards, a raised shoulder takes clothes along (e-fold, face heights)."""
BREATH_UP, BREATH_OUT, BREATH_REACH = 0.018, 0.012, 0.9
"""A full breath raises the shoulders by so many face heights, widens the chest by such a share, and is seen so far
above and below the shoulders (e-fold, face heights)."""
GIVES_WAY = 0.35
"""From the picture's cut edge inwards, face heights, the body gives way to what the edge must hide."""
HIDDEN = 0.95
"""How much of what is kept beyond the picture's edges may be moved into it."""


@dataclass(frozen=True, slots=True)
class BodyLayer:
    """The body's part of a portrait's outer mesh.

    which: indices (k,) of its points; weight: (k,), how much each belongs to it. rest: (k, 2), pixels. middle: (2,),
    between the shoulders; unit: pixels to a face height. depth: (k,), before (negative) the shoulders, pixels.
    right, left: (k,), how much each goes along with either shoulder; chest: (k,), with a breath.
    free: (3, k), at the picture's left, right and bottom: 0 on the edge of what is known, 1 well inside. room: (3,),
    pixels that may be moved in from beyond each.
    """

    which: np.ndarray
    weight: np.ndarray
    rest: np.ndarray
    middle: np.ndarray
    unit: float
    depth: np.ndarray
    right: np.ndarray
    left: np.ndarray
    chest: np.ndarray
    free: np.ndarray
    room: np.ndarray

    def move(self, points: np.ndarray, motion: BodyMotion) -> np.ndarray:
        """The outer mesh's points (n, 2), as they go with the head, with the body moved: (n, 2), pixels."""
        if motion.still:
            return points
        now = points[self.which]
        way = motion.share * (self.rest - now) + self._way(motion)
        moved = points.copy()
        moved[self.which] = self.rest + self._held_back(now + self.weight[:, None] * way - self.rest)
        return moved

    def _way(self, motion: BodyMotion) -> np.ndarray:
        """How far a body goes that is nothing but body: pixels (k, 2)."""
        arm = self.rest - self.middle
        turn, lean = math.radians(motion.turn), math.radians(motion.lean)
        x = arm[:, 0] * math.cos(turn) - self.depth * math.sin(turn)
        c, s = motion.grow * math.cos(lean), motion.grow * math.sin(lean)
        way = np.column_stack([c * x - s * arm[:, 1], s * x + c * arm[:, 1]]) - arm + motion.shift * self.unit
        raised = self.right * motion.raise_right + self.left * motion.raise_left
        way[:, 1] -= self.unit * (raised + BREATH_UP * motion.breath * self.chest)
        way[:, 0] += BREATH_OUT * motion.breath * self.chest * arm[:, 0]
        return way

    def _held_back(self, way: np.ndarray) -> np.ndarray:
        """`way` (k, 2), less of it near an edge where it would bring into the picture what nobody knows."""
        x, y = way.T
        for free, room, inwards in zip(self.free, self.room, (1.0, -1.0), strict=False):
            limited = inwards * np.minimum(inwards * x, room)
            x = limited + free * (x - limited)
        limited = np.maximum(y, -self.room[2])
        return np.column_stack([x, limited + self.free[2] * (y - limited)])


@dataclass(frozen=True, slots=True)
class Edges:
    """How far a portrait is known. size: of the window (width, height); margin: so much more on each side, and under:
    farther still below; pixels. ends: whether the person ends before the left and the right edge of that."""

    size: tuple[int, int]
    margin: int
    under: int = 0
    ends: tuple[bool, bool] = (False, False)


def build_body(
    points: np.ndarray,
    below: np.ndarray,
    shoulders: np.ndarray | None,
    face: tuple[np.ndarray, float],
    edges: Edges,
) -> BodyLayer:
    """The body of a portrait that is known as far as `edges` say.

    points: (n, 2), pixels, of the mesh outside the face. below: (n,), how far down each lies, where the tables have
    it. shoulders: (2, 2), the right and the left one, pixels; None: not known. face: its middle and height, pixels.
    """
    middle, unit = face
    right, left = middle + unit * USUAL if shoulders is None else shoulders
    weight = smoothstep(FROM, TO, below)
    which = np.flatnonzero(weight > 0.0)
    rest = points[which]
    center = (right + left) / 2
    half = max(float(np.linalg.norm(left - right)) / 2, LEAST_HALF * unit)
    across = np.clip((rest[:, 0] - center[0]) / half, -1.0, 1.0)
    low, high = rest + edges.margin, np.array(edges.size) - 1.0 + edges.margin - rest
    free = smoothstep(0.0, GIVES_WAY * unit, np.stack([low[:, 0], high[:, 0], high[:, 1] + edges.under]))
    free[:2][list(edges.ends)] = 1.0
    return BodyLayer(
        which=which,
        weight=weight[which],
        rest=rest,
        middle=center,
        unit=unit,
        depth=-BARREL * unit * np.sqrt(1.0 - across**2),
        right=_with_shoulder(rest, right, -1.0, unit),
        left=_with_shoulder(rest, left, 1.0, unit),
        chest=np.exp(-(((rest[:, 1] - center[1]) / (BREATH_REACH * unit)) ** 2)),
        free=free,
        room=HIDDEN * (edges.margin + np.array([0.0, 0.0, edges.under])),
    )


def _with_shoulder(points: np.ndarray, shoulder: np.ndarray, outwards: float, unit: float) -> np.ndarray:
    """How much points (k, 2) go along with a shoulder that is raised: (k,)."""
    inwards = np.maximum(outwards * (shoulder[0] - points[:, 0]), 0.0) / (INWARDS * unit)
    down = np.maximum(points[:, 1] - shoulder[1], 0.0) / (DOWNWARDS * unit)
    return np.exp(-(inwards**2) - down**2)
