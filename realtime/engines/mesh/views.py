"""More pictures of the portrait's person: the head is taken from the one that needs to be bent least.

All views have the face's landmarks in common, so each can be moved to any motion. Of the one whose own pose and
expression are nearest the head is shown, before the portrait's background and above the portrait's body. The nearest
one must be nearer by `HYSTERESIS` to take over, and fades in over `FADE` seconds: at no motion two views stay mixed,
which would show as a double face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from realtime.engines.mesh.framing import FramedPortrait
from realtime.engines.mesh.motion.body import BodyMotion
from realtime.engines.mesh.portrait import ImprovingPortrait, PreparedPortrait, prepare_portrait
from realtime.engines.mesh.renderer import MeshRenderer
from realtime.engines.mesh.warp import warp_on
from realtime.face.face_model import LIPS_OUTER, OVAL
from realtime.face.pose import HeadPose
from realtime.flow.jit import compiled

HYSTERESIS = 3.0
"""Degrees."""
FADE = 0.15
"""Seconds."""
EXPRESSION = 400.0
"""Degrees of turn that count as much as lips that lie, on average, one face height elsewhere."""
PAUSE = 0.25
"""After a gap longer than this many seconds the nearest view is shown at once."""
HEAD_ENDS = (0.4, 0.62)
"""From the jaw down the neck (face heights below the middle of the face): a view's head goes over into the body."""
BRIGHTER = 1.3
"""Half of the difference in light between a view's face and the portrait's is taken away, and no more of it than this
factor's half: where light comes from one side, a turned face is rightly lighter or darker."""
SKIN = 0.5
"""How much of the face, from its middle, is compared for that."""


class ViewChoice:
    """Which view is shown, and which fade out. No pictures: distances and times in, shares out."""

    def __init__(self, count: int) -> None:
        self._shares = np.zeros(count)
        self._chosen: int | None = None
        self._time = 0.0
        self._last = np.zeros(count)

    def shares(self, distances: np.ndarray, now: float) -> np.ndarray:
        """How much each view is shown, (count,), summing to 1. distances: (count,), degrees. now: seconds.

        Distances at the very time of the last ones change nothing, unless they are others, as in a sheet of pictures.
        """
        nearest = int(distances.argmin())
        step = now - self._time
        jumped = step == 0.0 and np.abs(distances - self._last).max() > 1e-6
        if self._chosen is None or step < 0.0 or step > PAUSE or jumped:
            self._chosen = nearest
            self._shares = np.eye(len(distances))[nearest]
        elif step > 0.0:
            if distances[nearest] < distances[self._chosen] - HYSTERESIS:
                self._chosen = nearest
            most = step / FADE
            change = np.eye(len(distances))[self._chosen] - self._shares
            self._shares = self._shares + change * min(1.0, most / max(1e-9, float(change.max())))
        self._time, self._last = now, distances
        return self._shares.copy()


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    portrait: PreparedPortrait
    renderer: MeshRenderer


@dataclass(frozen=True, eq=False)
class ViewedPortrait:
    """A prepared portrait that brings its views, from `prepare_view`."""

    main: PreparedPortrait | ImprovingPortrait
    views: tuple[PreparedPortrait, ...]

    @property
    def now(self) -> PreparedPortrait:
        """The portrait itself, as good as it is by now."""
        return self.main.now


class Views:
    """The views of one portrait, ready to be shown; use it from one thread at a time."""

    def __init__(self, views: Sequence[PreparedPortrait], device: str) -> None:
        """views: from `prepare_view`. device: see `warp_on`."""
        self._views = [_View(view, MeshRenderer(warp_on(device))) for view in views]
        self._before: PreparedPortrait | None = None
        self._choice = ViewChoice(1 + len(self._views))
        self.poses = [view.pose for view in views]
        """The heads' own poses in the views."""

    def render(
        self,
        renderer: MeshRenderer,
        main: PreparedPortrait,
        shape: np.ndarray,
        pose: HeadPose,
        hair: HeadPose | None,
        now: float,
        body: BodyMotion | None = None,
    ) -> np.ndarray:
        """As `MeshRenderer.render` of `main`, with the head of the view that comes nearest at the time `now`."""
        if main is not self._before:
            self._before = main
            self._views = [replace(v, portrait=replace(v.portrait, background=main.background)) for v in self._views]
        portraits = [main, *(view.portrait for view in self._views)]
        shares = self._choice.shares(np.array([distance(p, shape, pose) for p in portraits]), now)
        out = renderer.render(main, shape, pose, hair, face=bool(shares[0] > 0.0), body=body)
        shown = shares[0]
        for view, share in zip(self._views, shares[1:], strict=True):
            if share <= 0.0:
                continue
            shown += share
            head = view.renderer.render(view.portrait, shape, pose, hair, body=body)
            _lay_over(head, *_down_the_face(pose, shape), share / shown, out)
        return out


def distance(portrait: PreparedPortrait, shape: np.ndarray, pose: HeadPose) -> float:
    """How far a portrait is from the face `shape` (478, 3; face frame) in `pose`: degrees, an expression's counted as
    `EXPRESSION` says."""
    cosine = float(np.clip(portrait.pose.rotation[:, 2] @ pose.rotation[:, 2], -1.0, 1.0))
    lips = list(LIPS_OUTER)
    apart = np.linalg.norm((shape - portrait.shape)[lips, :2], axis=1).mean()
    return float(np.hypot(np.degrees(np.arccos(cosine)), EXPRESSION * apart))


def prepare_view(framed: FramedPortrait, main: PreparedPortrait) -> PreparedPortrait:
    """Another picture of `main`'s person, framed by `frame_view`, in the light of `main`."""
    return prepare_portrait(_matched_light(framed, main))


def _matched_light(view: FramedPortrait, main: PreparedPortrait) -> FramedPortrait:
    """`view` with the brightness and tint of its face as in `main`."""
    wanted = _skin(main.picture, main.landmarks) / np.maximum(_skin(view.picture, view.landmarks), 1.0)
    gain = np.sqrt(np.clip(wanted, 1.0 / BRIGHTER, BRIGHTER))

    def lit(image: np.ndarray) -> np.ndarray:
        return np.clip(image * gain + 0.5, 0, 255).astype(np.uint8)

    return replace(view, picture=lit(view.picture), canvas=lit(view.canvas))


def _skin(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Median colour of the middle of a face: (3,)."""
    oval = landmarks[list(OVAL), :2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2 * SKIN
    (x0, y0), (x1, y1) = (
        np.clip(middle + s * half, 0, (picture.shape[1], picture.shape[0])).astype(int) for s in (-1, 1)
    )
    inside = picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].reshape(-1, 3)
    return np.median(inside, axis=0) if len(inside) else np.ones(3)


def _down_the_face(pose: HeadPose, shape: np.ndarray) -> tuple[float, float, float]:
    """(dx, dy, start): a pixel lies v = dx x + dy y + start face heights below the face's middle."""
    down = pose.rotation[:2, 1] / max(1e-9, float(np.linalg.norm(pose.rotation[:2, 1])))
    middle = pose.to_picture(shape[list(OVAL)])[:, :2].mean(axis=0)
    down = down / pose.scale
    return float(down[0]), float(down[1]), float(-down @ middle)


@compiled("void(uint8[:,:,::1], float64, float64, float64, float64, uint8[:,:,::1])")
def _lay_over(top: np.ndarray, dx: float, dy: float, start: float, share: float, out: np.ndarray) -> None:
    """Lay `top` over `out` (uint8 (H, W, 3)) with `share`, less and less from HEAD_ENDS[0] to HEAD_ENDS[1] of
    v = dx x + dy y + start."""
    height, width = out.shape[:2]
    for y in range(height):
        for x in range(width):
            t = (dx * x + dy * y + start - HEAD_ENDS[0]) / (HEAD_ENDS[1] - HEAD_ENDS[0])
            t = min(max(t, 0.0), 1.0)
            weight = np.int32(256.0 * share * (1.0 - t * t * (3.0 - 2.0 * t)) + 0.5)
            if weight == 0:
                continue
            for c in range(3):
                a = np.int32(out[y, x, c])
                out[y, x, c] = np.uint8(a + ((weight * (np.int32(top[y, x, c]) - a) + 128) >> 8))
