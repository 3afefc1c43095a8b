"""The form in which an `Animator` runs per frame."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from realtime.engines.gpu.graph import Buffers
from realtime.engines.gpu.program import AnimatorProgram
from realtime.engines.neural.place import Placement
from realtime.engines.parts.animator import Animator
from realtime.engines.parts.dense_motion import DenseMotion
from realtime.engines.parts.motion import PartMotion, ResBlock, inverse_2x2
from realtime.engines.parts.motion_transformer import MotionTransformer


def relative_motion(driving: PartMotion, reference: PartMotion, portrait: PartMotion) -> PartMotion:
    """Where the portrait's parts go when the driver's go from `reference` to `driving`."""
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

    def dense(self, maps: list[Tensor], portrait: PartMotion, moved: PartMotion) -> DenseMotion:
        """Masks, occlusion and flow at a quarter of the size."""
        return self.network.generator.dense_motion_network.predict(maps[0], portrait, moved)

    def draw(self, maps: list[Tensor], portrait: PartMotion, moved: PartMotion) -> Tensor:
        """The portrait with its parts moved: (B, 3, S, S) in -1..1."""
        return self.network.generator.decode(maps[1:], self.dense(maps, portrait, moved)).float() * 2 - 1
