"""Curves by which living things move: minimum-jerk steps, blinks, breath."""

from __future__ import annotations

import math


def minimum_jerk(share: float) -> float:
    """0 to 1 for `share` from 0 to 1 with no jerk at either end (Flash and Hogan 1985); clamped outside."""
    t = min(1.0, max(0.0, share))
    return t * t * t * (10 + t * (6 * t - 15))


BLINK_CLOSING, BLINK_SHUT, BLINK_OPENING = 0.08, 0.035, 0.19
BLINK_SECONDS = BLINK_CLOSING + BLINK_SHUT + BLINK_OPENING


def blink(since: float) -> float:
    """How far the lids are closed `since` seconds after a blink began: 0 open, 1 shut. Lids fall faster than rise."""
    if since < BLINK_CLOSING:
        return minimum_jerk(since / BLINK_CLOSING)
    if since < BLINK_CLOSING + BLINK_SHUT:
        return 1.0
    opened = (since - BLINK_CLOSING - BLINK_SHUT) / BLINK_OPENING
    # The last part of the way is slow, as lids rise.
    return 1.0 - minimum_jerk(math.sqrt(min(1.0, max(0.0, opened))) if opened > 0 else 0.0)


BREATH_SECONDS = 4.2


def breath(now: float) -> float:
    """Chest from -1 (out) to 1 (in) at a time in seconds; breathing in is quicker than out."""
    phase = (now / BREATH_SECONDS) % 1.0
    skewed = phase / 0.84 if phase < 0.42 else 0.5 + (phase - 0.42) / 1.16
    return -math.cos(2 * math.pi * skewed)
