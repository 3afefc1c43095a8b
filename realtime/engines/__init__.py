"""Engines: what turns a driving frame into a motion code, and a motion code into a picture.

A new engine is one file (or package) and one line in `realtime.families`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from realtime.errors import MissingExtra, UnknownName
from realtime.families import ENGINES, target
from realtime.types import Direction, Frame, Landmarks, MotionCode

__all__ = ["ENGINES", "Engine", "ReadsLandmarks", "Spares", "TakesViews", "load_engine"]


@runtime_checkable
class Engine(Protocol):
    """Contract of an engine.

    Called from one worker thread at a time: `encode` from the encoding stage, `render` from the rendering stage,
    possibly at the same moment as each other. `set_portrait`, `reference` and `close` are called between frames
    by the thread that renders. After `close` all but `close` raise EngineError.

    What an engine tracks from frame to frame (filters, the crop that follows the face) goes by one time alone: the
    `captured` of the frames it encodes, in seconds that do not go back. Whoever reads media puts its time there, as a
    session does offline. `pts` and `index` are only carried over to the code.

    Motion is relative: `render(code)` shows the portrait moved by `code` minus `reference`, the code of the
    driver's neutral face. `reference` None: the first code rendered becomes the reference. Setting it to
    `portrait_code` gives absolute motion (the driver is the person of the portrait).
    """

    name: str
    """Registry name."""
    kind: str
    """Family of its codes, see `MotionCode.kind`."""
    device: str
    """What it runs on, for people: "cpu", "cuda:0 NVIDIA H200"."""
    size: int
    """Side of the rendered square, pixels (height, where the picture is not square)."""
    directions: Sequence[Direction]
    """The motion dictionary: the named directions first."""
    reference: MotionCode | None
    """The driver's neutral code. To set it to anything but a code of this engine raises BadValue."""

    def set_portrait(self, image: Any) -> None:
        """Take a new portrait: uint8 (H, W, 3) RGB. All that can be computed once is computed here.

        Raises BadPortrait, and keeps the old portrait."""

    @property
    def portrait_code(self) -> MotionCode:
        """The portrait's own motion code."""

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """Motion code of a driving frame, None where there is no face. A bare array is uint8 (H, W, 3) RGB, taken to
        be 1/30 s after the last one: a stream of any other rate comes as `Frame`s."""

    def render(self, code: MotionCode) -> np.ndarray:
        """The portrait in that motion: uint8 (S, S, 3) RGB, a new array.

        Raises BadValue for a code of another engine, EngineError where there is no portrait."""

    def reset(self) -> None:
        """Forget what was tracked (a new driver, a jump in the source). The portrait stays."""

    def close(self) -> None:
        """Free what is held. Safe to call twice."""


@runtime_checkable
class ReadsLandmarks(Protocol):
    """An engine that needs no more of a driving frame than the landmarks of the face in it: whoever finds those
    himself need not send the frame."""

    def encode_landmarks(self, found: Landmarks) -> MotionCode | None:
        """The motion code of a driving frame of which the landmarks alone are known, None where no face was seen.
        What `encode` tracks from frame to frame goes on. `found.mirrored` is left to the caller."""


@runtime_checkable
class Spares(Protocol):
    """An engine that can leave out a part of its work which is missed less than pictures are."""

    def spare(self, sparing: bool) -> None:
        """Leave it out from now on (the machine is full), or no more. Any thread; pictures change softly."""


@runtime_checkable
class TakesViews(Protocol):
    """An engine that takes more pictures of a portrait's person, and shows each motion from the one that comes
    nearest. What is ready of the portrait itself, from its `prepare`, and of each view is put together at no cost.
    Any thread."""

    def prepare_view(self, image: np.ndarray, beside: Any = None) -> Any:
        """Another picture, uint8 (H, W, 3) RGB, made ready beside what `prepare` made of the portrait; None: beside
        the portrait shown. Raises BadPortrait."""

    def with_views(self, prepared: Any, views: Sequence[Any]) -> Any:
        """What `set_portrait` takes: what `prepare` made, with these views in place of any that it had."""


def load_engine(name: str, **options: Any) -> Engine:
    """Make the engine `name`, one of `ENGINES`.

    Common options: `size` (pixels), `device` ("auto", "cpu", "cuda"), `weights` (path or "recipe:SEED").
    Raises UnknownName, MissingExtra, EngineError, BadFile.
    """
    if name not in ENGINES:
        raise UnknownName("engine", str(name), ENGINES)
    try:
        cls = target(ENGINES[name])
    except ModuleNotFoundError as error:
        if error.name in {"torch", "safetensors", "huggingface_hub"}:
            raise MissingExtra(f"the engine {name}", error.name, "torch") from error
        raise
    known = inspect.signature(cls).parameters
    for option in options:
        if option not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise UnknownName(f"option of the engine {name}", option, known)
    return cls(**options)
