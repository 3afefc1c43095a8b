"""The built-in engine behind the common contract: motion encoder, transfer rules and renderer put together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from realtime.engines.codes import TakesCodes
from realtime.engines.mesh.framing import frame_portrait, frame_view, load_picture, output_size
from realtime.engines.mesh.hair import HangingHair
from realtime.engines.mesh.motion.code import DIRECTIONS, KIND, LENGTH
from realtime.engines.mesh.motion.encoder import MeshEncoder
from realtime.engines.mesh.motion.limits import within_reach
from realtime.engines.mesh.motion.retarget import PortraitGeometry, Retargeter
from realtime.engines.mesh.portrait import ImprovingPortrait, PreparedPortrait, joints_of, prepare_portrait
from realtime.engines.mesh.renderer import MeshRenderer
from realtime.engines.mesh.views import ViewedPortrait, Views, prepare_view
from realtime.engines.mesh.warp import warp_on
from realtime.errors import BadPortrait, BadValue, EngineError
from realtime.media.pictures import check_frame
from realtime.types import Direction, Frame, Landmarks, MotionCode

FARTHEST = 1e4
"""No entry of a code means anything beyond: what is farther comes from a broken sender."""

Ready = PreparedPortrait | ImprovingPortrait | ViewedPortrait
"""What `MeshEngine.prepare` and `with_views` make."""


class MeshEngine(TakesCodes):
    """A layered 2.5D mesh; see `realtime.engines.Engine` for the contract.

    size: side of the square output in pixels, or (width, height). device: "auto" and "cpu" are the CPU; on "cuda" or
    "cuda:N" the mesh is warped by the kernels on a GPU (raises NoDevice where there is none), landmarks, eyes and
    mouth stay on the CPU.
    smooth: whether the driver's landmarks are filtered against trembling.
    body: whether the driver's shoulders are read, and move the portrait's; it costs one to three milliseconds of
    processor time a frame. Without it, or where they are not seen, the body goes along with the head as far as
    bodies do.
    live: show a portrait within half a second and let its fine layers take the place of quick ones when they are
    ready. Without it to prepare a portrait takes a second or two, and the same codes at the same times always give
    the same pictures (hair lags by the times).
    """

    name = "mesh"
    kind = KIND
    code_length = LENGTH

    def __init__(
        self,
        size: int | tuple[int, int] = 512,
        device: str = "auto",
        weights: str | Path | None = None,
        smooth: bool = True,
        body: bool = True,
        live: bool = False,
    ) -> None:
        if weights is not None:
            raise BadValue("weights", weights, "the mesh engine needs none")
        self._own_size = self.width, self.height = output_size(size)
        """What it was made for; width, height and size are those of the portrait shown."""
        warp = warp_on(device)
        self.device = warp.device
        self.size = self.height
        self.directions: Sequence[Direction] = DIRECTIONS
        self._encoder = MeshEncoder(smooth=smooth, body=body)
        self._encoding = threading.Lock()
        self._renderer = MeshRenderer(warp)
        self._live, self._body = live, body
        self._hair = HangingHair()
        self._on = device
        self._views: Views | None = None
        self._viewed: Ready | None = None
        self._brought: WeakKeyDictionary[ViewedPortrait, Views] = WeakKeyDictionary()
        self._portrait: Ready | None = None
        self._retargeter: Retargeter | None = None

    def prepare(self, image: np.ndarray | str | Path, size: tuple[int, int] | None = None) -> Ready:
        """Make a portrait ready for `set_portrait`, from any thread: a second or two, some tenths where `live`.

        image: uint8 (H, W, 3) RGB of any size, or the path of a picture file. The face is found, cropped and framed.
        size: (width, height) of its pictures, where that is not the engine's own.
        Raises BadPortrait, BadValue (a size that cannot be) and, for a path, BadFile.
        """
        size = self._own_size if size is None else size
        if isinstance(image, str | Path):
            try:
                framed = frame_portrait(load_picture(image), size)
            except BadPortrait as error:
                raise BadPortrait(error.reason, image) from None
        else:
            framed = frame_portrait(image, size)
        joints = joints_of(framed) if self._body else None
        return ImprovingPortrait(framed, joints) if self._live else prepare_portrait(framed, joints)

    def set_portrait(self, image: np.ndarray | str | Path | Ready) -> None:
        """Show another portrait from the next `render` on, in the size that it was prepared for. One that `prepare`
        made takes no time."""
        self.check_open()
        prepared = image if isinstance(image, Ready) else self.prepare(image)
        portrait = prepared.now
        was_absolute = self._retargeter is not None and self._is_own(self.reference)
        self._retargeter = Retargeter(PortraitGeometry(portrait.shape, portrait.pose, portrait.values))
        self._portrait = prepared
        self.width, self.height = portrait.width, portrait.height
        self.size = self.height
        if isinstance(prepared, ViewedPortrait):
            if prepared not in self._brought:
                self._brought[prepared] = Views(prepared.views, self._on)
            self._views, self._viewed = self._brought[prepared], prepared
        if was_absolute:
            self.reference = self.portrait_code

    def prepare_view(self, image: np.ndarray, beside: Ready | None = None) -> PreparedPortrait:
        """Make another picture of a portrait's person (turned, smiling; uint8 (H, W, 3) RGB) ready for `set_views`
        and `with_views`, from any thread: a second or two. beside: the portrait, from `prepare`; None: that shown.
        Raises BadPortrait, and EngineError where there is no portrait."""
        main = self.portrait if beside is None else beside.now
        if main is None:
            raise EngineError(self.name, "no portrait is set")
        return prepare_view(frame_view(image, (main.width, main.height), main.pose), main)

    def with_views(self, prepared: Ready, views: Sequence[PreparedPortrait]) -> Ready:
        """A portrait from `prepare` that brings these views, from `prepare_view`, along. Takes no time."""
        main = prepared.main if isinstance(prepared, ViewedPortrait) else prepared
        return ViewedPortrait(main, tuple(views)) if views else main

    def set_views(self, views: Sequence[PreparedPortrait]) -> None:
        """Show the head from the view that comes nearest to each motion, see `views`. They go with the portrait shown
        now, and are left out while it is not. None: that portrait alone."""
        self._views = Views(views, self._on) if views else None
        self._viewed = self._portrait

    @property
    def portrait(self) -> PreparedPortrait | None:
        """The portrait shown, as prepared; None before there is one."""
        return self._portrait.now if self._portrait is not None else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about the portrait that a user should know, none where all is well."""
        return self._portrait.now.warnings if self._portrait is not None else ()

    @property
    def portrait_code(self) -> MotionCode:
        """The portrait's own motion code. Raises EngineError before there is a portrait."""
        return MotionCode(KIND, self._moving().portrait.values.copy())

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """Motion code of a driving frame, None where there is no face. A bare array is uint8 (H, W, 3) RGB.

        Raises BadValue for anything else, EngineError once closed.
        """
        check_frame(frame.image if isinstance(frame, Frame) else frame)
        with self._encoding:
            self.check_open()
            return self._encoder.encode(frame)

    def encode_landmarks(self, found: Landmarks) -> MotionCode | None:
        """Motion code of a driving frame whose landmarks were found elsewhere, None where there is no face.

        Raises EngineError once closed."""
        with self._encoding:
            self.check_open()
            return self._encoder.encode_landmarks(found)

    def render(self, code: MotionCode) -> np.ndarray:
        """The portrait in that motion: uint8 (H, W, 3) RGB, a new array.

        An entry that is not a finite number counts as unmoved: the reference's is taken.
        Raises EngineError without a portrait or once closed, and BadValue for a code of another engine.
        """
        retargeter, portrait = self._moving(), self.portrait
        assert portrait is not None
        self.check_code(code)
        code = _sound(code, self.reference.values if self.reference is not None else retargeter.portrait.values)
        if self.reference is None:
            self.reference = code
        target = retargeter.target(code.values, _sound(self.reference, retargeter.portrait.values).values)
        views = self._views if self._viewed is self._portrait else None
        pose = target.pose
        if not self._is_own(self.reference):  # else the truth is known: the driver may turn as he likes
            others = views.poses if views is not None else ()
            pose = within_reach(pose, portrait.pose, *others, painted=portrait.cheek is not None)
        hair = self._hair.follow(pose, portrait.pose, code.captured)
        if views is not None:
            return views.render(self._renderer, portrait, target.face, pose, hair, code.captured, target.body)
        return self._renderer.render(portrait, target.face, pose, hair, body=target.body)

    def spare(self, sparing: bool) -> None:
        """Leave the driver's shoulders unread, or read them again: `realtime.engines.Spares`."""
        self._encoder.sparing = sparing

    def reset(self) -> None:
        """Forget the driver. The portrait and the reference stay."""
        with self._encoding:
            self._encoder.reset()

    def close(self) -> None:
        """Free the landmark models. Safe to call twice."""
        with self._encoding:
            self.closed = True
            self._encoder.close()

    def _moving(self) -> Retargeter:
        self.check_open()
        if self._retargeter is None:
            raise EngineError(self.name, "no portrait is set")
        return self._retargeter

    def _is_own(self, code: MotionCode | None) -> bool:
        return code is not None and np.array_equal(code.values, self._moving().portrait.values)


def _sound(code: MotionCode, instead: np.ndarray) -> MotionCode:
    """`code`, with the entries of `instead` where its own are no finite numbers, and none past `FARTHEST`."""
    if (np.abs(code.values) <= FARTHEST).all():
        return code
    values = np.where(np.isfinite(code.values), code.values, np.nan_to_num(instead))
    return code.with_values(np.clip(values, -FARTHEST, FARTHEST).astype(np.float32))
