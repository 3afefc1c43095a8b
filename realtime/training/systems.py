"""What can be trained: a network, and how a batch of self-reenactment pairs becomes losses.

`make_system` is the registry: the three motion estimators share one class, LIA and LIA-X another.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.latent.layers import LatentAnimator
from realtime.engines.parts.animator import Animator
from realtime.engines.parts.dense_motion import DenseMotion
from realtime.engines.parts.motion import full_precision
from realtime.engines.parts.weights import save_animator
from realtime.engines.unimotion.decoder import Guidance
from realtime.engines.unimotion.dit import detail_weight, flow_loss, noised
from realtime.engines.unimotion.eye import Sight
from realtime.engines.unimotion.joint_head import map_loss
from realtime.engines.unimotion.network import Tokens, UniMotion
from realtime.engines.unimotion.normal_head import normal_loss
from realtime.engines.unimotion.reader import SIDES
from realtime.engines.unimotion.weights import save_unimotion
from realtime.engines.weights.writer import write_tensors
from realtime.errors import BadValue
from realtime.training import losses
from realtime.training.config import TrainConfig
from realtime.training.data.puppets import HEAD, LEFT_HAND, RIGHT_HAND
from realtime.training.data.scenes import Scene

EARLY = 0.25
"""Of the pictures that unimotion shows its diffusion transformer, the share in the first part of a run."""
PLACES = 40.0
"""How much an error of one side, of where a joint is seen or put, counts beside the heat maps' cross entropy."""


class TrainedSystem(nn.Module):
    """Base of the systems. `forward` gives the weighted losses by name and the pictures made, so that
    DistributedDataParallel sees one module with one forward pass."""

    network: nn.Module
    progress = 0.0
    """Share of the run that is over; the trainer keeps it."""
    needs_every_parameter = True
    """False where the losses leave parameters without a gradient."""

    def __init__(self, config: TrainConfig, features: nn.Module) -> None:
        super().__init__()
        self.config = config
        self._features = (features,)  # in a tuple: its weights are not trained, saved or averaged

    @property
    def features(self) -> nn.Module:
        return self._features[0]

    def to_device(self, device: torch.device) -> None:
        """Move everything, the feature extractor included."""
        self.to(device)
        self.features.to(device)

    def forward(self, pairs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """pairs: (B, 2, 3, S, S) in 0..1, portrait then driving frame."""
        raise NotImplementedError

    @staticmethod
    def reenact(network: nn.Module, source: Tensor, driving: Tensor) -> tuple[Tensor, DenseMotion | None]:
        """The source picture in the motion of the driving one, both (B, 3, S, S) in 0..1, and the dense motion."""
        raise NotImplementedError

    def save(self, network: nn.Module, path: Path, notes: dict[str, str]) -> None:
        """Write `network`'s weights as the engine reads them: safetensors."""
        raise NotImplementedError

    def _picture_losses(self, made: Tensor, true: Tensor) -> dict[str, Tensor]:
        weight = self.config.losses
        terms = {}
        if weight.perceptual:
            terms["perceptual"] = weight.perceptual * losses.perceptual(self.features, made, true, weight.scales)
        if weight.pixels:
            terms["pixels"] = weight.pixels * (made - true).abs().mean()
        return terms


class PartSystem(TrainedSystem):
    """Motion Transformer, FOMM and MRAA: equation 13."""

    network: Animator

    def __init__(self, config: TrainConfig, features: nn.Module) -> None:
        super().__init__(config, features)
        self.network = Animator(config.animator)

    def forward(self, pairs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        source, driving = pairs.unbind(1)
        made, motion, _, of_driving = self.network(source, driving)
        made = made.float()
        weight = self.config.losses
        terms = self._picture_losses(made, driving)
        if weight.equivariance or weight.equivariance_affine:
            warp = losses.ThinPlate(len(driving), self.config.warp, driving)
            transformed = self.network.estimator(warp.picture(driving))
            if weight.equivariance:
                value = losses.equivariance(warp, of_driving, transformed)
                terms["equivariance"] = weight.equivariance * value
            if weight.equivariance_affine:
                value = losses.equivariance_affine(warp, of_driving, transformed)
                terms["equivariance_affine"] = weight.equivariance_affine * value
        if weight.background:
            terms["mask"] = weight.background * losses.background_mask(motion.masks)
            terms["concentration"] = weight.background * losses.concentration(motion.masks)
        return terms, made

    @staticmethod
    def reenact(network: nn.Module, source: Tensor, driving: Tensor) -> tuple[Tensor, DenseMotion | None]:
        made, motion, _, _ = network(source, driving)
        return made.float(), motion

    def save(self, network: nn.Module, path: Path, notes: dict[str, str]) -> None:
        assert isinstance(network, Animator)
        save_animator(network, path, notes)


class LatentSystem(TrainedSystem):
    """LIA and LIA-X: the portrait's latent is moved along the dictionary by the driving frame's code (absolute, as
    both pictures are of one person)."""

    network: LatentAnimator
    needs_every_parameter = False

    def __init__(self, config: TrainConfig, features: nn.Module) -> None:
        super().__init__(config, features)
        self.network = _make_latent(config)
        initialise_equalised(self.network, torch.Generator().manual_seed(config.seed))

    def forward(self, pairs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        source, driving = pairs.unbind(1)
        made, code = self._moved(self.network, source, driving)
        terms = self._picture_losses(made, driving)
        if self.config.losses.sparsity:
            terms["sparsity"] = self.config.losses.sparsity * code.abs().mean()
        return terms, made

    @staticmethod
    def _moved(network: nn.Module, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(network, LatentAnimator)
        z, maps = network.encode(source * 2 - 1)
        moved, code = _navigated(network, z, network.encode(driving * 2 - 1)[0])
        picture = network.decode(moved, maps)  # type: ignore[operator]
        return (picture.float() + 1) / 2, code

    @staticmethod
    def reenact(network: nn.Module, source: Tensor, driving: Tensor) -> tuple[Tensor, DenseMotion | None]:
        return LatentSystem._moved(network, source, driving)[0].clamp(0, 1), None

    def save(self, network: nn.Module, path: Path, notes: dict[str, str]) -> None:
        write_tensors(path, network.state_dict(), {"realtime-avatar.network": self.config.system, **notes})


class TokenSystem(TrainedSystem):
    """X-UniMotion's: the reference's character in the driver's pose, by flow matching, with two auxiliary tasks."""

    network: UniMotion

    def __init__(self, config: TrainConfig, features: nn.Module) -> None:
        super().__init__(config, features)
        if config.batch < 2:
            raise BadValue("batch", config.batch, "the tokens are normalised over the batch: it must be 2 or more")
        try:
            self.network = UniMotion(config.unimotion)
        except ValueError as error:
            raise BadValue("unimotion", config.unimotion, str(error)) from error
        weight = config.losses
        # Without its loss a head, or the reader, gets no gradient.
        self.needs_every_parameter = bool(weight.joints and weight.normals and weight.reading)

    def forward(self, *parts: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """parts: those of a `Scene`."""
        scene, net, weight = Scene(*parts), self.network, self.config.losses
        driver, reference = net.look(scene.driver), net.look(scene.reference)
        tokens = net.encode(driver, scene.crops)
        guidance = net.guide(reference, tokens)
        terms = {}
        if weight.seen:
            error = self._seen(driver, scene.driver_joints) + self._seen(reference, scene.reference_joints)
            terms["seen"] = weight.seen * error
        if weight.joints:
            error = map_loss(net.joint_head(guidance.features), scene.joints)
            terms["joints"] = weight.joints * (error + PLACES * (guidance.joints - scene.joints).abs().mean())
        share = self.config.puppets.shown * (EARLY if self.progress < self.config.puppets.joints_first else 1)
        some = slice(max(1, round(share * len(scene.target))))
        scene = Scene(*(part[some] for part in scene))
        guidance = Guidance(*(part[some] for part in guidance))
        if weight.joints:
            # What is drawn shall lie where D says: at the true joints it does from the first step on.
            guidance = guidance._replace(joints=scene.joints)
        tokens = Tokens(*(part[some] for part in tokens))
        fine = net.move(scene.reference, guidance, tokens)
        if weight.normals:
            terms["normals"] = weight.normals * normal_loss(net.normal_head(guidance.features, fine), scene.normals)
        clean = scene.target * 2 - 1
        t = torch.sigmoid(torch.randn(len(clean), device=clean.device) - 0.8)
        x = noised(clean, torch.randn_like(clean), t)
        made = net.dit(x, t, scene.reference * 2 - 1, guidance.features, fine, tokens.face)
        middles = scene.joints[:, [RIGHT_HAND, LEFT_HAND, HEAD]]
        pixels = detail_weight(middles, middles.new_tensor(SIDES), clean.shape[3], weight.details)
        terms["flow"] = weight.flow * flow_loss(made, clean, t, pixels)
        if weight.reading:
            terms["reading"] = weight.reading * self._reading(Scene(*parts))
        return terms, made.detach()

    @staticmethod
    def _seen(sight: Sight, joints: Tensor) -> Tensor:
        """How wrong the eye's first maps are, and the places that they come to."""
        count = joints.shape[1]
        wrong = (sight.places()[:, :count] - joints).abs().mean()
        return map_loss(sight.maps[:, :count], joints) + PLACES * wrong

    def _reading(self, scene: Scene) -> Tensor:
        """How wrongly the reader reads the targets, half of them made a little unclear for it: what it will read are
        pictures that networks drew."""
        net, half = self.network.reader, len(scene.target) // 2
        picture = scene.target * 2 - 1
        picture = torch.cat([F.avg_pool2d(picture[:half], 3, 1, 1), picture[half:]])
        picture = picture + 0.05 * torch.randn_like(picture)
        middles = scene.joints[:, [RIGHT_HAND, LEFT_HAND, HEAD]]
        right, left, face = net.details(picture, middles + 0.01 * torch.randn_like(middles))
        hands = torch.stack([right, left], 1)
        error = (hands - scene.hands).square().mean() + (face - scene.face).square().mean()
        return map_loss(net(picture), scene.joints) + 5 * error

    @staticmethod
    def reenact(network: nn.Module, source: Tensor, driving: Tensor) -> tuple[Tensor, DenseMotion | None]:
        raise NotImplementedError("scenes come with crops: see realtime.training.scene_watch")

    def save(self, network: nn.Module, path: Path, notes: dict[str, str]) -> None:
        assert isinstance(network, UniMotion)
        save_unimotion(network, path, notes)


@full_precision
def _navigated(network: LatentAnimator, z: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
    """The portrait's latent moved by the driving one's motion code, and that code."""
    code = network.alpha(driving.float())
    return network.navigate(z.float(), target=code), code


def _make_latent(config: TrainConfig) -> LatentAnimator:
    from realtime.engines.latent.lia import Lia
    from realtime.engines.latent.lia_x import LiaX

    latent = config.latent
    try:
        if config.system == "lia":
            return Lia(config.size, latent.directions)
        return LiaX(latent.scale, latent.directions, size=config.size, width=latent.width)
    except ValueError as error:
        raise BadValue("size", config.size, str(error)) from error


def initialise_equalised(network: nn.Module, generator: torch.Generator) -> None:
    """Starting weights of an equalised-learning-rate network (Karras et al., 2018): unit normals, which every layer
    scales itself, and zero biases; the style of a modulated convolution starts at one."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("modulation.bias") or name.endswith("norm.weight"):
                parameter.fill_(1)
            elif name.endswith("bias") or name.endswith("noise.weight"):
                parameter.zero_()
            elif name.endswith("gamma"):
                parameter.fill_(0.1)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


def make_system(config: TrainConfig, features: nn.Module) -> TrainedSystem:
    """The system of a configuration, with starting weights that follow from its seed. Raises BadValue."""
    torch.manual_seed(config.seed)
    kinds: dict[str, type[TrainedSystem]] = {"lia": LatentSystem, "lia-x": LatentSystem, "unimotion": TokenSystem}
    return kinds.get(config.system, PartSystem)(config, features)
