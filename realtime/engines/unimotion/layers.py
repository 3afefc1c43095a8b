"""Parts that the networks share: attention, a transformer's layer, the way from a picture to tokens."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of tokens (B, T, dim) over `context` (B, U, dim), both normalised by the caller."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        q = self.query(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(context).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def feed_forward(dim: int) -> nn.Sequential:
    """Two linear maps with a GELU between them, three times as wide inside."""
    return nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))


class Layer(nn.Module):
    """A pre-norm transformer layer on tokens (B, T, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.ffn = feed_forward(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm1(tokens)
        tokens = tokens + self.attention(x, x)
        return tokens + self.ffn(self.norm2(tokens))


class Patches(nn.Module):
    """A picture (B, 3, S, S) in -1..1 as (S / patch)^2 tokens of `dim`, row by row, with a learnt position each.

    Convolutions halve the picture down to the tokens' lattice, so that a patch sees a little of its neighbours; a
    plain cut into squares learns more slowly on few pictures (our choice). patch: a power of two.
    """

    def __init__(self, size: int, patch: int, dim: int) -> None:
        super().__init__()
        if patch < 2 or patch & (patch - 1) or size % patch:
            raise ValueError(f"a patch of {patch} pixels: it must be a power of two that divides the size {size}")
        steps = patch.bit_length() - 1
        widths = [3, *(max(8, dim >> (steps - 1 - n)) for n in range(steps))]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(1, b), nn.SiLU()]
        self.stem = nn.Sequential(*layers[:-2], nn.Conv2d(widths[-1], dim, 1))
        self.position = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, dim))

    def forward(self, picture: Tensor) -> Tensor:
        return self.stem(picture).flatten(2).transpose(1, 2) + self.position


def waves(t: Tensor, dim: int) -> Tensor:
    """Sines and cosines of t (B,) in 0..1, (B, dim): frequencies run geometrically from 1 to 1000."""
    rate = torch.exp(math.log(1000.0) * torch.arange(dim // 2, device=t.device) / max(1, dim // 2 - 1))
    angle = t[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class CropEncoder(nn.Module):
    """A crop (B, 3, C, C) in -1..1 to a token (B, length) in -1..1: three halvings, then one linear map of all that
    is left, which keeps where things are in the crop; normalised over the batch, so
    that no number of a token stays at one end of its range."""

    def __init__(self, crop: int, width: int, length: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((3, width // 4), (width // 4, width // 2), (width // 2, width)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(1, b), nn.SiLU()]
        side = crop // 8
        self.maps = nn.Sequential(*layers)
        self.token = nn.Sequential(
            nn.Linear(width * side * side, width), nn.SiLU(), nn.Linear(width, length),
            nn.BatchNorm1d(length, affine=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, crop: Tensor) -> Tensor:
        return self.token(self.maps(crop).flatten(1))
