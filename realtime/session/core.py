"""What a session decides, whoever runs it: from what drives the avatar to a code, and from the code to the picture.

::

    driving item ──▶ Encoding ──▶ code ──▶ Driving ──▶ Drive ──▶ Rendering ──▶ picture

A driving frame goes into `Encoding` and ends there. A `Drive` holds codes alone, and it is all that `Rendering` is
given: what it shows comes from `Engine.render`, or is the still portrait. No frame of a driver can reach a viewer.

Nothing here has a thread, an event loop or a clock: time is passed in, in seconds. A local run, an offline one, the
server's host, `avatar send` and `avatar encode` feed these parts and carry away what they give.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from realtime.engines import Engine, ReadsLandmarks
from realtime.errors import AvatarError, EngineError, as_avatar_error
from realtime.media.backdrop import Keyed, Player
from realtime.media.backgrounds import unkeyed
from realtime.motion.calibration import LONGEST
from realtime.motion.fit import Fit
from realtime.motion.vocabulary import mirrored, of_earlier_session
from realtime.session.driver import Drive, Driver
from realtime.session.health import Fallback, SignalMonitor
from realtime.settings import Live
from realtime.sources import Item, Unseen
from realtime.types import SYNTHETIC, Frame, Landmarks, MotionCode

QUIET = 0.3
"""Seconds without a driving item after which the avatar idles by itself."""

Say = Callable[[str, str], None]
"""Takes a sentence for the user and its level: "info" or "warning"."""


def _silent(_sentence: str, _level: str) -> None:
    return None


def _uncounted(_what: str) -> None:
    return None


def engine_error(engine: Engine, error: Exception) -> AvatarError:
    """`error` itself where it is one of ours, else an EngineError that says the same."""
    if isinstance(error, AvatarError):
        return error
    return EngineError(engine.name, str(as_avatar_error(error, type(error).__name__)))


class Faults:
    """What is done about calls of the engine that fail. strict: the first one ends the session; otherwise it is told
    once, and the session goes on. meanwhile: what the user sees until it works again."""

    def __init__(self, engine: Engine, say: Say, strict: bool, meanwhile: str) -> None:
        self._engine, self._say, self._strict, self._meanwhile = engine, say, strict, meanwhile
        self.fallback = Fallback()
        self.total = 0
        """Calls that failed so far."""

    def failed(self, error: Exception, now: float) -> bool:
        """Whether it is time for the still portrait. Raises AvatarError where strict."""
        self.total += 1
        wrapped = engine_error(self._engine, error)
        if self._strict:
            raise wrapped from error
        first, still = self.fallback.failed(getattr(wrapped, "reason", str(wrapped)), now)
        if first:
            self._say(f"{wrapped}; {self._meanwhile}", "warning")
        return still

    def succeeded(self) -> None:
        """A call went well."""
        if self.fallback.succeeded():
            self._say("the engine works again", "info")

    def check(self) -> None:
        """Raise EngineError where the last call failed."""
        if self.fallback.failing:
            raise EngineError(self._engine.name, self.fallback.reason)


class Encoding:
    """From a driving item to what is seen in it. Used by one thread.

    media_time: motion goes by the media's own time, `pts`; otherwise by the time of capture. strict: an encoder that
    fails ends the session with EngineError; otherwise that is the same as no face. monitor: judges the pictures.
    """

    def __init__(
        self,
        engine: Engine,
        say: Say = _silent,
        *,
        media_time: bool = False,
        strict: bool = False,
        monitor: SignalMonitor | None = None,
    ) -> None:
        self._engine, self._say, self._media_time, self._monitor = engine, say, media_time, monitor
        self.faults = Faults(engine, say, strict, "the avatar idles until it works again")
        self._latest = float("-inf")

    def time(self, item: Item) -> float:
        """The time that motion goes by."""
        return item.pts if self._media_time else item.captured

    def see(self, item: Item, mirror: bool, now: float) -> MotionCode | None:
        """The code of a driving item, None where there is no face. mirror: as if its picture were flipped left to
        right. now: for the encoder's failures."""
        if isinstance(item, Frame):
            return self._encode(item, mirror, now)
        if isinstance(item, Landmarks):
            return self._encode_landmarks(item, mirror, now)
        if isinstance(item, MotionCode):
            return mirrored(item) if mirror else item
        return None

    def _encode(self, frame: Frame, mirror: bool, now: float) -> MotionCode | None:
        at = self.time(frame)
        if self._monitor is not None:
            self._tell(self._monitor.frame(frame.image, at))
        image = cv2.flip(frame.image, 1) if mirror else frame.image
        return self._ask(lambda: self._engine.encode(replace(frame, image=image, captured=at)), at, now)

    def _encode_landmarks(self, found: Landmarks, mirror: bool, now: float) -> MotionCode | None:
        """Mirrored is what they say, for there is no picture to flip."""
        engine, at = self._engine, self.time(found)
        if not isinstance(engine, ReadsLandmarks):
            return None
        code = self._ask(lambda: engine.encode_landmarks(replace(found, captured=at)), at, now)
        return mirrored(code) if code is not None and mirror != found.mirrored else code

    def _ask(self, encode: Callable[[], MotionCode | None], at: float, now: float) -> MotionCode | None:
        """What the engine's encoder says of a frame of this time; None where it fails. now: for its failures."""
        if at < self._latest:  # another driver, or his clock began anew: engines count on time that does not go back
            self._engine.reset()
        self._latest = at
        code: MotionCode | None = None
        try:
            code = encode()
        except Exception as error:
            self.faults.failed(error, now)
        else:
            self.faults.succeeded()
        if self._monitor is not None:
            self._tell(self._monitor.face(code is not None, at))
        return code

    def silent(self, seconds: float) -> None:
        """No picture came for so long."""
        if self._monitor is not None:
            self._tell(self._monitor.silent(seconds))

    def _tell(self, sentence: str | None) -> None:
        if sentence is not None:
            self._say(sentence, "warning")


class Driving:
    """From driving items to what shall be rendered: neutral face, edits, pause, no face, nothing at all. Used by one
    thread, that of its `Encoding`.

    reference: the driver's neutral code where it is known beforehand. count: called with "encoded", "no_face" and
    "dropped", as in `Counts`. offline: every item counts, so that a pause drops none; and the whole clip is at hand,
    so that the neutral face is looked for before the first item is shown.
    """

    def __init__(
        self,
        engine: Engine,
        encoding: Encoding,
        reference: MotionCode | None = None,
        *,
        count: Callable[[str], None] = _uncounted,
        offline: bool = False,
    ) -> None:
        self._engine, self._encoding, self._count, self._offline = engine, encoding, count, offline
        self._reference = reference
        self._driver = Driver(engine, reference)
        self.recalibrated = False
        """`recalibrate` was called since the driver last changed."""
        self._mirror: bool | None = None
        self._seen = 0.0
        self._ahead: list[tuple[MotionCode | None, Unseen, float]] | None = None

    def begin(self, live: Live, now: float) -> None:
        """The session runs from `now` on."""
        self._seen = now
        self._ahead = [] if self._offline and not live.absolute else None

    @property
    def face(self) -> str:
        """What the driver's face does: see `Presence.state`."""
        return self._driver.face

    @property
    def calibration(self) -> float:
        """How well the driver's neutral face is known, 0 to 1."""
        return self._driver.calibration

    @property
    def fit(self) -> Fit:
        """How well the driver's neutral face still sits."""
        return self._driver.fit

    def recalibrate(self, neutral: MotionCode | None = None, mirror: bool = False) -> None:
        """Take the driver's next steady frames as neutral; or this code, as it was `learnt` in an earlier session.
        mirror: codes are mirrored now, and so was that one."""
        if neutral is None:
            self._driver.recalibrate()
        else:
            # he is seen otherwise from now on; the code is of what is seen then
            if self._mirror not in (None, mirror):
                self._engine.reset()
            self._mirror = mirror
            neutral = of_earlier_session(neutral)
            self._driver = Driver(self._engine, mirrored(neutral) if mirror else neutral)
        self.recalibrated = True

    def learnt(self, mirror: bool) -> MotionCode | None:
        """The neutral code that `recalibrate` led to, as it is used now; None before it is known."""
        neutral = self._driver.neutral
        if not self.recalibrated or neutral is None or self._driver.calibration < 1.0:
            return None
        return mirrored(neutral) if mirror and self._driver.knows_beforehand else neutral

    def change_driver(self, reference: MotionCode | None) -> None:
        """Another driver, or the same one seen otherwise: nothing that was learnt of the old one holds."""
        self._engine.reset()
        self._reference = reference
        self._driver = Driver(self._engine, reference)
        self.recalibrated = False

    def take(self, item: Item, live: Live, now: float, at: float | None = None) -> Iterable[Drive]:
        """What a driving item gives to render: one drive; looking ahead none, and at last all that waited.

        now: when it was taken from the source. at: the time that motion goes by, where it is not the item's."""
        if live.paused and not self._offline:
            self._count("dropped")
            return [self.idle(live, now)]
        self._seen = now
        if self._mirror not in (None, live.mirror):
            self.change_driver(self._reference)
        self._mirror = live.mirror
        code = self._encoding.see(item, live.mirror, now)
        self._count("encoded")
        if code is None:
            self._count("no_face")
        at = self._encoding.time(item) if at is None else at
        if self._ahead is None:
            return [self._drive(code, item, live, at, now)]
        self._ahead.append((code, Unseen(item.captured, item.pts, item.index), now))  # without the picture
        if self._driver.observe(code, at) or at - self._encoding.time(self._ahead[0][1]) > LONGEST:
            return self.end(live)
        return []

    def nothing(self, live: Live, now: float, expected: bool) -> Drive | None:
        """No item came. None while one may still come; then the avatar idles, and where a live source is `expected`
        to give pictures that is told."""
        if now - self._seen < QUIET and not live.paused:
            return None
        if expected and not live.paused:
            self._encoding.silent(now - self._seen)
        return self.idle(live, now)

    def idle(self, live: Live, now: float) -> Drive:
        """What to render where nothing is seen: hold, ease to neutral, idle."""
        drive = self._driver.update(None, live, now)
        return replace(drive, code=replace(drive.code, captured=now, index=SYNTHETIC))

    def end(self, live: Live) -> Iterator[Drive]:
        """No more is looked at ahead: the neutral face is as well known as it can be; all that waited for it."""
        ahead, self._ahead = self._ahead, None
        self._driver.settle()
        for code, item, begun in ahead or ():
            yield self._drive(code, item, live, self._encoding.time(item), begun)

    def _drive(self, code: MotionCode | None, item: Item, live: Live, at: float, begun: float) -> Drive:
        drive = self._driver.update(code, live, at)
        timed = replace(drive.code, captured=item.captured, pts=item.pts, index=item.index)
        return replace(drive, code=timed, stamps={"capture": begun})


@dataclass(frozen=True, slots=True)
class Rendered:
    """What to show. image: uint8 (H, W, 3) RGB. how: "new" from the engine; while it fails "held", the last one, for
    a moment, then "still", the portrait at rest."""

    image: np.ndarray
    how: Literal["new", "held", "still"] = "new"


class Rendering:
    """From drives to pictures. Used by one thread, that of the rendering stage.

    strict: an engine that fails ends the session with EngineError. Call `begin` or `swap` before `show`."""

    still: np.ndarray
    """The portrait at rest."""

    def __init__(self, engine: Engine, say: Say = _silent, *, strict: bool = False) -> None:
        self._engine = engine
        self.faults = Faults(engine, say, strict, "the last picture is held, then the still portrait")
        self._last: np.ndarray | None = None
        self._portrait: Any = None
        self._behind: Player | None = None

    def begin(self, keyed: Keyed | None = None) -> None:
        """Show the portrait that the engine has. keyed: what it was given of, where a clip lies behind it. Raises
        AvatarError."""
        try:
            self._take(self._at_rest())
        except Exception as error:
            raise engine_error(self._engine, error) from error
        self._behind = Player(keyed) if keyed is not None else None

    def swap(self, portrait: Any) -> None:
        """Show another portrait: what `Engine.set_portrait` takes, or that before a clip. Raises AvatarError
        (BadPortrait where it cannot serve), and keeps the old one."""
        keyed = portrait if isinstance(portrait, Keyed) else None
        portrait = unkeyed(portrait)
        try:
            self._engine.set_portrait(portrait)
        except Exception as error:
            raise engine_error(self._engine, error) from error
        try:
            still = self._at_rest()
        except Exception as error:
            if self._portrait is not None:
                with contextlib.suppress(Exception):  # it fails anyhow, and that is raised
                    self._engine.set_portrait(self._portrait)
            raise engine_error(self._engine, error) from error
        self._portrait = portrait
        self._take(still)
        self._behind = Player(keyed) if keyed is not None else None

    def show(self, drive: Drive, now: float) -> Rendered:
        """The picture of a drive; while the engine fails what is shown in its place. now: for its failures, and for a
        clip behind the portrait."""
        try:
            self._engine.reference = drive.reference
            self._last = self._before(self._engine.render(drive.code), now)
        except Exception as error:
            return self.failed(error, now)
        self.faults.succeeded()
        return Rendered(self._last)

    def _before(self, image: np.ndarray, now: float) -> np.ndarray:
        """The picture before what moves behind the portrait, if anything does."""
        return image if self._behind is None else self._behind.show(image, now)

    def failed(self, error: Exception, now: float) -> Rendered:
        """What is shown where a picture could not be made. Raises AvatarError where strict."""
        if self.faults.failed(error, now) or self._last is None:
            return Rendered(self._before(self.still, now), "still")
        return Rendered(self._last, "held")

    @property
    def warnings(self) -> Sequence[str]:
        """What the engine has to say about the portrait it shows."""
        return tuple(getattr(self._engine, "warnings", ()))

    def _at_rest(self) -> np.ndarray:
        rest = self._engine.portrait_code
        self._engine.reference = rest
        return self._engine.render(rest)

    def _take(self, still: np.ndarray) -> None:
        self.still = self._last = still


def warm_encoder(engine: Engine, picture: np.ndarray) -> None:
    """Let the encoder run once and forget it, so that the first driving frame is not late. Raises AvatarError."""
    try:
        engine.encode(Frame(picture, captured=0.0))
        engine.reset()
    except Exception as error:
        raise engine_error(engine, error) from error
