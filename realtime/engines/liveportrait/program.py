"""A frame of LivePortrait as one captured graph: crop, M, keypoints, stitching, W, G, picture."""

from __future__ import annotations

import torch
from torch import Tensor

from realtime.engines.gpu.graph import Buffers
from realtime.engines.gpu.program import AnimatorProgram, Part
from realtime.engines.liveportrait.keypoints import Rules
from realtime.engines.liveportrait.prepared import FastLivePortrait, Source


class PortraitProgram(AnimatorProgram):
    """State: the portrait's code, keypoints, volumes (depth, height, width, channels) and the engine's choices."""

    net: FastLivePortrait

    def __init__(self, net: FastLivePortrait, part: Part, frame: tuple[int, int], device: torch.device) -> None:
        super().__init__(net, part=part, frame=frame, dtype=torch.float32, device=device, reads=net.input_side)

    def portrait(self, picture: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            source = self.net.source((picture + 1) / 2)
        return {
            "source": source.code,
            "canonical": source.canonical,
            "volume": source.volume.permute(0, 2, 3, 4, 1).contiguous(),
            "thin": source.thin.permute(0, 2, 3, 4, 1).contiguous(),
            "rules": Rules().tensor(picture.device),
        }

    def _draw(self, code: Tensor, inputs: Buffers, state: Buffers) -> Tensor:
        volume, thin = (state[name].permute(0, 4, 1, 2, 3) for name in ("volume", "thin"))
        source = Source(state["source"], state["canonical"], volume, thin)
        return self.net.draw(source, code + inputs["edits"], inputs["reference"], state["rules"])
