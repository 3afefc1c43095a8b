"""The diffusion transformer: from noise to the reference character in the driver's pose, by flow matching.

What goes in, as the paper has it: the spatial guidance, concatenated with the noised picture; the reference, which is
concatenated too and whose tokens the layers attend to; the face token alone by cross-attention. Choices: pixels
instead of a video VAE's latents; the network says what the clean picture is (Li and He, "Back to Basics: Let
Denoising Generative Models Denoise", 2025), as patches of pixels learn badly from noise as target; a few convolutions
at half the picture's side after the last layer, which see noised picture, reference and the guidance's fine maps once
more, draw what is smaller than a patch, and say for every pixel how far it is the reference's own, and how far the
moved reference's.

Flow matching (Lipman et al., 2023): x_t = t x + (1 - t) e with noise e, and the speed v = x - e.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.unimotion.layers import Attention, Layer, Patches, feed_forward, waves

PIECES = 4
"""Tokens that the face token is cut into for cross-attention; over a single one attention would have no choice."""
UNKNOWN = 0.1
"""Variance of a pixel where the guidance is known. The noised picture is weighed as Wiener's filter would, so that
noise, which says nothing where t is small, is not what the layers see first (a choice)."""
FLOOR = 0.1
"""Least 1 - t where something is divided by it."""


class DitLayer(nn.Module):
    """A layer whose norms and gates are moved by the time (adaLN: Peebles and Xie, "Scalable Diffusion Models with
    Transformers", 2023, section 3.2; the gates start open here). It attends to its own tokens and the reference's,
    then to the face."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim, elementwise_affine=False) for _ in range(2))
        self.face_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.face = Attention(dim, heads)
        self.ffn = feed_forward(dim)
        self.moves = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.moves.weight)
        nn.init.zeros_(self.moves.bias)

    def forward(self, tokens: Tensor, reference: Tensor, face: Tensor, time: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.moves(F.silu(time))[:, None].chunk(6, 2)
        x = self.norms[0](tokens) * (1 + scale1) + shift1
        tokens = tokens + (1 + gate1) * self.attention(x, torch.cat([x, reference], 1))
        tokens = tokens + self.face(self.face_norm(tokens), face)
        x = self.norms[1](tokens) * (1 + scale2) + shift2
        return tokens + (1 + gate2) * self.ffn(x)


class DiffusionTransformer(nn.Module):
    """(x_t (B, 3, S, S), t (B,) in 0..1, reference (B, 3, S, S) in -1..1, guidance's features (B,
    guidance, S / patch, S / patch) and fine maps (B, fine, S, S), the first three the moved reference, face token (B,
    face)) to the clean picture (B, 3, S, S), about -1..1."""

    def __init__(
        self, size: int, patch: int, width: int, layers: int, heads: int, guidance: int, fine: int, face: int,
        detail: int,
    ) -> None:  # fmt: skip
        super().__init__()
        if face % PIECES:
            raise ValueError(f"a face token of {face} numbers: it must be a multiple of {PIECES}")
        self.patch, self.side, self.width = patch, size // patch, width
        self.enter = nn.Linear(9 * patch**2 + guidance, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, self.side**2, width))
        self.reference = nn.Sequential(Patches(size, patch, width), Layer(width, heads), nn.LayerNorm(width))
        self.face = nn.Linear(face // PIECES, width)
        self.face_position = nn.Parameter(0.02 * torch.randn(1, PIECES, width))
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(DitLayer(width, heads) for _ in range(layers))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, detail * patch**2 // 4))
        self.see = nn.Conv2d(4 * (6 + fine), detail, 1)
        self.finish = nn.ModuleList(nn.Conv2d(detail, detail, 3, padding=d, dilation=d) for d in (1, 2, 1))
        self.draw = nn.Conv2d(detail, 4 * 6, 3, padding=1)

    def remember(self, reference: Tensor) -> Tensor:
        """The reference's tokens, which do not change from step to step."""
        return self.reference(reference)

    def forward(
        self,
        noised: Tensor,
        t: Tensor,
        reference: Tensor,
        guidance: Tensor,
        fine: Tensor,
        face: Tensor,
        known: Tensor | None = None,
    ) -> Tensor:
        """known: what `remember` gave for the reference."""
        known = self.remember(reference) if known is None else known
        moved = fine[:, :3]
        gain = t * UNKNOWN / (UNKNOWN * t.square() + (1 - t).square())
        noised = noised * gain[:, None, None, None]
        seen = F.pixel_unshuffle(torch.cat([noised, reference, moved], 1), self.patch)
        tokens = torch.cat([seen, guidance], 1).flatten(2).transpose(1, 2)
        tokens = self.enter(tokens) + self.position
        pieces = self.face(face.unflatten(1, (PIECES, -1))) + self.face_position
        time = self.time(waves(t, self.width))
        for layer in self.layers:
            tokens = layer(tokens, known, pieces, time)
        maps = self.leave(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))
        x = F.pixel_shuffle(maps, self.patch // 2)
        x = x + self.see(F.pixel_unshuffle(torch.cat([noised, reference, fine], 1), 2))
        for layer in self.finish:
            x = x + layer(F.silu(x))
        drawn = F.pixel_shuffle(self.draw(F.silu(x)), 2)
        kept, carried, new = drawn[:, 3:].softmax(1).split(1, 1)
        return kept * reference + carried * moved + new * drawn[:, :3]


def noised(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t, shapes (B, 3, S, S) and t (B,)."""
    t = t[:, None, None, None]
    return t * clean + (1 - t) * noise


def flow_loss(made: Tensor, clean: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    """The squared error of the speed, (x' - x)^2 / (1 - t)^2, with one of the two factors left out: where little
    noise is left the speed's error would be all that counts, and few steps learn the pose first (a choice).

    weight: (B, 1, S, S), of the pixels."""
    error = ((made.float() - clean).square() * weight).mean((1, 2, 3))
    return (error / (1 - t).clamp(min=FLOOR)).mean()


def detail_weight(middles: Tensor, sides: Tensor, size: int, extra: float) -> Tensor:
    """Pixels inside the squares around hands and face weigh 1 + extra, all others 1: (B, 1, size, size). They are few
    and would not be learnt otherwise (a choice).

    middles: (B, N, 2), sides: (N,), in sides of the picture."""
    centre = (torch.arange(size, device=middles.device) + 0.5) / size
    inside = (middles[..., None] - centre).abs() < sides[:, None, None] / 2  # (B, N, 2, size)
    x, y = inside.unbind(2)
    return 1 + extra * (y[..., :, None] & x[..., None, :]).any(1, keepdim=True).float()


@torch.no_grad()
def sample(
    dit: DiffusionTransformer,
    reference: Tensor,
    guidance: Tensor,
    fine: Tensor,
    face: Tensor,
    noise: Tensor,
    steps: int,
) -> Tensor:
    """The picture, (B, 3, S, S) about -1..1, from `noise` in Euler steps of equal length."""
    known, x = dit.remember(reference), noise
    for n in range(steps):
        t = n / steps
        clean = dit(x, torch.full((len(x),), t, device=x.device), reference, guidance, fine, face, known)
        x = clean if n == steps - 1 else x + (clean - x) / (1 - t) / steps
    return x
