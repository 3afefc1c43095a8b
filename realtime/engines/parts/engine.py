"""The Motion Transformer as an engine: the parts of the driving frame move the parts of the portrait.

The motion code is the motion of the K parts, flattened: per part t_x, t_y, A_xx, A_xy, A_yx, A_yy (coordinates -1..1
of the square that the network sees). Motion is relative by keypoints and Jacobians (FOMM, NeurIPS 2019, section
3.3): with p the portrait, d the driving frame and r the reference,

    t = t_p + (t_d - t_r),    A = A_d A_r^-1 A_p,

which is the absolute motion (t_d, A_d) where the reference is the portrait's own code. FOMM's and MRAA's estimators
run as the same engine: the weight file says which one it holds. A moving background, for which a network may have
been trained, is held still, since a motion code says nothing of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from realtime.engines.gpu.program import Programs
from realtime.engines.neural.engine import EncodedPortrait, NeuralEngine
from realtime.engines.neural.place import Placement
from realtime.engines.parts.motion import PartMotion, coordinate_grid, resize_flow
from realtime.engines.parts.motion_transformer import MotionTransformer
from realtime.engines.parts.prepared import PartProgram, PreparedAnimator, relative_motion
from realtime.engines.parts.views import PartViews
from realtime.engines.parts.weights import load_animator, recipe_animator
from realtime.errors import BadPortrait
from realtime.types import Direction, MotionCode

ENTRIES = (
    ("x", -0.4, 0.4, "moves to the right"),
    ("y", -0.4, 0.4, "moves down"),
    ("xx", -0.5, 0.5, "grows wider"),
    ("xy", -0.5, 0.5, "leans along x"),
    ("yx", -0.5, 0.5, "leans along y"),
    ("yy", -0.5, 0.5, "grows taller"),
)
"""The six numbers of a part: name, range of a slider, what the part does as it grows."""


class MotransEngine(NeuralEngine):
    """Motion Transformer, FOMM or MRAA, as the weights say. See `NeuralEngine` for the options.

    With recipe weights it is the Motion Transformer of the paper at 256 pixels, a small one at 64 and 128.
    """

    name = kind = "motrans"
    net: Any

    def describe(self, motion_dim: int) -> list[Direction]:
        """Six directions per motion token; nobody has given them names."""
        return [
            Direction(f"token{k}-{name}", 6 * k + n, lo, hi, f"the part of motion token {k} {does}", named=False)
            for k in range(motion_dim // 6)
            for n, (name, lo, hi, does) in enumerate(ENTRIES)
        ]

    def read(self, path: Path) -> Any:
        return load_animator(path)

    def invent(self, seed: int, size: int, scale: int) -> Any:
        return recipe_animator(seed, size)

    def fold(self, net: Any, place: Placement) -> Any:
        return PreparedAnimator(net, place)

    @staticmethod
    def programs(net: Any) -> Programs:
        dtype = net.place.dtype
        return lambda part, frame, device: PartProgram(net, part=part, frame=frame, dtype=dtype, device=device)

    def _moved(
        self, code: MotionCode, reference: MotionCode, shown: EncodedPortrait
    ) -> tuple[PartMotion, PartMotion]:
        """The parts of the portrait, and where they go."""
        both = torch.from_numpy(np.stack([code.values, reference.values]).astype(np.float32)).to(self._device)
        driving, start = PartMotion.from_flat(both[:1]), PartMotion.from_flat(both[1:])
        portrait = PartMotion.from_flat(shown.code)
        return portrait, relative_motion(driving, start, portrait)

    def draw(self, code: MotionCode, reference: MotionCode, shown: EncodedPortrait) -> Tensor:
        return self.net.draw(shown.feats, *self._moved(code, reference, shown))

    def look(self, frame: np.ndarray) -> PartViews:
        """What the network sees in a driving frame, uint8 (H, W, 3) RGB, and the portrait moved by it (absolute).

        Raises BadPortrait where the frame shows no face, EngineError before the first portrait."""
        shown = self._shown()
        self.reset()
        square = self._driving_square(frame, 0.0)
        if square is None:
            raise BadPortrait("no face is found in the frame")
        return self._on_device(lambda: self._views(self._network_input(frame, square), shown))

    @torch.inference_mode()
    def _views(self, x: Tensor, shown: EncodedPortrait) -> PartViews:
        picture = self.net.latent(x)
        estimator, attention = self.net.network.estimator, None
        if isinstance(estimator, MotionTransformer):
            driving, maps = estimator.attention_maps(picture)
            attention = maps[0].cpu().numpy()
        else:
            driving = estimator(picture)
        home = PartMotion.from_flat(shown.code)
        motion = self.net.dense(shown.feats, home, driving)
        made = self.net.draw(shown.feats, home, driving)

        def as_picture(x: Tensor) -> np.ndarray:
            return (x[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

        return PartViews(
            frame=as_picture(picture),
            portrait=as_picture(shown.latent),
            made=as_picture((made + 1) / 2),
            points=driving.points[0].cpu().numpy(),
            affine=driving.affine[0].cpu().numpy(),
            home_points=home.points[0].cpu().numpy(),
            home_affine=home.affine[0].cpu().numpy(),
            masks=motion.masks[0].cpu().numpy(),
            occlusion=motion.occlusion[0, 0].cpu().numpy(),
            flow=motion.flow[0].cpu().numpy(),
            attention=attention,
        )

    def flow(self, code: MotionCode) -> np.ndarray:
        """How far the dense motion moves the portrait's pixels for `code`: float32 (S, S, 2), pixels of the rendered
        square, x then y: where each pixel is taken from, minus where it is."""
        shown = self._shown()
        return self._on_device(lambda: self._flow(code, self.reference or code, shown))

    @torch.inference_mode()
    def _flow(self, code: MotionCode, reference: MotionCode, shown: EncodedPortrait) -> np.ndarray:
        motion = self.net.dense(shown.feats, *self._moved(code, reference, shown))
        side = self.native
        away = resize_flow(motion.flow, side, side) - coordinate_grid(side, side, motion.flow)
        return (away[0] * ((side - 1) / 2)).cpu().numpy()
