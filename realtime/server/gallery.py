"""Portraits to choose from: the built-in ones, shared by all, and what one session brought, its own."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from realtime.errors import UnknownName
from realtime.server.messages import PortraitInfo
from realtime.server.uploads import encode_jpeg

SMALL = 192
"""Side of the gallery's pictures, pixels."""


@dataclass(frozen=True)
class Portrait:
    """One portrait. image: uint8 (H, W, 3) RGB. consent: when its bringer said that the face may be used; None for
    the built-in ones, which need none."""

    id: str
    title: str
    image: np.ndarray
    small: bytes = field(repr=False)
    consent: datetime | None = None

    @classmethod
    def make(cls, id: str, title: str, image: np.ndarray, consent: datetime | None = None) -> Portrait:
        """A portrait with its small JPEG picture."""
        return cls(id, title, image, encode_jpeg(image, SMALL), consent)


class Gallery:
    """The portraits of one session. `shared` come first; at most `most` of its own, then the oldest leaves."""

    def __init__(self, shared: Sequence[Portrait], most: int = 12) -> None:
        if not shared:
            raise ValueError("a gallery needs one portrait to begin with")
        self._shared = {portrait.id: portrait for portrait in shared}
        self._own: OrderedDict[str, Portrait] = OrderedDict()
        self.most = most

    @property
    def first(self) -> Portrait:
        """The one to begin with."""
        return next(iter(self._shared.values()))

    def add(self, image: np.ndarray, title: str = "Your picture") -> Portrait:
        """Keep a picture whose bringer has consented, until the session ends."""
        portrait = Portrait.make(f"own-{secrets.token_urlsafe(8)}", title, image, datetime.now(UTC))
        self._own[portrait.id] = portrait
        while len(self._own) > self.most:
            self._own.popitem(last=False)
        return portrait

    def remove(self, id: str) -> None:
        """Forget an own portrait. Raises UnknownName."""
        if self._own.pop(id, None) is None:
            raise UnknownName("portrait", id, self._own)

    def get(self, id: str) -> Portrait:
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
