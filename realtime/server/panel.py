"""The page as control panel of a running virtual camera (`avatar run --ui`)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from realtime.engines import Engine
from realtime.errors import UsageError
from realtime.flow.mailbox import Mailbox
from realtime.flow.metrics import Window
from realtime.media.backgrounds import with_background
from realtime.media.watermark import embed
from realtime.motion.edits import Edits
from realtime.server import messages
from realtime.server.gallery import Gallery, GalleryPortrait
from realtime.server.hosted import FACES
from realtime.server.http.security import Policy
from realtime.server.limits import Limits
from realtime.server.looks import OneBackground
from realtime.server.places.here import Studio, StudioSettings
from realtime.server.rtc.clock import AvatarClock
from realtime.server.rtc.frames import Driven, Shown, to_yuv
from realtime.server.serving import Address, listen, server_config
from realtime.session.control import Control
from realtime.settings import Live
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
        self.boxes: list[Mailbox[Shown]] = []
        self.newest: Shown | None = None
        self.taken = 0
        self.total = Window()
        self._shown = AvatarClock()
        self._lock = threading.Lock()

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        """Hand a picture on, to those who watch."""
        now = time.monotonic()
        self.taken += 1
        self.total.add(now - picture.captured, now)
        with self._lock:
            boxes = list(self.boxes)
        if not boxes:
            self.newest = None
            return
        pts = self._shown.stamp(now)
        yuv = to_yuv(picture.image)
        if self.options.mark:
            embed(yuv[: yuv.shape[0] * 2 // 3])
        shown = Shown(picture.image, yuv, pts, picture.captured, now, picture.index)
        self.newest = shown
        gone = [box for box in boxes if not box.put(shown)]
        with self._lock:
            self.boxes = [box for box in self.boxes if box not in gone]

    def watch(self) -> Mailbox[Shown]:
        """A box for one viewer."""
        box: Mailbox[Shown] = Mailbox()
        with self._lock:
            self.boxes.append(box)
        return box

    def close(self) -> None:
        """Tell all viewers that it is over."""
        with self._lock:
            boxes, self.boxes = self.boxes, []
        for box in boxes:
            box.close()


class PanelPlayer:
    """A `Player` that steers a running pipeline through its `Control`. All sessions share it."""

    def __init__(self, engine: Engine, sink: PanelSink, portraits: Sequence[GalleryPortrait], fps: float) -> None:
        self.engine, self.sink, self.fps = engine, sink, fps
        self.gallery = Gallery(portraits)
        self.control: Control | None = None
        self.portrait = self.gallery.first
        self.background: messages.Background = "original"
        self.failures = 0
        self.window_encode, self.window_render = Window(), Window()

    @property
    def _running(self) -> Control:
        if self.control is None:
            raise UsageError("The camera is still starting")
        return self.control

    received = property(lambda self: self.control.stats.counts.captured if self.control else 0)
    no_face = property(lambda self: self.control.stats.counts.no_face if self.control else 0)
    dropped = property(lambda self: self.control.stats.counts.dropped if self.control else 0)
    rendered = property(lambda self: self.sink.taken)
    window_total = property(lambda self: self.sink.total)
    viewers = property(lambda self: len(self.sink.boxes))

    @property
    def face(self) -> messages.Face:
        """What the driver's face does."""
        return FACES.get(self.control.face, "resting") if self.control else "waiting"

    def offer(self, driven: Driven) -> None:
        """Nothing but the pipeline's own camera drives it."""

    def tick(self, now: float) -> None:
        """The pipeline keeps its own time."""

    def watch(self, background: messages.Background | None = None) -> Mailbox[Shown]:
        """A box that gets each new picture. Raises OneBackground: it is the virtual camera's picture, for all."""
        if background is not None:
            raise OneBackground
        return self.sink.watch()

    def command(self, command: messages.Command) -> None:
        """Follow a command. Raises UsageError."""
        control = self._running
        match command:
            case messages.SetEdits(values=values):
                Edits(self.engine.directions, values)
                edits = {**control.live.edits, **values}
                control.change(edits={name: amount for name, amount in edits.items() if amount != 0.0})
            case messages.ResetEdits():
                control.change(edits={})
            case messages.Calibrate():
                control.recalibrate()
            case messages.Pause(paused=paused):
                control.change(paused=paused)
            case messages.Mirror(on=on):
                control.change(mirror=on)
            case messages.ChoosePortrait(id=id):
                self._show(self.gallery.get(id), self.background)
            case messages.ChooseBackground(background=background):
                self._show(self.portrait, background)
            case messages.ChooseSource():
                raise HasOwnCamera

    def _show(self, portrait: GalleryPortrait, background: messages.Background) -> None:
        control = self._running
        self.portrait, self.background = portrait, background

        def work() -> None:
            control.set_portrait(with_background(portrait.image, background), portrait.title)

        threading.Thread(target=work, daemon=True).start()

    async def try_portrait(self, image: np.ndarray, title: str) -> GalleryPortrait:
        """Show a picture that the client brought. Raises BadPortrait."""
        portrait = self.gallery.new(image, title)
        await asyncio.to_thread(portrait.ready_for, self.engine, self.background)
        self.gallery.keep(portrait)
        self._show(portrait, self.background)
        return portrait

    def forget_portrait(self, id: str) -> None:
        """Forget such a picture. Raises UnknownName."""
        self.gallery.remove(id)
        if self.portrait.id == id:
            self._show(self.gallery.first, self.background)

    @property
    def calibration(self) -> float:
        """How well the driver's neutral face is known, 0 to 1."""
        return self.control.calibration if self.control else 0.0

    def state(self) -> messages.State:
        """What is shown now."""
        live = self.control.live if self.control else Live()
        return messages.State(
            portrait=self.portrait.id,
            edits=dict(live.edits),
            paused=live.paused,
            mirror=live.mirror,
            background=self.background,
            source="camera",
            calibrated=self.control is not None and self.control.calibration >= 1.0,
            calibration=self.calibration,
            face=self.face,
        )

    def close(self) -> None:
        """The pipeline outlives its panels."""


@contextlib.contextmanager
def open_panel(
    engine: Engine,
    portraits: Sequence[GalleryPortrait],
    fps: float,
    port: int,
    started: Callable[[str], None],
    mark: bool = True,
) -> Iterator[PanelPlayer]:
    """Serve the panel on 127.0.0.1 from a thread of its own. Give its `sink` to the pipeline, and the pipeline's
    control to it. started: called with the link. mark: put the invisible mark into the preview.

    Raises DeviceError."""
    import uvicorn

    from realtime.server.http.app import create_app

    player = PanelPlayer(engine, PanelSink(SinkOptions(fps=fps, mark=mark)), portraits, fps)
    policy = Policy.for_host("127.0.0.1")
    settings = StudioSettings(Limits(sessions=4), mark=False, threads=1)
    studio = Studio(lambda: engine, portraits, settings, panel=player)
    sock = listen(Address(port=port, wander=True))
    config = server_config(create_app(studio, policy), settings.limits)
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
