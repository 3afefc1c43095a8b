"""The losses of the Motion Transformer paper (equations 9 to 13) and of LIA.

Sources: Tao et al., "Motion Transformer for Unsupervised Image Animation", ECCV 2022, section 3.3; Siarohin et al.,
"First Order Motion Model", NeurIPS 2019 (thin-plate transform, Jacobian condition); Wang et al., "Latent Image
Animator", ICLR 2022 (pixels, perceptual, adversarial). Norms are means over entries, so that a weight means the same
at every size and number of parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.parts.motion import PartMotion, coordinate_grid, full_precision, inverse_2x2
from realtime.training.config import WarpConfig


def at_scale(picture: Tensor, scale: float) -> Tensor:
    """`picture` (B, C, H, W) at `scale` of its size, averaged."""
    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[2:]]
    return F.interpolate(picture, size=size, mode="bilinear", antialias=True, align_corners=False)


def perceptual(features: nn.Module, made: Tensor, true: Tensor, scales: Sequence[float]) -> Tensor:
    """Equation 9: the mean absolute difference of every map of `features`, summed over maps and scales."""
    total = made.new_zeros(())
    for scale in scales:
        with torch.no_grad():
            wanted = features(at_scale(true, scale))
        for a, b in zip(features(at_scale(made, scale)), wanted, strict=True):
            total = total + (a - b).abs().mean()
    return total


class ThinPlate:
    """A random smooth transform T of the plane for every picture of a batch: an affine map near the identity, plus
    thin-plate bending from control points on a square lattice (FOMM, section 3.3).

    T maps coordinates of the transformed picture to coordinates of the original: `picture(x)` shows at c what `x`
    shows at T(c), and a keypoint p of the transformed picture lies at T(p) in the original.
    """

    def __init__(
        self, batch: int, config: WarpConfig, like: Tensor, generator: torch.Generator | None = None
    ) -> None:
        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(like)

        self.affine = torch.eye(2, 3).to(like) + config.affine * normal(batch, 2, 3)
        self.control = coordinate_grid(config.points, config.points, like).flatten(0, 1)  # (P, 2)
        self.bend = config.bending * normal(batch, config.points**2)

    @full_precision
    def __call__(self, points: Tensor) -> Tensor:
        """T of `points` (B, N, 2)."""
        moved = torch.einsum("bij,bnj->bni", self.affine[:, :, :2], points) + self.affine[:, None, :, 2]
        away = (points[:, :, None] - self.control).abs().sum(-1)  # (B, N, P), city-block distance as FOMM has it
        bent = (away.square() * torch.log(away + 1e-6) * self.bend[:, None]).sum(-1, keepdim=True)
        return moved + bent

    def jacobian(self, points: Tensor) -> Tensor:
        """Derivative of T at `points` (B, N, 2): (B, N, 2, 2), row i the gradient of coordinate i."""
        affine = self.affine[:, None, :, :2]
        delta = points[:, :, None] - self.control  # (B, N, P, 2)
        away = delta.abs().sum(-1)
        slope = 2 * away * torch.log(away + 1e-6) + away.square() / (away + 1e-6)
        gradient = (slope.unsqueeze(-1) * delta.sign() * self.bend[:, None, :, None]).sum(2)  # (B, N, 2)
        return affine + gradient.unsqueeze(2)

    def picture(self, x: Tensor) -> Tensor:
        """The transformed pictures, (B, C, H, W); the border is mirrored."""
        height, width = x.shape[2:]
        grid = coordinate_grid(height, width, self.control).flatten(0, 1).expand(len(x), -1, -1)
        flow = self(grid).unflatten(1, (height, width))
        return F.grid_sample(x, flow.to(x.dtype), padding_mode="reflection", align_corners=True)


def equivariance(warp: ThinPlate, original: PartMotion, transformed: PartMotion) -> Tensor:
    """Equation 10: a keypoint of the transformed picture, brought back by T, is the original's keypoint."""
    return (original.points - warp(transformed.points)).abs().mean()


@full_precision
def equivariance_affine(warp: ThinPlate, original: PartMotion, transformed: PartMotion) -> Tensor:
    """FOMM, equation 11: 1 = A^-1 T' A_T for the affine matrices of the two pictures."""
    brought_back = warp.jacobian(transformed.points) @ transformed.affine
    product = inverse_2x2(original.affine) @ brought_back
    return (product - torch.eye(2).to(product)).abs().mean()


def background_mask(masks: Tensor) -> Tensor:
    """Equation 11: ||M_0 - 1|| + sum over the parts of ||M_k - 0||. masks (B, K + 1, H, W), background first."""
    return (masks[:, :1] - 1).abs().mean() + masks[:, 1:].abs().mean((0, 2, 3)).sum()


@full_precision
def concentration(masks: Tensor) -> Tensor:
    """Equation 12: the variance of where each part's mask lies, summed over the parts (mean over the batch).

    masks (B, K + 1, H, W); coordinates in -1..1."""
    parts = masks[:, 1:]
    grid = coordinate_grid(masks.shape[2], masks.shape[3], masks)
    weight = parts / parts.sum((2, 3), keepdim=True).clamp(min=1e-6)
    mean = torch.einsum("bkhw,hwc->bkc", weight, grid)
    away = (grid - mean[:, :, None, None]).square().sum(-1)
    return (weight * away).sum((1, 2, 3)).mean()


class Discriminator(nn.Module):
    """Is the picture real? Residual convolutions that halve the size down to 4 x 4, spectrally normalised.

    Picture (B, 3, S, S) in 0..1 to scores (B, 1), S a power of two times 4."""

    def __init__(self, size: int, base: int = 32, limit: int = 512) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.first = norm(nn.Conv2d(3, base, 3, padding=1))
        self.main, self.short = nn.ModuleList(), nn.ModuleList()
        width = base
        while size > 4:
            wider = min(limit, 2 * width)
            self.main.append(
                nn.Sequential(
                    nn.LeakyReLU(0.2),
                    norm(nn.Conv2d(width, width, 3, padding=1)),
                    nn.LeakyReLU(0.2),
                    norm(nn.Conv2d(width, wider, 3, padding=1)),
                )
            )
            self.short.append(norm(nn.Conv2d(width, wider, 1)))
            width, size = wider, size // 2
        self.last = norm(nn.Linear(width * size * size, 1))

    def forward(self, picture: Tensor) -> Tensor:
        x = self.first(picture * 2 - 1)
        for main, short in zip(self.main, self.short, strict=True):
            x = F.avg_pool2d(main(x) + short(x), 2)
        return self.last(F.leaky_relu(x, 0.2).flatten(1))


def generator_adversarial(scores_of_made: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator."""
    return F.softplus(-scores_of_made).mean()


def discriminator_adversarial(scores_of_true: Tensor, scores_of_made: Tensor) -> Tensor:
    """Logistic loss of the discriminator."""
    return F.softplus(-scores_of_true).mean() + F.softplus(scores_of_made).mean()
