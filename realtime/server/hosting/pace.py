"""A fair drop: where a machine cannot make the pictures of all its sessions, all do without what is missed least, and
then get fewer, evenly spaced, before any of them starves. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from realtime.server.common.limits import Bucket

STEPS = (1.0, 1.0, 0.8, 2 / 3)
"""Of the full rate: 30, 24 and 20 pictures a second. From the second on, what pictures can do without is left out."""
SERVED = 0.9
"""A session that gets less than this share of what it may have is short."""
PATIENCE_S = 2.0
"""A step is taken when half of the sessions were short in every look for so long."""
LIKELY = 0.75
"""A step is passed over where sessions got less than this share of its rate in the best of that time: what it leaves
out makes up for no more."""
BACK_S = 10.0
"""So long nobody may be short until they get more again; twice as long after each time that this was too early."""
MOST_BACK_S = 160.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Of one session, since the last look. asked: pictures that were let through. missed: those of them that nobody
    came to make, because a newer one was there first."""

    asked: int
    missed: int


class Thinner:
    """Lets so many driving frames of one session through each second, evenly."""

    def __init__(self) -> None:
        self.fps: float | None = None
        self._bucket: Bucket | None = None

    def keep_to(self, fps: float | None) -> None:
        """At most so many from now on; None: all."""
        if fps != self.fps:
            self.fps, self._bucket = fps, None if fps is None else Bucket(fps, 2.0)

    def take(self, now: float) -> bool:
        """Whether this one is let through."""
        return self._bucket is None or self._bucket.take(now)


class Pace:
    """How many pictures a second all sessions get. full: where there is no need."""

    def __init__(self, full: float) -> None:
        self.full = self._others = full
        self._step = 0
        self._short_since: float | None = None
        self._best = 0.0
        self._good_since: float | None = None
        self._raised = float("-inf")
        self._back = BACK_S
        self._crowd = 0

    @property
    def wanted(self) -> float:
        """The rate that these sessions can have."""
        return self.full * STEPS[self._step]

    @property
    def held_to(self) -> float | None:
        """The rate that they get; None: all that they ask for."""
        rate = min(self.wanted, self._others)
        return rate if rate < self.full else None

    @property
    def sparing(self) -> bool:
        """What pictures can do without is left out (`engines.Spares`): before anyone gets fewer of them."""
        return self._step > 0 or self.held_to is not None

    def agree(self, others: float) -> None:
        """The rate that other processes of the same machine can give their sessions."""
        self._others = others

    def look(self, now: float, sessions: Iterable[Asked]) -> None:
        """What has come of the last second."""
        rate = self.held_to or self.full
        busy = [each for each in sessions if each.asked >= rate / 2]  # a slow camera is no measure
        short = [each for each in busy if each.asked - each.missed < SERVED * min(each.asked, rate)]
        if len(busy) < self._crowd:
            self._back, self._crowd = BACK_S, len(busy)
        if busy and 2 * len(short) >= len(busy):  # one alone may have an engine that hangs
            self._good_since = None
            if self._short_since is None:
                self._short_since, self._best = now, 0.0
            served = median((each.asked - each.missed) / min(each.asked, rate) for each in busy)
            self._best = max(self._best, served * rate / self.full)
            if now - self._short_since >= PATIENCE_S - 0.5 and self._step < len(STEPS) - 1:
                early = now - self._raised < 2 * BACK_S
                self._back = min(MOST_BACK_S, 2 * self._back) if early else BACK_S
                self._step, self._crowd, self._short_since = self._enough(), len(busy), None
            return
        self._short_since = None
        self._good_since = now if self._good_since is None else self._good_since
        if self._step and now - self._good_since >= self._back:
            self._step, self._raised, self._good_since = self._step - 1, now, None

    def _enough(self) -> int:
        """The next step, or a later one where that one would hardly do."""
        later = range(self._step + 1, len(STEPS))
        return next((step for step in later if self._best >= LIKELY * STEPS[step]), later[-1])
