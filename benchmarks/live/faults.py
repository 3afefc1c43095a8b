"""What the faults of `chaos` have in common: what came of one, and when pictures flowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

GAP_S = 0.5
"""Without a picture for so long, a watcher sees that something is wrong."""


@dataclass(frozen=True)
class Plan:
    """How the faults are tried. size: of the avatar, px. attack_s: of the mixed attack."""

    size: int = 512
    attack_s: float = 60.0


@dataclass
class Outcome:
    """What came of one fault.

    injected: what was done. noticed: seconds until it could be seen; recovered: from its end until all was well; None
    where there is no such thing. lost: in words. held: nothing was lost that should not have been. skipped: why it
    was not tried. figures: name to (value, unit, least that is good enough or None).
    """

    injected: str
    noticed: float | None = None
    recovered: float | None = None
    recovers_within: float | None = None
    lost: str = "nothing"
    held: bool = True
    skipped: str = ""
    figures: dict[str, tuple[float, str, float | None]] = field(default_factory=dict)


def noticed_after(times: Sequence[float], begun: float, gap: float = GAP_S) -> float | None:
    """Seconds from `begun` until no picture came for `gap` seconds; None where none was missed. times: ascending."""
    last = begun
    for at in (t for t in times if t > begun):
        if at - last > gap:
            break
        last = at
    else:
        return None
    return last + gap - begun


def recovered_after(times: Sequence[float], ended: float, count: int = 5, within: float = 1.0) -> float | None:
    """Seconds from `ended` to the first of `count` pictures that came `within` seconds; None where they never did."""
    later = [t for t in times if t > ended]
    for first, last in zip(later, later[count - 1 :], strict=False):
        if last - first <= within:
            return first - ended
    return None
