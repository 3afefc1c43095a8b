"""LIA and LIA-X on our own kernels: convolutions stay with the library, all around them becomes few passes.

Against `prepared`, the form this is made from: activation and blur of the encoder are one pass; blur, demodulation,
activation and the next convolution's style are one pass; flow head, warp, blend, colour head and the next style are
one pass; residual sums are part of the activation before them. The same code runs on the CPU, where the kernels are
PyTorch's operators (`kernels.reference`).

Precision. Features and weights are half precision, with sums in float32 inside each convolution and kernel. Float32
throughout are: the latent, motion codes, dictionary and their sums (a portrait's latent is O(1) and a slider step is
1e-2 of it; the orthonormal columns would lose three digits); styles, and the demodulation factors, whose sums of
squares overflow half precision at styles of a few hundred and whose epsilon, 1e-8, is below its smallest number; flow
logits from the head to the position that is read (half precision would place a sample of a 512-pixel map up to an
eighth of a pixel off and rounds neighbouring logits together, level upon level); and the running picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from realtime import kernels
from realtime.engines.latent.lia import FastLia
from realtime.engines.latent.lia_x import FastLiaX
from realtime.engines.latent.prepared import ColourHead, Down, FlowHead, Modulated, PlainConv, Prepared
from realtime.kernels.warp import Colour

HALF_SQRT = 0.5**0.5


def channels_last(x: Tensor) -> Tensor:
    """`x` channels-last; no copy where it is."""
    return x.contiguous(memory_format=torch.channels_last)


def convolved(x: Tensor, conv: PlainConv) -> Tensor:
    """The bare convolution of a `PlainConv`."""
    return channels_last(F.conv2d(x, conv.weight, stride=conv.stride, padding=conv.padding))


def float32(bias: Tensor | None) -> Tensor | None:
    """A bias as the kernels take it."""
    return None if bias is None else bias.float().contiguous()


class FusedConv:
    """`PlainConv`, with `residual` added after the activation where it is given."""

    def __init__(self, conv: PlainConv) -> None:
        self.conv, self.bias = conv, float32(conv.bias)

    def __call__(self, x: Tensor, residual: Tensor | None = None, residual_gain: float = 1.0) -> Tensor:
        x = convolved(x, self.conv)
        if self.bias is None:
            return x
        # (act(x) + r) * g: the weights already hold the activation's gain, so it is divided out again.
        return kernels.bias_act(
            x, self.bias, gain=1 / residual_gain, residual=residual, out_gain=residual_gain, out=x
        )


class FusedDown:
    """`Down`: three convolutions and three passes (activation with blur; skip's blur; activation with sum)."""

    def __init__(self, down: Down) -> None:
        self.conv1, self.bias1 = down.conv1, float32(down.conv1.bias)
        self.conv2, self.skip = FusedConv(down.conv2), down.skip

    def __call__(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/2, W/2)
        skip = convolved(kernels.blur(x, (1, 1), down=2), self.skip)
        x = kernels.blur(convolved(x, self.conv1), (2, 2), act="before", bias=self.bias1, act_gain=1.0)
        return self.conv2(x, skip)


class FusedModulated:
    """`Modulated` on an input that already carries this layer's style."""

    def __init__(self, layer: Modulated) -> None:
        self.number, self.gain = layer.number, layer.gain
        self.weight, self.squares, self.bias = layer.weight, layer.squares, layer.bias.contiguous()
        self.up, self.padding = layer.fir is not None, layer.padding

    def __call__(
        self, x: Tensor, styles: Sequence[Tensor], post: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """x: (B, C, H, W), styled. post: factor on the result, before `residual` is added."""
        d = torch.rsqrt(F.linear(styles[self.number].square(), self.squares) + 1e-8).mul_(self.gain)  # (B, C')
        if self.up:
            x = channels_last(F.conv_transpose2d(x, self.weight, stride=2))
            return kernels.blur(x, (1, 1), gain=4.0, act="after", scale=d, bias=self.bias, post=post, act_gain=1.0)
        x = channels_last(F.conv2d(x, self.weight, padding=self.padding))
        return kernels.bias_act(x, self.bias, scale=d, post=post, gain=1.0, residual=residual, out=x)


class FusedFlow:
    """`FlowHead`, and `ColourHead` where the colours come straight from the warp."""

    def __init__(self, flow: FlowHead, colour: ColourHead | None) -> None:
        self.number, self.weight, self.bias = flow.number, flow.weight, flow.bias.contiguous()
        self.align_corners = flow.align_corners
        self.colour = None if colour is None else _colour(colour)

    def __call__(
        self,
        h: Tensor,
        feature: Tensor,
        styles: Sequence[Tensor],
        previous: Tensor | None,
        rgb: Tensor | None,
        post: Tensor | None,
    ) -> tuple[Tensor | None, Tensor, Tensor, Tensor | None]:
        """Returns warped (None where only its colours are needed), blended * post, logits and the picture."""
        warped, h, logits, picture = kernels.warp_blend(
            feature,
            h,
            previous=previous,
            align_corners=self.align_corners,
            head=self.weight * styles[self.number][:, None, :],
            bias=self.bias,
            post=post,
            colour=None if self.colour is None else self.colour._replace(previous=rgb),
            want_warped=self.colour is None,
        )
        return warped, h, logits, picture


def _colour(head: ColourHead) -> Colour:
    return Colour(head.weight[0].contiguous(), head.inner.contiguous(), head.bias.flatten().contiguous())


class FusedTower:
    """The encoder: (B, 3, S, S) -> latent (B, D) float32 and feature maps, coarse first."""

    def __init__(self, net: FastLia | FastLiaX) -> None:
        self.first = FusedConv(net.first)
        self.blocks = [FusedDown(block) for block in net.blocks]
        self.bottom = FusedDown(net.bottom) if isinstance(net, FastLiaX) else None
        self.last = net.last

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.first(x)
        feats = [x]
        for block in self.blocks:
            x = block(x)
            feats.append(x)
        if self.bottom is None:  # LIA: the 4 x 4 map is not a feature
            return self.last(x).flatten(1).float(), feats[-2::-1]
        return self.last(self.bottom(x)).flatten(1).float(), feats[::-1]


class Fused:
    """The half that LIA and LIA-X share; the interface of `Prepared`."""

    def __init__(self, net: FastLia | FastLiaX) -> None:
        self.place, self.size, self.dim, self.motion_dim = net.place, net.size, net.dim, net.motion_dim
        self.q, self.alpha, self.move, self.input = net.q, net.alpha, net.move, net.input
        self.tower = FusedTower(net)
        self.styles, self.input4, self.conv1 = net.styles, net.input4, FusedModulated(net.conv1)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, S, S) in [-1, 1] -> latent (B, D) float32, and features for `decode`, coarse first."""
        return self.tower(self.input(x))

    def latent(self, x: Tensor) -> Tensor:
        """As `encode`; the features are not kept."""
        return self.encode(x)[0]

    def features(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """The portrait's feature maps as the warp reads them: in the network's precision, channels-last."""
        return [channels_last(f.to(self.place.dtype)) for f in feats]

    def _start(self, styles: Sequence[Tensor], batch: int, following: FusedModulated) -> Tensor:
        """The 4 x 4 trunk, styled for `following`."""
        x = self.input4.expand(batch, -1, -1, -1) * styles[self.conv1.number].to(self.input4.dtype)[:, :, None, None]
        return self.conv1(channels_last(x), styles, post=_own(styles, following))


def _own(styles: Sequence[Tensor], layer: FusedModulated | None) -> Tensor | None:
    """The style of `layer` as a factor, for whoever makes its input."""
    return None if layer is None else styles[layer.number].contiguous()


class FusedLia(Fused):
    """`FastLia` on our kernels."""

    def __init__(self, net: FastLia) -> None:
        super().__init__(net)
        self.convs = [FusedModulated(layer) for layer in net.convs]
        self.flows = [FusedFlow(flow, colour) for flow, colour in zip(net.flows, net.rgbs, strict=True)]

    def decode(self, z: Tensor, feats: Sequence[Tensor]) -> Tensor:
        """z: (B, D). feats: from `features`. Returns float32 (B, 3, S, S)."""
        styles = self.styles(z.float())
        h = self._start(styles, z.shape[0], self.convs[0])
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, (flow, feature) in enumerate(zip(self.flows, feats, strict=True)):
            up, plain = self.convs[2 * k], self.convs[2 * k + 1]
            following = self.convs[2 * k + 2] if 2 * k + 2 < len(self.convs) else None
            h = plain(up(h, styles, post=_own(styles, plain)), styles)
            _, h, logits, rgb = flow(h, feature, styles, logits, rgb, _own(styles, following))
        assert rgb is not None
        return rgb


class FusedLiaX(Fused):
    """`FastLiaX` on our kernels."""

    def __init__(self, net: FastLiaX) -> None:
        super().__init__(net)
        self.levels = [_Level(level) for level in net.levels]

    def decode(self, z: Tensor, feats: Sequence[Tensor]) -> Tensor:
        """z: (B, D). feats: from `features`. Returns float32 (B, 3, 512, 512)."""
        styles = self.styles(z.float())
        h = self._start(styles, z.shape[0], self.levels[0].up)
        w: Tensor | None = None
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, (level, feature) in enumerate(zip(self.levels, feats, strict=True)):
            h = level.up(h, styles)
            for block in level.trunk:
                h = block(h, styles)
            following = self.levels[k + 1].up if k + 1 < len(self.levels) else None
            warped, h, logits, _ = level.flow(h, feature, styles, logits, None, _own(styles, following))
            assert warped is not None
            if w is not None and level.raise_w is not None:
                warped = level.raise_w(kernels.upsample2(w), warped)
            w = warped
            for first, second in level.refine:
                w = second(first(w), w, HALF_SQRT)
            colour = level.colour
            raw = F.conv2d(w, colour.weight[:, :, None, None].to(w.dtype))
            # The weights hold the activation's gain already.
            rgb = kernels.picture_skip(raw, rgb, act_bias=colour.inner, bias=colour.outer, gain=1.0)
        assert rgb is not None
        return rgb


class _Block:
    """Flow residual block: u = styled(h); u + gamma * styled(group_norm(u))."""

    def __init__(self, block: Any) -> None:
        self.conv1, self.conv2 = FusedModulated(block.conv1), FusedModulated(block.conv2)
        self.gamma = block.gamma.float().flatten().contiguous()
        self.norm = (block.groups, block.scale, block.shift, block.eps)

    def __call__(self, h: Tensor, styles: Sequence[Tensor]) -> Tensor:
        u = self.conv1(_styled(h, styles, self.conv1), styles)
        v = _styled(F.group_norm(u, *self.norm), styles, self.conv2)
        return self.conv2(v, styles, post=self.gamma, residual=u)


def _styled(x: Tensor, styles: Sequence[Tensor], layer: FusedModulated) -> Tensor:
    return channels_last(x * styles[layer.number].to(x.dtype)[:, :, None, None])


class _Level:
    """One level of LIA-X's decoder."""

    def __init__(self, level: Any) -> None:
        self.up = FusedModulated(level.up)
        self.trunk = [_Block(block) for block in level.trunk]
        self.flow = FusedFlow(level.flow, None)
        self.raise_w = None if level.raise_w is None else FusedConv(level.raise_w)
        self.refine = [(FusedConv(r.conv1), FusedConv(r.conv2)) for r in level.refine]
        self.colour = _colour(level.colour)


def fuse(net: Prepared) -> FusedLia | FusedLiaX:
    """A prepared network on our kernels. Raises TypeError for a network it has no form for."""
    if isinstance(net, FastLia):
        return FusedLia(net)
    if isinstance(net, FastLiaX):
        return FusedLiaX(net)
    raise TypeError(f"{type(net).__name__} has no fused form")
