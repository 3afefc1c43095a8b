"""Portraits prepared ahead, so that switching takes no longer than one frame."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.media.backdrop import Keyed
from realtime.media.backgrounds import unkeyed

ROOM = 16
"""Portraits kept; the one that was not shown for longest goes first."""


@dataclass(frozen=True)
class ReadyPortrait:
    """A portrait that the engine can show at once. data: what `Rendering.swap` takes."""

    name: str
    data: Any


class Shelf:
    """Prepares portraits, by `engine.prepare` where the engine has it, and keeps them by name.

    `prepare` may be called from any thread and takes its time; the others return at once.
    """

    def __init__(self, engine: Engine) -> None:
        self._prepare: Callable[[np.ndarray], Any] = getattr(engine, "prepare", lambda image: image)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, ReadyPortrait] = OrderedDict()

    def prepare(self, name: str, image: np.ndarray | Keyed) -> ReadyPortrait:
        """Get a picture, uint8 (H, W, 3) RGB, or that before a clip, ready and keep it. Raises BadPortrait."""
        data = self._prepare(unkeyed(image))
        prepared = ReadyPortrait(name, replace(image, data=data) if isinstance(image, Keyed) else data)
        self.keep(prepared)
        return prepared

    def keep(self, prepared: ReadyPortrait) -> None:
        """Keep a portrait under its name."""
        with self._lock:
            self._kept[prepared.name] = prepared
            self._kept.move_to_end(prepared.name)
            while len(self._kept) > ROOM:
                self._kept.popitem(last=False)

    def get(self, name: str) -> ReadyPortrait | None:
        """The portrait of that name, None where none is kept."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    @property
    def names(self) -> list[str]:
        """Names of the portraits that are ready, in the order in which they were kept or last shown."""
        with self._lock:
            return list(self._kept)
