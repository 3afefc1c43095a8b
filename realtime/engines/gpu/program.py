"""A network as a frame program: preprocess, encoder, motion, navigation, decoder, postprocess in one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from realtime import kernels
from realtime.engines.gpu.graph import Buffers, Spec

Part = Literal["frame", "encode", "render"]


class Network(Protocol):
    """A network as an engine and `AnimatorProgram` call it. A latent may be whatever `encode` and `alpha` understand.

    size: side of its pictures, pixels. motion_dim: entries of a code.
    """

    size: int
    motion_dim: int

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]: ...
    def latent(self, x: Tensor) -> Tensor: ...
    def alpha(self, z: Tensor) -> Tensor: ...
    def move(self, code: Tensor) -> Tensor: ...
    def features(self, feats: Sequence[Tensor]) -> list[Tensor]: ...
    def decode(self, z: Tensor, feats: Sequence[Tensor]) -> Tensor: ...


class AnimatorProgram:
    """One frame of a latent animator (see `graph.Program`).

    part: "frame" does everything; "encode" ends at the motion code; "render" starts from one.
    frame: height and width of the driving frames, uint8 RGB. box: crop in pixels, left, top, right, bottom.
    reads: side of the pictures that the network reads, where it is not that of those it makes.

    The latent that is drawn is z + Q (code - reference + source + edits) (LIA, equations 2 and 3): `source` is the
    portrait's own code and `reference` the driver's neutral one, so motion is relative; a reference equal to `source`
    makes it absolute. All four are buffers, so that a slider or a new reference takes effect with the next frame.
    """

    def __init__(
        self,
        net: Network,
        *,
        part: Part = "frame",
        frame: tuple[int, int] = (720, 1280),
        dtype: torch.dtype = torch.float16,
        device: torch.device | str = "cuda",
        reads: int | None = None,
    ) -> None:
        self.net, self.part, self.dtype = net, part, dtype
        self.reads = reads or net.size
        side, codes = net.size, Spec((net.motion_dim,), torch.float32)
        camera = {"frame": Spec((*frame, 3), torch.uint8), "box": Spec((4,), torch.float32)}
        sliders = {"reference": codes, "edits": codes}
        self.inputs: dict[str, Spec] = {
            "frame": {**camera, **sliders},
            "encode": camera,
            "render": {"code": codes, **sliders},
        }[part]
        self.outputs: dict[str, Spec] = {}
        self.state: dict[str, Spec] = {}
        if part != "render":
            self.outputs["code"] = codes
        if part != "encode":
            self.outputs["picture"] = Spec((side, side, 3), torch.uint8)
            blank = self.portrait(torch.zeros(1, 3, self.reads, self.reads, device=device))
            self.state = {k: Spec(tuple(v.shape[1:]), v.dtype, channels_last=v.ndim == 4) for k, v in blank.items()}
        self._device = device
        self._pixels: dict[int, Tensor] = {}

    def portrait(self, picture: Tensor) -> dict[str, Tensor]:
        """State of a portrait, for `FrameGraph.set_state`: picture (1, 3, S, S) in [-1, 1], on the device."""
        with torch.inference_mode():
            z, feats = self.net.encode(picture)
            state = {"latent": z, "source": self.net.alpha(z)}
            return state | {f"feature{k}": f for k, f in enumerate(self.net.features(feats))}

    def run(self, inputs: Buffers, state: Buffers, outputs: Buffers) -> None:
        if self.part == "render":
            code = inputs["code"]
        else:
            code = self.net.alpha(self.net.latent(self._network_input(inputs)))
            outputs["code"].copy_(code)
        if self.part == "encode":
            return
        rgb = self._draw(code, inputs, state)
        for row in range(rgb.shape[0]):
            kernels.postprocess(rgb[row : row + 1], out=outputs["picture"][row])

    def _draw(self, code: Tensor, inputs: Buffers, state: Buffers) -> Tensor:
        """The pictures (B, 3, S, S) in [-1, 1] of the codes (B, M)."""
        amount = code - inputs["reference"] + state["source"] + inputs["edits"]
        feats = [state[f"feature{k}"] for k in range(len(state) - 2)]
        return self.net.decode(state["latent"] + self.net.move(amount), feats)

    def _network_input(self, inputs: Buffers) -> Tensor:
        """(B, 3, S, S), normalised and cropped; one buffer per batch size, made in the warm-up."""
        frames, boxes = inputs["frame"], inputs["box"]
        batch, side = frames.shape[0], self.reads
        if batch not in self._pixels:
            blank = torch.empty(batch, 3, side, side, dtype=self.dtype, device=self._device)
            self._pixels[batch] = blank.contiguous(memory_format=torch.channels_last)
        pixels = self._pixels[batch]
        for row in range(batch):
            kernels.preprocess(frames[row], box=boxes[row], out=pixels[row : row + 1])
        return pixels


Programs = Callable[[Part, tuple[int, int], torch.device], AnimatorProgram]
"""Makes the program of a part, for driving frames of that height and width, on a device."""
