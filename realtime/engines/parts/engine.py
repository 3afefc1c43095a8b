"""The Motion Transformer as an engine: the parts of the driving frame move the parts of the portrait.

The motion code is the motion of the K parts, flattened: per part t_x, t_y, A_xx, A_xy, A_yx, A_yy (coordinates -1..1
of the square that the network sees). Motion is relative by keypoints and Jacobians (FOMM, NeurIPS 2019, section
3.3): with p the portrait, d the driving frame and r the reference,

    t = t_p + (t_d - t_r),    A = A_d A_r^-1 A_p,

which is the absolute motion (t_d, A_d) where the reference is the portrait's own code. FOMM's and MRAA's estimators
run as the same engine: the weight file says which one it holds. A moving background, for which a network may have
been trained, is held still, since a motion code says nothing of it.
"""

from __future__ import annotations

import copy
import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from realtime.engines.gpu.graph import Buffers
from realtime.engines.gpu.program import AnimatorProgram, Part
from realtime.engines.latent.prepared import Placement
from realtime.engines.neural.engine import NeuralEngine, Portrait
from realtime.engines.parts.animator import Animator, AnimatorConfig, GeneratorConfig, HourglassConfig, load_animator
from realtime.engines.parts.dense_motion import DenseMotion
from realtime.engines.parts.motion import PartMotion, ResBlock, coordinate_grid, inverse_2x2, resize_flow
from realtime.engines.parts.motion_transformer import MotionTransformer, MotionTransformerConfig
from realtime.engines.parts.views import PartViews
from realtime.errors import BadPortrait
from realtime.types import Direction, MotionCode

ENTRIES = (
    ("x", -0.4, 0.4, "moves to the right"),
    ("y", -0.4, 0.4, "moves down"),
    ("xx", -0.5, 0.5, "grows wider"),
    ("xy", -0.5, 0.5, "leans along x"),
    ("yx", -0.5, 0.5, "leans along y"),
    ("yy", -0.5, 0.5, "grows taller"),
)
"""The six numbers of a part: name, range of a slider, what the part does as it grows."""
SMALL_RECIPE = AnimatorConfig(
    size=64,
    parts=10,
    transformer=MotionTransformerConfig(backbone="stem", dim=64, layers=2, heads=4, ffn=128),
    generator=GeneratorConfig(base=16, limit=64, bottleneck=1, mask=HourglassConfig(base=16, blocks=3, limit=64)),
)
"""What recipe weights are made for at 64 and 128 pixels; at 256 it is the paper's network."""


def relative_motion(driving: PartMotion, reference: PartMotion, portrait: PartMotion) -> PartMotion:
    """The module's formula: where the portrait's parts go when the driver's go from `reference` to `driving`."""
    points = portrait.points + (driving.points - reference.points)
    return PartMotion(points, driving.affine @ inverse_2x2(reference.affine) @ portrait.affine)


def fold_norms(network: nn.Module) -> None:
    """Put every batch normalisation that follows a convolution into that convolution's weights (evaluation only)."""
    for module in network.modules():
        for conv, norm in _neighbours(module):
            first, second = module.get_submodule(conv), module.get_submodule(norm)
            assert isinstance(first, nn.Conv2d)
            assert isinstance(second, nn.BatchNorm2d)
            setattr(module, conv, fuse_conv_bn_eval(first, second))
            setattr(module, norm, nn.Identity())


def _neighbours(module: nn.Module) -> list[tuple[str, str]]:
    """Names of (convolution, the normalisation of its output) among the children of a module."""
    children = dict(module.named_children())
    if isinstance(module, ResBlock):
        named = [("conv1", "norm2")]
    elif isinstance(module, nn.Sequential):
        keys = list(children)
        named = list(itertools.pairwise(keys))
    else:
        named = [("conv", "norm"), *((f"conv{i}", f"bn{i}") for i in (1, 2, 3))]
    return [
        (a, b)
        for a, b in named
        if isinstance(children.get(a), nn.Conv2d) and isinstance(children.get(b), nn.BatchNorm2d)
    ]


class PartProgram(AnimatorProgram):
    """One frame of a network of parts, for capture in a CUDA graph. State: the portrait's code and maps."""

    def portrait(self, picture: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            inside, maps = self.net.encode(picture)
            return {"source": self.net.alpha(inside)} | {f"feature{k}": m for k, m in enumerate(maps)}

    def _draw(self, code: Tensor, inputs: Buffers, state: Buffers) -> Tensor:
        assert isinstance(self.net, PreparedAnimator)
        driving = PartMotion.from_flat(code + inputs["edits"])
        portrait = PartMotion.from_flat(state["source"])
        moved = relative_motion(driving, PartMotion.from_flat(inputs["reference"]), portrait)
        return self.net.draw([state[f"feature{k}"] for k in range(len(state) - 1)], portrait, moved)


class PreparedAnimator:
    """An `Animator` as it runs per frame: normalisations folded, the heavy convolutions in `place.dtype`.

    Keypoints, matrices, transformer, masks, flows and sampling positions stay float32 in every precision. All
    functions are fixed sequences of kernels on the device, without a look at values, so that they can be captured.
    """

    def __init__(self, network: Animator, place: Placement) -> None:
        network = copy.deepcopy(network).eval().requires_grad_(False)
        fold_norms(network)
        self.network = network.to(place.device)
        self.size = network.config.size
        self.motion_dim = self.dim = 6 * network.config.parts
        self.place = place
        estimator = network.estimator
        first = estimator.backbone if isinstance(estimator, MotionTransformer) else None
        for part in (first, network.generator):
            if part is not None:
                part.to(dtype=place.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def latent(self, x: Tensor) -> Tensor:
        """The picture in 0..1 from the engine's -1..1: the motion is read from the picture itself."""
        return (x.float() + 1) / 2

    def alpha(self, picture: Tensor) -> Tensor:
        """Motion code (B, 6 K) of pictures (B, 3, S, S) in 0..1."""
        return self.network.estimator(picture).flat()

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The picture in 0..1; its quarter-size copy and the generator's maps, which serve every frame."""
        picture = self.latent(x)
        generator = self.network.generator
        small = generator.dense_motion_network.down(picture.to(generator.dense_motion_network.down.weight.dtype))
        return picture, [small.float(), *generator.encode(picture)]

    def features(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """As they are: the generator takes them in its own precision."""
        return list(feats)

    def move(self, code: Tensor) -> Tensor:
        """The code itself: it is not a walk in a latent space."""
        return code

    def decode(self, z: Tensor, feats: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError("a network of parts draws from two motions, see `draw`")

    def program(self, part: Part, frame: tuple[int, int], device: torch.device) -> PartProgram:
        """Its frames as a captured graph, see `GpuPath`."""
        return PartProgram(self, part=part, frame=frame, dtype=self.place.dtype, device=device)

    def dense(self, maps: list[Tensor], portrait: PartMotion, moved: PartMotion) -> DenseMotion:
        """Masks, occlusion and flow at a quarter of the size."""
        return self.network.generator.dense_motion_network.predict(maps[0], portrait, moved)

    def draw(self, maps: list[Tensor], portrait: PartMotion, moved: PartMotion) -> Tensor:
        """The portrait with its parts moved: (B, 3, S, S) in -1..1."""
        return self.network.generator.decode(maps[1:], self.dense(maps, portrait, moved)).float() * 2 - 1


def recipe_animator(seed: int, size: int) -> Animator:
    """A network with seeded noise for weights: no trained weights. The same on every machine.

    size: 256 for the paper's network, 64 or 128 for a small one."""
    config = AnimatorConfig() if size == 256 else AnimatorConfig(**{**vars(SMALL_RECIPE), "size": size})
    network = Animator(config)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.ndim < 2:
                continue  # biases and normalisations keep their starting values
            generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) ^ seed))
            values = generator.standard_normal(size=tuple(parameter.shape), dtype=np.float32)
            fan_in = parameter[0].numel()
            parameter.copy_(torch.from_numpy(values) * (2 / fan_in) ** 0.5)
    return network.eval()


class MotransEngine(NeuralEngine):
    """Motion Transformer, FOMM or MRAA, as the weights say. See `NeuralEngine` for the options.

    With recipe weights it is the Motion Transformer of the paper at 256 pixels, a small one at 64 and 128.
    """

    name = kind = "motrans"
    net: Any

    def describe(self, motion_dim: int) -> list[Direction]:
        """Six directions per motion token; nobody has given them names."""
        return [
            Direction(f"token{k}-{name}", 6 * k + n, lo, hi, f"the part of motion token {k} {does}", named=False)
            for k in range(motion_dim // 6)
            for n, (name, lo, hi, does) in enumerate(ENTRIES)
        ]

    def read(self, path: Path) -> Any:
        return load_animator(path)

    def invent(self, seed: int, size: int, scale: int) -> Any:
        return recipe_animator(seed, size)

    def prepare(self, net: Any, place: Placement) -> Any:
        return PreparedAnimator(net, place)

    def _moved(self, code: MotionCode, reference: MotionCode, shown: Portrait) -> tuple[PartMotion, PartMotion]:
        """The parts of the portrait, and where they go."""
        both = torch.from_numpy(np.stack([code.values, reference.values]).astype(np.float32)).to(self._device)
        driving, start = PartMotion.from_flat(both[:1]), PartMotion.from_flat(both[1:])
        portrait = PartMotion.from_flat(shown.code)
        return portrait, relative_motion(driving, start, portrait)

    def _draw(self, code: MotionCode, reference: MotionCode, shown: Portrait) -> Tensor:
        return self.net.draw(shown.feats, *self._moved(code, reference, shown))

    def look(self, frame: np.ndarray) -> PartViews:
        """What the network sees in a driving frame, uint8 (H, W, 3) RGB, and the portrait moved by it (absolute).

        Raises BadPortrait where the frame shows no face, EngineError before the first portrait."""
        shown = self._shown()
        self.reset()
        square = self._driving_square(frame, 0.0)
        if square is None:
            raise BadPortrait("no face is found in the frame")
        return self._on_device(lambda: self._views(self._network_input(frame, square), shown))

    @torch.inference_mode()
    def _views(self, x: Tensor, shown: Portrait) -> PartViews:
        picture = self.net.latent(x)
        estimator, attention = self.net.network.estimator, None
        if isinstance(estimator, MotionTransformer):
            driving, maps = estimator.attention_maps(picture)
            attention = maps[0].cpu().numpy()
        else:
            driving = estimator(picture)
        home = PartMotion.from_flat(shown.code)
        motion = self.net.dense(shown.feats, home, driving)
        made = self.net.draw(shown.feats, home, driving)

        def as_picture(x: Tensor) -> np.ndarray:
            return (x[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

        return PartViews(
            frame=as_picture(picture),
            portrait=as_picture(shown.latent),
            made=as_picture((made + 1) / 2),
            points=driving.points[0].cpu().numpy(),
            affine=driving.affine[0].cpu().numpy(),
            home_points=home.points[0].cpu().numpy(),
            home_affine=home.affine[0].cpu().numpy(),
            masks=motion.masks[0].cpu().numpy(),
            occlusion=motion.occlusion[0, 0].cpu().numpy(),
            flow=motion.flow[0].cpu().numpy(),
            attention=attention,
        )

    def flow(self, code: MotionCode) -> np.ndarray:
        """How far the dense motion moves the portrait's pixels for `code`: float32 (S, S, 2), pixels of the rendered
        square, x then y: where each pixel is taken from, minus where it is."""
        shown = self._shown()
        return self._on_device(lambda: self._flow(code, self.reference or code, shown))

    @torch.inference_mode()
    def _flow(self, code: MotionCode, reference: MotionCode, shown: Portrait) -> np.ndarray:
        motion = self.net.dense(shown.feats, *self._moved(code, reference, shown))
        side = self.native
        away = resize_flow(motion.flow, side, side) - coordinate_grid(side, side, motion.flow)
        return (away[0] * ((side - 1) / 2)).cpu().numpy()
