"""Portraits to choose from: the built-in ones, shared by all, and what one session brought, its own."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.errors import UnknownName
from realtime.media.backgrounds import with_background
from realtime.media.uploads import encode_jpeg
from realtime.server.messages import Background, PortraitInfo

SMALL = 192
"""Side of the gallery's pictures, pixels."""


class GalleryPortrait:
    """One portrait. image: uint8 (H, W, 3) RGB. small: its JPEG picture for the gallery. consent: when its bringer
    said that the face may be used; None for the built-in ones, which need none."""

    def __init__(self, id: str, title: str, image: np.ndarray, consent: datetime | None = None) -> None:
        self.id, self.title, self.image, self.consent = id, title, image, consent
        self.small = encode_jpeg(image, SMALL)
        self._ready: dict[tuple[str, int, Background], Any] = {}
        self._lock = threading.Lock()

    def ready_for(self, engine: Engine, background: Background) -> Any:
        """What `engine.set_portrait` takes: prepared ahead where the engine can do that (`prepare`), else the
        picture. Prepared once for all sessions. Blocks for up to a second; any thread. Raises BadPortrait."""
        key = (engine.name, engine.size, background)
        with self._lock:
            if key not in self._ready:
                prepare = getattr(engine, "prepare", lambda image: image)
                self._ready[key] = prepare(with_background(self.image, background))
            return self._ready[key]


class Gallery:
    """The portraits of one session. `shared` come first; at most `most` of its own, then the oldest leaves."""

    def __init__(self, shared: Sequence[GalleryPortrait], most: int = 12) -> None:
        if not shared:
            raise ValueError("a gallery needs one portrait to begin with")
        self._shared = {portrait.id: portrait for portrait in shared}
        self._own: OrderedDict[str, GalleryPortrait] = OrderedDict()
        self.most = most

    @property
    def first(self) -> GalleryPortrait:
        """The one to begin with."""
        return next(iter(self._shared.values()))

    @staticmethod
    def new(image: np.ndarray, title: str) -> GalleryPortrait:
        """A portrait of a picture whose bringer has consented just now. It is not in the gallery yet."""
        return GalleryPortrait(f"own-{secrets.token_urlsafe(8)}", title, image, datetime.now(UTC))

    def keep(self, portrait: GalleryPortrait) -> None:
        """Keep a portrait until the session ends."""
        self._own[portrait.id] = portrait
        while len(self._own) > self.most:
            self._own.popitem(last=False)

    def remove(self, id: str) -> None:
        """Forget an own portrait. Raises UnknownName."""
        if self._own.pop(id, None) is None:
            raise UnknownName("portrait", id, self._own)

    def get(self, id: str) -> GalleryPortrait:
        """Raises UnknownName."""
        found = self._own.get(id) or self._shared.get(id)
        if found is None:
            raise UnknownName("portrait", id, [*self._shared, *self._own])
        return found

    def infos(self, session: str) -> list[PortraitInfo]:
        """For the page; the pictures are under the session's address."""
        return [
            PortraitInfo(
                id=portrait.id,
                title=portrait.title,
                image=f"/api/sessions/{session}/portraits/{portrait.id}.jpg",
                uploaded=portrait.consent is not None,
            )
            for portrait in [*self._shared.values(), *self._own.values()]
        ]

    def clear(self) -> None:
        """Forget all that the session brought."""
        self._own.clear()
