"""What the neural engines share: from frames to codes and from codes to pictures, around a prepared network.

The portrait is encoded once; per driving frame only its motion code is computed, and per picture one decoding. What
moves a portrait by a code is the engine's own (`NeuralEngine.draw`).
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.codes import TakesCodes
from realtime.engines.neural.crop import CropFollower, Square, box_of, centre_square, feather, paste, square_around
from realtime.engines.neural.place import Placement, choose_device, choose_dtype, describe_device, placement
from realtime.engines.weights import recipe
from realtime.engines.weights.registry import find_weights
from realtime.errors import BadPortrait, BadValue, EngineError
from realtime.media.caption import stamp
from realtime.media.pictures import check_frame
from realtime.types import Direction, Frame, MotionCode

if TYPE_CHECKING:
    from realtime.engines.gpu.path import GpuPath
    from realtime.engines.gpu.program import Network, Programs

T = TypeVar("T")
CropMode = Literal["auto", "face", "centre", "none"]
SMALLEST_FACE = 32
"""Pixels from chin to forehead below which a portrait's face is refused."""
SMALLEST_PICTURE = 16

_cache: weakref.WeakValueDictionary[tuple, Any] = weakref.WeakValueDictionary()
_cache_lock = threading.Lock()


@dataclass(frozen=True)
class EncodedPortrait:
    """A portrait as the network has encoded it.

    square: which part of `image` the network sees. feats: float32 maps, coarse first.
    """

    image: np.ndarray
    square: Square
    latent: Tensor
    code: Tensor
    feats: list[Tensor]
    soft_edge: np.ndarray | None = field(repr=False, default=None)


class NeuralEngine(TakesCodes):
    """Base of the engines with a network; the contract is `realtime.engines.Engine`.

    An engine says how its networks are made (`read`, `invent`, `fold`), what its directions are called (`describe`),
    and how a code moves a portrait (`draw`, `flow`, and `programs` for a GPU).

    size: side of the rendered picture, pixels; None is the network's own. With recipe weights the network is built
    at this size where it is 64, 128 or 256.
    device: "auto", "cpu", "cuda" or "cuda:N".
    weights: a file, the name of registered weights (`avatar models list`), "recipe:SEED", or None: the registered
    weights of this engine.
    dtype: "auto" (fp16 on a GPU, fp32 on the CPU), "fp32", "fp16", "bf16".
    crop: "auto" (the face where MediaPipe is installed, else the centre), "face", "centre", "none" (the whole
    picture, squeezed, as the published scripts do), or a fixed square of the driving frame, (left, top, side) in
    pixels or "left:top:side".
    keep_position, keep_scale: where the driver's head is, or how large, is part of the motion.
    paste_back: pictures are the whole portrait with the moving square in it, `size` pixels high.
    Raises BadFile, BadValue, DeviceError, MissingExtra.
    """

    name = ""
    kind = ""
    directions: Sequence[Direction] = ()

    def __init__(
        self,
        size: int | None = None,
        device: str = "auto",
        weights: str | Path | None = None,
        dtype: str = "auto",
        crop: CropMode | tuple[float, float, float] | str = "auto",
        keep_position: bool = False,
        keep_scale: bool = False,
        paste_back: bool = False,
        scale: int = 2,
    ) -> None:
        flags = {"keep_position": keep_position, "keep_scale": keep_scale, "paste_back": paste_back}
        for option, value in flags.items():
            if not isinstance(value, bool):
                raise BadValue(option, value, "on or off")
        if size is not None and not (isinstance(size, int) and SMALLEST_PICTURE <= size <= 4096):
            raise BadValue("size", size, f"pixels of a square, from {SMALLEST_PICTURE} to 4096")
        if scale not in (1, 2, 3, 4):
            raise BadValue("scale", scale, "1, 2, 3 or 4")
        self._device = choose_device(device)
        self._dtype = choose_dtype(dtype, self._device)
        self.trained = not str(weights or "").startswith(recipe.PREFIX)
        self.net = self._load(weights, size, scale)
        self.directions = self.describe(self.net.motion_dim)
        self.native = self.net.size
        self.size = size or self.native
        self.device = describe_device(self._device) + ("" if self.trained else f" ({recipe.NO_TRAINED_WEIGHTS})")
        self._paste_back = paste_back
        self._portrait: EncodedPortrait | None = None
        self._path = self._gpu_path()
        self._crop = _checked_crop(crop)
        self._follower = CropFollower(keep_position=keep_position, keep_scale=keep_scale)
        self._tracker: Any = None
        self._clock = 0.0

    def _gpu_path(self) -> GpuPath | None:
        """Captured frames on own kernels, where they can run (`avatar doctor` says why not)."""
        from realtime import kernels

        if self._device.type != "cuda" or self._dtype == torch.bfloat16 or not kernels.available():
            return None
        from realtime.engines.gpu.path import GpuPath

        return GpuPath(self.net, self.programs, self._device, self.name)

    def describe(self, motion_dim: int) -> Sequence[Direction]:
        """The motion dictionary of a network with that many directions."""
        raise NotImplementedError

    def fold(self, net: Any, place: Placement) -> Network:
        """The form in which a loaded network runs per frame."""
        raise NotImplementedError

    def read(self, path: Path) -> nn.Module:
        """The network in a weight file. Raises BadFile."""
        raise NotImplementedError

    def invent(self, seed: int, size: int, scale: int) -> nn.Module:
        """A network with recipe weights."""
        raise NotImplementedError

    @staticmethod
    def programs(net: Any) -> Programs:
        """What makes the frames of the network as programs for a GPU, see `GpuPath`."""
        raise NotImplementedError

    def recipe_side(self, size: int | None) -> int:
        """At which side a network with recipe weights is built for pictures of `size`."""
        return size if size in (64, 128, 256) else 256

    def draw(self, code: MotionCode, reference: MotionCode, shown: EncodedPortrait) -> Tensor:
        """The portrait moved by `code` minus `reference`: (1, 3, S, S) in [-1, 1]."""
        raise NotImplementedError

    def flow(self, code: MotionCode) -> np.ndarray:
        """How far the network moves the portrait's pixels for `code` (reference as in `render`): float32 (S, S, 2),
        pixels of the rendered square, x then y: where each pixel is taken from, minus where it is."""
        raise NotImplementedError

    @property
    def code_length(self) -> int:
        return self.net.motion_dim

    @property
    def portrait_code(self) -> MotionCode:
        """The portrait's own code, a_p. Raises EngineError before the first portrait."""
        return MotionCode(self.kind, self._shown().code[0].cpu().numpy().astype(np.float32))

    @torch.inference_mode()
    def set_portrait(self, image: np.ndarray) -> None:
        self.check_open()
        image = checked_portrait(image)
        square = self._portrait_square(image)
        if self._paste_back:
            image, square = self._scaled(image, square)
        x = self._network_input(image, square)
        side = int(square.side)
        edge = feather(side) if self._paste_back else None
        if self._path is not None:
            self._path.set_portrait(x)
        latent, code, feats = self._on_device(lambda: self._encoded(x))
        self._portrait = EncodedPortrait(image, square, latent, code, feats, edge)

    @torch.inference_mode()
    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        if isinstance(frame, Frame):
            image, now = frame.image, frame.captured
        else:
            self._clock += 1 / 30
            image, now = frame, self._clock
        check_frame(image)
        self.check_open()
        square = self._driving_square(image, now)
        if square is None:
            return None
        values = self._code_of(image, square)
        if not isinstance(frame, Frame):
            return MotionCode(self.kind, values)
        return MotionCode(self.kind, values, frame.captured, frame.pts, frame.index)

    @torch.inference_mode()
    def render(self, code: MotionCode) -> np.ndarray:
        shown = self._shown()
        self.check_code(code)
        if self.reference is None:
            self.reference = code
        if self._path is not None:
            rgb = _as_network_output(self._path.render(code.values, self.reference.values))
        else:
            rgb = self.draw(code, self.reference, shown)
        return self._finish(rgb, shown)

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Latent, code and feature maps of a network input."""
        with torch.inference_mode():
            latent, feats = self.net.encode(x)
            return latent, self.net.alpha(latent), self.net.features(feats)

    def _on_device(self, work: Callable[[], T]) -> T:
        """`work`, on the thread that owns the device where there is one."""
        return work() if self._path is None else self._path.call(work)

    def _code_of(self, image: np.ndarray, square: Square) -> np.ndarray:
        if self._path is None:
            code = self.net.alpha(self.net.latent(self._network_input(image, square)))
            return code[0].cpu().numpy().astype(np.float32)
        side = square.side
        if not side:  # the whole picture
            return self._path.encode(image, (0.0, 0.0, float(image.shape[1]), float(image.shape[0])))
        return self._path.encode(image, (square.left, square.top, square.left + side, square.top + side))

    def reset(self) -> None:
        self._follower.reset()
        if self._tracker is not None:
            self._tracker.reset()

    def close(self) -> None:
        self.closed = True
        self._portrait = None
        if self._path is not None:
            self._path.close()
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    # Loading -----------------------------------------------------------------------------------------------------

    def _load(self, weights: str | Path | None, size: int | None, scale: int) -> Network:
        key: tuple
        if self.trained:
            path = find_weights(self.kind, weights)
            stat = path.stat()
            key = (self.kind, str(path.resolve()), stat.st_mtime_ns, stat.st_size)

            def load() -> nn.Module:
                return self.read(path)
        else:
            seed = recipe.parse_seed(str(weights))
            side = self.recipe_side(size)
            key = (self.kind, seed, side, scale)

            def load() -> nn.Module:
                return self.invent(seed, side, scale)

        with _cache_lock:
            found = _cache.get((*key, self._device, self._dtype))
            if found is None:
                found = self.fold(net := load(), placement(net, self._device, self._dtype))
                _cache[(*key, self._device, self._dtype)] = found
        return found

    # Pictures ----------------------------------------------------------------------------------------------------

    def _shown(self) -> EncodedPortrait:
        self.check_open()
        if self._portrait is None:
            raise EngineError(self.name, "no portrait has been set")
        return self._portrait

    def _portrait_square(self, image: np.ndarray) -> Square:
        height, width = image.shape[:2]
        if self._crop == "none" and not self._paste_back:
            return Square(width / 2, height / 2, 0.0)
        if self._crop in ("auto", "face") and has_face_finder():
            from realtime.face.landmarks import find_faces

            faces = find_faces(image, 1)
            if faces:
                left, top, right, bottom = box_of(faces[0])
                if bottom - top < SMALLEST_FACE:
                    raise BadPortrait(f"the face is {bottom - top:.0f} pixels high; {SMALLEST_FACE} are needed")
                return square_around((left, top, right, bottom)).inside(width, height)
        return centre_square(width, height)

    def _scaled(self, image: np.ndarray, square: Square) -> tuple[np.ndarray, Square]:
        """The whole portrait at `size` pixels height (even sides, for video), and its square in whole pixels."""
        height, width = image.shape[:2]
        factor = self.size / height
        target = (2 * max(1, round(height * factor / 2)), 2 * max(1, round(width * factor / 2)))
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        scaled = F.interpolate(x, target, mode="bicubic", antialias=True, align_corners=False)
        out = scaled[0].clamp(0, 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        side = min(max(SMALLEST_PICTURE, round(square.side * factor)), *target)
        left = min(max(0, round(square.left * factor)), target[1] - side)
        top = min(max(0, round(square.top * factor)), target[0] - side)
        return out, Square(left + side / 2, top + side / 2, float(side))

    def _driving_square(self, image: np.ndarray, now: float) -> Square | None:
        height, width = image.shape[:2]
        if isinstance(self._crop, tuple):
            return Square(self._crop[0] + self._crop[2] / 2, self._crop[1] + self._crop[2] / 2, self._crop[2])
        if self._crop == "none":
            return Square(width / 2, height / 2, 0.0)
        if self._crop == "centre" or (self._crop == "auto" and not has_face_finder()):
            return centre_square(width, height)
        landmarks = self.landmarks(image)
        square = self._follower.update(None if landmarks is None else box_of(landmarks), now)
        return None if landmarks is None or square is None else square.inside(width, height)

    def landmarks(self, image: np.ndarray) -> np.ndarray | None:
        """The driver's landmarks (478, 3) in the next frame, pixels; None where no face is seen."""
        if self._tracker is None:
            from realtime.face.landmarks import FaceTracker

            self._tracker = FaceTracker()
        return self._tracker.track(image)

    def _network_input(self, image: np.ndarray, square: Square) -> Tensor:
        """The part of a picture that the network sees: (1, 3, S, S) in [-1, 1]. A side of 0 is the whole picture."""
        height, width = image.shape[:2]
        if square.side:
            side = max(2, round(square.side))
            left, top = round(square.left), round(square.top)
            rows = np.clip(np.arange(top, top + side), 0, height - 1)
            columns = np.clip(np.arange(left, left + side), 0, width - 1)
            inside = left >= 0 and top >= 0 and left + side <= width and top + side <= height
            image = image[top : top + side, left : left + side] if inside else image[rows][:, columns]
        x = torch.from_numpy(np.ascontiguousarray(image)).to(self._device).permute(2, 0, 1)[None].float()
        if x.shape[-2:] != (self.native, self.native):
            x = F.interpolate(x, (self.native, self.native), mode="bilinear", antialias=True, align_corners=False)
        return x / 127.5 - 1.0

    def _finish(self, rgb: Tensor, shown: EncodedPortrait) -> np.ndarray:
        """(1, 3, S, S) in [-1, 1] as the picture to show. Clamped, never stretched: brightness stays put."""
        side = int(shown.square.side) if self._paste_back else self.size
        rgb = rgb.clamp(-1.0, 1.0)
        if rgb.shape[-1] != side:
            smaller = side < rgb.shape[-1]
            mode = "bilinear" if smaller else "bicubic"
            rgb = F.interpolate(rgb, (side, side), mode=mode, antialias=smaller, align_corners=False).clamp(-1.0, 1.0)
        picture = ((rgb[0] + 1.0) * 127.5).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
        if self._paste_back and shown.soft_edge is not None:
            left, top = round(shown.square.left), round(shown.square.top)
            picture = paste(shown.image, picture, left, top, shown.soft_edge)
        return picture if self.trained else stamp(picture, recipe.NO_TRAINED_WEIGHTS)


def _as_network_output(picture: np.ndarray) -> Tensor:
    """A finished square, uint8 (S, S, 3), as (1, 3, S, S) in [-1, 1] on the CPU."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1.0


def has_face_finder() -> bool:
    """Whether MediaPipe and OpenCV are installed."""
    from importlib.util import find_spec

    return find_spec("mediapipe") is not None and find_spec("cv2") is not None


def _checked_crop(crop: Any) -> CropMode | tuple[float, float, float]:
    if isinstance(crop, str) and crop.count(":") == 2:
        with contextlib.suppress(ValueError):
            crop = tuple(float(part) for part in crop.split(":"))
    if isinstance(crop, tuple | list):
        if len(crop) == 3 and all(np.isfinite(crop)) and crop[2] >= SMALLEST_PICTURE:
            return (float(crop[0]), float(crop[1]), float(crop[2]))
    elif crop in ("auto", "centre", "none"):
        return crop
    elif crop == "face":
        if has_face_finder():
            return crop
        raise BadValue("crop", crop, "MediaPipe is not installed here; centre, none or a fixed (x, y, side) work")
    raise BadValue("crop", crop, "auto, face, centre, none, or a fixed square x:y:side in pixels")


def checked_portrait(image: Any) -> np.ndarray:
    """`image` as a portrait: uint8 (H, W, 3), contiguous. Raises BadPortrait."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadPortrait("it must be a uint8 array (height, width, 3), RGB")
    if min(image.shape[:2]) < SMALLEST_PICTURE:
        raise BadPortrait(f"it is {image.shape[1]} x {image.shape[0]} pixels; at least {SMALLEST_PICTURE} are needed")
    return np.ascontiguousarray(image)
