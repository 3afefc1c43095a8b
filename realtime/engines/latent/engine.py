"""LIA and LIA-X as engines.

With z_p and a_p the latent and code of the portrait, a the code to render and a_ref the reference code, the picture
is decoded from

    z = z_p + Q ((a - a_ref) + a_p)

which is the papers' relative motion with a_ref the first driving frame's code; with a_ref = a_p it is their absolute
motion, z_p + Q a. An edit is added to `a`; as the formula is linear it is the papers' edit of the portrait's own
code, a_p + e, and holds while the driver moves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from realtime.engines.latent.layers import LatentAnimator
from realtime.engines.latent.lia import FastLia, Lia
from realtime.engines.latent.lia_x import FastLiaX, LiaX
from realtime.engines.latent.prepared import Prepared
from realtime.engines.latent.weights import load_network, recipe_network
from realtime.engines.neural.engine import EncodedPortrait, NeuralEngine
from realtime.engines.neural.place import Placement
from realtime.types import Direction, Group, MotionCode

if TYPE_CHECKING:
    from realtime.engines.gpu.program import Programs


class LatentEngine(NeuralEngine):
    """Base of the two: a portrait's latent walks along the motion dictionary."""

    net: Prepared

    def read(self, path: Path) -> LatentAnimator:
        return load_network(path, self.kind)[0]

    def invent(self, seed: int, size: int, scale: int) -> LatentAnimator:
        return recipe_network(self.kind, seed, size, scale)

    @staticmethod
    def programs(net: Any) -> Programs:
        from realtime.engines.gpu.program import AnimatorProgram
        from realtime.engines.latent.fused import fuse

        fused, dtype = fuse(net), net.place.dtype
        return lambda part, frame, device: AnimatorProgram(fused, part=part, frame=frame, dtype=dtype, device=device)

    def draw(self, code: MotionCode, reference: MotionCode, shown: EncodedPortrait) -> Tensor:
        change = torch.from_numpy(np.asarray(code.values - reference.values, np.float32)[None])
        z = shown.latent + self.net.move(change.to(self._device) + shown.code)
        return self.net.decode(z, shown.feats)

    @torch.inference_mode()
    def flow(self, code: MotionCode) -> np.ndarray:
        """How far the finest level of the network moves the portrait's pixels for `code` (reference as in `render`):
        float32 (S, S, 2), pixels of the rendered square, x then y: where each pixel is taken from, minus where it is.
        Pixels that the mask replaces by drawn ones count in proportion."""
        shown = self._shown()
        reference = self.reference or code
        change = torch.from_numpy(np.asarray(code.values - reference.values, np.float32)[None])
        trace: dict[str, Tensor] = {}
        self.net.decode(shown.latent + self.net.move(change.to(self._device) + shown.code), shown.feats, trace)
        side = shown.feats[-1].shape[-1]
        logits = trace[f"flowraw{len(shown.feats) - 1}_{side}"]
        moved = torch.tanh(logits[:, :2]) * torch.sigmoid(logits[:, 2:]) * ((side - 1) / 2)
        return moved[0].permute(1, 2, 0).cpu().numpy()


class LiaEngine(LatentEngine):
    """LIA as an engine: 256 pixels, 20 directions without names."""

    name = kind = "lia"

    def describe(self, motion_dim: int) -> list[Direction]:
        """The paper names no direction; its own demonstrations sweep each from -3 to 3."""
        return [
            Direction(str(k), k, -3.0, 3.0, f"direction {k} of the learned dictionary", named=False)
            for k in range(motion_dim)
        ]

    def fold(self, net: LatentAnimator, place: Placement) -> FastLia:
        assert isinstance(net, Lia)
        return FastLia(net, place)


# The directions that LIA-X's authors name: index, name, group, range of the slider, what grows with it.
NAMED: tuple[tuple[int, str, Group, float, float, str], ...] = (
    (37, "yaw1", "head", -1.0, 0.5, "the head turns, the shoulders stay"),
    (39, "yaw2", "head", -1.0, 0.5, "the head turns with the shoulders"),
    (28, "pitch", "head", -1.0, 0.5, "the head nods"),
    (15, "roll1", "head", -0.5, 0.5, "the head tilts to a shoulder"),
    (33, "roll2", "head", -0.5, 0.5, "the head tilts to a shoulder, another way"),
    (31, "neck", "head", -0.5, 0.5, "the neck moves to the left or right"),
    (6, "pout", "mouth", -0.4, 0.4, "the lips pout"),
    (25, "mouth", "mouth", -0.4, 0.4, "the open mouth closes"),
    (16, "o_mouth", "mouth", -0.4, 0.4, "the mouth makes an O"),
    (19, "smile", "cheeks", -0.4, 0.4, "the cheeks lift in a smile"),
    (13, "eyes", "eyes", -0.4, 0.4, "the closed eyes open"),
    (24, "brows", "brows", -0.4, 0.4, "the eyebrows rise or frown"),
    (17, "eyeballs1", "gaze", -0.2, 0.2, "the eyes look elsewhere"),
    (26, "eyeballs2", "gaze", -0.2, 0.2, "the eyes look elsewhere, along another line"),
)


class LiaXEngine(LatentEngine):
    """LIA-X as an engine: 512 pixels, 40 directions, 14 of them named. `scale` only matters to recipe weights."""

    name = kind = "lia-x"

    def describe(self, motion_dim: int) -> list[Direction]:
        """The named directions in the authors' order, then the others by number. The names are those of the
        published dictionary; one of another size has none."""
        named = [Direction(n, i, lo, hi, about, group) for i, n, group, lo, hi, about in NAMED]
        taken = {d.index for d in named} if motion_dim == 40 else set()
        others = [
            Direction(str(k), k, -0.5, 0.5, f"direction {k} of the learned dictionary", named=False)
            for k in range(motion_dim)
            if k not in taken
        ]
        return [*(named if taken else ()), *others]

    def fold(self, net: LatentAnimator, place: Placement) -> FastLiaX:
        assert isinstance(net, LiaX)
        return FastLiaX(net, place)
