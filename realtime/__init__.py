"""Real-time streaming avatar: a webcam frame in, an animated portrait out.

The names below are the public ones. Heavy libraries (torch, mediapipe, OpenCV, PyAV) load when a part that
needs them is first used, so that ``import realtime`` stays fast.
"""

import os

# Before numpy is imported. Our matrices are tiny: OpenBLAS's threads only wait for each other (a quarter of the
# processor time of a frame, and far more where the machine is busy). A value that is set already is kept.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from realtime.engines import ENGINES, Engine, load_engine
from realtime.errors import AvatarError
from realtime.types import Direction, Frame, MotionCode, Picture

__all__ = ["ENGINES", "AvatarError", "Direction", "Engine", "Frame", "MotionCode", "Picture", "load_engine"]
__version__ = "0.1.0"
