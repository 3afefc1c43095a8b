"""The portrait before other backgrounds than the session's own, for views that want theirs."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.errors import AvatarError, UsageError
from realtime.media.backgrounds import Background, Behind
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.hosting.pool import Pool
from realtime.session.driver import Drive

log = logging.getLogger(__name__)

_OWN = object()
"""In place of a portrait that could not be made ready: the session's own picture is shown."""


class OneBackground(UsageError):
    """A view asked for a background of its own where there is one picture for all."""

    def __str__(self) -> str:
        return "Views of this avatar cannot have a background of their own: choose it on its page"


class Looks:
    """Portraits made ready aside, one for each background that a view wants. `render` is for the rendering thread.

    Changing between portraits that were made ready takes no time; an engine without `prepare` has to make them ready
    each time, which no live rate allows: it has one background. Each background more costs one more rendering."""

    def __init__(self, engine: Engine, pool: Pool) -> None:
        self._engine, self._pool = engine, pool
        self._lock = threading.Lock()
        self._of: tuple[GalleryPortrait, str] | None = None
        self._ready: dict[Background, Any] = {}
        self._asked: set[Background] = set()

    def check(self) -> None:
        """Raises OneBackground."""
        if not hasattr(self._engine, "prepare"):
            raise OneBackground

    def render(
        self, portrait: GalleryPortrait, background: Background, drive: Drive, back: Any, shape: str = ""
    ) -> np.ndarray | None:
        """The portrait before that background, uint8 (H, W, 3); None while it is being made ready; where that failed,
        before the session's own. back: what the engine shows otherwise, set again afterwards. shape: as `ready_for`
        takes it."""
        ready = self._get(portrait, background, shape)
        if ready is None:
            return None
        try:
            self._engine.set_portrait(back if ready is _OWN else ready)
            self._engine.reference = drive.reference
            return self._engine.render(drive.code)
        finally:
            self._engine.set_portrait(back)
            self._engine.reference = drive.reference

    def follow(self, portrait: GalleryPortrait, shape: str) -> None:
        """This is shown from now on: what was made ready of any other is dropped."""
        with self._lock:
            self._turn_to(portrait, shape)

    def _turn_to(self, portrait: GalleryPortrait, shape: str) -> None:
        if self._of != (portrait, shape):
            self._of, self._ready, self._asked = (portrait, shape), {}, set()

    def _get(self, portrait: GalleryPortrait, background: Background, shape: str) -> Any:
        with self._lock:
            self._turn_to(portrait, shape)
            if background in self._asked:
                return self._ready.get(background)
            self._asked.add(background)
        self._pool.aside.submit(self._prepare, portrait, background, shape)
        return None

    def _prepare(self, portrait: GalleryPortrait, background: Background, shape: str) -> None:
        ready: Any = _OWN
        try:
            ready = portrait.ready_for(self._engine, Behind(background), shape)
        except Exception as error:  # it is asked for once, so a view would wait for ever
            said = str(error) if isinstance(error, AvatarError) else type(error).__name__
            log.warning("a view has its session's own background, as %s could not be made: %s", background, said)
        with self._lock:
            if self._of == (portrait, shape):
                self._ready[background] = ready
