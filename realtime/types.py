"""The few values that travel through the pipeline. No I/O, no heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

SYNTHETIC = -1
"""Index of a code, or picture, that no driving frame gave: idle motion while nothing drives."""

Group = Literal["head", "eyes", "gaze", "brows", "mouth", "cheeks", "body", "other"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One driving frame.

    image: uint8 (H, W, 3), RGB, C-contiguous. Not written to after it left the source.
    captured: when it left the camera, in seconds of `time.monotonic()`.
    index: counts from 0 at the source; gaps are frames the source itself lost.
    pts: presentation time in seconds from the start of the source (media time; for files and tracks).
    """

    image: np.ndarray
    captured: float
    index: int = 0
    pts: float = 0.0


@dataclass(frozen=True, slots=True)
class Landmarks:
    """A face that was found in a driving frame elsewhere: all that is known of the frame here.

    points: float32 (478, 3) in pixels of that frame, as `realtime.face.landmarks` gives them; None: no face was seen.
    width, height: of the frame, pixels. mirrored: it had been flipped left to right before the face was found.
    captured, index, pts: as in `Frame`.
    """

    points: np.ndarray | None
    width: int
    height: int
    mirrored: bool = False
    captured: float = 0.0
    index: int = 0
    pts: float = 0.0


@dataclass(frozen=True, slots=True)
class Direction:
    """One entry of an engine's motion dictionary.

    index: which entry of `MotionCode.values` it moves.
    lo, hi: the range a slider offers, in `unit` ("" for a plain number, "deg" for degrees).
    group: the part of the face it moves; amplitude is set per group.
    about: one plain sentence: what a person sees when it grows.
    named: False for directions that only have a number as a name.
    """

    name: str
    index: int
    lo: float
    hi: float
    about: str = ""
    group: Group = "other"
    unit: str = ""
    named: bool = True


@dataclass(frozen=True, slots=True)
class MotionCode:
    """What a driving frame says about motion: one vector, in the engine's own dictionary.

    kind: the engine family whose dictionary `values` belongs to (its name in `realtime.families`).
    values: float32 (K,). `values[d.index]` is the amount of direction `d`.
    captured, pts, index: carried over from the frame (see `Frame`).
    """

    kind: str
    values: np.ndarray
    captured: float = 0.0
    pts: float = 0.0
    index: int = 0

    def with_values(self, values: np.ndarray) -> MotionCode:
        """The same code with other values, as float32."""
        return replace(self, values=np.asarray(values, np.float32))


@dataclass(frozen=True, slots=True)
class Picture:
    """One rendered avatar picture on its way to the sinks.

    image: uint8 (S, S, 3) or (H, W, 3), RGB. captured, pts, index: those of the driving frame.
    stamps: when each stage finished, in seconds of `time.monotonic()`, by stage name.
    code, reference: what was rendered, and the driver's neutral code; None where nobody says.
    """

    image: np.ndarray
    captured: float
    pts: float = 0.0
    index: int = 0
    stamps: dict[str, float] = field(default_factory=dict)
    code: MotionCode | None = None
    reference: MotionCode | None = None
