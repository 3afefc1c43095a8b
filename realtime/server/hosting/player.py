"""What a session needs of the thing that plays its avatar: a `Performer` of its own, or a running virtual camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from realtime.flow.mailbox import Mailbox
from realtime.media.backdrop import Backdrop
from realtime.media.backgrounds import Background
from realtime.server.common import messages
from realtime.server.common.metrics import Counts
from realtime.server.hosting.frames import Driven, Shown
from realtime.server.hosting.gallery import Gallery, GalleryPortrait
from realtime.server.hosting.pace import Asked

if TYPE_CHECKING:
    from realtime.engines import Engine
    from realtime.motion.fit import Fit


class Player(Counts, Protocol):
    """Called from the event loop; nothing here blocks but `close`."""

    engine: Engine
    gallery: Gallery
    fps: float

    def offer(self, driven: Driven) -> None:
        """A driving frame or code has come."""

    @property
    def shapes(self) -> tuple[str, ...]:
        """Shapes of the picture that can be chosen."""

    @property
    def hears(self) -> bool:
        """Lips follow the driver's sound now."""

    def hear(self, samples: np.ndarray) -> None:
        """The driver's sound: float32 (N,), `voice.hearing.RATE` a second. Dropped unless it `hears`."""

    def tick(self, now: float) -> None:
        """Called `fps` times a second."""

    def keep_to(self, fps: float | None, sparing: bool = False) -> Asked:
        """At most so many pictures a second from now on, None for all that are asked for; what was asked for since
        the last call. sparing: what pictures can do without is left out."""

    def watch(self, background: Background | None = None) -> Mailbox[Shown]:
        """A box that gets each new picture. Close it to leave. background: the viewer's own. Raises OneBackground."""

    @property
    def viewers(self) -> int:
        """How many watch."""

    @property
    def face(self) -> messages.Face:
        """What the driver's face does."""

    @property
    def calibration(self) -> float:
        """How well the driver's neutral face is known, 0 to 1."""

    @property
    def fit(self) -> Fit | None:
        """How well it still sits; None before anything drives."""

    def command(self, command: messages.Command) -> None:
        """Follow a command. Raises UsageError."""

    def state(self) -> messages.State:
        """What is shown now."""

    async def try_portrait(self, image: np.ndarray, title: str) -> GalleryPortrait:
        """Show a picture that the client brought. Raises BadPortrait, PortraitLate."""

    async def try_view(self, portrait: str, image: np.ndarray) -> GalleryPortrait:
        """Take one more view of a portrait that the client brought. Raises UnknownName, TooManyViews,
        BadPortrait, PortraitLate, GalleryFull."""

    def forget_view(self, portrait: str, view: str) -> None:
        """Forget such a view. Raises UnknownName."""

    async def try_background(self, own: Backdrop) -> None:
        """Show what the client brought behind the portrait, and keep it. Raises PortraitLate."""

    def forget_portrait(self, id: str) -> None:
        """Forget such a picture. Raises UnknownName."""

    def close(self) -> None:
        """Free what is held. May block."""
