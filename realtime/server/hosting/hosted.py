"""One avatar on this machine: a driver's frames, codes or a sample go in; pictures for its viewers come out.

What is decided is in `realtime.session.core`: a driving frame ends in its `Encoding`, and what is shown comes from
its `Rendering`, which is given codes alone. Here is what feeds it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from realtime.engines import Engine, ReadsLandmarks, Spares
from realtime.errors import UsageError
from realtime.flow.mailbox import Mailbox, Slot
from realtime.flow.metrics import Window
from realtime.flow.threads import one_core_per_stage
from realtime.media.backdrop import Backdrop
from realtime.media.backgrounds import Background, unkeyed
from realtime.motion.expressions import played
from realtime.motion.fit import Fit
from realtime.server.common import messages
from realtime.server.hosting.follow import FACES, OneShape, follow, neutral_code, neutral_told, state_of
from realtime.server.hosting.frames import Driven, Shown
from realtime.server.hosting.gallery import Choice, Gallery, GalleryPortrait, PortraitChoice
from realtime.server.hosting.looks import Looks
from realtime.server.hosting.pace import Asked, Thinner
from realtime.server.hosting.pool import Pool
from realtime.server.hosting.speaking import Speaking
from realtime.server.hosting.viewers import Viewers
from realtime.session.core import Driving, Encoding, Rendered, Rendering
from realtime.session.driver import Drive
from realtime.session.sample import Sample
from realtime.settings import SHAPES, Live
from realtime.sources import Item
from realtime.types import MotionCode
from realtime.voice.lips import DELAY

log = logging.getLogger(__name__)

SEEN = ("tracked", "returning", "held")
"""States of the driver in which there is a face to learn from."""


PLAYING: tuple[messages.Source, ...] = ("sample", "voice")
"""What drives in time with the clock, and needs no face."""


class NoFaceToLearn(UsageError):
    """A neutral face was to be learnt, and there is none."""

    def __str__(self) -> str:
        return "No face is in the picture: there is nothing to calibrate on"


class NeedsPictures(UsageError):
    """Landmarks were to drive an engine that reads more of a picture."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def __str__(self) -> str:
        return f"The engine {self.engine} reads the picture itself: landmarks alone cannot drive it"


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
        round: bool = False,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        source: messages.Source = "sample",
    ) -> None:
        self.engine, self.gallery, self.pool, self.fps = engine, gallery, pool, fps
        self.changed, self._clock = changed, clock
        self._check(source)
        self.source: messages.Source = source
        self.live = Live()
        self.choice = PortraitChoice(engine, gallery, self._do_aside, self._prepared, self._refused)
        self.received = self.rendered = self.no_face = 0
        self.window_encode, self.window_render, self.window_total = Window(), Window(), Window()
        self._viewers = Viewers(badge=mark, mark=mark, round=round, clock=clock)
        self._looks = Looks(engine, pool)
        self._slot: Slot[Driven] = Slot()
        self._thinner = Thinner()
        self._asked = self._thinned = self._late = 0
        self._looked = Asked(0, 0)
        self._lock = threading.Lock()
        self._changes: deque[Callable[[], None]] = deque()
        one_core_per_stage()
        self._rendering = Rendering(engine, _note)
        first = self.choice.shown
        first.ready = first.portrait.ready_for(engine, first.behind)
        self._rendering.swap(first.ready)
        self._sample = Sample(engine)
        self._speaking = Speaking(engine) if source == "voice" else None
        self._encoding = Encoding(engine, _note, media_time=True)
        self._driving = Driving(engine, self._encoding, self._reference, count=self._count)
        self._driving.begin(self.live, clock())
        self._last_driven = float("-inf")
        self._closed = False

    # --- called from the event loop

    def offer(self, driven: Driven) -> None:
        """A driving frame, landmarks or a code have come. Dropped where the avatar is driven by something else."""
        self.received += 1
        if self._closed or self.source != driven.source:
            return
        self._last_driven = driven.arrived
        if self._thinner.take(driven.arrived):
            self._asked += 1
            self._put(driven)
        else:
            self._thinned += 1

    @property
    def hears(self) -> bool:
        """Lips follow the driver's sound now."""
        return self._speaking is not None

    def hear(self, samples: np.ndarray) -> None:
        """The driver's sound has come. It moves the lips where nothing else drives."""
        speaking = self._speaking
        if speaking is not None:
            speaking.hear(samples)

    def tick(self, now: float) -> None:
        """Call `fps` times a second: keeps the avatar moving while nothing drives it."""
        waiting = now - self._last_driven > 4.0 / self.fps
        plays = self.source in PLAYING
        due = (plays or waiting) and self._thinner.take(now)
        self._asked += due
        if not (due or self._changes) or self._closed:
            return
        if len(self._slot):
            self._late += due
        else:
            # a mouth comes so much after its sound, which is then held back by as much
            self._put(Driven(now - DELAY if self.source == "voice" else now))

    def keep_to(self, fps: float | None, sparing: bool = False) -> Asked:
        """At most so many pictures a second from now on, None for all that are asked for; what was asked for since
        the last call. sparing: as `engines.Spares` and the encoders do it."""
        self._thinner.keep_to(fps)
        self._viewers.sparing = sparing
        if isinstance(self.engine, Spares):
            self.engine.spare(sparing)
        before, self._looked = self._looked, Asked(self._asked, self._slot.dropped + self._late)
        return Asked(self._looked.asked - before.asked, self._looked.missed - before.missed)

    def _put(self, driven: Driven) -> None:
        with self._lock:
            if self._closed:
                return
            self._slot.put(driven)
        self.pool.wake(self)

    def watch(self, background: Background | None = None) -> Mailbox[Shown]:
        """A box that gets each new picture, the newest only. Close it to leave. background: the viewer's own, which
        no other gets to see. Raises OneBackground where the engine cannot."""
        if background is not None:
            self._looks.check()
        return self._viewers.watch(background)

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @property
    def dropped(self) -> int:
        """Driving frames and codes that gave way to newer ones."""
        return self._slot.dropped + self._thinned

    @property
    def failures(self) -> int:
        """Frames that the encoder, and pictures that the renderer, failed at."""
        return self._encoding.faults.total + self._rendering.faults.total

    @property
    def portrait(self) -> GalleryPortrait:
        """What is shown."""
        return self.choice.shown.portrait

    @property
    def preparing(self) -> bool:
        """Another portrait, or background, was chosen and is not shown yet."""
        return self.choice.wanted is not self.choice.shown

    @property
    def calibrated(self) -> bool:
        """The driver was asked to look neutral, and has not changed since."""
        return self._driving.recalibrated

    @property
    def calibration(self) -> float:
        """How well the driver's neutral face is known, 0 to 1."""
        return self._driving.calibration

    @property
    def fit(self) -> Fit | None:
        """How well it still sits; None where what plays is no driver."""
        return None if self.source in PLAYING else self._driving.fit

    @property
    def neutral(self) -> list[float] | None:
        """The neutral code that was learnt on request, as it is used now."""
        return neutral_told(self._driving.learnt(self.live.mirror))

    @property
    def face(self) -> messages.Face:
        """What the driver's face does."""
        playing = self.source in PLAYING and not self.live.paused
        return "tracking" if playing else FACES.get(self._driving.face, "resting")

    def state(self) -> messages.State:
        """What is shown now."""
        return state_of(self)

    def command(self, command: messages.Command) -> None:
        """Follow a command of the client. Raises UsageError with a sentence where it cannot be followed.

        Returns before it took effect: between two pictures, then `changed` is called."""
        follow(self, command)

    def change(self, **fields: Any) -> None:
        """Replace fields of `live`."""
        self._change(lambda: None, **fields)

    def recalibrate(self, neutral: list[float] | None = None) -> None:
        """Take the driver's next steady frames as neutral, or the given code. Raises NoFaceToLearn, BadValue."""
        if neutral is None and self._driving.face not in SEEN:
            raise NoFaceToLearn
        known = neutral_code(self.engine, neutral)
        self._change(lambda: self._driving.recalibrate(known, self.live.mirror))

    def express(self, name: str, on: bool | None, seconds: float) -> None:
        """Put an expression on or off. Raises UnknownName."""
        self.change(played=played(self.live.played, name, self.engine.directions, self._clock(), on, seconds))

    def choose_source(self, source: messages.Source) -> None:
        """Let something else drive. Raises NeedsPictures; BadValue where sound cannot drive this engine."""
        self._check(source)
        speaking = Speaking(self.engine, seed=time.monotonic_ns() & 0xFFFF) if source == "voice" else None
        self._change(lambda: self._set_source(source, speaking))

    def _check(self, source: messages.Source) -> None:
        if source == "landmarks" and not isinstance(self.engine, ReadsLandmarks):
            raise NeedsPictures(self.engine.name)

    def choose_shape(self, shape: messages.Shape) -> None:
        """Another shape of the picture. Raises OneShape."""
        if not self.shapes:
            raise OneShape
        self.choice.choose(shape=shape)

    @property
    def shapes(self) -> tuple[str, ...]:
        """What `choose_shape` takes, beside the engine's own; none where the engine has one shape."""
        return SHAPES if hasattr(self.engine, "prepare") else ()

    async def try_portrait(self, image: np.ndarray, title: str) -> GalleryPortrait:
        """Show a picture that the client brought, and keep it in its gallery. Raises BadPortrait where the engine
        cannot use it, PortraitLate; the old one stays then."""
        return await self.choice.bring(image, title)

    async def try_view(self, portrait: str, image: np.ndarray) -> GalleryPortrait:
        """Take one more view of a portrait that the client brought. Raises UnknownName, TooManyViews,
        BadPortrait, PortraitLate, GalleryFull."""
        return await self.choice.bring_view(portrait, image)

    def forget_view(self, portrait: str, view: str) -> None:
        """Forget a view of a portrait that the client brought. Raises UnknownName."""
        self.choice.forget_view(portrait, view)

    async def try_background(self, own: Backdrop) -> None:
        """Show what the client brought behind the portrait, and keep it. Raises PortraitLate."""
        await self.choice.bring_behind(own)

    def forget_portrait(self, id: str) -> None:
        """Forget a picture that the client brought; where it is shown, the first of the gallery takes its place.
        Raises UnknownName."""
        self.choice.forget(id)

    def _change(self, act: Callable[[], None], **live: Any) -> None:
        with self._lock:
            if self._closed:
                return
            self.live = replace(self.live, **live)
            self._changes.append(act)
        self.pool.wake(self)

    def _do_aside(self, work: Callable[[], None]) -> None:
        self.pool.aside.submit(work)
        self.changed()  # it is being prepared

    def _prepared(self, choice: Choice) -> None:
        self._change(lambda: self.choice.show(choice, self._rendering.swap))

    def _refused(self, choice: Choice, error: Exception) -> None:
        log.info("a portrait cannot be shown: %s", error)
        self.changed()

    # --- called by one pool thread at a time

    def step(self) -> None:
        """Apply what was changed, then make one picture; nothing where it is closed."""
        if self._closed:
            return
        now = self._clock()
        changed = bool(self._changes)
        while self._changes:
            self._changes.popleft()()
        if changed:
            self._looks.follow(self.choice.shown.portrait, self.choice.shown.shape)
        with self._lock:
            driven = self._slot.take()
        before = self.face, self.calibration >= 1.0
        if driven is not None:
            self._perform(driven, now)
        if changed or before != (self.face, self.calibration >= 1.0):
            self.changed()

    def failed(self, error: Exception) -> None:
        """A step failed: hold the last picture for a moment, then show the still portrait."""
        now = self._clock()
        rendered = self._rendering.failed(error, now)
        if not self._closed:
            self._publish(rendered, Driven(now), now)

    def _perform(self, driven: Driven, now: float) -> None:
        for drive in self._drives(driven, now):
            if not self.viewers:
                return
            begun = self._clock()
            rendered = self._rendering.show(drive, now)
            done = self._clock()
            if rendered.how == "new":
                self.window_render.add(done - begun, done)
            shown = self._publish(rendered, driven, now)
            if shown is not None and rendered.how == "new":
                self._show_looks(drive, shown)

    def _show_looks(self, drive: Drive, shown: Shown) -> None:
        """The same before other backgrounds, for those who want theirs."""
        now = self.choice.shown
        for look in self._viewers.looks(now.behind.name):
            other = self._looks.render(now.portrait, look, drive, unkeyed(now.ready), now.shape)
            if other is not None:
                self._viewers.publish_look(other, shown, now.behind.name, look)

    def _drives(self, driven: Driven, now: float) -> Iterable[Drive]:
        """What this gives to render."""
        item = self._item(driven, now)
        if item is None:
            return [self._driving.idle(self.live, now)]
        begun = self._clock()
        drives = self._driving.take(item, self.live, now, at=now)
        if driven.source != "motion":
            done = self._clock()
            self.window_encode.add(done - begun, done)
        return drives

    def _item(self, driven: Driven, now: float) -> Item | None:
        if self.live.paused:
            return None
        if self._speaking is not None:
            return self._speaking.at(now)
        return self._sample.at(now) if self.source == "sample" else driven.item()

    def _publish(self, rendered: Rendered, driven: Driven, now: float) -> Shown | None:
        """None where nothing new is sent: the last picture is held, or nobody watches."""
        if rendered.how == "held":
            return None
        shown = self._viewers.publish(
            rendered.image,
            driven.arrived,
            now,
            driven.media,
            driven.index,
            keep=rendered.how == "still",
            behind=self.choice.shown.behind.name,
        )
        if shown is not None:
            self.rendered += 1
            self.window_total.add(shown.made - driven.arrived, shown.made)
        return shown

    def _count(self, what: str) -> None:
        self.no_face += what == "no_face"

    @property
    def _reference(self) -> MotionCode | None:
        """The driver's neutral code, where it is known beforehand."""
        if self._speaking is not None:
            return self._speaking.reference
        return self._sample.reference if self.source == "sample" else None

    def _set_source(self, source: messages.Source, speaking: Speaking | None) -> None:
        if source != self.source:
            self.source, self._speaking = source, speaking
            self._driving.change_driver(self._reference)
            self._sample.restart(self._clock())
            self._last_driven = float("-inf")

    def close(self) -> None:
        """Stop and free the engine. Safe to call twice. Blocks until the step it is in is over, ten seconds at most:
        a longer one keeps the engine until it ends."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._slot.take()
            self._changes.clear()
        self._viewers.close()
        self.gallery.clear()
        if self.pool.forget(self):
            self.engine.close()
        else:
            log.warning("a session has ended while its engine hangs: the engine is freed when it answers")
            threading.Thread(target=self._close_late, name="avatar-late", daemon=True).start()

    def _close_late(self) -> None:
        self.pool.forget(self, None)
        self.engine.close()


def _note(sentence: str, level: str) -> None:
    """What a local run would tell its user."""
    log.log(logging.WARNING if level == "warning" else logging.INFO, "%s", sentence)
