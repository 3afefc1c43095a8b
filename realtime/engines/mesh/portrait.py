"""A portrait made ready to move: all that can be computed once."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.beyond import continue_beyond
from realtime.engines.mesh.body import BodyLayer, Edges, build_body
from realtime.engines.mesh.cheek import FarCheek
from realtime.engines.mesh.creases import Creases, prepare_creases
from realtime.engines.mesh.curves import opening
from realtime.engines.mesh.eyes import EYE_RINGS, ZOOM, Eye, coverage, magnify, prepare_eyes
from realtime.engines.mesh.framing import FramedPortrait
from realtime.engines.mesh.inpaint import fill_smooth
from realtime.engines.mesh.layers import split_layers
from realtime.engines.mesh.motion.shoulders import find_shoulders
from realtime.engines.mesh.mouth import Mouth, prepare_mouth
from realtime.engines.mesh.nape import Nape
from realtime.engines.mesh.near import NearCheek
from realtime.engines.mesh.outer import OuterMesh, Outline, Shoulders, build_outer_mesh, face_coordinates
from realtime.engines.mesh.shade import Shade
from realtime.engines.mesh.throat import Throat
from realtime.engines.mesh.topology import face_triangles, smoothstep
from realtime.face.face_model import LIPS_INNER, OVAL
from realtime.face.pose import HeadPose
from realtime.flow.threads import aside
from realtime.media.matte import fine_matte, quick_matte

log = logging.getLogger(__name__)


FLAT = (0.05, 0.12)
"""Shares of a face's pixels that are of one colour with all of their 5 x 5 neighbours, from which it may be, and is,
a drawing: 0.21 and 0.42 of two; 0.033 at most of 23 photographs, paintings, figures and smooth, dim pictures of cheap
cameras. A tolerance of two grey levels would take those for drawings."""
SHALLOW = 0.35
"""Depth of a drawing. Its outlines are what stands at the edge of a face: turned like a real head's they would be
drawn out to black smears."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPortrait:
    """What the renderer needs of a portrait. Coordinates are pixels of the picture shown (the window).

    picture: uint8 (H, W, 3), the portrait as framed. landmarks: float64 (478, 3) in it. pose, shape: the head's pose
    and the face in the face frame, `pose.to_picture(shape) == landmarks`. values: its motion code in the picture as
    given. texture: uint8 (h, w, 4), `ZOOM` times as large, the person times the matte and the matte: the window, a
    margin around it, and more below that (`Beyond.under`). uv: float32 (n, 2), texture coordinates of the face's 478
    landmarks and the outer points. triangles: int32 (m, 3), where the person is. background: uint8 (H, W, 3).
    """

    picture: np.ndarray
    landmarks: np.ndarray
    pose: HeadPose
    shape: np.ndarray
    values: np.ndarray
    texture: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    background: np.ndarray
    outer: OuterMesh
    body: BodyLayer
    eyes: tuple[Eye, ...]
    mouth: Mouth
    shade: Shade
    creases: Creases
    cheek: FarCheek | None = None
    near: tuple[NearCheek, ...] = ()
    napes: tuple[Nape, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def now(self) -> PreparedPortrait:
        """Itself: as good as it gets."""
        return self

    @property
    def width(self) -> int:
        return int(self.picture.shape[1])

    @property
    def height(self) -> int:
        return int(self.picture.shape[0])


class ImprovingPortrait:
    """A portrait that can be shown at once, its layers split by the quick matte; the fine ones take their place when
    they are ready. The face and its motion are the same, and so is the picture at rest."""

    def __init__(self, framed: FramedPortrait, joints: np.ndarray | None = None) -> None:
        self.now = prepare_portrait(framed, joints, quick=True)
        self._ready = threading.Event()
        aside(lambda: self._improve(framed, joints), "fine matte")

    def wait(self, timeout: float | None = None) -> bool:
        """Until `now` is as good as it gets. Returns whether it is."""
        return self._ready.wait(timeout)

    def _improve(self, framed: FramedPortrait, joints: np.ndarray | None) -> None:
        try:
            self.now = prepare_portrait(framed, joints)
        except Exception:  # what is shown is good enough to go on
            log.warning("the portrait keeps its quick matte", exc_info=True)
        self._ready.set()


def joints_of(framed: FramedPortrait) -> np.ndarray | None:
    """The person's right and left shoulder (2, 2) in pixels of the window; None where the picture does not show
    them. What lies beyond the picture is not looked at."""
    x0, y0, x1, y1 = framed.real
    origin = np.array([x0, y0]) - framed.margin
    given = np.ascontiguousarray(framed.canvas[y0:y1, x0:x1])
    found = find_shoulders(given, framed.landmarks - np.append(origin, 0.0))
    return None if found is None else found + origin


def prepare_portrait(
    framed: FramedPortrait, joints: np.ndarray | None = None, quick: bool = False
) -> PreparedPortrait:
    """Take a framed portrait apart. Deterministic; a second or two.

    joints: where its shoulders are, by `joints_of`; without them they are taken to be where they usually are.
    quick: some tenths of a second, by the quick matte.
    """
    margin = framed.margin
    height, width = framed.picture.shape[:2]
    landmarks, pose = framed.landmarks.astype(np.float64), framed.pose
    relief = relief_of(framed.picture, landmarks)
    on_canvas = landmarks + np.array([margin, margin, 0.0])

    x0, y0, x1, y1 = framed.real
    given = framed.canvas[y0:y1, x0:x1]
    beyond = continue_beyond(framed, quick_matte(given) if quick else fine_matte(given), joints)
    canvas = beyond.canvas
    layers = split_layers(canvas, beyond.mask, _inside_face(on_canvas, canvas.shape[:2], pose.scale), pose.scale)
    person = _behind_openings(layers.person, canvas, on_canvas, pose.scale)
    texture = np.concatenate([np.dstack([person, 255.0 * layers.matte]), beyond.under])
    texture = magnify(np.clip(texture + 0.5, 0, 255).astype(np.uint8))

    inner = (slice(margin, margin + height), slice(margin, margin + width))
    picture = np.ascontiguousarray(canvas[inner])
    shoulders = Shoulders.find(layers.matte[inner], landmarks[list(OVAL), :2], pose)
    outline = Outline.find(layers.matte, landmarks[list(OVAL), :2], pose, margin)
    under = len(beyond.under)
    outer = build_outer_mesh(landmarks, pose, (width, height), margin, shoulders, outline, under)
    outer = outer.flattened(pose, relief)
    landmarks[:, 2] = pose.translation[2] + relief * (landmarks[:, 2] - pose.translation[2])
    oval = landmarks[list(OVAL), :2]
    u, v = face_coordinates(outer.points, oval, pose)
    below = v if shoulders is None else shoulders.lifted(u, v)
    face = (oval.mean(axis=0), pose.scale)
    edges = Edges((width, height), margin, under, beyond.ends)
    body = build_body(outer.points, below, joints, face, edges)
    shape = pose.to_face(landmarks)
    throat = Throat.of(picture, landmarks, outer, pose.scale)
    outer = outer.with_throat(throat.skin)
    points = np.concatenate([landmarks[:, :2], outer.points])
    uv = np.ascontiguousarray((points + margin) * ZOOM, dtype=np.float32)
    triangles = np.concatenate([face_triangles(), _shown(outer.triangles, uv, texture[..., 3])])
    shade = Shade.of(shape, pose, throat)
    return PreparedPortrait(
        picture=picture,
        landmarks=landmarks,
        pose=pose,
        shape=shape,
        values=framed.values,
        texture=np.ascontiguousarray(texture),
        uv=uv,
        triangles=triangles,
        background=np.ascontiguousarray(np.clip(layers.background[inner] + 0.5, 0, 255).astype(np.uint8)),
        outer=outer,
        body=body,
        eyes=tuple(prepare_eyes(picture, landmarks, pose)),
        mouth=prepare_mouth(picture, landmarks, pose),
        shade=shade,
        creases=prepare_creases(picture, landmarks, pose.scale),
        cheek=FarCheek.of(picture, landmarks, pose, shade.normals, outer) if relief == 1.0 else None,
        near=NearCheek.both(landmarks, pose),
        napes=Nape.both(picture, layers.matte, landmarks, pose, points, triangles) if relief == 1.0 else (),
        warnings=framed.warnings,
    )


def relief_of(picture: np.ndarray, landmarks: np.ndarray) -> float:
    """How deep a head is made, 1 being as deep as a real one: drawings of flat colours are shallow."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    around = np.ones((5, 5), np.uint8)
    even = cv2.subtract(cv2.dilate(grey, around), cv2.erode(grey, around)) == 0
    face = np.zeros(grey.shape, np.uint8)
    cv2.fillPoly(face, [landmarks[list(OVAL), :2].round().astype(np.int32)], (1.0,))
    share = float(even[face > 0].mean()) if face.any() else 0.0
    return 1.0 - (1.0 - SHALLOW) * float(smoothstep(*FLAT, share))


def _shown(triangles: np.ndarray, uv: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The triangles (m, 3) that have something of the person in them, and those that touch these, behind which it can
    be hidden. matte: uint8, at the scale of `uv`."""
    person = cv2.dilate((matte > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    drawn = np.zeros(matte.shape, np.uint8)
    keep = np.zeros(len(triangles), bool)
    for k, corners in enumerate(uv[triangles]):
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        high = np.ceil(corners.max(axis=0)).astype(int) + 1
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        there = person[box]
        if not there.any():
            continue
        stencil = drawn[: there.shape[0], : there.shape[1]]
        stencil[:] = 0
        cv2.fillConvexPoly(stencil, np.round(corners - low).astype(np.int32), (1.0,))
        keep[k] = bool((stencil & there).any())
    return triangles[np.isin(triangles, triangles[keep]).any(axis=1)]


def _inside_face(landmarks: np.ndarray, shape: tuple[int, ...], fh: float) -> np.ndarray:
    """float32 `shape`: 1 well inside the face oval, soft at its edge. There a person is, whatever a network says."""
    oval = landmarks[list(OVAL), :2]
    oval = oval.mean(axis=0) + (oval - oval.mean(axis=0)) * 0.93
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(oval * 16).astype(np.int32)], (255.0,), cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask.astype(np.float32) / 255.0, (0, 0), max(0.8, 0.015 * fh))


def _behind_openings(person: np.ndarray, canvas: np.ndarray, landmarks: np.ndarray, fh: float) -> np.ndarray:
    """`person` with the inside of the eyes and of an open mouth replaced by the dark of their rims.

    What shows there is painted over the warped picture each frame; underneath lies what a closed lid's line shows.
    """
    result = person.copy()
    image = canvas.astype(np.float32)
    for ring, dark in ((EYE_RINGS[0], 0.55), (EYE_RINGS[1], 0.55), (LIPS_INNER, 0.50)):
        points = landmarks[list(ring), :2]
        window = opening(points)
        height = window.height
        if height < 0.012 * fh:
            continue
        reach = int(np.ceil(0.35 * window.length + 4))
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - reach, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + reach, (canvas.shape[1], canvas.shape[0]))
        if (high - low < 4).any():
            continue
        box = (slice(low[1], high[1]), slice(low[0], high[0]))
        size = (int(high[1] - low[1]), int(high[0] - low[0]))
        soft = max(1.0, 0.02 * window.length)
        inside = coverage(opening(points - low, 0.22 * height, 0.16 * height), size, soft)[..., None]
        hole = coverage(opening(points - low), size, 1.0) > 0.02
        near = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        rim = cv2.dilate(near.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(np.float32) * ~near
        fill = fill_smooth(image[box], rim) * dark
        result[box] = result[box] * (1.0 - inside) + fill * inside
    return result
