"""LivePortrait: a portrait as a volume of features, moved by 21 keypoints in three dimensions.

Guo et al.: "LivePortrait: Efficient Portrait Animation with Stitching and Retargeting Control" (2024, arXiv
2407.03168). Five networks, one per file: the appearance of the portrait (F), the motion of a frame (M), the warp of
the volume (W), the generator (G), and the small heads that stitch and retarget (S). Code and weights are MIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.engines.liveportrait.networks import Networks
    from realtime.engines.liveportrait.weights import load_networks

__all__ = ["Networks", "load_networks"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from realtime.engines.liveportrait import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
