"""The picture generator: encode the portrait, warp its features by the dense flow, decode.

Source: FOMM (NeurIPS 2019), whose checkpoint names it keeps; the skip connections follow section 4 of the Motion
Transformer paper ("added in the encoder-decoder architecture similar to [34, 37]"). Table 1 leaves no room for
parameters in them: a skip is the encoder's map of that size, warped like the bottleneck, and mixed with the
decoder's map by the occlusion map.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.parts.dense_motion import DenseMotion, MaskPredictor
from realtime.engines.parts.motion import (
    DownBlock,
    PartMotion,
    ResBlock,
    SameBlock,
    UpBlock,
    dtype_of,
    resize_flow,
    sample,
)


class Generator(nn.Module):
    """The mask predictor and the encoder-decoder.

    skips: with the U-Net's skip connections (Motion Transformer, MRAA), or without (FOMM).
    `encode` is the half that depends on the portrait alone, so that a live engine runs it once.
    """

    def __init__(
        self,
        parts: int = 10,
        *,
        base: int = 64,
        limit: int = 512,
        downs: int = 2,
        bottleneck: int = 6,
        mask_base: int = 64,
        mask_blocks: int = 5,
        mask_limit: int = 1024,
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.skips = skips
        self.dense_motion_network = MaskPredictor(parts, base=mask_base, blocks=mask_blocks, limit=mask_limit)
        widths = [min(limit, base * 2**i) for i in range(downs + 1)]
        self.first = SameBlock(3, base, 7)
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in itertools.pairwise(widths))
        self.bottleneck = nn.Sequential()
        for i in range(bottleneck):
            self.bottleneck.add_module(f"r{i}", ResBlock(widths[-1]))
        upward = widths[::-1]
        self.up_blocks = nn.ModuleList(UpBlock(a, b) for a, b in itertools.pairwise(upward))
        self.final = nn.Conv2d(base, 3, 7, padding=3)

    def encode(self, portrait: Tensor) -> list[Tensor]:
        """Feature maps of `portrait` (B, 3, H, W) in 0..1, the largest first."""
        maps = [self.first(portrait.to(dtype_of(self.first)))]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps

    def decode(self, maps: list[Tensor], motion: DenseMotion) -> Tensor:
        """The picture (B, 3, H, W) in 0..1 from the portrait's maps and the dense motion."""
        x = self.bottleneck(self._seen(maps[-1], motion)[0])
        for block, skip in zip(self.up_blocks, reversed(maps[:-1]), strict=True):
            x = block(x)
            if self.skips:
                seen, occlusion = self._seen(skip, motion)
                x = seen + x * (1 - occlusion)
        return torch.sigmoid(self.final(x))

    def _seen(self, features: Tensor, motion: DenseMotion) -> tuple[Tensor, Tensor]:
        """`features` warped and dimmed where they are occluded, and the occlusion map at their size."""
        h, w = features.shape[2:]
        occlusion = motion.occlusion.to(features.dtype)
        if occlusion.shape[2:] != (h, w):
            occlusion = F.interpolate(occlusion, size=(h, w), mode="bilinear", align_corners=True)
        return sample(features, resize_flow(motion.flow, h, w)) * occlusion, occlusion

    def forward(
        self, portrait: Tensor, source: PartMotion, driving: PartMotion, background: Tensor | None = None
    ) -> tuple[Tensor, DenseMotion]:
        motion = self.dense_motion_network(portrait, source, driving, background)
        return self.decode(self.encode(portrait), motion), motion
