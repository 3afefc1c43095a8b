"""What is wrong with the driving pictures, said once and in words: too dark, black, frozen, no face. And what to
show when the engine fails. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

THUMBNAIL = 48
"""Side of the thumbnail that is judged, samples."""


@dataclass(frozen=True)
class Thresholds:
    """When a picture counts as bad. Luma from 0 to 255; seconds."""

    black: float = 8.0
    """Mean luma below which, with hardly any contrast, the lens is covered or the camera gives nothing."""
    dark: float = 45.0
    """Mean luma below which landmarks become unsteady."""
    still: float = 0.02
    """Mean change of luma from frame to frame below which nothing changes: a camera has more noise than that."""
    frozen_for: float = 0.7
    """How long the picture stays the same before it counts as frozen."""
    after: float = 1.0
    """How long it is black or dark before it is told."""
    face_after: float = 2.0
    """How long there is no face before it is told."""
    silent_after: float = 3.0
    """How long no picture comes before it is told."""


class SignalMonitor:
    """Judges driving pictures. Feed each one, in order; collect sentences.

    still: the source gives one picture again and again on purpose."""

    def __init__(self, name: str, limits: Thresholds | None = None, *, still: bool = False) -> None:
        self.name, self._still = name, still
        self.state = "ok"
        """"ok", "black", "frozen" or "dark"."""
        self._limits = limits or Thresholds()
        self._before: np.ndarray | None = None
        self._repeats: deque[tuple[float, bool]] = deque()
        self._since: dict[str, float] = {}
        self._face_seen: float | None = None
        self._face_told = False
        self._silence_told = False

    def frame(self, image: np.ndarray, now: float) -> str | None:
        """One driving picture, uint8 (H, W, 3) RGB. Gives a sentence when the state changes."""
        self._silence_told = False
        thumbnail = luma_thumbnail(image)
        mean, spread = float(thumbnail.mean()), float(thumbnail.std())
        before, self._before = self._before, thumbnail
        same = before is not None and before.shape == thumbnail.shape
        repeated = same and float(np.abs(thumbnail - before).mean()) < self._limits.still
        if mean < self._limits.black and spread < self._limits.black:
            fault = "black"
        elif not self._still and self._frozen(repeated, now):
            fault = "frozen"
        elif mean < self._limits.dark:
            fault = "dark"
        else:
            fault = "ok"
        return self._change(fault, now)

    def _frozen(self, repeated: bool, now: float) -> bool:
        """Whether nine of ten pictures of the last `frozen_for` seconds were repetitions: a compressed stream
        freshens even a frozen picture up now and then, and a slow camera is shown several times each."""
        self._repeats.append((now, repeated))
        while now - self._repeats[0][0] > self._limits.frozen_for:
            self._repeats.popleft()
        seen = [again for _, again in self._repeats]
        long_enough = now - self._repeats[0][0] > 0.8 * self._limits.frozen_for and len(seen) >= 5
        return long_enough and sum(seen) >= 0.9 * len(seen)

    def face(self, seen: bool, now: float) -> str | None:
        """Whether there was a face in the picture at `now`. Gives a sentence when one was long missed, or is back."""
        if seen or self._face_seen is None:
            back, self._face_told = self._face_told and seen, self._face_told and not seen
            self._face_seen = now
            return "face found: the avatar follows again" if back else None
        if not self._face_told and now - self._face_seen >= self._limits.face_after:
            self._face_told = True
            if self.state == "black":
                return None
            return f"{self.name}: no face in the picture; the avatar idles until there is one"
        return None

    def silent(self, seconds: float) -> str | None:
        """No picture came for so long. Gives a sentence once, until pictures come again."""
        if seconds < self._limits.silent_after or self._silence_told:
            return None
        self._silence_told = True
        return f"{self.name} gives no pictures; the avatar idles until it does"

    def _change(self, fault: str, now: float) -> str | None:
        if fault == self.state:
            self._since.clear()
            return None
        since = self._since.setdefault(fault, now)
        self._since = {fault: since}
        if fault in ("black", "dark") and now - since < self._limits.after:
            return None
        if fault == "ok" and now - since < 0.2:
            return None
        self.state = fault
        return {
            "ok": f"{self.name}: the picture is well again",
            "black": f"{self.name} gives black pictures: is the lens covered, or the camera switched off?",
            "frozen": f"{self.name} gives the same picture again and again: it may have frozen",
            "dark": f"{self.name}: it is dark; more light on your face makes the avatar steadier",
        }[fault]


def luma_thumbnail(image: np.ndarray) -> np.ndarray:
    """float32 luma of about 48 x 48 samples of a uint8 (H, W, 3) RGB picture."""
    step_y, step_x = max(1, image.shape[0] // THUMBNAIL), max(1, image.shape[1] // THUMBNAIL)
    return image[::step_y, ::step_x].astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)


class Fallback:
    """What is shown while the engine fails: the last picture for a second, then the still portrait."""

    def __init__(self, hold: float = 1.0) -> None:
        self._hold = hold
        self._since: float | None = None
        self.reason = ""

    @property
    def failing(self) -> bool:
        return self._since is not None

    def failed(self, reason: str, now: float) -> tuple[bool, bool]:
        """(is this the first failure in a row, is it time for the still portrait)."""
        first = self._since is None
        if self._since is None:
            self._since = now
        self.reason = reason
        return first, now - self._since >= self._hold

    def succeeded(self) -> bool:
        """True when the failures have just ended."""
        ended, self._since = self.failing, None
        return ended
