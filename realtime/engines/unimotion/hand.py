"""E_h: the token of a hand, from a crop around it."""

from __future__ import annotations

from realtime.engines.unimotion.layers import CropEncoder


class HandEncoder(CropEncoder):
    """A crop (B, 3, C, C) in -1..1 to z_rh, or z_lh, (B, length) in -1..1.

    One encoder reads both hands: crops of the left one come mirrored, so that it has to know right hands alone (a
    choice)."""
