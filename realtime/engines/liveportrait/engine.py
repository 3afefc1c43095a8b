"""LivePortrait as an engine: a photo that follows the driver, joined to its shoulders, at 512 pixels.

The portrait is encoded once; a driving frame is read by the motion extractor alone, and what it says of pose and
expression is the motion code (`code`), which the sliders of the authors' editor add to. Motion is relative to the
driver's neutral face, which the calibration finds, instead of his first frame. A reference that is the portrait's own
code gives the authors' absolute motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from realtime.engines.liveportrait import code as c
from realtime.engines.liveportrait.keypoints import CLOSED_LIPS, OPEN_EYE, Rules
from realtime.engines.liveportrait.networks import Networks
from realtime.engines.liveportrait.prepared import SIDE, FastLivePortrait, Source
from realtime.engines.liveportrait.rate import expectation
from realtime.engines.liveportrait.weights import load_networks
from realtime.engines.neural.crop import Square, box_of
from realtime.engines.neural.engine import (
    SMALLEST_FACE,
    EncodedPortrait,
    NeuralEngine,
    checked_portrait,
    has_face_finder,
)
from realtime.engines.neural.place import Placement
from realtime.engines.weights import recipe
from realtime.errors import BadPortrait, BadValue, EngineError
from realtime.media.caption import stamp
from realtime.motion.filters import OneEuro
from realtime.types import Direction, Frame, MotionCode

if TYPE_CHECKING:
    from realtime.engines.gpu.program import Programs

TURNED, VERY_TURNED = 30.0, 55.0
"""Degrees of yaw from which a portrait earns a warning, and at which it is refused."""
VERY_CUT = 0.12
"""Share of the face's box beyond the picture's border at which a portrait is refused; `is_cut` says which earns a
warning."""
NO_FACE = "no human face was found in it; the middle of the picture is moved"
SMALL_SIZES = (64, 128, 256)
"""Sizes at which recipe weights run on pictures of 128 pixels, a quarter of the work."""
_UNITS = np.ones(c.LENGTH)
_UNITS[c.YAW : c.ROLL + 1] = 20.0
_UNITS[c.X : c.SCALE + 1] = 0.1
_UNITS[c.GAZE_X : c.LIPS + 1] = 0.2
_UNITS[c.EXPRESSION] = 0.02
"""What counts as one unit of each entry for the filter: about its range in a lively clip."""


class LivePortraitEngine(NeuralEngine):
    """LivePortrait. See `NeuralEngine` for the other options.

    stitch: the moved head stays joined to its shoulders.
    retarget_eyes, retarget_lips: how far eyes and lips open goes by what is measured on the driver's face (by
    MediaPipe's points) instead of by his expression.
    close_lips: parted lips of the portrait are closed.
    smooth: jitter of a head at rest is filtered out of the codes.
    """

    name = kind = c.KIND
    net: Any

    def __init__(
        self,
        size: int | None = None,
        device: str = "auto",
        weights: str | Path | None = None,
        dtype: str = "auto",
        crop: Any = "auto",
        keep_position: bool = False,
        keep_scale: bool = False,
        paste_back: bool = False,
        stitch: bool = True,
        retarget_eyes: bool = False,
        retarget_lips: bool = False,
        close_lips: bool = False,
        smooth: bool = True,
    ) -> None:
        flags = {
            "stitch": stitch,
            "retarget_eyes": retarget_eyes,
            "retarget_lips": retarget_lips,
            "close_lips": close_lips,
            "smooth": smooth,
        }
        for option, value in flags.items():
            if not isinstance(value, bool):
                raise BadValue(option, value, "on or off")
        self._side = self.recipe_side(size) if str(weights or "").startswith(recipe.PREFIX) else SIDE
        super().__init__(size, device, weights, dtype, crop, keep_position, keep_scale, paste_back)
        self._rules = Rules(stitch, retarget_eyes, retarget_lips, close_lips).tensor(self._device)
        self._filter = OneEuro(cutoff=1.5, beta=6.0, speed_cutoff=3.0, rest=0.3) if smooth else None
        self.native = self.net.input_side  # of what it reads
        self._measured: np.ndarray | None = None
        self._paste: Any = None
        self.warnings: tuple[str, ...] = ()
        """Sentences about the portrait, for the user."""
        self.device += f"; {expectation(self._device.type, (self.net.size / SIDE) ** 2)}"

    def describe(self, motion_dim: int) -> Sequence[Direction]:
        return c.DIRECTIONS

    def read(self, path: Path) -> Any:
        return load_networks(path).parts

    def invent(self, seed: int, size: int, scale: int) -> Any:
        return load_networks(f"{recipe.PREFIX}{seed}").parts

    def recipe_side(self, size: int | None) -> int:
        return SIDE // 2 if size in SMALL_SIZES else SIDE

    def fold(self, net: Any, place: Placement) -> FastLivePortrait:
        return FastLivePortrait(Networks(net), place, self._side)

    @staticmethod
    def programs(net: FastLivePortrait) -> Programs:
        from realtime.engines.liveportrait.program import PortraitProgram

        return lambda part, frame, device: PortraitProgram(net, part, frame, device)

    # Portraits ---------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def set_portrait(self, image: np.ndarray) -> None:
        self.check_open()
        image = checked_portrait(image)
        face = self._face_of(image)
        if face is None:
            warnings: tuple[str, ...] = (NO_FACE,) if self._crop == "auto" else ()
            square = self._portrait_square(image)
            transform = _upright(square, image, self.net.size)
            seen = np.array([OPEN_EYE, OPEN_EYE, CLOSED_LIPS], np.float32)
        else:
            from realtime.engines.liveportrait.crop import openings, portrait_transform

            warnings = _judged(face, image)
            transform, seen = portrait_transform(face, self.net.size), openings(face)
        x = self._input_of(image, transform)
        code, feats = self._on_device(lambda: self._encoded_with(x, seen))
        if self._path is not None:
            self._path.set_portrait(x, source=code, rules=self._rules)
        self._paste = self._pasting(image, transform) if self._paste_back else None
        whole = Square(image.shape[1] / 2, image.shape[0] / 2, 0.0)
        self._portrait = EncodedPortrait(image, whole, code, code, feats)
        self.warnings = warnings

    def _face_of(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks of the portrait's face, where it is looked for. Raises BadPortrait."""
        if self._crop not in ("auto", "face") or not has_face_finder():
            return None
        from realtime.face.landmarks import find_faces

        faces = find_faces(image, 1)
        if not faces:
            if self._crop == "face":
                raise BadPortrait("no human face found; crop=centre takes the middle of the picture")
            return None
        return faces[0]

    def _input_of(self, image: np.ndarray, transform: np.ndarray) -> Tensor:
        """The portrait's square as the network reads it: (1, 3, S, S) in [-1, 1]."""
        from realtime.engines.liveportrait.crop import cut

        square = cut(image, transform, self.net.size, self.net.input_side)
        return torch.from_numpy(square).to(self._device).permute(2, 0, 1)[None].float() / 127.5 - 1.0

    @torch.inference_mode()
    def _encoded_with(self, x: Tensor, seen: np.ndarray) -> tuple[Tensor, list[Tensor]]:
        code, feats = self.net.encode(x)
        code[0, c.EYE_RIGHT : c.LIPS + 1] = torch.from_numpy(seen).to(code)
        if not bool(torch.isfinite(code).all()):
            raise EngineError(self.name, "the portrait's motion comes out as no number: the weights are broken")
        return code, feats

    def _pasting(self, image: np.ndarray, transform: np.ndarray) -> Any:
        """What sets pictures back into the whole photo, at `size` pixels height, even sides."""
        import cv2

        from realtime.engines.liveportrait.crop import PasteBack

        height, width = image.shape[:2]
        target = 2 * max(1, round(width * self.size / height / 2)), 2 * max(1, round(self.size / 2))
        smaller = target[1] < height
        photo = cv2.resize(image, target, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        scale = np.diag([width / target[0], height / target[1], 1.0])
        return PasteBack.of(photo, transform @ scale, self.net.size)

    # Driving frames ----------------------------------------------------------------------------------------------

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        self._measured = None
        code = super().encode(frame)
        if code is None or not np.isfinite(code.values).all():
            return None
        values = code.values.astype(np.float64)
        values[c.EYE_RIGHT : c.LIPS + 1] = (OPEN_EYE, OPEN_EYE, CLOSED_LIPS)
        if self._measured is not None:
            values[c.EYE_RIGHT : c.LIPS + 1] = self._measured
        if self._filter is not None:
            now = frame.captured if isinstance(frame, Frame) else self._clock
            values = self._filter(values / _UNITS, now) * _UNITS
        return code.with_values(values)

    def reset(self) -> None:
        super().reset()
        if self._filter is not None:
            self._filter.reset()

    def _driving_square(self, image: np.ndarray, now: float) -> Square | None:
        if self._crop not in ("auto", "face") or not has_face_finder():
            return super()._driving_square(image, now)
        from realtime.engines.liveportrait.crop import driving_box, openings

        landmarks = self.landmarks(image)
        box = None if landmarks is None else driving_box(box_of(landmarks))
        square = self._follower.update(box, now)
        if landmarks is None or square is None:
            return None
        self._measured = openings(landmarks)
        return square.inside(image.shape[1], image.shape[0])

    # Pictures ----------------------------------------------------------------------------------------------------

    def check_code(self, code: object, what: str = "code") -> None:
        super().check_code(code, what)
        assert isinstance(code, MotionCode)
        if not np.isfinite(code.values).all():
            raise BadValue(what, "not a number", "every entry is a finite number")

    def draw(self, code: MotionCode, reference: MotionCode, shown: EncodedPortrait) -> Tensor:
        return self.net.draw(_source(shown), *self._codes(code, reference), self._rules)

    def _codes(self, *codes: MotionCode) -> list[Tensor]:
        return [torch.from_numpy(np.asarray(k.values, np.float32)[None]).to(self._device) for k in codes]

    @torch.inference_mode()
    def flow(self, code: MotionCode) -> np.ndarray:
        """How far the dense motion moves the portrait's pixels for `code`, the mean over the volume's depth."""
        shown = self._shown()
        pair = self._codes(code, self.reference or code)
        moved = self._on_device(lambda: self.net.flow(_source(shown), *pair, self._rules))
        return (moved[0] * (self.size / 2)).permute(1, 2, 0).float().cpu().numpy()

    def _finish(self, rgb: Tensor, shown: EncodedPortrait) -> np.ndarray:
        rgb = rgb.float().nan_to_num(-1.0, 1.0, -1.0).clamp(-1.0, 1.0)
        if self._paste is None:
            return super()._finish(rgb, shown)
        square = ((rgb[0] + 1.0) * 127.5).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
        whole = self._paste(square)
        return whole if self.trained else stamp(whole, recipe.NO_TRAINED_WEIGHTS)


def _source(shown: EncodedPortrait) -> Source:
    return Source(shown.code, *shown.feats)


def _upright(square: Square, image: np.ndarray, side: int) -> np.ndarray:
    """The transform (2, 3) of a square without a turn; a side of 0 is the whole picture, squeezed."""
    height, width = image.shape[:2]
    if not square.side:
        return np.array([[side / width, 0.0, 0.0], [0.0, side / height, 0.0]])
    scale = side / square.side
    return np.array([[scale, 0.0, -square.left * scale], [0.0, scale, -square.top * scale]])


def _judged(face: np.ndarray, image: np.ndarray) -> tuple[str, ...]:
    """Warnings about a portrait. Raises BadPortrait for one that cannot serve."""
    from realtime.face.face_model import load_face_model
    from realtime.face.pose import angles, fit_pose
    from realtime.face.upright import CUT, is_cut

    left, top, right, bottom = box_of(face)
    if bottom - top < SMALLEST_FACE:
        raise BadPortrait(f"the face is {bottom - top:.0f} pixels high; {SMALLEST_FACE} are needed")
    height, width = image.shape[:2]
    cut = max(-left, right - width) / (right - left), max(-top, bottom - height) / (bottom - top)
    if max(cut) > VERY_CUT:
        raise BadPortrait("the face is cut by the picture's border; use a picture in which all of it is seen")
    yaw, _, _ = angles(fit_pose(load_face_model().mean, face).rotation)
    if abs(yaw) > VERY_TURNED:
        raise BadPortrait("the face is seen from the side; use a picture in which it looks towards the camera")
    said = []
    if abs(yaw) > TURNED:
        said.append(f"the face is turned by {abs(yaw):.0f} degrees; one that looks into the camera moves better")
    if is_cut(face, image):
        said.append(CUT)
    return tuple(said)
