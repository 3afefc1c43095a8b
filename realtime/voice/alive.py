"""What a head and eyes do by themselves while somebody speaks or listens: blinks, glances, sway, nods with stressed
syllables. The same seed and the same sound give the same motion.

Blinks come as often as people's do, 17 a minute at rest and 26 in conversation (Bentivoglio and others 1997), and
more readily where a phrase ends. Eyes stay on the listener most of the time and look away for about a second (Lee,
Badler and Badler 2002); a saccade takes 21 ms and 2.2 ms more for each degree. Nods follow loudness, as speakers'
do (Munhall and others 2004). Time is passed in, and does not go back.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from realtime.motion.curves import BLINK_SECONDS, blink, breath, minimum_jerk

REST_BLINKS, TALK_BLINKS = 17 / 60, 26 / 60
"""A second, at rest and in conversation."""
LEAST_PAUSE = 0.7
"""Seconds between two blinks, at least."""
PHRASE_ENDS = 0.35
"""Seconds of silence after which a phrase is over."""
BLINK_AT_END = 0.45
"""How often a phrase's end brings a blink."""
SPEAKING = -12.0
"""Decibels above the speaker's level from which on sound is speech."""
STRESS = 4.0
"""So many decibels above the recent syllables is a stressed one."""
NOD_SECONDS, NOD_PAUSE = 0.42, 0.9
"""How long a nod takes, and seconds from one to the next, at least."""
SACCADE_SECONDS, SACCADE_A_DEGREE, DEGREES = 0.021, 0.0022, 90.0
"""A saccade's time, and how many degrees a gaze by an eye's width is."""
SWAY = {"yaw": (1.7, 0.9), "pitch": (1.0, 0.6), "roll": (0.9, 0.5)}
"""Degrees by which the head wanders while speaking, and at rest."""


@dataclass(frozen=True, slots=True)
class Life:
    """yaw, pitch, roll: degrees. gaze_x, gaze_y: from the camera, eye widths. blink: 1 is shut. brows: raised, 0 to
    1. breath: -1 out to 1 in."""

    yaw: float
    pitch: float
    roll: float
    gaze_x: float
    gaze_y: float
    blink: float
    brows: float
    breath: float


class Alive:
    """One head. Ask it again and again, with the time and how loud its speaker is."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._waves = {
            axis: [(self._chance.uniform(0.06, 0.35), self._chance.uniform(0, 2 * math.pi)) for _ in range(4)]
            for axis in SWAY
        }
        self._before: float | None = None
        self._talks = 0.0
        self._usual = 0.0
        self._quiet = 10.0
        self._blink_at = self._chance.uniform(0.8, 2.5)
        self._gaze = self._from = (0.0, 0.0)
        self._moved_at, self._saccade = -1.0, SACCADE_SECONDS
        self._look_at = self._chance.uniform(1.0, 3.0)
        self._away = False
        self._nod_at, self._nod, self._raise = -10.0, 0.0, 0.0

    def at(self, now: float, loud: float) -> Life:
        """now: seconds. loud: decibels above the speaker's level."""
        step = 0.0 if self._before is None else max(0.0, now - self._before)
        self._before = now
        self._listen(now, loud, step)
        talks = self._talks
        angles = {}
        for axis, (busy, calm) in SWAY.items():
            wave = sum(math.sin(2 * math.pi * rate * now + phase) for rate, phase in self._waves[axis]) / 2
            angles[axis] = (calm + (busy - calm) * talks) * wave
        nod = self._nod * math.sin(math.pi * minimum_jerk((now - self._nod_at) / NOD_SECONDS))
        gaze_x, gaze_y = self._look(now)
        return Life(
            angles["yaw"] + 22 * gaze_x * 0.35,  # the head goes along with a glance, a little
            angles["pitch"] - nod,
            angles["roll"],
            gaze_x,
            gaze_y,
            self._lids(now),
            self._raise * math.sin(math.pi * minimum_jerk((now - self._nod_at) / (1.4 * NOD_SECONDS))),
            breath(now),
        )

    def _listen(self, now: float, loud: float, step: float) -> None:
        speaks = loud > SPEAKING
        self._talks += ((1.0 if speaks else 0.0) - self._talks) * (1 - math.exp(-step / 0.6))
        if speaks:
            if loud > self._usual + STRESS and now > self._nod_at + NOD_PAUSE and self._chance.random() < 0.75:
                self._nod_at = now
                self._nod = self._chance.uniform(1.4, 3.2)
                self._raise = self._chance.choice((0.0, 0.0, 0.18, 0.3))
            self._usual += (loud - self._usual) * (1 - math.exp(-step / 0.8))
            self._quiet = 0.0
            return
        ended = self._quiet < PHRASE_ENDS <= self._quiet + step
        self._quiet += step
        self._usual -= min(step, 1.0) * 4.0 if self._usual > -8 else 0.0
        if ended and self._chance.random() < BLINK_AT_END and now > self._blink_at - 60 and self._may_blink(now):
            self._blink_at = now

    def _may_blink(self, now: float) -> bool:
        return self._blink_at > now

    def _lids(self, now: float) -> float:
        if now > self._blink_at + BLINK_SECONDS:
            rate = REST_BLINKS + (TALK_BLINKS - REST_BLINKS) * self._talks
            mean = max(0.1, 1 / rate - LEAST_PAUSE - BLINK_SECONDS)
            spread = 0.8  # of the logarithm: many short pauses, some long ones
            self._blink_at = now + LEAST_PAUSE + mean * self._chance.lognormvariate(-(spread**2) / 2, spread)
        return blink(now - self._blink_at) if now >= self._blink_at else 0.0

    def _look(self, now: float) -> tuple[float, float]:
        if now >= self._look_at:
            self._from = self._gaze
            if self._away or self._chance.random() < 0.55:  # back, or a tiny move about the listener's eyes
                self._away = False
                self._gaze = (self._chance.gauss(0, 0.012), self._chance.gauss(0, 0.008))
                self._look_at = now + self._chance.gammavariate(2.2, 0.7)
            else:
                self._away = True
                side = self._chance.choice((-1, 1))
                self._gaze = (side * self._chance.uniform(0.05, 0.12), self._chance.uniform(-0.035, 0.05))
                self._look_at = now + self._chance.uniform(0.5, 1.3)
            far = DEGREES * math.dist(self._from, self._gaze)
            self._moved_at, self._saccade = now, SACCADE_SECONDS + SACCADE_A_DEGREE * far
            if far > 7 and self._may_blink(now) and self._chance.random() < 0.3:  # a large one often brings a blink
                self._blink_at = now
        done = minimum_jerk((now - self._moved_at) / self._saccade)
        return tuple(a + (b - a) * done for a, b in zip(self._from, self._gaze, strict=True))  # type: ignore[return-value]
