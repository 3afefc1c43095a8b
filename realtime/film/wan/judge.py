"""Whether a clip can be trusted to drive a film, said before hours are spent: decisions, no I/O.

A film is as good as the pose that was read. What is wrong is named with its frames; what is wrong with most of a clip
refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from realtime.film.wan.people import Person
from realtime.film.wan.skeleton import SURE

MOST = 0.5
"""A fault of more than this share of the frames refuses a clip."""
LEAP = 0.7
"""How far head and trunk may go from one frame to the next, in heights of the head: a sprinter's go a third."""
FLAT = 0.75
"""Share of a person's pixels without any grain from which on it is taken for a drawing. Of 18 films of people, sharp
or out of focus, dark or compressed hard, none has more than 0.43."""
RIVAL = 0.5
"""A second face counts from this share of the first one's height on."""
_TRUNK = (0, 1, 2, 5, 8, 11)
_EARS = (16, 17)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong. frames: which, in order. grave: it refuses the clip."""

    about: str
    frames: tuple[int, ...]
    grave: bool

    def sentence(self) -> str:
        return f"{self.about}: {spans(self.frames)}"


@dataclass(frozen=True)
class Seen:
    """What the judge is told of one frame. flat: share of the person's pixels without grain. faces: heights of the
    faces found, the largest first, or None where nobody counted them."""

    person: Person | None
    flat: float = 0.0
    faces: tuple[float, ...] | None = None


def judge(seen: Sequence[Seen]) -> list[Finding]:
    """What is wrong with a clip, the gravest first; [] where nothing is."""
    people = [s.person for s in seen]
    leaps = _leaps(people)
    unsure = [p is not None and (not p.sure or not p.together or n in leaps) for n, p in enumerate(people)]
    counted = [n for n, s in enumerate(seen) if s.faces is not None]
    crowded = [n for n in counted if _rivals(seen[n].faces or ())]
    found = [
        _finding("nobody is found", [p is None for p in people]),
        _finding("the parts of the body do not fit together, or leap (a cut, a drawing, an animal?)", unsure),
        _finding("it looks drawn, and poses are read well from films of people only", [s.flat > FLAT for s in seen]),
        _finding("no face is seen, so it does not move there", [p is not None and p.face is None for p in people], 2),
        _finding(
            "the shoulders are outside the picture, so the head alone moves the film",
            [p is not None and p.sure and not p.shoulders for p in people],
            2,
        ),
    ]
    if crowded:
        share = len(crowded) / len(counted)
        found.append(Finding("several people are seen, and one is followed", tuple(crowded), share > MOST))
    return sorted((f for f in found if f is not None), key=lambda f: not f.grave)


def spans(frames: Sequence[int]) -> str:
    """Frame numbers in words: "frames 0-12, 40 and 3 more places"."""
    runs: list[list[int]] = []
    for n in frames:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:6])
    more = f" and {len(runs) - 6} more places" if len(runs) > 6 else ""
    return f"{'frame' if len(frames) == 1 else 'frames'} {shown}{more}"


def _finding(about: str, flags: Sequence[bool], most: float = MOST) -> Finding | None:
    frames = tuple(n for n, flag in enumerate(flags) if flag)
    return Finding(about, frames, len(frames) > most * len(flags)) if frames else None


def _rivals(heights: Sequence[float]) -> bool:
    return len(heights) > 1 and heights[1] > RIVAL * heights[0]


def _leaps(people: Sequence[Person | None]) -> set[int]:
    """Frames in which head or trunk are where nobody gets to from the frame before."""
    found = set()
    for n, (before, now) in enumerate(pairwise(people), start=1):
        if before is None or now is None:
            continue
        both = [k for k in _TRUNK if min(before.body[k, 2], now.body[k, 2]) >= SURE]
        if not both:
            continue
        gone = np.linalg.norm(now.body[both, :2] - before.body[both, :2], axis=1).max()
        if gone > LEAP * max(_head(before), _head(now)):
            found.add(n)
    return found


def _head(person: Person) -> float:
    """Height of a head in pixels: of the face, with the forehead; from the ears where no face is seen."""
    if person.face is not None:
        return float(1.5 * (person.face[3] - person.face[1]))
    ears = person.body[list(_EARS), :2]
    return float(1.5 * np.linalg.norm(ears[0] - ears[1]))
