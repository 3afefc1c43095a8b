"""Two results side by side: what got worse by more than its own noise. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.report.result import Figure, Result
from benchmarks.report.statistics import ratio_interval

Verdict = Literal["worse", "better", "same", "not judged"]
LEAST = 0.03
"""A change smaller than this is not worth a word, however sure."""
BUSY = 15.0
"""Percent of all cores taken by others from which on times are not to be trusted."""
ENOUGH = 3
"""Samples on each side that noise can be told from."""
SEEN = ("clips", "portraits", "frames", "clip", "size")
"""Settings that say what was looked at: where one differs, figures are of different things."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure, then and now. ratio: now / then, with its 95 % bootstrap interval `low` to `high`."""

    benchmark: str
    name: str
    unit: str
    old: float
    new: float
    ratio: float
    low: float
    high: float
    verdict: Verdict


def judge(old: Figure, new: Figure) -> tuple[float, float, float, Verdict]:
    """Ratio, its interval, and the verdict on one figure.

    Worse or better only where the whole interval lies on one side of 1 and the ratio is off by `LEAST`; a figure
    without enough repeats on both sides is not judged, unless it is a plain count that is no longer 0.
    """
    if old.value is None or new.value is None:
        return math.nan, math.nan, math.nan, "not judged"
    if old.value == 0:
        same = new.value == 0
        return (1.0, 1.0, 1.0, "same") if same else (math.nan, math.nan, math.nan, "not judged")
    ratio = new.value / old.value
    if min(len(old.samples), len(new.samples)) < ENOUGH:
        return ratio, math.nan, math.nan, "same" if ratio == 1 else "not judged"
    _, low, high = ratio_interval(old.samples, new.samples)
    if not (low > 1 or high < 1) or abs(ratio - 1) < LEAST:
        return ratio, low, high, "same"
    grew = low > 1
    return ratio, low, high, "worse" if grew == (new.better == "lower") else "better"


def compare(old: Iterable[Result], new: Iterable[Result]) -> list[Change]:
    """Every figure that both sides have and that has a good side, worst first. A benchmark that looked at something
    else (other clips, more frames) is shown and not judged."""
    then = {r.benchmark: r for r in old}
    changes = []
    for result in new:
        before = then.get(result.benchmark)
        if before is None:
            continue
        known = {f.name: f for f in before.figures}
        alike = all(before.settings.get(key) == result.settings.get(key) for key in SEEN)
        for figure in result.figures:
            past = known.get(figure.name)
            if past is None or not figure.better or past.value is None or figure.value is None:
                continue
            ratio, low, high, verdict = judge(past, figure)
            verdict = verdict if alike else "not judged"
            what = (result.benchmark, figure.name, figure.unit, past.value, figure.value)
            changes.append(Change(*what, ratio, low, high, verdict))
    order = {"worse": 0, "better": 1, "not judged": 2, "same": 3}
    return sorted(changes, key=lambda c: (order[c.verdict], -abs(math.log(c.ratio)) if c.ratio > 0 else 0.0))


def other_machine(old: Sequence[Result], new: Sequence[Result]) -> list[str]:
    """In which facts the two machines differ: where any do, times are not to be compared."""
    if not old or not new:
        return []
    a, b = old[0].machine, new[0].machine
    differing = [key for key in ("cpu", "cores", "python") if a.get(key) != b.get(key)]
    out = [f"{key}: {a.get(key)} then, {b.get(key)} now" for key in differing]
    if any(r.quick for r in old) != any(r.quick for r in new):
        out.append("one run was quick, the other was not")
    for when, results in (("then", old), ("now", new)):
        busy = [r.benchmark for r in results if (r.machine.get("busy_before") or 0) > BUSY]
        if busy:
            out.append(f"the machine was busy with other work {when}: {', '.join(busy)}")
    return out
