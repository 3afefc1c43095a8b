"""The Motion Transformer: motion tokens that look at the picture and at each other.

Source: Tao et al., "Motion Transformer for Unsupervised Image Animation", ECCV 2022, section 3.2 and the
implementation details of section 4: HRNet features at 1/4 size, 4x4 patches of them projected to d = 192, absolute
sine position encoding, K = 10 learnable motion tokens in front of the image tokens, 12 transformer layers with one
joint self-attention (equations 7, 8), a linear head to 6 numbers per motion token.

What the text leaves open, and how it is settled here:

- The width of the feed-forward network and the number of heads. Table 1's 12.23 M and Table 5's 5.56 M and 21.30 M
  parameters fit a width of 3 d; parameters say nothing on heads, 8 are taken (24 numbers each).
- Equation 3 divides by sqrt(d) and d is the token's dimension in the text; a standard transformer divides by the
  root of the head's dimension. `scale` chooses; "head" is the default, as section 4 says "standard".
- Equations 7 and 8 read literally have no shortcut around the attention and none around the feed-forward network:
  F = MSA(F), F = FFN(LN(F) + F). `layer="printed"` is exactly that; `layer="standard"`, the default, is the
  pre-norm layer F = F + MSA(LN(F)), F = F + FFN(LN(F)) that section 4's "standard transformer encoder" means.
- The head has a bias here (6 numbers), so that an untrained network starts near the identity and not from
  singular matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.parts.hrnet import make_backbone
from realtime.engines.parts.motion import PartMotion, dtype_of, full_precision

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class MotionTransformerConfig:
    """Sizes and ablations of the paper; the defaults are its basic setting.

    parts: motion tokens. backbone: "stem", "hr-w32", "hr-w48". dim: token dimension d. layers: 4, 8 or 12 in
    Table 6. heads, ffn: see the module's notes. patch: side of a patch of the feature map. position: with or
    without position encoding (Table 4). layer, scale: see the module's notes.
    """

    parts: int = 10
    backbone: str = "hr-w32"
    dim: int = 192
    layers: int = 12
    heads: int = 8
    ffn: int = 576
    patch: int = 4
    position: bool = True
    layer: Literal["standard", "printed"] = "standard"
    scale: Literal["head", "token"] = "head"


def sine_positions(rows: int, columns: int, dim: int) -> Tensor:
    """(rows * columns, dim): sines and cosines of the row in the first half, of the column in the second.

    Frequencies run geometrically from 1 to 1/10000 per patch (Vaswani et al., 2017). dim: a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"the token dimension {dim} is no multiple of 4, which the position encoding needs")
    quarter = dim // 4
    rate = torch.exp(-math.log(10000.0) * torch.arange(quarter, dtype=torch.float32) / quarter)

    def along(length: int) -> Tensor:
        angle = torch.arange(length, dtype=torch.float32)[:, None] * rate  # (length, dim/4)
        return torch.cat([angle.sin(), angle.cos()], dim=1)  # (length, dim/2)

    row = along(rows)[:, None].expand(rows, columns, -1)
    column = along(columns)[None].expand(rows, columns, -1)
    return torch.cat([row, column], dim=2).flatten(0, 1)


class JointAttention(nn.Module):
    """Multi-head self-attention over motion and image tokens together (equations 3, 4, 7)."""

    def __init__(self, dim: int, heads: int, scale: Literal["head", "token"]) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"the token dimension {dim} is no multiple of the {heads} heads")
        self.heads = heads
        self.scale = (dim if scale == "token" else dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, h, T, d/h)
        return q, k, v

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self._split(tokens)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, tokens: Tensor) -> Tensor:
        """The attention itself, (B, heads, T, T), each row summing to 1: for looking at it."""
        q, k, _ = self._split(tokens)
        return torch.softmax((q @ k.transpose(2, 3)).float() * self.scale, dim=-1)


class TransformerLayer(nn.Module):
    """One layer (equations 7 and 8), see the module's notes on `layer`."""

    def __init__(self, config: MotionTransformerConfig) -> None:
        super().__init__()
        self.printed = config.layer == "printed"
        self.norm1 = nn.Identity() if self.printed else nn.LayerNorm(config.dim)
        self.attention = JointAttention(config.dim, config.heads, config.scale)
        self.norm2 = nn.LayerNorm(config.dim)
        self.ffn = nn.Sequential(nn.Linear(config.dim, config.ffn), nn.GELU(), nn.Linear(config.ffn, config.dim))

    def forward(self, tokens: Tensor) -> Tensor:
        if self.printed:
            tokens = self.attention(tokens)
            return self.ffn(self.norm2(tokens) + tokens)
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.ffn(self.norm2(tokens))


class MotionTransformer(nn.Module):
    """Picture (B, 3, H, W) in 0..1 to `PartMotion` of K parts.

    H and W are multiples of 16 at least (the backbone's quarter times the patch of 4; 32 for the HRNet backbones).
    256 x 256 gives 256 image tokens, 384 x 384 gives 576.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: MotionTransformerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MotionTransformerConfig()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone = make_backbone(config.backbone)
        self.project = nn.Linear(self.backbone.width * config.patch**2, config.dim)
        self.motion_tokens = nn.Parameter(torch.randn(config.parts, config.dim))
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.layers))
        self._tables: dict[tuple[int, int, torch.dtype, torch.device], Tensor] = {}
        self.head = nn.Linear(config.dim, 6)
        with torch.no_grad():
            # Tokens of unit size start as keypoints apart (parts that begin in one place tend to stay there), with
            # matrices near the identity.
            spread = torch.tensor([0.4, 0.4, 0.05, 0.05, 0.05, 0.05]) / config.dim**0.5
            self.head.weight.copy_(torch.randn(6, config.dim) * spread[:, None])
            self.head.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 1.0]))

    def tokens(self, picture: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """F_0 (B, K + N, d): the motion tokens, then the N = rows * columns image tokens; and (rows, columns)."""
        normal = (picture - self.mean) / self.std
        features = self.backbone(normal.to(dtype_of(self.backbone)))  # (B, C, H/4, W/4)
        side = self.config.patch
        rows, columns = features.shape[2] // side, features.shape[3] // side
        patches = F.unfold(features, side, stride=side).transpose(1, 2)  # (B, N, C side^2)
        # Tokens keep the precision of their parameters, also where mixed precision projects in less.
        image = self.project(patches.to(dtype_of(self.project))).to(self.motion_tokens.dtype)  # (B, N, d)
        if self.config.position:
            image = image + self._positions(rows, columns, image)
        motion = self.motion_tokens.expand(len(image), -1, -1)
        return torch.cat([motion, image], dim=1), (rows, columns)

    def _positions(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """The position encoding with the dtype and device of `like`, made once per size."""
        key = (rows, columns, like.dtype, like.device)
        if key not in self._tables:
            self._tables[key] = sine_positions(rows, columns, self.config.dim).to(like)
        return self._tables[key]

    def forward(self, picture: Tensor) -> PartMotion:
        tokens, _ = self.tokens(picture)
        for layer in self.layers:
            tokens = layer(tokens)
        return self._read(tokens)

    @full_precision
    def _read(self, tokens: Tensor) -> PartMotion:
        six = self.head(tokens[:, : self.config.parts].to(dtype_of(self.head)))  # (B, K, 6)
        return PartMotion(six[..., :2], six[..., 2:].unflatten(2, (2, 2)))

    def attention_maps(self, picture: Tensor) -> tuple[PartMotion, Tensor]:
        """The motion, and how each motion token looks at the picture: (B, layers, K, rows, columns), the mean over
        the heads, each map divided by its own sum (Fig. 3)."""
        tokens, shape = self.tokens(picture)
        seen = []
        for layer in self.layers:
            assert isinstance(layer, TransformerLayer)
            weights = layer.attention.weights(layer.norm1(tokens)).mean(1)  # (B, T, T)
            maps = weights[:, : self.config.parts, self.config.parts :]
            seen.append((maps / maps.sum(-1, keepdim=True)).unflatten(2, shape))
            tokens = layer(tokens)
        return self._read(tokens), torch.stack(seen, dim=1)
