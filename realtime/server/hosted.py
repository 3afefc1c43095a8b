"""One avatar: a driver's frames, codes or a sample go in; pictures for its viewers come out.

No code path leads from a driving frame to a viewer: a driving frame goes to `Engine.encode` and nowhere else, and
what is shown comes from `Engine.render`, or is the still portrait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from realtime.engines import Engine
from realtime.errors import AvatarError, BadValue, UsageError
from realtime.flow.mailbox import Mailbox, Slot
from realtime.flow.metrics import Window
from realtime.flow.threads import one_core_per_stage
from realtime.media.marks import draw_mark
from realtime.media.watermark import embed
from realtime.motion.edits import Edits
from realtime.motion.vocabulary import mirrored
from realtime.server import messages
from realtime.server.gallery import Gallery, GalleryPortrait
from realtime.server.looks import Looks, Viewer
from realtime.server.pool import Pool
from realtime.server.rtc.clock import AvatarClock
from realtime.server.rtc.frames import Driven, Shown, to_rgb, to_yuv
from realtime.session.driver import Drive, Driver
from realtime.session.health import Fallback
from realtime.session.sample import Sample
from realtime.settings import Live
from realtime.types import MotionCode

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

FACES: dict[str, messages.Face] = {
    "unknown": "waiting",
    "tracked": "tracking",
    "returning": "tracking",
    "held": "holding",
    "leaving": "easing",
}
"""The driver's word for its state, and the page's; all others mean that the avatar rests."""
SEEN = ("tracked", "returning", "held")
"""States of the driver in which there is a face to learn from."""


class NoFaceToLearn(UsageError):
    """A neutral face was to be learnt, and there is none."""

    def __str__(self) -> str:
        return "No face is in the picture: there is nothing to calibrate on"


class Performer:
    """A `Player` with an engine of its own: an engine with its driver, its portraits and its sliders.

    `offer`, `tick`, `command` and `watch` may be called from any thread and return at once; the pool calls `step`.
    changed: called (from a pool thread) after a command took effect, or the state of the face changed.
    """

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        pool: Pool,
        *,
        fps: float = 30.0,
        mark: bool = True,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        source: messages.Source = "sample",
    ) -> None:
        self.engine, self.gallery, self.pool, self.fps, self.mark = engine, gallery, pool, fps, mark
        self.changed, self._clock = changed, clock
        self.source = source
        self.live = Live()
        self.background: messages.Background = "original"
        self.portrait = self._chosen = gallery.first
        self.received = self.rendered = self.no_face = self.failures = 0
        self.window_encode, self.window_render, self.window_total = Window(), Window(), Window()
        self._slot: Slot[Driven] = Slot()
        self._lock = threading.Lock()
        self._changes: deque[Callable[[], None]] = deque()
        self._viewers: list[Viewer] = []
        self._looks = Looks(engine, pool)
        self._shown = AvatarClock()
        self._calibrated = False
        self._choices = self._settled = 0
        one_core_per_stage()
        self._set_portrait(0, self.portrait, self.background, self.portrait.ready_for(engine, self.background))
        self._sample = Sample(engine)
        self._driver = Driver(engine, self._sample.reference if source == "sample" else None)
        self._guard = Fallback()
        self._last_driven = float("-inf")
        self._closed = False
        self._newest: Shown | None = None

    # --- called from the event loop

    def offer(self, driven: Driven) -> None:
        """A driving frame or code has come. Dropped where the avatar is driven by something else."""
        self.received += 1
        wanted = "motion" if driven.frame is None else "camera"
        if self._closed or self.source != wanted:
            return
        self._last_driven = driven.arrived
        self._put(driven)

    def tick(self, now: float) -> None:
        """Call `fps` times a second: keeps the avatar moving while nothing drives it."""
        waiting = now - self._last_driven > 4.0 / self.fps
        if (self.source == "sample" or waiting or self._changes) and not self._closed and len(self._slot) == 0:
            self._put(Driven(now))

    def _put(self, driven: Driven) -> None:
        with self._lock:
            self._slot.put(driven)
        self.pool.wake(self)

    def watch(self, background: messages.Background | None = None) -> Mailbox[Shown]:
        """A box that gets each new picture, the newest only. Close it to leave. background: the viewer's own, which
        no other gets to see. Raises OneBackground where the engine cannot."""
        if background is not None:
            self._looks.check()
        box: Mailbox[Shown] = Mailbox()
        with self._lock:
            self._viewers.append(Viewer(box, background))
            newest = self._newest if background is None else None
        if self._closed:
            box.close()
        elif newest is not None:
            box.put(newest)
        return box

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @property
    def dropped(self) -> int:
        """Driving frames and codes that gave way to newer ones."""
        return self._slot.dropped

    def command(self, command: messages.Command) -> None:
        """Follow a command of the client. Raises UsageError with a sentence where it cannot be followed.

        Returns before it took effect: between two pictures, then `changed` is called."""
        match command:
            case messages.SetEdits(values=values):
                Edits(self.engine.directions, values)  # raises where a name or an amount is wrong
                kept = {n: a for n, a in {**self.live.edits, **values}.items() if a != 0.0}
                self._change(lambda: None, edits=kept)
            case messages.ResetEdits():
                self._change(lambda: None, edits={})
            case messages.ChoosePortrait(id=id):
                self._choose(self.gallery.get(id), self.background)
            case messages.Calibrate(neutral=neutral):
                self._check_calibrate(neutral)
                self._change(lambda: self._calibrate(neutral))
            case messages.Pause(paused=paused):
                self._change(lambda: None, paused=paused)
            case messages.Mirror(on=on):
                self._change(self._driver_changed, mirror=on)
            case messages.ChooseBackground(background=background):
                self._choose(self._chosen, background)
            case messages.ChooseSource(source=source):
                self._change(lambda: self._set_source(source))

    def _change(self, act: Callable[[], None], **live: Any) -> None:
        with self._lock:
            self.live = replace(self.live, **live)
            self._changes.append(act)
        self.pool.wake(self)

    async def try_portrait(self, image: np.ndarray, title: str) -> GalleryPortrait:
        """Show a picture that the client brought, and keep it in its gallery. Raises BadPortrait, and keeps the old
        one, where the engine cannot use it."""
        portrait = self.gallery.new(image, title)
        done: Future[None] = Future()
        self._choose(portrait, self.background, done)
        await asyncio.wait_for(asyncio.wrap_future(done), 30.0)
        self.gallery.keep(portrait)
        return portrait

    def forget_portrait(self, id: str) -> None:
        """Forget a picture that the client brought; where it is shown, the first of the gallery takes its place.
        Raises UnknownName."""
        self.gallery.remove(id)
        if self._chosen.id == id:
            self._choose(self.gallery.first, self.background)

    def _choose(
        self, portrait: GalleryPortrait, background: messages.Background, done: Future[None] | None = None
    ) -> None:
        """Prepare a portrait aside, then show it, unless another was chosen meanwhile."""
        before = (self._chosen, self.background)
        self._choices += 1
        self._chosen, self.background = portrait, background
        choice = self._choices

        def prepare() -> None:
            try:
                ready = portrait.ready_for(self.engine, background)
                self._change(lambda: self._set_portrait(choice, portrait, background, ready, done))
            except Exception as error:
                if choice == self._choices:
                    self._chosen, self.background = before
                self._settled = max(self._settled, choice)
                _settle(done, error)
                self.changed()

        self.pool.aside.submit(prepare)
        self.changed()  # it is being prepared

    @property
    def face(self) -> messages.Face:
        """What the driver's face does."""
        playing = self.source == "sample" and not self.live.paused
        return "tracking" if playing else FACES.get(self._driver.face, "resting")

    @property
    def calibration(self) -> float:
        """How well the driver's neutral face is known, 0 to 1."""
        return self._driver.calibration

    def state(self) -> messages.State:
        """What is shown now."""
        return messages.State(
            portrait=self.portrait.id,
            edits=dict(self.live.edits),
            paused=self.live.paused,
            mirror=self.live.mirror,
            background=self.background,
            source=self.source,
            calibrated=self._calibrated,
            calibration=self.calibration,
            neutral=self._neutral,
            face=self.face,
            preparing=self._settled < self._choices,
        )

    # --- called by one pool thread at a time

    def step(self) -> None:
        """Apply what was changed, then make one picture."""
        now = self._clock()
        changed = bool(self._changes)
        while self._changes:
            act = self._changes.popleft()
            try:
                act()
            except AvatarError as error:
                log.info("a change could not be made: %s", error)
        with self._lock:
            driven = self._slot.take()
        before = self.face, self._driver.calibration >= 1.0
        if driven is not None:
            self._show(driven, now)
        if changed or before != (self.face, self._driver.calibration >= 1.0):
            self.changed()

    def failed(self, error: Exception) -> None:
        """A step failed: hold the last picture for a moment, then show the still portrait."""
        self.failures += 1
        now = self._clock()
        first, still = self._guard.failed(type(error).__name__, now)
        if first:
            log.warning("engine %s: a picture failed (%s)", self.engine.name, type(error).__name__)
        if still and not self._closed:
            self._publish(self._still, Driven(now), now)

    def _show(self, driven: Driven, now: float) -> None:
        drive = self._drive(driven, now)
        if not self._viewers:
            return
        begun = self._clock()
        self.engine.reference = drive.reference
        image = self.engine.render(drive.code)
        done = self._clock()
        self.window_render.add(done - begun, done)
        self._guard.succeeded()
        pts = self._publish(image, driven, now)
        for background in {look for viewer in self._viewers if (look := self._look(viewer)) is not None}:
            other = self._looks.render(self.portrait, background, drive, self._ready)
            if other is not None:
                self._send(other, pts, driven, background)

    def _look(self, viewer: Viewer) -> messages.Background | None:
        """The background that has to be rendered for a viewer apart; None where the session's will do."""
        return viewer.background if viewer.background != self._behind else None

    def _drive(self, driven: Driven, now: float) -> Drive:
        """The code to render, and the neutral code that goes with it."""
        live = self.live
        if driven.frame is not None and self.source != "sample":
            code = self._encode(driven.frame)
        else:
            code = self._sample.at(now) if self.source == "sample" else driven.code
            code = mirrored(code) if live.mirror and code is not None else code
        self.no_face += code is None and (driven.frame is not None or not driven.seen)
        return self._driver.update(None if live.paused else code, live, now)

    def _encode(self, frame: av.VideoFrame) -> MotionCode | None:
        if self.live.paused:
            return None
        image = to_rgb(frame)
        if self.live.mirror:
            image = cv2.flip(image, 1)
        begun = self._clock()
        code = self.engine.encode(image)
        done = self._clock()
        self.window_encode.add(done - begun, done)
        return code

    def _publish(self, image: np.ndarray, driven: Driven, now: float) -> int:
        """Show a picture to all who want no background of their own; the time that it is stamped with."""
        pts = self._shown.stamp(now, driven.media)
        shown = self._send(image, pts, driven, None)
        with self._lock:
            self._newest = shown
        self.rendered += 1
        self.window_total.add(shown.made - driven.arrived, shown.made)
        return pts

    def _send(self, image: np.ndarray, pts: int, driven: Driven, background: messages.Background | None) -> Shown:
        """Hand a picture to those who see this background."""
        if self.mark:
            image = draw_mark(image if image.flags.writeable and image is not self._still else image.copy())
        yuv = to_yuv(image)
        if self.mark:
            embed(yuv[: yuv.shape[0] * 2 // 3])
        made = self._clock()
        shown = Shown(image, yuv, pts, driven.arrived, made, driven.index)
        viewers = [viewer for viewer in list(self._viewers) if self._look(viewer) == background]
        gone = [viewer for viewer in viewers if not viewer.box.put(shown)]
        if gone:
            with self._lock:
                self._viewers = [viewer for viewer in self._viewers if viewer not in gone]
        return shown

    def _set_portrait(
        self,
        choice: int,
        portrait: GalleryPortrait,
        background: messages.Background,
        ready: Any,
        done: Future[None] | None = None,
    ) -> None:
        try:
            if choice == self._choices:
                self.engine.set_portrait(ready)
                self.portrait, self._behind, self._ready = portrait, background, ready
                rest = self.engine.portrait_code
                self.engine.reference = rest
                self._still = self.engine.render(rest)
        except Exception as error:
            self._chosen = self.portrait
            _settle(done, error)
            raise
        finally:
            self._settled = max(self._settled, choice)
        _settle(done, None)

    def _check_calibrate(self, neutral: list[float] | None) -> None:
        if neutral is None and self._driver.face not in SEEN:
            raise NoFaceToLearn
        expected = self.engine.portrait_code.values.size
        if neutral is not None and len(neutral) != expected:
            raise BadValue("neutral", f"{len(neutral)} numbers", f"a code of this engine has {expected}")

    def _calibrate(self, neutral: list[float] | None) -> None:
        if neutral is None:
            self._driver.recalibrate()
        else:
            known = self.engine.portrait_code.with_values(np.array(neutral, np.float32))
            self._driver = Driver(self.engine, mirrored(known) if self.live.mirror else known)
        self._calibrated = True

    @property
    def _neutral(self) -> list[float] | None:
        """The neutral code that was learnt on request, as it is used now."""
        neutral = self._driver.neutral
        if not self._calibrated or neutral is None or self._driver.calibration < 1.0:
            return None
        known = mirrored(neutral) if self.live.mirror and self._driver.knows_beforehand else neutral
        return [round(float(value), 4) for value in known.values]

    def _driver_changed(self) -> None:
        """Another driver, or the same one seen otherwise: nothing that was learnt of the old one holds."""
        self.engine.reset()
        self._driver = Driver(self.engine, self._sample.reference if self.source == "sample" else None)
        self._calibrated = False

    def _set_source(self, source: messages.Source) -> None:
        if source != self.source:
            self.source = source
            self._driver_changed()
            self._sample.restart(self._clock())
            self._last_driven = float("-inf")

    def close(self) -> None:
        """Stop and free the engine. Safe to call twice. Blocks until the step it is in is over."""
        if self._closed:
            return
        self._closed = True
        self.pool.forget(self)
        with self._lock:
            self._slot.take()
            self._changes.clear()
            viewers, self._viewers = self._viewers, []
            self._newest = None
        for viewer in viewers:
            viewer.box.close()
        self.gallery.clear()
        self.engine.close()


def _settle(done: Future[None] | None, error: Exception | None) -> None:
    """Tell whoever waits for a change how it went."""
    if done is None or not done.set_running_or_notify_cancel():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
