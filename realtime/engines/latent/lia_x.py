"""LIA-X, the Interpretable Latent Portrait Animator.

Wang, Yang, Chen, Bremond, Qiao, Dantcheva: "LIA-X: Interpretable Latent Portrait Animator" (2025, arXiv 2508.09959).
LIA's idea at 512 pixels with a sparse dictionary of 40 directions, a deeper modulated trunk, and a second path that
refines the warped features before they become colour. `scale` multiplies all widths; 2 is published (0.91 B numbers).

`LiaX` takes the published checkpoint by name strictly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.latent.layers import (
    SQRT2,
    ConstantInput,
    EqualConv2d,
    EqualLinear,
    FirUp2,
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
    parameter,
)
from realtime.engines.latent.prepared import (
    ColourHead,
    Down,
    FlowHead,
    Modulated,
    PlainConv,
    Prepared,
    Styles,
    double,
    part,
    plain_conv,
)
from realtime.engines.neural.place import Placement

SIZE = 512
WIDTH = 512
LEVELS = ("_512", "2", "3", "4", "5", "6", "7")  # the published names of the levels of side 8, 16, ... 512
GROUPS = 32


def level_widths(size: int, width: int) -> list[int]:
    """Channels of the levels of side 8, 16, ... `size`; the published network has 512 x scale down to 64 x scale."""
    levels = int(math.log2(size)) - 2
    return [width, width, width, width, width // 2, width // 4, width // 8][:levels]


def smallest_width(size: int) -> int:
    """The least `width` at this size: the finest level needs a whole number of normalisation groups."""
    return GROUPS * max(1, size // 64)


class LiaXTower(nn.Module):
    """Appearance encoder: 1 x 1 convolution, residual blocks to 4 x 4 (seven from 512 x 512), 4 x 4 convolution."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        c = level_widths(size, width)

        def down(c_in: int, c_out: int) -> nn.Sequential:
            return nn.Sequential(HalvingResidual(c_in, c_out, flat=True, wide_first=True))

        self.block1 = conv_layer(3, c[-1], 1, flat=True)
        self.names = ["block1"]
        for k in range(len(c) - 1, 0, -1):  # from level k to the coarser one; block2 reads 512 x 512
            self.names.append(f"block{len(LEVELS) + 1 - k}")
            self.add_module(self.names[-1], down(c[k], c[k - 1]))
        self.block_512 = HalvingResidual(width, width, flat=True, wide_first=True)
        self.block8 = EqualConv2d(width, width, 4)

    def stages(self) -> list[nn.Sequential]:
        """All that gives a feature map, fine to coarse."""
        return [part(nn.Sequential, self.get_submodule(name)) for name in self.names]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:  # (B, 3, S, S) -> (B, D), [(B, C, 8, 8), ...]
        feats = []
        for block in self.stages():
            x = block(x)
            feats.append(x)
        return self.block8(self.block_512(x)).flatten(1), feats[::-1]


class LiaXEncoder(nn.Module):
    """Appearance tower and motion head (one linear layer)."""

    def __init__(self, size: int, width: int, motion_dim: int) -> None:
        super().__init__()
        self.enc_2r = LiaXTower(size, width)
        self.enc_r2t = nn.Sequential(EqualLinear(width, motion_dim))


class FlowResBlock(nn.Module):
    """u = styled(h); u + gamma * styled(group_norm(u))."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.gamma = parameter(1, channels, 1, 1)
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-5)
        self.conv1 = StyledConv(channels, channels, style, flat=True)
        self.conv2 = StyledConv(channels, channels, style, flat=True)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:  # (B, C, H, W)
        u = self.conv1(h, z)
        return u + self.gamma * self.conv2(self.norm(u), z)


class RefineBlock(nn.Module):
    """(conv2(conv1(w)) + w) / sqrt(2), not modulated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv_layer(channels, channels, 3, flat=True)
        self.conv2 = conv_layer(channels, channels, 3, flat=True)

    def forward(self, w: Tensor) -> Tensor:  # (B, C, H, W)
        return (self.conv2(self.conv1(w)) + w) / SQRT2


class LiaXDecoder(nn.Module):
    """Seven levels at 512 x 512; each: styled trunk, flow head and warp, refinement of warped features, colour."""

    def __init__(self, size: int, style: int, motion_dim: int) -> None:
        super().__init__()
        widths = level_widths(size, style)
        self.names = LEVELS[: len(widths)]
        self.direction = MotionDictionary(style, motion_dim)
        self.input = ConstantInput(style)
        self.conv1 = StyledConv(style, style, style, flat=True)
        c_in = style
        for name, c in zip(self.names, widths, strict=True):
            self.add_module(f"conv{name}_1", StyledConv(c_in, c, style, flat=True, up=True))
            self.add_module(f"conv{name}_2", nn.ModuleList(FlowResBlock(c, style) for _ in range(4)))
            if name != LEVELS[0]:
                self.add_module(f"conv{name}_2_up", nn.Sequential(FirUp2(), *conv_layer(c_in, c, 3, flat=True)))
            self.add_module(f"conv{name}_2_rgb", nn.Sequential(*(RefineBlock(c) for _ in range(4))))
            self.add_module(f"rgb{name}", ToRgb(c, flat=True, up_name="up"))
            self.add_module(f"flow{name}", ToFlow(c, style, align_corners=True, up_name="up"))
            c_in = c

    def forward(self, z: Tensor, feats: list[Tensor], trace: Trace | None = None) -> Tensor:
        h = self.conv1(self.input(z.shape[0]), z)
        if trace is not None:
            trace["conv1_4"] = h
        w: Tensor | None = None
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, (name, feature) in enumerate(zip(self.names, feats, strict=True)):
            level = f"{k}_{feature.shape[-1]}"
            h = self.get_submodule(f"conv{name}_1")(h, z)
            if trace is not None:
                trace["c1_" + level] = h
            for i, block in enumerate(self.get_submodule(f"conv{name}_2").children()):
                h = block(h, z)
                if trace is not None and i == 0:
                    trace["frb0_" + level] = h
            before = h
            warped, h, logits = self.get_submodule(f"flow{name}")(h, feature, z, logits)
            if w is None:
                w = warped
            else:
                raised = self.get_submodule(f"conv{name}_2_up")(w)
                if trace is not None:
                    trace["up" + level] = raised
                w = warped + raised
            w = self.get_submodule(f"conv{name}_2_rgb")(w)
            rgb = self.get_submodule(f"rgb{name}")(w, rgb)
            if trace is not None:
                maps = {"hpre": before, "warp": warped, "hpost": h, "flowraw": logits, "rgb": rgb}
                trace.update({key + level: value for key, value in maps.items()})
                trace["hw" + level] = w
        assert rgb is not None
        return rgb


class LiaX(LatentAnimator):
    """The whole network; parameter names and shapes are those of the published file.

    scale: 1, 2 (published), 3 or 4 multiplies all widths. motion_dim: directions (published: 40). size: side of the
    pictures, published 512; 8 to 256 leave the finest levels away. width: channels of the coarse levels at scale 1,
    published 512. `size` and `width` are for training smaller networks. Raises ValueError.
    """

    def __init__(self, scale: int = 2, motion_dim: int = 40, *, size: int = SIZE, width: int = WIDTH) -> None:
        super().__init__()
        if scale not in (1, 2, 3, 4):
            raise ValueError(f"LIA-X has scales 1, 2, 3 and 4, not {scale}")
        if size not in (8, 16, 32, 64, 128, 256, 512):
            raise ValueError(f"LIA-X works on squares of 8, 16, ... 512 pixels, not {size}")
        if width < 1 or any(c % GROUPS for c in level_widths(size, width)):
            least = smallest_width(size)
            raise ValueError(f"at {size} pixels LIA-X's width must be a multiple of {least}, not {width}")
        check_directions(motion_dim, width * scale)
        self.scale, self.size, self.dim, self.motion_dim = scale, size, width * scale, motion_dim
        self.enc = LiaXEncoder(size, self.dim, motion_dim)
        self.dec = LiaXDecoder(size, self.dim, motion_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        check_pictures(x, self.size)
        return self.enc.enc_2r(x)

    def alpha(self, z: Tensor) -> Tensor:
        return self.enc.enc_r2t(z)

    def decode(self, z: Tensor, feats: list[Tensor], trace: Trace | None = None) -> Tensor:
        """Draws the portrait with features `feats` in the motion of the moved latent z.

        z: (B, D). feats: from `encode` of the portrait, coarse first; a batch of one serves any B.
        Returns (B, 3, S, S), nominally in [-1, 1], not clamped. `trace`, if given, receives the intermediate
        maps: those of `Lia.decode`, and "c1_k_H" (trunk after the doubling), "frb0_k_H" (after the first residual
        block), "upk_H" (refined features of the coarser level, doubled) and "hwk_H" (refined features).
        """
        return self.dec(z, feats, trace)


class _FastFlowRes:
    """`FlowResBlock`, with gamma and the second activation's sqrt(2) in one factor."""

    def __init__(self, place: Placement, styles: Styles, block: FlowResBlock) -> None:
        self.conv1 = Modulated(place, styles, block.conv1)
        self.conv2 = Modulated(place, styles, block.conv2, gain=1.0)
        self.gamma = place.vector(block.gamma, SQRT2).to(place.dtype)
        self.scale, self.shift = (place.vector(v).to(place.dtype) for v in (block.norm.weight, block.norm.bias))
        self.groups, self.eps = block.norm.num_groups, block.norm.eps

    def __call__(self, h: Tensor, styles: Sequence[Tensor]) -> Tensor:
        u = self.conv1(h, styles)
        v = self.conv2(F.group_norm(u, self.groups, self.scale, self.shift, self.eps), styles)
        return u.addcmul_(self.gamma, v)


class _FastRefine:
    """`RefineBlock`, with 1 / sqrt(2) folded into the second convolution."""

    def __init__(self, place: Placement, block: RefineBlock) -> None:
        self.conv1, self.conv2 = plain_conv(place, block.conv1), plain_conv(place, block.conv2, 1 / SQRT2)

    def __call__(self, w: Tensor) -> Tensor:
        return self.conv2(self.conv1(w)).add_(w, alpha=1 / SQRT2)


class _FastLevel:
    """One level of the decoder."""

    def __init__(self, place: Placement, styles: Styles, dec: LiaXDecoder, name: str, side: int) -> None:
        self.up = Modulated(place, styles, part(StyledConv, dec.get_submodule(f"conv{name}_1")))
        self.trunk = [
            _FastFlowRes(place, styles, part(FlowResBlock, b)) for b in dec.get_submodule(f"conv{name}_2").children()
        ]
        self.flow = FlowHead(place, styles, part(ToFlow, dec.get_submodule(f"flow{name}")), side)
        raised = None if name == LEVELS[0] else dec.get_submodule(f"conv{name}_2_up")
        self.raise_w = None if raised is None else plain_conv(place, raised)
        self.refine = [
            _FastRefine(place, part(RefineBlock, b)) for b in dec.get_submodule(f"conv{name}_2_rgb").children()
        ]
        self.colour = ColourHead(place, part(ToRgb, dec.get_submodule(f"rgb{name}")))


class FastLiaX(Prepared):
    """LIA-X prepared to run per frame (see `prepared`); the same maps as `LiaX`, up to rounding.

    With a `lean` placement it lives in the memory of `net`, whose convolution weights it changes: `net` is used up.
    """

    def __init__(self, net: LiaX, place: Placement) -> None:
        super().__init__(net, place, net.enc.enc_r2t)
        tower, dec = net.enc.enc_2r, net.dec
        self.first = plain_conv(place, tower.block1)
        self.blocks = [Down(place, part(HalvingResidual, block[0])) for block in tower.stages()[1:]]
        self.bottom = Down(place, tower.block_512)
        self.last = PlainConv(place, tower.block8, None)
        self.styles = Styles(place)
        self.input4 = place.vector(dec.input.input).to(place.dtype, memory_format=torch.channels_last)
        self.conv1 = Modulated(place, self.styles, dec.conv1)
        self.levels = [_FastLevel(place, self.styles, dec, name, 8 << k) for k, name in enumerate(dec.names)]
        self.styles.close()

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `LiaX.encode`, for the portrait: latent in float32, and features for `decode`, coarse first."""
        x = self.first(self.input(x))
        feats = [x]
        for block in self.blocks:
            x = block(x)
            feats.append(x)
        return self.last(self.bottom(x)).flatten(1).float(), feats[::-1]

    def decode(self, z: Tensor, feats: Sequence[Tensor], trace: Trace | None = None) -> Tensor:
        """As `LiaX.decode`, with feats from `features(encode(portrait)[1])`. Returns float32 (B, 3, S, S)."""
        styles = self.styles(z.float())
        h = self.conv1(self.input4.expand(z.shape[0], -1, -1, -1), styles)
        w: Tensor | None = None
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, (level, feature) in enumerate(zip(self.levels, feats, strict=True)):
            h = level.up(h, styles)
            for block in level.trunk:
                h = block(h, styles)
            warped, h, logits = level.flow(h, feature, styles, logits)
            w = warped if w is None or level.raise_w is None else warped + level.raise_w(double(w))
            for refine in level.refine:
                w = refine(w)
            rgb = level.colour(w, rgb)
            if trace is not None:
                trace[f"flowraw{k}_{h.shape[-1]}"] = logits
        assert rgb is not None
        return rgb
