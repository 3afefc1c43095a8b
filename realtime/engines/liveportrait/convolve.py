"""Convolutions of fixed weights, as they run fastest where they run.

On the CPU in float32, 3 x 3 kernels go through Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin and Gray, arXiv
1509.09308): a quarter of the multiplications, in 36 large matrix products; errors stay near 1e-5 of a map's own size.
A 7 x 7 x 7 kernel goes through Fourier transforms of overlapping tiles. Everywhere else, and for maps too small to
gain, they are the library's convolutions, channels-last.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.neural.place import Placement

TILE = 4
"""Side of the squares that one Winograd tile makes, from 6 x 6 inputs."""
CHUNK = 8 << 20
"""Bytes of spread tiles that are under way at once: they stay in the cache."""
LEAST_SIDE = 16
"""Side of a map from which Winograd gains."""
LEAST_WIDTH = 128
"""Channels in and out of a map from which Winograd gains; volumes always do."""
_DATA = torch.tensor([
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
], dtype=torch.float64)  # fmt: skip
_KERNEL = torch.tensor([
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
], dtype=torch.float64)  # fmt: skip
_RESULT = torch.tensor([
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
], dtype=torch.float64)  # fmt: skip


def folded(conv: Any, norm: Any = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch normalisation after it, float64, on the CPU."""
    weight, bias = conv.weight.detach().cpu().double(), conv.bias.detach().cpu().double()
    if norm is None:
        return weight, bias
    gain = norm.weight.detach().cpu().double() * torch.rsqrt(norm.running_var.detach().cpu().double() + norm.eps)
    mean, shift = norm.running_mean.detach().cpu().double(), norm.bias.detach().cpu().double()
    return weight * gain.view(-1, *[1] * (weight.ndim - 1)), (bias - mean) * gain + shift


def layout(x: Tensor) -> Tensor:
    """Channels-last, for maps and for volumes; no copy where it is."""
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


class Conv:
    """A convolution with same padding on maps (B, C, H, W) or volumes (B, C, D, H, W), channels-last in and out."""

    def __init__(self, place: Placement, weight: Tensor, bias: Tensor | None) -> None:
        self._place, self.padding = place, weight.shape[-1] // 2
        self.bias = None if bias is None else bias.to(place.device, place.dtype)
        self.fast = (
            place.device.type == "cpu" and place.dtype == torch.float32 and weight.shape[-1] == 3
            and min(weight.shape[:2]) >= (LEAST_WIDTH if weight.ndim == 4 else 16)
        )  # fmt: skip
        self._weight = weight.to(place.dtype)
        self._direct: Tensor | None = None
        self._products: Tensor | None = None
        if not self.fast:
            self._direct = layout(self._weight.to(place.device))

    @classmethod
    def of(cls, place: Placement, conv: Any, norm: Any = None) -> Conv:
        """Of a module, with the batch normalisation after it."""
        return cls(place, *folded(conv, norm))

    def __call__(self, x: Tensor) -> Tensor:
        if self.fast and min(x.shape[-2:]) >= LEAST_SIDE and not (x.shape[-2] % TILE or x.shape[-1] % TILE):
            return self._winograd(x)
        if self._direct is None:
            self._direct = layout(self._weight)
        run = F.conv2d if x.ndim == 4 else F.conv3d
        return run(x, self._direct, self.bias, padding=self.padding)

    def _prepared(self) -> Tensor:  # (taps in depth, 36, C, O)
        if self._products is None:
            w = self._weight.double()
            w = w[:, :, None] if w.ndim == 4 else w  # (O, C, taps, 3, 3)
            turned = torch.einsum("ai,bj,octij->tabco", _KERNEL, _KERNEL, w)
            self._products = turned.flatten(1, 2).float().contiguous()
        return self._products

    def _winograd(self, x: Tensor) -> Tensor:
        weights = self._prepared()
        flat = x.ndim == 4
        rows = x.permute(0, 2, 3, 1)[:, None] if flat else x.permute(0, 2, 3, 4, 1)  # (B, D, H, W, C)
        b, d, h, w, c = rows.shape
        padded = F.pad(rows, (0, 0, 1, 1, 1, 1)).contiguous()
        high, wide, out = h // TILE, w // TILE, weights.shape[-1]
        line = (w + 2) * c
        tiles = padded.as_strided(
            (TILE + 2, TILE + 2, b, d, high, wide, c),
            (line, c, d * (h + 2) * line, (h + 2) * line, TILE * line, TILE * c, 1),
        )
        into, back = (torch.kron(m, m).float() for m in (_DATA, _RESULT))
        y = padded.new_empty(b, d, high, TILE, wide, TILE, out)
        step = max(1, CHUNK // (36 * b * d * wide * max(c, out) * 4))
        for top in range(0, high, step):
            part = tiles[:, :, :, :, top : top + step]
            spread = (into @ part.reshape(36, -1)).view(36, b, d, -1, c)
            made = (back @ _depthwise(spread, weights).view(36, -1)).view(TILE, TILE, b, d, -1, wide, out)
            y[:, :, top : top + step] = made.permute(2, 3, 4, 0, 5, 1, 6)
        y = y.view(b, d, h, w, out)
        if self.bias is not None:
            y += self.bias
        return y[:, 0].permute(0, 3, 1, 2) if flat else y.permute(0, 4, 1, 2, 3)


def _depthwise(spread: Tensor, weights: Tensor) -> Tensor:
    """Matrix products of the tiles (36, B, D, N, C) by the taps (1 or 3, 36, C, O), summed over neighbouring depths:
    (36, B, D, N, O)."""
    n, b, d, tiles, c = spread.shape
    middle = len(weights) // 2
    made = torch.bmm(spread.view(n, -1, c), weights[middle]).view(n, b, d, tiles, -1)
    if middle:
        for row in range(b):  # a depth's neighbours are its own picture's
            part, source = made[:, row].flatten(1, 2), spread[:, row].flatten(1, 2)
            part[:, tiles:].baddbmm_(source[:, :-tiles], weights[0])
            part[:, :-tiles].baddbmm_(source[:, tiles:], weights[2])
    return made


class FourierConv:
    """A 7 x 7 x 7 convolution with same padding of volumes (B, C, D, H, W): on the CPU in float32 by transforms of
    overlapping tiles whose sides are `STEP` + 6, elsewhere the library's."""

    STEP = 16

    def __init__(self, place: Placement, weight: Tensor, bias: Tensor) -> None:
        self.bias = bias.to(place.device, place.dtype)
        self.weight = layout(weight.to(place.device, place.dtype))
        self.fast = place.device.type == "cpu" and place.dtype == torch.float32
        self._spectra: dict[int, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        _, _, d, h, w = x.shape
        if not self.fast or h % self.STEP or w % self.STEP:
            return F.conv3d(x, self.weight, self.bias, padding=3)
        return torch.cat([self._transformed(one, d) for one in x.split(1)])

    def _spectrum(self, depth: int) -> Tensor:  # (frequencies, C, O)
        if depth not in self._spectra:
            side = self.STEP + 6
            # Correlation is convolution by the mirrored kernel; the wanted part then begins at 6.
            kernel = self.weight.contiguous().flip(2, 3, 4)
            spectrum = torch.fft.rfftn(kernel, s=(depth + 6, side, side), dim=(2, 3, 4))  # (O, C, ...)
            self._spectra[depth] = spectrum.flatten(2).permute(2, 1, 0).contiguous()
        return self._spectra[depth]

    def _transformed(self, x: Tensor, depth: int) -> Tensor:  # (1, C, D, H, W) -> (1, O, D, H, W)
        _, c, d, h, w = x.shape
        side, step, out = self.STEP + 6, self.STEP, len(self.bias)
        high, wide = h // step, w // step
        padded = F.pad(x[0].permute(1, 2, 3, 0), (0, 0, 3, 3, 3, 3, 3, 3)).permute(3, 0, 1, 2).contiguous()
        tiles = padded.unfold(2, side, step).unfold(3, side, step).permute(2, 3, 0, 1, 4, 5)
        spectra = torch.fft.rfftn(tiles, dim=(3, 4, 5))  # (high, wide, C, ...)
        frequencies = spectra.shape[3:]
        lines = spectra.reshape(high * wide, c, -1).permute(2, 0, 1)
        product = torch.bmm(lines, self._spectrum(depth))  # (frequencies, tiles, O)
        product = product.permute(1, 2, 0).reshape(high, wide, out, *frequencies)
        whole = torch.fft.irfftn(product, s=(d + 6, side, side), dim=(3, 4, 5))[..., 6:, 6:, 6:]
        made = whole.permute(2, 3, 0, 4, 1, 5).reshape(out, d, h, w)
        return (made + self.bias.view(-1, 1, 1, 1))[None]


def spectral_weight(module: nn.Module) -> Tensor:
    """The weight of a spectrally normalised convolution, float64."""
    kept: Any = module
    weight, u, v = (t.detach().cpu().double() for t in (kept.weight_orig, kept.weight_u, kept.weight_v))
    return weight / torch.dot(u, weight.flatten(1) @ v)
