"""The face motion encoder of Wan-Animate.

Cheng et al.: "Wan-Animate: Unified Character Animation and Replacement with Holistic Replication" (2025), the part
that reads the face. It is LIA's encoder at 512 pixels with LIA's motion dictionary, without the decoder: a face
picture becomes the 512-number motion vector Q alpha, with no appearance in it.
"""

from __future__ import annotations

from torch import Tensor, nn

from realtime.engines.latent.layers import MotionDictionary
from realtime.engines.latent.lia import STYLE, LiaReader


class _Dictionary(nn.Module):
    """Gives the dictionary its published name, `dec.direction`."""

    def __init__(self, motion_dim: int) -> None:
        super().__init__()
        self.direction = MotionDictionary(STYLE, motion_dim)


class WanFaceEncoder(LiaReader):
    """Parameter names are those of the `motion_encoder.` part of the published files, without that prefix."""

    def __init__(self, size: int = 512, motion_dim: int = 20) -> None:
        super().__init__(size, motion_dim)
        self.dec = _Dictionary(motion_dim)

    def motion(self, x: Tensor) -> Tensor:
        """Motion vector of a face picture: (B, 3, 512, 512) in [-1, 1] -> (B, 512), Q alpha, float32."""
        z, _ = self.encode(x)
        q = self.directions()
        return self.alpha(z).to(q.dtype) @ q.T
