"""LivePortrait as it runs per frame: the same maps as `networks`, up to rounding, in about half the time on a CPU.

Batch and spectral normalisations are folded into the convolutions beside them. What follows from the portrait alone
is computed with the portrait: its volume, the thin copy of it, keypoints and their Gaussians. The 22 warps of the
thin volume are pure shifts, so each separates into three small matrix products. Convolutions that read the same map
are one: all first halves of the generator's modulations at a size, and gamma with beta.

Precision. Keypoints, Gaussians, sampling positions, the mask and the picture are float32 throughout, and so is the
whole of M; volumes, the hourglass and the generator are in the placement's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime import kernels
from realtime.engines.liveportrait import code as c
from realtime.engines.liveportrait import keypoints as kp
from realtime.engines.liveportrait.appearance import AppearanceExtractor
from realtime.engines.liveportrait.convolve import Conv, FourierConv, folded, layout, spectral_weight
from realtime.engines.liveportrait.generator import Generator, ModulatedResidual, Modulation
from realtime.engines.liveportrait.layers import DEPTH, KEYPOINTS, VOLUME, as_volume
from realtime.engines.liveportrait.networks import Networks
from realtime.engines.liveportrait.warping import WarpingModule
from realtime.engines.neural.place import Placement
from realtime.kernels import reference

SIDE = 512
"""Side of the pictures that the published networks make, pixels."""


@dataclass(frozen=True)
class Source:
    """A portrait, encoded.

    code: (B, K). canonical: (B, 63). volume: (B, 32, 16, H, W), thin: (B, 4, 16, H, W), both channels-last.
    """

    code: Tensor
    canonical: Tensor
    volume: Tensor
    thin: Tensor


class FastAppearance:
    """`AppearanceExtractor`."""

    def __init__(self, place: Placement, net: AppearanceExtractor) -> None:
        self.first = Conv.of(place, net.first.conv, net.first.norm)
        self.downs = [Conv.of(place, block.conv, block.norm) for block in net.down_blocks]
        self.second = Conv.of(place, net.second)
        self.residuals: list[tuple[Tensor, Tensor, Conv, Conv]] = []
        for block in net.resblocks_3d:
            kept: Any = block
            gain = kept.norm1.weight * torch.rsqrt(kept.norm1.running_var + kept.norm1.eps)
            shift = kept.norm1.bias - kept.norm1.running_mean * gain
            sides = [v.detach().to(place.device, place.dtype).view(-1, 1, 1, 1) for v in (gain, shift)]
            convs = Conv.of(place, kept.conv1, kept.norm2), Conv.of(place, kept.conv2)
            self.residuals.append((*sides, *convs))

    def __call__(self, x: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, 32, 16, S/4, S/4)
        x = F.relu_(self.first(layout(x)))
        for down in self.downs:
            x = F.avg_pool2d(F.relu_(down(x)), 2)
        x = layout(as_volume(self.second(x)))
        for gain, shift, conv1, conv2 in self.residuals:
            x = x + conv2(F.relu_(conv1(F.relu_(torch.addcmul(shift, x, gain)))))
        return x


class FastWarp:
    """`WarpingModule`, from what was kept of the portrait."""

    def __init__(self, place: Placement, net: WarpingModule) -> None:
        dense = net.dense_motion_network
        self.ops: Any = kernels
        if place.device.type == "cuda" and not kernels.available():
            self.ops = reference
        self.compress = Conv.of(place, dense.compress, dense.norm)
        hourglass = dense.hourglass
        self.downs = [Conv.of(place, b.conv, b.norm) for b in hourglass.encoder.down_blocks]
        self.ups = [Conv.of(place, b.conv, b.norm) for b in hourglass.decoder.up_blocks]
        self.last = Conv.of(place, hourglass.decoder.conv, hourglass.decoder.norm)
        self.mask = FourierConv(place, *folded(dense.mask))
        # One product per depth for all 49 places of the 7 x 7 kernel, which `fold` then sums up; it mirrors them.
        weight = dense.occlusion.weight.detach().flip(2, 3).reshape(-1, DEPTH, 49)
        self.occlusion = weight.transpose(0, 1).to(place.device, place.dtype).contiguous()  # (16, C, 49)
        assert dense.occlusion.bias is not None
        self.occlusion_bias = dense.occlusion.bias.detach().to(place.device, torch.float32)
        weight, bias = folded(net.third.conv, net.third.norm)
        by_depth = weight.unflatten(1, (VOLUME, DEPTH)).transpose(1, 2).flatten(1, 2)  # as `mask_warp` gives it
        self.third = Conv(place, by_depth, bias)
        self.fourth = Conv.of(place, net.fourth)

    def thin(self, volume: Tensor) -> Tensor:
        """The thin copy of a portrait's volume."""
        return layout(F.relu_(self.compress(volume)))

    def __call__(self, volume: Tensor, thin: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        """volume, thin: (B, C, 16, H, W); keypoints (B, 21, 3) -> (B, 256, H, W)."""
        p = self._hourglass(thin, source, driving)
        warped = self.ops.mask_warp(layout(self.mask(p)), volume, source, driving)  # (B, 512, H, W)
        b, channels, d, h, w = p.shape
        rows = layout(p).permute(0, 2, 3, 4, 1).reshape(b * d, h * w, channels)
        places = torch.bmm(rows, self.occlusion.repeat(b, 1, 1)).unflatten(0, (b, d)).float().sum(1)  # (B, HW, 49)
        hidden = F.fold(places.transpose(1, 2), (h, w), 7, padding=3) + self.occlusion_bias
        third = F.leaky_relu_(self.third(layout(warped)), 0.01)
        return self.fourth(third) * torch.sigmoid(hidden).to(third.dtype)

    def flow(self, thin: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        """Where each point comes from, minus where it is, mean over the depth: (B, 2, H, W), x and y, in -1..1."""
        mask = self.mask(self._hourglass(thin, source, driving)).float().softmax(1)[:, 1:]
        return torch.einsum("bkdhw,bka->bahw", mask, (source - driving)[..., :2]) / mask.shape[2]

    def _hourglass(self, thin: Tensor, source: Tensor, driving: Tensor) -> Tensor:  # -> (B, 142, D, H, W)
        x = self.ops.keypoint_warp(thin, source, driving)  # (B, 110, D, H, W)
        maps = [x]
        for down in self.downs:
            maps.append(_halved(F.relu_(down(maps[-1]))))
        x = maps[-1]
        for up, skip in zip(self.ups, maps[-2::-1], strict=True):
            x = layout(torch.cat([F.relu_(up(_doubled(x))), skip], 1))
        return F.relu_(self.last(x))


def _halved(x: Tensor) -> Tensor:
    """Mean over 2 x 2 of height and width, the depth as it is."""
    b, ch, d, h, w = x.shape
    rows = x.permute(0, 2, 1, 3, 4).reshape(b * d, ch, h, w)
    return F.avg_pool2d(rows, 2).unflatten(0, (b, d)).permute(0, 2, 1, 3, 4)


def _doubled(x: Tensor) -> Tensor:
    """Every value repeated over 2 x 2 of height and width, the depth as it is."""
    b, ch, d, h, w = x.shape
    rows = x.permute(0, 2, 3, 4, 1)[:, :, :, None, :, None]
    wide = rows.expand(b, d, h, 2, w, 2, ch).reshape(b, d, 2 * h, 2 * w, ch)
    return wide.permute(0, 4, 1, 2, 3)


def _repeated(x: Tensor, times: int) -> Tensor:
    """Every value of (B, C, H, W) repeated over `times` x `times`, channels-last."""
    if times == 1:
        return x
    b, ch, h, w = x.shape
    rows = x.permute(0, 2, 3, 1)[:, :, None, :, None]
    return rows.expand(b, h, times, w, times, ch).reshape(b, times * h, times * w, ch).permute(0, 3, 1, 2)


class _FastModulation:
    """`Modulation` from its hidden map: gamma and beta in one convolution, the 1 + gamma in its bias."""

    def __init__(self, place: Placement, net: Modulation) -> None:
        both: Any = (net.mlp_gamma, net.mlp_beta)
        weight = torch.cat([m.weight.detach().double() for m in both])
        bias = torch.cat([both[0].bias.detach().double() + 1, both[1].bias.detach().double()])
        self.conv = Conv(place, weight, bias)

    def __call__(self, x: Tensor, hidden: Tensor) -> Tensor:
        gamma, beta = self.conv(hidden).chunk(2, 1)
        return torch.addcmul(beta, x, gamma)


class _FastResidual:
    """`ModulatedResidual`. Its hidden maps are made elsewhere, `hidden` of them."""

    def __init__(self, place: Placement, net: ModulatedResidual) -> None:
        self.norm_0, self.norm_1 = _FastModulation(place, net.norm_0), _FastModulation(place, net.norm_1)
        self.conv_0, self.conv_1 = (Conv(place, spectral_weight(m), m.bias) for m in (net.conv_0, net.conv_1))
        self.shortcut: tuple[_FastModulation, Conv] | None = None
        self.shared: list[Any] = [net.norm_0.mlp_shared[0], net.norm_1.mlp_shared[0]]
        if net.widens:
            self.shortcut = _FastModulation(place, net.norm_s), Conv(place, spectral_weight(net.conv_s), None)
            self.shared.append(net.norm_s.mlp_shared[0])

    def __call__(self, x: Tensor, hidden: Sequence[Tensor]) -> Tensor:
        normal = normalised(x)
        y = self.conv_0(F.leaky_relu_(self.norm_0(normal, hidden[0]), 0.2))
        y = self.conv_1(F.leaky_relu_(self.norm_1(normalised(y), hidden[1]), 0.2))
        if self.shortcut is not None:
            norm, conv = self.shortcut
            x = conv(norm(normal, hidden[2]))
        return y.add_(x)


def normalised(x: Tensor) -> Tensor:
    """Instance normalisation of (B, C, H, W): every channel of every picture to mean 0 and variance 1."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return layout(F.instance_norm(x, eps=1e-5))
    b, ch, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b, h * w, ch)
    mean = rows.mean(1)
    spread = torch.rsqrt(rows.square().mean(1).addcmul_(mean, mean, value=-1).clamp_min_(0) + 1e-5)
    return torch.addcmul((-mean * spread)[:, :, None, None], x, spread[:, :, None, None])


class FastGenerator:
    """`Generator`."""

    def __init__(self, place: Placement, net: Generator) -> None:
        self.fc = Conv.of(place, net.fc)
        blocks: list[Any] = [child for name, child in net.named_children() if name.startswith("G_middle")]
        self.middle = [_FastResidual(place, block) for block in blocks]
        self.ups = [_FastResidual(place, net.up_0), _FastResidual(place, net.up_1)]
        last: Any = net.conv_img[0]
        self.colours = Conv.of(place, last)
        self.hidden = [
            _joined(place, [conv for block in group for conv in block.shared])
            for group in (self.middle, self.ups[:1], self.ups[1:])
        ]

    def __call__(self, features: Tensor) -> Tensor:  # (B, 256, H, W) -> (B, 3, 8H, 8W) float32, 0..1
        features = layout(features)
        x = self.fc(features)
        hidden = self._hidden(0, features)
        for k, block in enumerate(self.middle):
            x = block(x, hidden[2 * k : 2 * k + 2])
        for k, block in enumerate(self.ups):
            x = block(_repeated(x, 2), self._hidden(k + 1, _repeated(features, 2 << k)))
        x = self.colours(F.leaky_relu_(x, 0.2))
        return torch.sigmoid(F.pixel_shuffle(x.float(), 2))

    def _hidden(self, group: int, features: Tensor) -> list[Tensor]:
        return [layout(part) for part in F.relu_(self.hidden[group](features)).split(128, 1)]


def _joined(place: Placement, convs: Sequence[Any]) -> Conv:
    weight = torch.cat([m.weight.detach().double() for m in convs])
    return Conv(place, weight, torch.cat([m.bias.detach().double() for m in convs]))


class FastLivePortrait:
    """All networks, prepared. Reading is safe from several threads at once, once every shape has been run.

    size: side of its pictures, pixels; it reads pictures half as large. motion_dim: entries of a code.
    """

    motion_dim = c.LENGTH

    def __init__(self, nets: Networks, place: Placement, size: int = SIDE) -> None:
        parts: Any = nets.parts
        self.place, self.size, self.input_side = place, size, size // 2
        self.appearance = FastAppearance(place, parts["appearance_feature_extractor"])
        self.extractor = parts["motion_extractor"].to(place.device)
        self.warp = FastWarp(place, parts["warping_module"])
        self.generate = FastGenerator(place, parts["spade_generator"])
        small = ("retarget_shoulder", "retarget_mouth", "retarget_eye")
        kept = Networks(nn.ModuleDict({name: parts[name].to(place.device) for name in small}))  # the large ones go
        self.heads = kp.Heads(kept.stitch, kept.retarget_eye, kept.retarget_lip)

    def motion(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, K) and canonical keypoints (B, 63) of pictures (B, 3, S, S) in 0..1."""
        out = self.extractor(x.float())
        return kp.code_of(out), out["kp"].float()

    def source(self, x: Tensor) -> Source:
        """The portrait (1, 3, S, S) in 0..1, encoded."""
        code, canonical = self.motion(x)
        volume = self.appearance(x.to(self.place.device, self.place.dtype))
        return Source(code, canonical, layout(volume), self.warp.thin(volume))

    def keypoints(self, source: Source, code: Tensor, reference: Tensor, rules: Tensor) -> tuple[Tensor, Tensor]:
        """Where the portrait's keypoints are, and where they go: (B, 21, 3) both. rules: see `kp.Rules`."""
        canonical = source.canonical.unflatten(1, (KEYPOINTS, 3)).expand(len(code), -1, -1)
        home = kp.Motion.of(source.code).place(canonical)
        return home, kp.drive(code, reference, source.code, canonical, self.heads, rules)

    def draw(self, source: Source, code: Tensor, reference: Tensor, rules: Tensor) -> Tensor:
        """The picture (B, 3, 2 S, 2 S) in -1..1, float32, of codes (B, K)."""
        home, driven = self.keypoints(source, code, reference, rules)
        features = self.warp(source.volume, source.thin, home.contiguous(), driven.contiguous())
        return self.generate(features) * 2 - 1

    def flow(self, source: Source, code: Tensor, reference: Tensor, rules: Tensor) -> Tensor:
        """How far `draw` moves each pixel, (B, 2, 2 S, 2 S), see `FastWarp.flow`."""
        home, driven = self.keypoints(source, code, reference, rules)
        flow = self.warp.flow(source.thin, home.contiguous(), driven.contiguous())
        return F.interpolate(flow, (self.size, self.size), mode="bilinear", align_corners=False)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """A portrait (1, 3, S, S) in -1..1, for `NeuralEngine`: its code, and all else of `Source`."""
        source = self.source((x + 1) / 2)
        return source.code, [source.canonical, source.volume, source.thin]

    def latent(self, x: Tensor) -> Tensor:
        """The code of a driving frame (B, 3, S, S) in -1..1: there is no other latent."""
        return self.motion((x + 1) / 2)[0]

    def alpha(self, z: Tensor) -> Tensor:
        """The code itself."""
        return z

    def features(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """As they are."""
        return list(feats)

    def move(self, code: Tensor) -> Tensor:
        """The code itself: it is not a walk in a latent space."""
        return code

    def decode(self, z: Tensor, feats: Sequence[Tensor]) -> Tensor:
        raise NotImplementedError("LivePortrait draws from two sets of keypoints, see `draw`")
