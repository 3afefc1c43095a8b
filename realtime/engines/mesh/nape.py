"""The neck behind the jaw and below the ear, which a picture of the front hides.

A head that turns uncovers it on the near side, and where the picture has no more of it the background would be seen
between the ear's lobe and the neck. It is as round and as wide as the narrowest that the picture shows of the neck,
goes up from there behind the ear, and is painted behind the person in the colour of its skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.outer import picture_axes
from realtime.engines.mesh.paint import CoarseBox
from realtime.engines.mesh.throat import BLACK, HUES, JAW, colours_at, hue
from realtime.engines.mesh.topology import smoothstep
from realtime.face.face_model import OVAL
from realtime.face.pose import HeadPose, angles

TURNED = (8.0, 20.0)
"""Degrees of turn from which it is painted, and from which in full."""
TOP = 0.1
"""It ends behind the ear (v), face coordinates."""
ROWS = np.arange(TOP, 0.8, 0.02)
FIRST = 5
"""Heights (v) at which the person's outline is looked for, and the first of them at which a neck can be narrowest."""
WIDTHS, WIDEST = (0.15, 0.43), 0.8
"""Half as wide are necks, face heights: what is wider is hair or a collar. It is looked for up to the second."""
EVEN = 0.03
"""What is wider by so little is as narrow: the lowest of it counts."""
LOBE = 0.95
"""At its top it reaches to this share of the person's outline there."""
HIDDEN = (1.0 - smoothstep(0.5 * 255, 0.95 * 255, np.arange(256))).astype(np.float32)
"""How much of it is seen through a person's matte (0 to 255). At its edge the matte still has light of the
background, which would trace the outline; hence also what lies so near to it."""
RIM = np.ones((3, 3), np.uint8)
AXIS = 0.16
"""So far behind the ears lies the neck's axis, face heights."""
AROUND = (40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0)
"""Degrees from the throat round to the nape at which its points lie."""
LEVELS = 5
"""Rows of points, from the ear down."""
HELD_BY = 4
"""So many of the mesh's points hold each of its lower points."""
SEEN_AT = 0.75
"""The neck's colour is taken at this share of its half width."""
OTHERWISE = 0.8
"""The neck has this share of the chin's light where its own is not known."""
SHADED, SHADE = (70.0, 150.0), 0.35
"""Degrees round the neck from which it gets darker, and to which, and by what share."""
BELOW_EAR = 0.2
"""It is darker by this share behind the ear."""
REACH, ASIDE = 1.0, 0.2
"""What lies before it is sought so far above and below the face's middle, and to its other side, face heights."""


@dataclass(frozen=True, slots=True, eq=False)
class Nape:
    """One side of a neck.

    side: -1 on the picture's left of the face, 1 on its right. own: the portrait's yaw, degrees. head: float64
    (n, 3), its points in the face frame. body: (n,), how much each goes with the mesh around it, not with the head.
    rest: (n + 1, 2), its points in pixels of the portrait, and where the ear's lobe, or the hair, ends. held: indices
    (n + 1, HELD_BY) into the mesh's points; by: (n + 1, HELD_BY), how much each of these holds it; at:
    (n + 1, HELD_BY, 2), where they are at rest. paint, triangles: see `CoarseBox`. before: int32 (k, 3),
    the mesh's triangles that may lie before it; matte: uint8 (h, w), and uv: float32 (m, 2), what they show of it.
    """

    side: int
    own: float
    head: np.ndarray
    body: np.ndarray
    rest: np.ndarray
    held: np.ndarray
    by: np.ndarray
    at: np.ndarray
    paint: np.ndarray
    triangles: np.ndarray
    before: np.ndarray
    matte: np.ndarray
    uv: np.ndarray

    @classmethod
    def both(
        cls,
        picture: np.ndarray,
        matte: np.ndarray,
        landmarks: np.ndarray,
        pose: HeadPose,
        at: np.ndarray,
        triangles: np.ndarray,
    ) -> tuple[Nape, ...]:
        """The sides on which the picture (uint8 (H, W, 3)) shows where the neck ends.

        matte: float32 (h, w), 0 to 1, of the picture and as much around it on all sides. landmarks: (478, 3), pixels.
        at: (m, 2), the mesh's points, these landmarks first, and triangles: (k, 3), where it shows the person.
        """
        calm = 2 * max(1, round(0.03 * pose.scale)) + 1
        even, shown = cv2.blur(picture, (calm, calm)), cv2.convertScaleAbs(matte, alpha=255.0)
        found = (cls._of(side, even, shown, landmarks, pose, at, triangles) for side in (-1, 1))
        return tuple(nape for nape in found if nape is not None)

    @classmethod
    def _of(
        cls,
        side: int,
        picture: np.ndarray,
        matte: np.ndarray,
        landmarks: np.ndarray,
        pose: HeadPose,
        at: np.ndarray,
        triangles: np.ndarray,
    ) -> Nape | None:
        middle, fh = landmarks[list(OVAL), :2].mean(axis=0), pose.scale
        across, down = picture_axes(pose)
        margin = (matte.shape[0] - picture.shape[0]) // 2
        ends = _outline(matte, middle + margin, side * across * fh, down * fh)
        narrow = np.flatnonzero(ends <= ends[FIRST:].min() + EVEN)
        low, wide = ROWS[narrow[-1]], ends[narrow[-1]]
        if not WIDTHS[0] < wide < WIDTHS[1]:
            return None
        around, levels = np.radians(AROUND), np.linspace(0.0, 1.0, LEVELS)  # from the ear down
        u = side * np.append(wide * np.tile(np.sin(around), LEVELS), LOBE * min(ends[0], WIDEST))
        v = np.append(np.repeat(TOP + (low - TOP) * levels, len(around)), TOP)
        rest = middle + fh * (u[:, None] * across + v[:, None] * down)
        depth = pose.translation[2] + fh * (AXIS - wide * np.tile(np.cos(around), LEVELS))
        held = ((rest[:, None] - at) ** 2).sum(axis=2).argsort(axis=1)[:, :HELD_BY]
        by = 1.0 / (np.linalg.norm(rest[:, None] - at[held], axis=2) + 0.01 * fh)
        light = np.outer(1.0 - BELOW_EAR * (1.0 - levels), 1.0 - SHADE * smoothstep(*SHADED, np.array(AROUND)))
        paint = np.ones((len(depth), 4), np.float32)
        seen = middle + fh * (side * SEEN_AT * wide * across + low * down)
        paint[:, :3] = light.reshape(-1, 1) * _skin(picture, landmarks, seen, fh)
        beside = (side * (at - middle) @ across > -ASIDE * fh) & (np.abs((at - middle) @ down) < REACH * fh)
        return cls(
            side=side,
            own=angles(pose.rotation)[0],
            head=pose.to_face(np.column_stack([rest[:-1], depth])),
            body=np.repeat(smoothstep(0.0, 1.0, levels), len(around)),
            rest=rest,
            held=held,
            by=by / by.sum(axis=1, keepdims=True),
            at=at[held],
            paint=paint,
            triangles=_grid(LEVELS, len(around)),
            before=triangles[beside[triangles].any(axis=1)],
            matte=matte,
            uv=(at + margin).astype(np.float32),
        )

    def share(self, pose: HeadPose) -> float:
        """How much of it is painted where the head is in `pose`, 0 to 1."""
        return float(smoothstep(*TURNED, self.side * (self.own - angles(pose.rotation)[0])))

    def draw(self, out: np.ndarray, points: np.ndarray, depth: np.ndarray, pose: HeadPose) -> None:
        """Paint it on `out` (uint8 (H, W, 3)) behind the person, who is in `pose`, the mesh's points at `points`
        (m, 2; pixels) and `depth` (m,), both float32."""
        share = self.share(pose)
        if share <= 0.0:
            return
        head = pose.to_picture(self.head)
        carried = self.rest + (self.by[..., None] * (points[self.held] - self.at)).sum(axis=1)
        ends = head[:, :2] + self.body[:, None] * (carried[:-1] - head[:, :2])
        # it ends below the ear's lobe, or the hair there
        outwards = self.side * picture_axes(pose)[0]
        farther = np.maximum((ends - carried[-1]) @ outwards, 0.0)
        ends -= ((1.0 - self.body) * farther)[:, None] * outwards
        box = CoarseBox.around(ends, (out.shape[1], out.shape[0]))
        if box is None:
            return
        x, y = box.map(points, depth, self.uv, self.before)
        person = cv2.remap(self.matte, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        shows = HIDDEN[cv2.erode(person, RIM)]
        left, top, width, height = cv2.boundingRect((shows > 0.0).view(np.uint8))
        if min(width, height) < 2:
            return
        box = box.part(left, top, width, height)
        paint = box.painted(ends, head[:, 2].astype(np.float32), self.paint, self.triangles)
        paint *= shows[top : top + height, left : left + width, None]
        box.lay_over(paint, out, share)


def _outline(matte: np.ndarray, middle: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """How far (u) the person reaches at the heights `ROWS` (n,), infinite where farther than a neck can.

    across, down: (2,), pixels of one face height to the side that is looked at, and down the face.
    """
    u = np.arange(0.0, WIDEST, 0.01)
    at = middle + ROWS[:, None, None] * down + u[None, :, None] * across
    x, y = np.round(at).astype(int).transpose(2, 0, 1)
    height, width = matte.shape
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    person = ~inside | (matte[y.clip(0, height - 1), x.clip(0, width - 1)] > 127)
    return np.where(person.all(axis=1), np.inf, u[np.argmin(person, axis=1)])


def _skin(picture: np.ndarray, landmarks: np.ndarray, neck: np.ndarray, fh: float) -> np.ndarray:
    """Colour (3,) of the neck's skin: between the picture's at `neck` (2,) and a darker chin's, or, where a collar
    is, the chin's alone."""
    chin = np.median(colours_at(picture, landmarks[list(JAW), :2]), axis=0)
    seen = colours_at(picture, neck[None])[0]
    skin = 1.0 - smoothstep(*HUES, np.abs(hue(seen) - hue(chin)).max())
    skin *= smoothstep(*BLACK, seen.mean() / max(float(chin.mean()), 1.0))
    return OTHERWISE * chin + 0.5 * skin * (seen - OTHERWISE * chin)


def _grid(rows: int, columns: int) -> np.ndarray:
    """Triangles (n, 3), int32, of points in so many rows and columns, row by row."""
    k = np.arange((rows - 1) * columns).reshape(rows - 1, columns)[:, :-1].ravel()
    first = np.column_stack([k, k + 1, k + columns])
    second = np.column_stack([k + 1, k + columns + 1, k + columns])
    return np.concatenate([first, second]).astype(np.int32)
