"""The form in which LIA and LIA-X run per frame: everything constant folded once, when the weights are loaded.

What is folded, against the definition in `layers`:

- equalised scales, and every factor sqrt(2) and 1 / sqrt(2), go into weights and biases;
- LIA's five linear layers without activations become one matrix;
- the dictionary is orthonormalised once;
- all styles of the decoder come from one matrix product;
- a modulated convolution scales its input by the style and its output by the demodulation factor,
  d[o] = 1 / sqrt(sum over i of s[i]^2 * squares[o, i] + 1e-8), where `squares`, the sums of squared weights over the
  taps, are known in advance. Where a layer has fewer weights than activations the same two factors go on the weights,
  which is the same map with less to touch;
- the FIR filters run per channel on pictures in channels-last order, and only on samples that are kept.

Everything is exact up to rounding; `tests/engines/latent/test_prepared.py` holds it against the definition. Flow
logits, sampling positions, motion codes and colours are float32 in every precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.latent.layers import (
    SQRT2,
    Activation,
    EqualConv2d,
    EqualLinear,
    Fir,
    FirUp2,
    HalvingResidual,
    LatentAnimator,
    ModulatedConv2d,
    StyledConv,
    ToFlow,
    ToRgb,
    Trace,
    fir_kernel,
    identity_grid,
)
from realtime.engines.neural.place import Placement
from realtime.errors import EngineError


def check_filters(net: nn.Module) -> None:
    """The folded form has the published FIR filter built in; a network with another one is refused (EngineError)."""
    for name, part in net.named_modules():
        if isinstance(part, Fir | FirUp2):
            kernel = part.kernel.detach().float().cpu()
            gain = 4.0 if isinstance(part, FirUp2) or name.endswith("conv.blur") else 1.0
            if not torch.allclose(kernel, fir_kernel(gain), atol=1e-6):
                raise EngineError("weights", f"the filter {name}.kernel is not the published one")


class ChannelFir:
    """The FIR filter on every channel of (B, C, H, W); `stride` 2 keeps every other sample in both axes."""

    def __init__(self, place: Placement, channels: int, pad: int, *, gain: float = 1.0, stride: int = 1) -> None:
        kernel = fir_kernel(gain).to(place.device, place.dtype)
        self.weight = kernel.expand(channels, 1, 4, 4).contiguous(memory_format=torch.channels_last)
        self.pad, self.stride, self.channels = pad, stride, channels

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.pad, groups=self.channels)


def double(x: Tensor) -> Tensor:
    """`FirUp2`: the filter outer([1, 3, 3, 1]) between zero-stuffed samples is bilinear doubling of the zero-padded
    picture. (B, C, H, W) -> (B, C, 2H, 2W)."""
    h, w = x.shape[-2:]
    raised = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear", align_corners=False)
    return raised[..., 2 : 2 * h + 2, 2 : 2 * w + 2]


Part = TypeVar("Part", bound=nn.Module)


def part(kind: type[Part], module: nn.Module) -> Part:
    """`module`, known to be of that kind."""
    assert isinstance(module, kind)
    return module


class PlainConv:
    """Equalised convolution with bias and leaky ReLU, all gains folded: leaky_relu(conv(x, w) + b, 0.2).

    `gain` scales the output on top of the activation's own sqrt(2); a leaky ReLU passes positive factors through.
    """

    def __init__(self, place: Placement, conv: EqualConv2d, act: Activation | None, gain: float = 1.0) -> None:
        factor = gain * (SQRT2 if act is not None else 1.0)
        self.weight = place.weight(conv.weight, conv.scale * factor)
        self.bias = None
        if act is not None:
            self.bias = place.vector(act.bias.flatten(), factor).to(place.dtype)
        self.stride, self.padding = conv.stride, conv.padding

    def __call__(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)
        return x if self.bias is None else F.leaky_relu_(x, 0.2)


def plain_conv(place: Placement, layer: nn.Module, gain: float = 1.0) -> PlainConv:
    """`PlainConv` of a `conv_layer` (its FIR filter, if it has one, is the caller's)."""
    parts = list(layer.children())
    conv = next(p for p in parts if isinstance(p, EqualConv2d))
    act = next((p for p in parts if isinstance(p, Activation)), None)
    return PlainConv(place, conv, act, gain)


class Down:
    """`HalvingResidual`: the skip's filter only computes the quarter of samples that its stride keeps."""

    def __init__(self, place: Placement, block: HalvingResidual) -> None:
        self.conv1 = plain_conv(place, block.conv1)
        self.conv2 = plain_conv(place, block.conv2, 1 / SQRT2)
        self.skip = plain_conv(place, block.skip, 1 / SQRT2)
        self.skip.stride = 1
        self.fir = ChannelFir(place, self.conv2.weight.shape[1], 2)
        self.skip_fir = ChannelFir(place, self.skip.weight.shape[1], 1, stride=2)

    def __call__(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/2, W/2)
        return self.conv2(self.fir(self.conv1(x))).add_(self.skip(self.skip_fir(x)))


class Styles:
    """All styles of a decoder from the latent, in one product. Layers take their slices by the number they got."""

    def __init__(self, place: Placement) -> None:
        self._place = place
        self._parts: list[tuple[Tensor, Tensor, float]] = []
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def add(self, modulation: EqualLinear, gain: float) -> int:
        """Registers a layer whose style is to be multiplied by `gain`; returns its number."""
        self._parts.append((modulation.weight.detach(), modulation.bias.detach(), gain))
        return len(self._parts) - 1

    def close(self) -> None:
        """Joins the matrices, once all layers are known."""
        if self._place.lean:
            return
        pairs = [(w, b, g, 1.0 / math.sqrt(w.shape[1])) for w, b, g in self._parts]
        self._weight = torch.cat([self._place.vector(w, g * scale) for w, _, g, scale in pairs])
        self._bias = torch.cat([self._place.vector(b, g) for _, b, g, _ in pairs])
        self._widths = [w.shape[0] for w, *_ in pairs]
        self._parts = []

    def __call__(self, z: Tensor) -> Sequence[Tensor]:  # (B, D) float32 -> per layer (B, C_in) float32
        if self._weight is None:
            return [F.linear(z, w, None).mul_(g / math.sqrt(w.shape[1])).add_(b * g) for w, b, g in self._parts]
        return F.linear(z, self._weight, self._bias).split(self._widths, dim=1)


class Modulated:
    """`StyledConv`: leaky_relu(conv(x * s) * d * sqrt(2) + b * sqrt(2), 0.2), doubled in size where it is `up`.

    `gain` is left out of the activation (1 instead of sqrt(2)) by a caller that multiplies afterwards anyway.
    """

    def __init__(self, place: Placement, styles: Styles, layer: StyledConv, gain: float = SQRT2) -> None:
        conv = layer.conv
        self.gain = gain
        weight = conv.weight[0].detach()
        # The equalised scale goes on the style: the weight stays as it is in the file.
        self.number = styles.add(conv.modulation, conv.scale)
        self.lean = place.lean
        self._raw = weight if place.lean else None
        self._squares = None if place.lean else place.vector(weight).square().sum((2, 3))
        if conv.up:
            self.fir: ChannelFir | None = ChannelFir(place, weight.shape[0], 1, gain=4.0)
            weight = weight.transpose(0, 1)
        else:
            self.fir = None
        self.weight = weight if place.lean else place.weight(weight, 1.0)
        self.bias = place.vector(layer.activate.bias.flatten(), gain)
        self.bias_half = self.bias.to(place.dtype)
        self.padding = conv.padding

    @property
    def squares(self) -> Tensor:  # (C_out, C_in)
        if self._squares is None:
            assert self._raw is not None
            self._squares = self._raw.square().sum((2, 3))
        return self._squares

    def __call__(self, x: Tensor, styles: Sequence[Tensor]) -> Tensor:  # (B, C, H, W) -> (B, C', H, W) or 2H, 2W
        s = styles[self.number]
        d = torch.rsqrt(F.linear(s.square(), self.squares) + 1e-8).mul_(self.gain)
        if x.shape[0] == 1 and self.weight.numel() < 2 * x.numel() and not self.lean:
            return self._on_weights(x, s, d)
        x = x * s.to(x.dtype)[:, :, None, None]
        if self.fir is None:
            x = F.conv2d(x, self.weight, padding=self.padding)
        else:
            x = self.fir(F.conv_transpose2d(x, self.weight, stride=2))
        out = torch.addcmul(self.bias_half[:, None, None], x, d.to(x.dtype)[:, :, None, None])
        return F.leaky_relu_(out, 0.2)

    def _on_weights(self, x: Tensor, s: Tensor, d: Tensor) -> Tensor:
        if self.fir is None:
            w = (self.weight * s[0, :, None, None] * d[0, :, None, None, None]).to(x.dtype)
            return F.leaky_relu_(F.conv2d(x, w, self.bias_half, padding=self.padding), 0.2)
        w = (self.weight * s[0, :, None, None, None] * d[0, :, None, None]).to(x.dtype)
        x = self.fir(F.conv_transpose2d(x, w, stride=2))
        return F.leaky_relu_(x.add_(self.bias_half[:, None, None]), 0.2)


class FlowHead:
    """`ToFlow`: logits in float32, then the warp of the portrait's features and the blend with the trunk."""

    def __init__(self, place: Placement, styles: Styles, layer: ToFlow, side: int) -> None:
        conv: ModulatedConv2d = layer.conv
        self.number = styles.add(conv.modulation, conv.scale)
        self.weight = place.vector(conv.weight[0, :, :, 0, 0])  # (3, C)
        self.bias = place.vector(layer.bias.flatten())  # (3,)
        self.grid = identity_grid(side, place.device)  # (1, H, W, 2)
        self.align_corners = layer.align_corners

    def __call__(
        self, h: Tensor, feature: Tensor, styles: Sequence[Tensor], previous: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns warped (B, C, H, W), logits (B, 3, H, W), and between them `h` itself, blended in place."""
        logits = pointwise(h, self.weight * styles[self.number][:, None, :], self.bias)
        if previous is not None:
            logits = logits.add_(double(previous))
        grid = torch.tanh(logits[:, :2]).permute(0, 2, 3, 1) + self.grid
        mask = torch.sigmoid(logits[:, 2:])
        if feature.shape[0] != h.shape[0]:
            feature = feature.expand(h.shape[0], -1, -1, -1)
        sampled = F.grid_sample(
            feature, grid, mode="bilinear", padding_mode="zeros", align_corners=self.align_corners
        )
        warped = sampled.mul_(mask).to(h.dtype)
        return warped, h.mul_((1 - mask).to(h.dtype)).add_(warped), logits


class ColourHead:
    """`ToRgb`: leaky_relu of three weighted sums, plus the picture so far, in float32."""

    def __init__(self, place: Placement, layer: ToRgb) -> None:
        conv, act = part(EqualConv2d, layer.conv[0]), part(Activation, layer.conv[1])
        self.weight = place.vector(conv.weight[:, :, 0, 0], conv.scale * SQRT2)[None]  # (1, 3, C)
        self.inner = place.vector(act.bias.flatten(), SQRT2)  # (3,)
        self.bias = place.vector(layer.bias.flatten())[:, None, None]

    def __call__(self, x: Tensor, previous: Tensor | None) -> Tensor:  # (B, C, H, W) -> (B, 3, H, W)
        rgb = F.leaky_relu_(pointwise(x, self.weight, self.inner), 0.2).add_(self.bias)
        return rgb if previous is None else rgb.add_(double(previous))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """1 x 1 convolution to a few channels, in float32. x: (B, C, H, W) channels-last; weight (B or 1, K, C)."""
    b, c, h, w = x.shape
    if weight.shape[0] == 1 and x.device.type == "cpu":  # a matrix product with three columns is slow there
        return F.conv2d(x.float(), weight[0, :, :, None, None], bias).contiguous()
    rows = x.permute(0, 2, 3, 1).reshape(b, h * w, c).float()
    out = torch.baddbmm(bias, rows, weight.expand(b, -1, -1).transpose(1, 2))  # (B, HW, K)
    return out.transpose(1, 2).reshape(b, -1, h, w)


class Prepared:
    """A network ready to run: the shared half of `FastLia` and `FastLiaX`.

    size, dim, motion_dim: as in the network. q: (D, M) float32, the dictionary.
    Reading is safe from several threads at once; nothing is written after construction, except that a `lean` network
    remembers demodulation sums the first time it uses them.
    """

    def __init__(self, net: LatentAnimator, place: Placement, head: Iterable[nn.Module]) -> None:
        check_filters(net)
        self.place = place
        self.size, self.dim, self.motion_dim = net.size, net.dim, net.motion_dim
        self.q = place.vector(net.directions())
        matrix, offset = _one_affine_map(head)
        self.head_weight, self.head_bias = place.vector(matrix), place.vector(offset)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, S, S) in [-1, 1] -> latent float32 (B, D), and feature maps, coarse first; see `features`."""
        raise NotImplementedError

    def decode(self, z: Tensor, feats: Sequence[Tensor], trace: Trace | None = None) -> Tensor:
        """Latent (B, D) and `features(...)` of the portrait -> float32 (B, 3, S, S), not clamped. `trace` receives
        the raw flow logits of the levels, "flowrawk_H"."""
        raise NotImplementedError

    def latent(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, D), float32. The driving frame's features are not kept."""
        return self.encode(x)[0]

    def alpha(self, z: Tensor) -> Tensor:
        """Motion code: (B, D) -> (B, M), float32."""
        return F.linear(z.float(), self.head_weight, self.head_bias)

    def move(self, code: Tensor) -> Tensor:
        """Q code: (B, M) -> (B, D), float32."""
        return code.float() @ self.q.T

    def input(self, x: Tensor) -> Tensor:
        """A picture (B, 3, S, S) in [-1, 1] as the tower takes it."""
        return x.to(self.place.device, self.place.dtype, memory_format=torch.channels_last)

    def features(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """The portrait's feature maps as the warp reads them: float32, channels-last."""
        return [f.float().contiguous(memory_format=torch.channels_last) for f in feats]


def _one_affine_map(head: Iterable[nn.Module]) -> tuple[Tensor, Tensor]:
    """Composes `EqualLinear` layers with nothing between them: x -> A x + b, composed in float64."""
    matrix: Tensor | None = None
    offset: Tensor | None = None
    for layer in head:
        assert isinstance(layer, EqualLinear)
        w, b = layer.weight.detach().cpu().double() * layer.scale, layer.bias.detach().cpu().double()
        matrix = w if matrix is None else w @ matrix
        offset = b if offset is None else w @ offset + b
    assert matrix is not None
    assert offset is not None
    return matrix, offset
