"""The page as control panel of a running virtual camera (`avatar run --ui`)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.errors import UsageError
from realtime.flow.mailbox import Mailbox
from realtime.flow.metrics import Window
from realtime.media.backdrop import Backdrop
from realtime.media.backgrounds import Background, Behind
from realtime.motion.fit import Fit
from realtime.presets.folder import PresetFolder
from realtime.server.common import messages
from realtime.server.common.limits import Limits
from realtime.server.hosting.follow import FACES, follow, neutral_code, neutral_told, state_of
from realtime.server.hosting.frames import Driven, Shown
from realtime.server.hosting.gallery import Choice, Gallery, GalleryPortrait, PortraitChoice
from realtime.server.hosting.looks import OneBackground
from realtime.server.hosting.pace import Asked
from realtime.server.hosting.viewers import Viewers
from realtime.server.http.security import Policy
from realtime.server.panel_presets import PresetShelf
from realtime.server.places.here import Studio, StudioSettings
from realtime.server.serving import Address, listen, server_config
from realtime.session.control import Control
from realtime.session.shelf import ReadyPortrait
from realtime.settings import SHAPES, Live
from realtime.sinks import SinkBase, SinkOptions
from realtime.types import Picture


class HasOwnCamera(UsageError):
    """The panel was asked to drive the avatar in place of the running camera."""

    def __str__(self) -> str:
        return "This is the panel of a running virtual camera: it has a camera of its own"


class PanelSink(SinkBase):
    """Takes the pipeline's pictures and hands them to whoever has the panel open."""

    name = "panel"

    def __init__(self, options: SinkOptions) -> None:
        super().__init__(options)
        self.taken = 0
        self.total = Window()
        self.viewers = Viewers(badge=False, mark=options.mark, round=options.round)

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        """Hand a picture on, to those who watch."""
        now = time.monotonic()
        self.taken += 1
        self.total.add(now - picture.captured, now)
        self.viewers.publish(picture.image, picture.captured, now, index=picture.index)

    def close(self) -> None:
        """Tell all viewers that it is over."""
        self.viewers.close()


class PanelPlayer:
    """A `Player` that steers a running pipeline through its `Control`. All sessions share it."""

    def __init__(
        self,
        engine: Engine,
        sink: PanelSink,
        portraits: Sequence[GalleryPortrait],
        fps: float,
        behind: Behind = Behind(),  # noqa: B008 - frozen
    ) -> None:
        self.engine, self.sink, self.fps = engine, sink, fps
        self.gallery = Gallery(portraits)
        self.choice = PortraitChoice(engine, self.gallery, _aside, self._prepared, self._refused, behind)
        self.control: Control | None = None
        self.window_encode, self.window_render = Window(), Window()
        self.shape = ""
        """Wanted from the next start on: a camera keeps its size while it runs."""

    @property
    def _running(self) -> Control:
        if self.control is None:
            raise UsageError("The camera is still starting")
        return self.control

    failures = 0
    shapes = SHAPES
    preparing = False
    source: messages.Source = "camera"
    received = property(lambda self: self.control.stats.counts.captured if self.control else 0)
    no_face = property(lambda self: self.control.stats.counts.no_face if self.control else 0)
    dropped = property(lambda self: self.control.stats.counts.dropped if self.control else 0)
    rendered = property(lambda self: self.sink.taken)
    window_total = property(lambda self: self.sink.total)
    viewers = property(lambda self: len(self.sink.viewers))

    @property
    def live(self) -> Live:
        """The settings in force."""
        return self.control.live if self.control else Live()

    @property
    def portrait(self) -> GalleryPortrait:
        """What is, or will be, shown."""
        return self.choice.wanted.portrait

    @property
    def calibrated(self) -> bool:
        """The driver's neutral face is known."""
        return self.calibration >= 1.0

    @property
    def calibration(self) -> float:
        """How well it is known, 0 to 1."""
        return self.control.calibration if self.control else 0.0

    @property
    def fit(self) -> Fit | None:
        """How well it still sits."""
        return self.control.fit if self.control else None

    @property
    def neutral(self) -> list[float] | None:
        """The neutral code, where it was learnt on request."""
        return neutral_told(self.control.neutral if self.control else None)

    @property
    def face(self) -> messages.Face:
        """What the driver's face does."""
        return FACES.get(self.control.face, "resting") if self.control else "waiting"

    def offer(self, driven: Driven) -> None:
        """Nothing but the pipeline's own camera drives it."""

    hears = False

    def hear(self, samples: np.ndarray) -> None:
        """Nor a page's sound."""

    def tick(self, now: float) -> None:
        """The pipeline keeps its own time."""

    def keep_to(self, fps: float | None, sparing: bool = False) -> Asked:
        """And its own rate."""
        return Asked(0, 0)

    def watch(self, background: Background | None = None) -> Mailbox[Shown]:
        """A box that gets each new picture. Raises OneBackground: it is the virtual camera's picture, for all."""
        if background is not None:
            raise OneBackground
        return self.sink.viewers.watch()

    def command(self, command: messages.Command) -> None:
        """Follow a command. Raises UsageError."""
        _ = self._running
        follow(self, command)

    def state(self) -> messages.State:
        """What is shown now."""
        return state_of(self).model_copy(update={"shape": self.shape})

    def change(self, **fields: Any) -> None:
        """Replace fields of `live`. Raises BadValue, UnknownName."""
        self._running.change(**fields)

    def recalibrate(self, neutral: list[float] | None = None) -> None:
        """Take the driver's next steady frames as neutral, or the given code. Raises BadValue."""
        self._running.recalibrate(neutral_code(self.engine, neutral))

    def express(self, name: str, on: bool | None, seconds: float) -> None:
        """Put an expression on or off. Raises UnknownName."""
        self._running.express(name, on, seconds)

    def choose_source(self, source: messages.Source) -> None:
        """Raises HasOwnCamera."""
        raise HasOwnCamera

    async def try_portrait(self, image: np.ndarray, title: str) -> GalleryPortrait:
        """Show a picture that the client brought, and keep it in the gallery. Raises BadPortrait, PortraitLate."""
        _ = self._running
        return await self.choice.bring(image, title)

    async def try_view(self, portrait: str, image: np.ndarray) -> GalleryPortrait:
        """Take one more view of a portrait that the client brought. Raises UnknownName, TooManyViews,
        BadPortrait, PortraitLate, GalleryFull."""
        _ = self._running
        return await self.choice.bring_view(portrait, image)

    def forget_view(self, portrait: str, view: str) -> None:
        """Forget a view of a portrait that the client brought. Raises UnknownName."""
        _ = self._running
        self.choice.forget_view(portrait, view)

    async def try_background(self, own: Backdrop) -> None:
        """Show what the client brought behind the portrait, and keep it. Raises PortraitLate."""
        _ = self._running
        await self.choice.bring_behind(own)

    def choose_shape(self, shape: messages.Shape) -> None:
        """The shape of the next start."""
        self.shape = shape

    def forget_portrait(self, id: str) -> None:
        """Forget such a picture. Raises UnknownName."""
        self.choice.forget(id)

    def _prepared(self, choice: Choice) -> None:
        title, control = choice.portrait.title, self._running
        self.choice.show(choice, lambda ready: control.show(ReadyPortrait(title, ready)))

    def _refused(self, choice: Choice, error: Exception) -> None:
        self._running.tell(f"{choice.portrait.title}: {error}", "warning")

    def close(self) -> None:
        """The pipeline outlives its panels."""


def _aside(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="avatar-aside", daemon=True).start()


@contextlib.contextmanager
def open_panel(
    engine: Engine,
    portraits: Sequence[GalleryPortrait],
    fps: float,
    port: int,
    started: Callable[[str], None],
    mark: bool = True,
    behind: Behind = Behind(),  # noqa: B008 - frozen
    presets: PresetFolder | None = None,
    round: bool = False,
) -> Iterator[PanelPlayer]:
    """Serve the panel on 127.0.0.1 from a thread of its own. Give its `sink` to the pipeline, and the pipeline's
    control to it. started: called with the link. mark: put the invisible mark into the preview. behind: what the
    first portrait is shown before. presets: where they are kept. round: show the circle in the
    middle of the pictures alone.

    Raises DeviceError."""
    import uvicorn

    from realtime.server.http.app import create_app

    player = PanelPlayer(engine, PanelSink(SinkOptions(fps=fps, mark=mark, round=round)), portraits, fps, behind)
    policy = Policy.for_host("127.0.0.1")
    settings = StudioSettings(Limits(sessions=4), mark=False, threads=1)
    studio = Studio(lambda: engine, portraits, settings, panel=player)
    sock = listen(Address(port=port, wander=True))
    app = create_app(studio, policy)
    app.include_router(
        PresetShelf(presets or PresetFolder(), studio.check_control, player.gallery, player.choice).router()
    )
    config = server_config(app, settings.limits)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="avatar-panel", daemon=True)
    thread.start()
    try:
        started(policy.link("127.0.0.1", sock.getsockname()[1]))
        yield player
    finally:
        server.should_exit = True
        thread.join(10.0)
        sock.close()
