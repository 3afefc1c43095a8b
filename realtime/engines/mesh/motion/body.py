"""The body in motion codes: read off a driver's shoulders, and what it comes to on a portrait.

The line of the shoulders does not tell a trunk that leans from a shoulder that is raised. Where they go does: a trunk
leans about the hips, so that its shoulders go to that side, and who raises one stays. As much of the line's tilt as
goes with such a shift is `lean`; of the rest the higher shoulder was raised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.shoulders import BodyTracker, Shoulders
from realtime.motion.filters import OneEuro, smoothing, soft_limit

HIPS = 2.2
"""From the shoulders down to the hips, about which a trunk leans, face heights."""
APPEAR, VANISH = 0.6, 0.8
"""Hz: how fast a body that is seen takes over from one that goes along with the head, and gives way to it again."""
SHIFT_X, SHIFT_Y, RAISE = (0.2, 0.45), (0.1, 0.22), (0.12, 0.22)
ZOOM, TILT, TURN = (0.2, 0.45), (12.0, 22.0), (18.0, 30.0)
"""Relative motion is carried over one to one up to the first, and never passes the second: face heights, logarithm,
degrees. The head goes along with the body, and has to stay in the picture."""
ABSOLUTE = 4.0
"""In absolute motion so many times as much."""


def measured(seen: Shoulders) -> np.ndarray:
    """The entries from BODY_X to SHOULDER_LEFT, (7,), of a driver's shoulders."""
    now, start, unit = seen.points, seen.start, max(seen.scale, 1.0)
    line, first = now[1] - now[0], start[1] - start[0]
    tilt = math.atan2(line[1], line[0]) - math.atan2(first[1], first[0])
    tilt = (tilt + math.pi) % (2 * math.pi) - math.pi
    x, y = ((now - start).mean(axis=0) / unit).tolist()
    about_hips = math.asin(min(max(x / HIPS, -1.0), 1.0))
    lean = min(max(about_hips, min(0.0, tilt)), max(0.0, tilt))
    half = float(np.linalg.norm(first)) / (2 * unit) * math.sin(tilt - lean)  # the left shoulder is lower by so much
    narrower = math.cos(math.radians(min(max(seen.turn, -60.0), 60.0)))
    zoom = math.log(max(float(np.linalg.norm(line)), 1.0) / max(float(np.linalg.norm(first)), 1.0) / narrower)
    return np.array([x, y + abs(half), zoom, math.degrees(lean), seen.turn, abs(half) + half, abs(half) - half])


class BodyReader:
    """Reads the body's entries off driving frames. One per driver; not thread-safe."""

    def __init__(self) -> None:
        self._tracker = BodyTracker()
        self._filter = OneEuro(cutoff=1.5, beta=12.0, speed_cutoff=3.0, rest=0.03)
        self.reset()

    def reset(self) -> None:
        """Forget the driver."""
        self._tracker.reset()
        self._filter.reset()
        self._values = np.zeros(mc.BODY.stop - mc.BODY.start)
        self._measured = np.zeros(7)
        self._time: float | None = None

    def close(self) -> None:
        """Free what it reads with. Safe to call twice."""
        self._tracker.close()

    def lose(self) -> None:
        """No face was seen in a frame."""
        self._tracker.pause()
        self._filter.reset()
        self._values[:] = 0.0
        self._time = None

    def read(self, image: np.ndarray, landmarks: np.ndarray, now: float, sparing: bool = False) -> np.ndarray:
        """The entries BODY of the next frame, uint8 (H, W, 3), with its face's landmarks (478, 3). now: seconds.
        sparing: do not look at it; a body that was seen gives way as one does that has gone out of sight."""
        if sparing:
            self._tracker.pause()
        seen = None if sparing else self._tracker.follow(image, landmarks, now)
        sure = 0.0 if seen is None else seen.sure
        first = self._time is None
        step = 0.0 if self._time is None else max(now - self._time, 0.0)
        self._time = now
        held = self._values[0]
        self._values[0] = sure if first else held + smoothing(APPEAR if sure > held else VANISH, step) * (sure - held)
        if seen is not None and sure > 0.0:
            units = np.array([1.0, 1.0, 1.0, 60.0, 60.0, 1.0, 1.0])
            self._measured = self._filter(measured(seen) / units, now) * units
        self._values[1:8] = self._values[0] * self._measured
        return self._values


@dataclass(frozen=True, slots=True)
class BodyMotion:
    """What a portrait's body does. share: how far it moves by this alone, not with the head (0 to 1). shift: (2,),
    face heights. grow: factor. lean, turn: degrees. raise_right, raise_left: of the person's own shoulders, face
    heights. breath: 1 is a full one. wanted: the shift that the driver's own body makes."""

    share: float
    shift: np.ndarray
    wanted: np.ndarray
    grow: float
    lean: float
    turn: float
    raise_right: float
    raise_left: float
    breath: float

    @property
    def still(self) -> bool:
        """Whether it adds nothing to what the head does."""
        rest = (self.lean, self.turn, self.raise_right, self.raise_left, self.breath, self.grow - 1.0, *self.shift)
        return self.share == 0.0 and not any(rest)


def body_motion(values: np.ndarray, reference: np.ndarray, absolute: bool) -> BodyMotion:
    """From a driver's code to the portrait's body, within what a portrait can bear. values, reference: (LENGTH,)."""
    share = float(np.clip(values[mc.BODY_SEEN], 0.0, 1.0))
    moved = values[mc.BODY] - share * reference[mc.BODY]  # a body that is not seen is where it was at first: 0
    _, x, y, zoom, lean, turn, right, left, shrug, breath = moved.tolist()
    more = ABSOLUTE if absolute else 1.0

    def within(amount: float, limits: tuple[float, float]) -> float:
        return float(soft_limit(amount, limits[0] * more, limits[1] * more))

    return BodyMotion(
        share=share,
        shift=np.array([within(x, SHIFT_X), within(y, SHIFT_Y)]),
        wanted=np.array([x, y]),
        grow=math.exp(within(zoom, ZOOM)),
        lean=within(lean, TILT),
        turn=within(turn, TURN),
        raise_right=within(right + shrug, RAISE),
        raise_left=within(left + shrug, RAISE),
        breath=min(max(breath, -1.0), 3.0),
    )
