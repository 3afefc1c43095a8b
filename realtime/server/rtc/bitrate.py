"""How many bits a second the avatar gets. Pure: estimates and time in, a rate out.

A VP8 encoder cannot change its rate once open: each change is a new encoder and a key frame, a burst on the very
network that is said to be narrow. A receiver sends an estimate about once a second. So the rate moves on a ladder,
down when several estimates in a row agree (at once when the network has collapsed), up only after a calm time that
doubles each time a step up had to be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass

RUNGS = (0.12, 0.25, 0.45, 0.7, 1.0)
"""Steps of the ladder, in shares of the rate that suits the picture."""


def suitable_rate(width: int, height: int, fps: float = 30.0) -> int:
    """Bits per second at which a talking head of this size looks clean in VP8 or H.264.

    2.5 Mbit/s for 512 x 512 at 30 fps; grows with the pixels to the power 0.75 (the usual rule for video rates)
    and with the square root of the frame rate."""
    rate = 2.5e6 * (width * height / 512**2) ** 0.75 * (fps / 30.0) ** 0.5
    return round(min(12e6, max(0.4e6, rate)) / 1e4) * 10_000


@dataclass(slots=True)
class Ladder:
    """The rate of one encoder.

    suited: bits per second that suit the picture (`suitable_rate`); the start.
    patience: estimates in a row that must agree before a step down. calm_s: seconds without trouble before a step
    up."""

    suited: int
    patience: int = 3
    calm_s: float = 8.0
    rung: int = len(RUNGS) - 1
    _below: int = 0
    _trouble_at: float = 0.0
    _stepped_up_at: float | None = None
    changes: int = 0

    @property
    def rate(self) -> int:
        """Bits per second now."""
        return round(self.suited * RUNGS[self.rung])

    def fit(self, suited: int) -> None:
        """Another rate suits the pictures from now on. A path that was found to be narrow gets no more at once than
        it got before."""
        before, known, self.suited = self.rate, self.changes and suited != self.suited, suited
        if known:
            self.rung = max((i for i, share in enumerate(RUNGS) if suited * share <= before), default=0)

    def estimate(self, bits_per_s: float, now: float) -> int:
        """Take a receiver's estimate of what the path carries; returns the rate to send at."""
        if bits_per_s < 0.85 * self.rate:
            self._below += 1
            self._trouble_at = now
            if self._below >= self.patience or bits_per_s < 0.4 * self.rate:
                self._step_down(bits_per_s, now)
        else:
            self._below = 0
            higher = self.rung + 1
            if (
                higher < len(RUNGS)
                and bits_per_s >= 1.1 * self.suited * RUNGS[higher]
                and now - self._trouble_at >= self.calm_s
            ):
                self.rung = higher
                self.changes += 1
                self._trouble_at = self._stepped_up_at = now
        return self.rate

    def _step_down(self, bits_per_s: float, now: float) -> None:
        fitting = [i for i, share in enumerate(RUNGS) if self.suited * share <= 0.95 * bits_per_s]
        lower = min(self.rung, max(fitting, default=0))
        if lower == self.rung:
            return
        if self._stepped_up_at is not None and now - self._stepped_up_at < 2 * self.calm_s:
            self.calm_s = min(64.0, 2 * self.calm_s)
        self.rung = lower
        self.changes += 1
        self._below = 0
