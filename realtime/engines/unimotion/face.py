"""E_f: the token of the face, from a crop around it."""

from __future__ import annotations

from realtime.engines.unimotion.layers import CropEncoder


class FaceEncoder(CropEncoder):
    """A crop (B, 3, C, C) in -1..1 to z_f (B, length) in -1..1."""
