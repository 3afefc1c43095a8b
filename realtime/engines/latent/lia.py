"""LIA, the Latent Image Animator.

Wang, Yang, Bremond, Dantcheva: "Latent Image Animator: Learning to Animate Images via Latent Space Navigation"
(ICLR 2022). One encoder gives a latent and, through an affine head, a motion code; the code moves the latent along an
orthonormal dictionary; a modulated decoder turns the moved latent into flows and masks that warp the portrait's own
features, coarse to fine, into the picture.

`Lia` takes the published checkpoints by name (`vox`, `taichi`, `ted`: 256 pixels, 20 directions) strictly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from realtime.engines.latent.layers import (
    ConstantInput,
    EqualConv2d,
    EqualLinear,
    HalvingResidual,
    LatentAnimator,
    MotionDictionary,
    StyledConv,
    ToFlow,
    ToRgb,
    Trace,
    check_directions,
    check_pictures,
    conv_layer,
)
from realtime.engines.latent.prepared import (
    ColourHead,
    Down,
    FlowHead,
    Modulated,
    PlainConv,
    Prepared,
    Styles,
    part,
    plain_conv,
)
from realtime.engines.neural.place import Placement

STYLE = 512
CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16}


def check_size(size: int) -> None:
    """Raises ValueError for a side of the pictures that LIA has no network for."""
    if size not in CHANNELS or size < 8:
        raise ValueError(f"LIA works on squares of 8, 16, ... 1024 pixels, not {size}")


class LiaTower(nn.Module):
    """Appearance encoder: 1 x 1 convolution, residual blocks down to 4 x 4, 4 x 4 convolution to the latent."""

    def __init__(self, size: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [conv_layer(3, CHANNELS[size], 1, flat=False)]
        sides = [size >> k for k in range(int(math.log2(size)) - 2)]
        blocks += [HalvingResidual(CHANNELS[s], CHANNELS[s // 2], flat=False, wide_first=False) for s in sides]
        blocks.append(EqualConv2d(CHANNELS[4], STYLE, 4))
        self.convs = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:  # (B, 3, S, S) -> (B, 512), [(B, C, 8, 8), ...]
        outputs = []
        for block in self.convs:
            x = block(x)
            outputs.append(x)
        return outputs[-1].flatten(1), outputs[-3::-1]


class LiaEncoder(nn.Module):
    """Appearance tower and motion head (five linear layers with no activation between them)."""

    def __init__(self, size: int, motion_dim: int) -> None:
        super().__init__()
        self.net_app = LiaTower(size)
        self.fc = nn.Sequential(*(EqualLinear(STYLE, STYLE) for _ in range(4)), EqualLinear(STYLE, motion_dim))


class LiaDecoder(nn.Module):
    """Modulated trunk with a flow head and a colour head at every level from 8 x 8 up."""

    def __init__(self, size: int, motion_dim: int) -> None:
        super().__init__()
        self.direction = MotionDictionary(STYLE, motion_dim)
        self.input = ConstantInput(CHANNELS[4])
        self.conv1 = StyledConv(CHANNELS[4], CHANNELS[4], STYLE, flat=False, noise=True)
        self.to_rgb1 = ToRgb(CHANNELS[4], flat=False, up_name=None)  # in the published files; never run
        self.convs, self.to_rgbs, self.to_flows = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        side = 8
        while side <= size:
            c_in, c = CHANNELS[side // 2], CHANNELS[side]
            self.convs.append(StyledConv(c_in, c, STYLE, flat=False, up=True, noise=True))
            self.convs.append(StyledConv(c, c, STYLE, flat=False, noise=True))
            self.to_rgbs.append(ToRgb(c, flat=False, up_name="upsample"))
            self.to_flows.append(ToFlow(c, STYLE, align_corners=False, up_name="upsample"))
            side *= 2

    def forward(self, z: Tensor, feats: list[Tensor], trace: Trace | None = None) -> Tensor:
        h = self.conv1(self.input(z.shape[0]), z)
        if trace is not None:
            trace["conv1_4"] = h
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, (to_rgb, to_flow, feature) in enumerate(zip(self.to_rgbs, self.to_flows, feats, strict=True)):
            h = self.convs[2 * k + 1](self.convs[2 * k](h, z), z)
            before = h
            warped, h, logits = to_flow(h, feature, z, logits)
            rgb = to_rgb(warped, rgb)
            if trace is not None:
                level = f"{k}_{h.shape[-1]}"
                maps = {"hpre": before, "warp": warped, "hpost": h, "flowraw": logits, "rgb": rgb}
                trace.update({name + level: value for name, value in maps.items()})
        assert rgb is not None
        return rgb


class LiaReader(LatentAnimator):
    """The half of LIA that reads the motion of a picture. A subclass adds `dec`."""

    def __init__(self, size: int, motion_dim: int) -> None:
        super().__init__()
        check_size(size)
        check_directions(motion_dim, STYLE)
        self.size, self.dim, self.motion_dim = size, STYLE, motion_dim
        self.enc = LiaEncoder(size, motion_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        check_pictures(x, self.size)
        return self.enc.net_app(x)

    def alpha(self, z: Tensor) -> Tensor:
        return self.enc.fc(z)


class Lia(LiaReader):
    """The whole network; parameter names and shapes are those of the published files.

    size: side of the pictures, a power of two from 8 to 1024 (published: 256). motion_dim: directions
    (published: 20).
    """

    def __init__(self, size: int = 256, motion_dim: int = 20) -> None:
        super().__init__(size, motion_dim)
        self.dec = LiaDecoder(size, motion_dim)

    def decode(self, z: Tensor, feats: list[Tensor], trace: Trace | None = None) -> Tensor:
        """Draws the portrait with features `feats` in the motion of the moved latent z.

        z: (B, 512). feats: from `encode` of the portrait, coarse first; a batch of one serves any B.
        Returns (B, 3, S, S), nominally in [-1, 1], not clamped. `trace`, if given, receives the intermediate maps:
        "conv1_4", and per level k of side H "hprek_H", "flowrawk_H" (logits before tanh and sigmoid), "warpk_H",
        "hpostk_H" and "rgbk_H".
        """
        return self.dec(z, feats, trace)


class FastLia(Prepared):
    """LIA prepared to run per frame (see `prepared`); the same maps as `Lia`, up to rounding."""

    def __init__(self, net: Lia, place: Placement) -> None:
        super().__init__(net, place, net.enc.fc)
        first, *blocks, last = net.enc.net_app.convs
        self.first = plain_conv(place, first)
        self.blocks = [Down(place, part(HalvingResidual, block)) for block in blocks]
        self.last = PlainConv(place, part(EqualConv2d, last), None)
        dec = net.dec
        self.styles = Styles(place)
        self.input4 = place.vector(dec.input.input).to(place.dtype, memory_format=torch.channels_last)
        self.conv1 = Modulated(place, self.styles, dec.conv1)
        self.convs = [Modulated(place, self.styles, part(StyledConv, layer)) for layer in dec.convs]
        flows = [part(ToFlow, layer) for layer in dec.to_flows]
        self.flows = [FlowHead(place, self.styles, layer, 8 << k) for k, layer in enumerate(flows)]
        self.rgbs = [ColourHead(place, part(ToRgb, layer)) for layer in dec.to_rgbs]
        self.styles.close()

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `Lia.encode`, for the portrait: latent in float32, and features for `decode`, coarse first."""
        x = self.first(self.input(x))
        feats = [x]
        for block in self.blocks:
            x = block(x)
            feats.append(x)
        return self.last(x).flatten(1).float(), feats[-2::-1]

    def decode(self, z: Tensor, feats: Sequence[Tensor], trace: Trace | None = None) -> Tensor:
        """As `Lia.decode`, with feats from `features(encode(portrait)[1])`. Returns float32 (B, 3, S, S)."""
        styles = self.styles(z.float())
        h = self.conv1(self.input4.expand(z.shape[0], -1, -1, -1), styles)
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, (flow, colour, feature) in enumerate(zip(self.flows, self.rgbs, feats, strict=True)):
            h = self.convs[2 * k + 1](self.convs[2 * k](h, styles), styles)
            warped, h, logits = flow(h, feature, styles, logits)
            rgb = colour(warped, rgb)
            if trace is not None:
                trace[f"flowraw{k}_{h.shape[-1]}"] = logits
        assert rgb is not None
        return rgb
