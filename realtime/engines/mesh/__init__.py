"""The built-in CPU engine: a layered 2.5D mesh that needs no trained renderer, no weights and no GPU."""

from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.framing import frame_portrait, load_picture
from realtime.engines.mesh.portrait import PreparedPortrait, prepare_portrait
from realtime.media.portraits import builtin_portrait, builtin_portraits

__all__ = [
    "MeshEngine",
    "PreparedPortrait",
    "builtin_portrait",
    "builtin_portraits",
    "frame_portrait",
    "load_picture",
    "prepare_portrait",
]
