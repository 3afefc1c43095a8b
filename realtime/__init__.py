"""Real-time streaming avatar: a webcam frame in, an animated portrait out.

The names below are the public ones. Heavy libraries (torch, mediapipe, OpenCV, PyAV) load when a part that
needs them is first used, so that ``import realtime`` stays fast.
"""

import os

# Before numpy is imported. Our matrices are tiny: OpenBLAS's threads only wait for each other (a quarter of the
# processor time of a frame, and far more where the machine is busy). A value that is set already is kept.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from importlib import import_module
from typing import TYPE_CHECKING, Any

from realtime.engines import ENGINES, Engine, load_engine
from realtime.errors import AvatarError
from realtime.types import Direction, Frame, MotionCode, Picture

if TYPE_CHECKING:
    from realtime.media.portraits import builtin_portrait
    from realtime.motion.track import MotionTrack, builtin_track
    from realtime.session.control import Control
    from realtime.session.local import Pipeline
    from realtime.settings import Live, PipelineSettings
    from realtime.sinks import Sink, open_sink
    from realtime.sources import Source, open_source

__all__ = [
    "ENGINES",
    "AvatarError",
    "Control",
    "Direction",
    "Engine",
    "Frame",
    "Live",
    "MotionCode",
    "MotionTrack",
    "Picture",
    "Pipeline",
    "PipelineSettings",
    "Sink",
    "Source",
    "builtin_portrait",
    "builtin_track",
    "load_engine",
    "open_sink",
    "open_source",
]

_LATER = {
    "Control": "realtime.session.control",
    "Live": "realtime.settings",
    "MotionTrack": "realtime.motion.track",
    "Pipeline": "realtime.session.local",
    "PipelineSettings": "realtime.settings",
    "Sink": "realtime.sinks",
    "Source": "realtime.sources",
    "builtin_portrait": "realtime.media.portraits",
    "builtin_track": "realtime.motion.track",
    "open_sink": "realtime.sinks",
    "open_source": "realtime.sources",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'realtime' has no attribute {name!r}")


__version__ = "0.1.0"
