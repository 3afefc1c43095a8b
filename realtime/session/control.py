"""The handle on a running session: what may be changed while it runs, and what it says about itself.

One object for everyone who wants to steer: the command line, a preview window, the web server. Every method may be
called from any thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from realtime.errors import BadValue, UnknownName
from realtime.flow.metrics import RunStats
from realtime.media.backdrop import Keyed
from realtime.motion.edits import Edits
from realtime.motion.expressions import HOLD, board_of, played
from realtime.motion.fit import Fit
from realtime.session.shelf import ReadyPortrait, Shelf
from realtime.settings import Live
from realtime.types import Direction, MotionCode


@dataclass(frozen=True)
class Notice:
    """One sentence for the user. at: seconds of `time.monotonic()`."""

    text: str
    at: float
    level: str = "info"
    """"info" or "warning"."""


@dataclass(frozen=True)
class PortraitWish:
    """A portrait that someone wants prepared. image: uint8 (H, W, 3) RGB, or that before a clip. show: show it once
    it is ready."""

    name: str
    image: np.ndarray | Keyed
    show: bool


@dataclass(frozen=True)
class Recalibration:
    """The neutral face is to be learnt anew. neutral: the code that it is known by already."""

    neutral: MotionCode | None = None


class Control:
    """Desired state of a session. Stages read `live` at the start of each frame; it is replaced as a whole."""

    def __init__(
        self, live: Live, directions: Iterable[Direction], stats: RunStats, shelf: Shelf, can_mirror: bool = True
    ) -> None:
        self._directions, self._can_mirror = list(directions), can_mirror
        self._lock = threading.Lock()
        self._live = live
        self._wishes: deque[PortraitWish] = deque()
        self._wished = threading.Event()
        self._chosen: ReadyPortrait | None = None
        self._shelf = shelf
        self._portrait_name = ""
        self._recalibrate: Recalibration | None = None
        self._stop = threading.Event()
        self._on_stop: list[Callable[[], None]] = []
        self._notices: deque[Notice] = deque(maxlen=50)
        self._listeners: list[Callable[[Notice], None]] = []
        self.stats = stats
        self.phase = "starting"
        """"starting", "running", "paused" or "stopped"."""
        self.face = "unknown"
        """What the driver's face does: see `motion.presence.Presence.state`."""
        self.calibration = 0.0
        """How far the calibration of the neutral face has come, 0 to 1."""
        self.fit: Fit | None = None
        """How well the neutral face still sits; None before anything is driven."""
        self.neutral: MotionCode | None = None
        """The driver's neutral code, once it is known after `recalibrate`; as it is used now (see `Live.mirror`)."""
        self._check(live)

    @property
    def live(self) -> Live:
        """The settings in force now."""
        return self._live

    def change(self, **fields: Any) -> Live:
        """Replace fields of `Live`. Raises BadValue, UnknownName (a direction), and then changes nothing."""
        with self._lock:
            live = replace(self._live, **fields)
            self._check(live)
            self._live = live
            return live

    def pause(self) -> None:
        """Use no driving frame until `resume`; the avatar idles."""
        self.change(paused=True)

    def resume(self) -> None:
        self.change(paused=False)

    def recalibrate(self, neutral: MotionCode | None = None) -> None:
        """Take the driver's next steady frames as neutral; or this code, which `neutral` told in another session."""
        with self._lock:
            self._recalibrate = Recalibration(neutral)

    def express(self, name: str, on: bool | None = None, seconds: float = HOLD) -> None:
        """Put an expression of the board on or off: see `motion.expressions.played`. Raises UnknownName."""
        with self._lock:
            now = time.monotonic()
            self._live = replace(
                self._live, played=played(self._live.played, name, self._directions, now, on, seconds)
            )

    @property
    def board(self) -> list[str]:
        """Names of the expressions that can be put on."""
        return [expression.name for expression in board_of(self._directions)]

    def set_portrait(self, image: np.ndarray | Keyed, name: str = "") -> None:
        """Show another portrait, uint8 (H, W, 3) RGB, as soon as it is prepared. A picture that cannot serve is
        refused with a notice, and the old portrait stays."""
        self._wish(PortraitWish(name, image, show=True))

    def prepare_portrait(self, image: np.ndarray | Keyed, name: str) -> None:
        """Get a portrait ready in the background, to be shown by `choose_portrait` within one frame."""
        self._wish(PortraitWish(name, image, show=False))

    def choose_portrait(self, name: str) -> None:
        """Show a portrait that was prepared. Raises UnknownName where there is none of that name (yet)."""
        prepared = self._shelf.get(name)
        if prepared is None:
            raise UnknownName("prepared portrait", name, self._shelf.names)
        with self._lock:
            self._chosen = prepared

    def next_portrait(self) -> None:
        """Show the prepared portrait whose name comes after that of the present one."""
        names = sorted(self._shelf.names)
        if names:
            later = [name for name in names if name > self._portrait_name]
            self.choose_portrait((later or names)[0])

    def stop(self) -> None:
        """End the session: files are finished, devices let go."""
        self._stop.set()
        with self._lock:
            listeners = list(self._on_stop)
        for listener in listeners:
            listener()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def tell(self, text: str, level: str = "info") -> None:
        """Say one sentence to the user."""
        notice = Notice(text, time.monotonic(), level)
        with self._lock:
            self._notices.append(notice)
            listeners = list(self._listeners)
        for listener in listeners:
            listener(notice)

    def subscribe(self, listener: Callable[[Notice], None]) -> None:
        """Call `listener` with every notice, from the thread in which it arises."""
        with self._lock:
            self._listeners.append(listener)

    def snapshot(self) -> dict[str, Any]:
        """State and statistics, ready for JSON."""
        live = self._live
        with self._lock:
            notices = [asdict(n) for n in self._notices]
        now = time.monotonic()
        return {
            "phase": "paused" if live.paused and self.phase == "running" else self.phase,
            "face": self.face,
            "calibration": round(self.calibration, 2),
            "fit": None if self.fit is None or (sits := self.fit.quality) is None else round(sits, 2),
            "portrait": self._portrait_name,
            "portraits": sorted(self._shelf.names),
            "edits": dict(live.edits),
            "amplitude": dict(live.amplitude),
            "hold_gaze": live.hold_gaze,
            "mirror": live.mirror,
            "absolute": live.absolute,
            "now": self.stats.recent(now),
            "stats": self.stats.to_json(),
            "notices": notices,
        }

    # For the pipeline

    def when_stopping(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the session is asked to stop; at once if it already was."""
        with self._lock:
            self._on_stop.append(listener)
        if self.stopping:
            listener()

    def take_recalibrate(self) -> Recalibration | None:
        """What was asked for last, once; None where nothing was."""
        with self._lock:
            asked, self._recalibrate = self._recalibrate, None
            return asked

    def take_wish(self, timeout: float) -> PortraitWish | None:
        """The next portrait to prepare; None after `timeout` seconds."""
        self._wished.wait(timeout)
        with self._lock:
            wish = self._wishes.popleft() if self._wishes else None
            if not self._wishes:
                self._wished.clear()
            return wish

    def show(self, prepared: ReadyPortrait) -> None:
        """Show this portrait from the next picture on, and keep it ready."""
        self._shelf.keep(prepared)
        with self._lock:
            self._chosen = prepared

    def take_portrait(self) -> ReadyPortrait | None:
        """The portrait to show from now on, once; None where it stays."""
        with self._lock:
            chosen, self._chosen = self._chosen, None
            return chosen

    def portrait_is(self, name: str) -> None:
        """The pipeline says which portrait is shown now."""
        self._portrait_name = name

    def _wish(self, wish: PortraitWish) -> None:
        with self._lock:
            self._wishes.append(wish)
            self._wished.set()

    def _check(self, live: Live) -> None:
        Edits(self._directions, live.edits, live.amplitude, live.hold_gaze)
        if not 0.0 <= live.smoothing <= 1.0:
            raise BadValue("smoothing", live.smoothing, "from 0 to 1")
        if live.mirror and not self._can_mirror:
            raise BadValue("mirror", "on", "the codes of this motion track do not tell left from right")
