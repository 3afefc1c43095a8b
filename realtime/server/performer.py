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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from realtime.engines import Engine
from realtime.errors import AvatarError, BadValue, UnknownName
from realtime.mailbox import Mailbox, Slot
from realtime.metrics import Window
from realtime.server import messages
from realtime.server.backgrounds import with_background
from realtime.server.clock import AvatarClock
from realtime.server.follow import Follower
from realtime.server.frames import Shown, to_rgb, to_yuv
from realtime.server.gallery import Gallery, Portrait
from realtime.server.marks import draw_mark
from realtime.server.pool import Pool
from realtime.server.sample import Sample
from realtime.settings import Live
from realtime.types import MotionCode

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Driven:
    """What drives the next picture. Exactly one of `frame` (a received picture), `code` or neither (only time
    passes: hold, idle, sample). seen: False where a client that extracts codes itself saw no face.

    arrived: monotonic seconds. media: the driver's own media time in seconds, None without one."""

    arrived: float
    media: float | None = None
    frame: av.VideoFrame | None = None
    code: MotionCode | None = None
    seen: bool = True
    index: int = 0


class Performer:
    """An engine with its driver, its portraits and its sliders.

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
    ) -> None:
        self.engine, self.gallery, self.pool, self.fps, self.mark = engine, gallery, pool, fps, mark
        self.changed, self._clock = changed, clock
        self.source: messages.Source = "sample"
        self.live = Live()
        self.background: messages.Background = "original"
        self.portrait: Portrait = gallery.first
        self.received = self.rendered = self.no_face = self.failures = 0
        self.window_encode, self.window_render, self.window_total = Window(), Window(), Window()
        self._slot: Slot[Driven] = Slot()
        self._lock = threading.Lock()
        self._changes: deque[Callable[[], None]] = deque()
        self._viewers: list[Mailbox[Shown]] = []
        self._shown = AvatarClock()
        self._follower = Follower(engine)
        self._sample = Sample(engine)
        self._last_driven = float("-inf")
        self._closed = False
        self._still = self._make_still(self.portrait.image)
        self._newest: Shown | None = None
        engine.set_portrait(self.portrait.image)
        self._follower.portrait_changed()

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

    def watch(self) -> Mailbox[Shown]:
        """A box that gets each new picture, the newest only. Close it to leave."""
        box: Mailbox[Shown] = Mailbox()
        with self._lock:
            self._viewers.append(box)
            newest = self._newest
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
                by_name = {direction.name: direction for direction in self.engine.directions}
                for name, amount in values.items():
                    if name not in by_name:
                        raise UnknownName("direction", name, by_name)
                    direction = by_name[name]
                    if not 2 * direction.lo - direction.hi <= amount <= 2 * direction.hi - direction.lo:
                        raise BadValue(name, amount, f"{direction.lo:g} to {direction.hi:g}")
                kept = {n: a for n, a in {**self.live.edits, **values}.items() if a != 0.0}
                self._change(lambda: None, edits=kept)
            case messages.ResetEdits():
                self._change(lambda: None, edits={})
            case messages.ChoosePortrait(id=id):
                portrait = self.gallery.get(id)
                self._change(lambda: self._set_portrait(portrait))
            case messages.Calibrate():
                self._change(self._follower.calibrate)
            case messages.Pause(paused=paused):
                self._change(lambda: None, paused=paused)
            case messages.Mirror(on=on):
                self._change(self._follower.restart, mirror=on)
            case messages.ChooseBackground(background=background):
                self._change(lambda: self._set_background(background))
            case messages.ChooseSource(source=source):
                self._change(lambda: self._set_source(source))

    def _change(self, act: Callable[[], None], **live: Any) -> None:
        with self._lock:
            self.live = replace(self.live, **live)
            self._changes.append(act)
        self.pool.wake(self)

    async def try_portrait(self, image: np.ndarray, title: str) -> Portrait:
        """Show a picture that the client brought, and keep it in its gallery. Raises BadPortrait, and keeps the old
        one, where the engine cannot use it."""
        done: Future[Portrait] = Future()

        def act() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                portrait = self.gallery.add(image, title)
                try:
                    self._set_portrait(portrait)
                except BaseException:
                    self.gallery.remove(portrait.id)
                    raise
                done.set_result(portrait)
            except BaseException as error:
                done.set_exception(error)

        self._change(act)
        return await asyncio.wait_for(asyncio.wrap_future(done), 20.0)

    def forget_portrait(self, id: str) -> None:
        """Forget a picture that the client brought; where it is shown, the first of the gallery takes its place.
        Raises UnknownName."""
        self.gallery.remove(id)
        if self.portrait.id == id:
            self._change(lambda: self._set_portrait(self.gallery.first))

    def state(self) -> messages.State:
        """What is shown now."""
        return messages.State(
            portrait=self.portrait.id,
            edits=dict(self.live.edits),
            paused=self.live.paused,
            mirror=self.live.mirror,
            background=self.background,
            source=self.source,
            calibrated=self._follower.calibrated,
            face=self._follower.face if self.source != "sample" else "tracking",
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
        face = self._follower.face
        if driven is not None:
            self._show(driven, now)
        if changed or self._follower.face != face:
            self.changed()

    def failed(self, error: Exception) -> None:
        """A step failed: show the still portrait."""
        self.failures += 1
        if self.failures in {1, 10, 100}:
            log.warning("engine %s: a picture failed (%s)", self.engine.name, type(error).__name__)
        if not self._closed:
            now = self._clock()
            self._publish(self._still, Driven(now), now)

    def _show(self, driven: Driven, now: float) -> None:
        code = self._code(driven, now)
        if not self._viewers:
            return
        if code is None:
            image = self._still
        else:
            begun = self._clock()
            image = self.engine.render(self._edited(code))
            done = self._clock()
            self.window_render.add(done - begun, done)
        self._publish(image, driven, now)

    def _code(self, driven: Driven, now: float) -> MotionCode | None:
        """The code to render, None for the still portrait."""
        if self.source == "sample":
            return self._sample.at(now)
        if driven.frame is not None:
            image = to_rgb(driven.frame)
            if self.live.mirror:
                image = cv2.flip(image, 1)
            begun = self._clock()
            code = self.engine.encode(image)
            done = self._clock()
            self.window_encode.add(done - begun, done)
            self.no_face += code is None
            return self._follower.follow(code, now, self.live.paused)
        if driven.code is not None or not driven.seen:
            self.no_face += not driven.seen
            return self._follower.follow(driven.code, now, self.live.paused)
        return self._follower.wait(now, self.live.paused)

    def _edited(self, code: MotionCode) -> MotionCode:
        edits = self.live.edits
        if not edits:
            return code
        values = code.values.copy()
        for direction in self.engine.directions:
            if amount := edits.get(direction.name):
                values[direction.index] += amount
        return code.with_values(values)

    def _publish(self, image: np.ndarray, driven: Driven, now: float) -> None:
        if self.mark:
            image = draw_mark(image if image.flags.writeable and image is not self._still else image.copy())
        pts = self._shown.stamp(now, driven.media)
        yuv = to_yuv(image)
        made = self._clock()
        shown = Shown(image, yuv, pts, driven.arrived, made, driven.index)
        with self._lock:
            self._newest = shown
            viewers = list(self._viewers)
        gone = [box for box in viewers if not box.put(shown)]
        if gone:
            with self._lock:
                self._viewers = [box for box in self._viewers if box not in gone]
        self.rendered += 1
        self.window_total.add(made - driven.arrived, made)

    def _set_portrait(self, portrait: Portrait) -> None:
        image = with_background(portrait.image, self.background)
        self.engine.set_portrait(image)
        self.portrait = portrait
        self._still = self._make_still(image)
        self._follower.portrait_changed()

    def _set_background(self, background: messages.Background) -> None:
        if background != self.background:
            self.background = background
            self._set_portrait(self.portrait)

    def _set_source(self, source: messages.Source) -> None:
        if source != self.source:
            self.source = source
            self._follower.restart()
            self._sample.restart(self._clock())
            self._last_driven = float("-inf")

    def _make_still(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 3, (width - side) // 2
        square = image[top : top + side, left : left + side]
        return cv2.resize(square, (self.engine.size, self.engine.size), interpolation=cv2.INTER_AREA)

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
        for box in viewers:
            box.close()
        self.gallery.clear()
        self.engine.close()
