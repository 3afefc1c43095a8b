"""A driver's skeleton on the body of a portrait: the portrait's bone lengths in the driver's pose.

Each bone keeps the direction it has in the driver's picture and takes a length of its own: the driver's, times what
this bone has in the portrait over what it has in the driver. As a bone that points at the camera looks short, its
length is taken where the clip shows it longest. The figure is held at its feet where both stand on them, else at the
neck, and at the nose where the shoulders are outside the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtime.film.wan.people import Person, hide_outside
from realtime.film.wan.skeleton import SURE

_HOLDS = ((10, 13), (1,), (0,))
"""Points by whose middle a figure is held, the best first: ankles, neck, nose."""
_OFTEN = 0.9
"""Share of the clip's frames in which they have to be seen."""
_TREE = (
    (1, 2), (1, 5), (2, 3), (5, 6), (3, 4), (6, 7), (1, 8), (1, 11), (8, 9), (11, 12), (9, 10), (12, 13), (10, 19),
    (13, 18), (1, 0), (0, 14), (0, 15), (14, 16), (15, 17),
)  # fmt: skip
"""Bones from the neck outward: (where it begins, where it ends)."""
_PAIRS = (
    ((1, 2), (1, 5)), ((2, 3), (5, 6)), ((3, 4), (6, 7)), ((1, 8), (1, 11)), ((8, 9), (11, 12)), ((9, 10), (12, 13)),
    ((10, 19), (13, 18)),
)  # fmt: skip
"""Bones of which a body has two, alike in length."""
_HEAD = ((0, 14), (0, 15), (14, 16), (15, 17))
_WRISTS = {"left": 7, "right": 4}
_LONGEST = 90
"""Percentile of a bone's length over the clip that is taken for its length."""
_ODD = 1.6
"""No bone's ratio differs from the whole figure's by more: what does was read wrongly, or points at the camera."""


@dataclass(frozen=True)
class Fit:
    """How a clip's skeletons are carried onto a portrait.

    scale: of the whole figure. ratios: of each bone of the tree. held: the points by whose middle the figure is held.
    anchor: where that is in the clip when the figure stands as in the portrait; target: where it is in the portrait.
    """

    scale: float
    ratios: dict[tuple[int, int], float]
    anchor: np.ndarray
    target: np.ndarray
    held: tuple[int, ...] = (1,)

    def carry(
        self, person: Person, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Body and both hands (left, right) in a picture of this size; outside it confidence is 0."""
        old, new = person.body[:, :2], np.zeros((len(person.body), 2))
        for bone in _TREE:
            start, end = bone
            new[end] = new[start] + self.ratios[bone] * (old[end] - old[start])
        moved = _middle(old, self.held) - self.anchor
        new += self.target + self.scale * moved - _middle(new, self.held)
        body = hide_outside(np.column_stack([new, person.body[:, 2]]), height, width)
        hands = [
            self._hand(hand, old[_WRISTS[side]], new[_WRISTS[side]], height, width)
            for side, hand in (("left", person.left), ("right", person.right))
        ]
        return body, hands[0], hands[1]

    def _hand(
        self, hand: np.ndarray | None, wrist: np.ndarray, to: np.ndarray, height: int, width: int
    ) -> np.ndarray | None:
        if hand is None:
            return None
        points = to + self.scale * (hand[:, :2] - wrist)
        return hide_outside(np.column_stack([points, hand[:, 2]]), height, width)


def fit(portrait: Person, clip: Sequence[Person | None]) -> Fit:
    """How the people of a clip are carried onto the person of a portrait, whose pixels are those of the film.

    Bones that the portrait does not show take the ratio of the whole figure: of the shoulders where both show them,
    else of the head.
    """
    people = [person for person in clip if person is not None and person.sure]
    own, theirs = _lengths([portrait]), _lengths(people)
    ratios = {bone: own[bone] / theirs[bone] for bone in own if bone in theirs and theirs[bone] > 1 and own[bone] > 1}
    head = _median([ratios[bone] for bone in _HEAD if bone in ratios])
    scale = ratios.get((1, 2), head) or 1.0
    whole = {bone: float(np.clip(ratios.get(bone, scale), scale / _ODD, scale * _ODD)) for bone in _TREE}
    for bone in _HEAD:
        whole[bone] = float(np.clip(head or scale, scale / _ODD, scale * _ODD))
    held = next((points for points in _HOLDS if _held(points, portrait, people)), _HOLDS[-1])
    first = next(person.body for person in people if _sees(person, held))
    return Fit(float(scale), whole, _middle(first, held), _middle(portrait.body, held), held)


def centred(size: tuple[int, int], to: tuple[int, int]) -> Fit:
    """The fit without a portrait's body: the clip's picture, scaled into the film's (height, width), centred."""
    scale = min(to[0] / size[0], to[1] / size[1])
    middle = np.array([size[1], size[0]]) / 2
    return Fit(scale, dict.fromkeys(_TREE, scale), middle, np.array([to[1], to[0]]) / 2)


def _held(points: tuple[int, ...], portrait: Person, people: Sequence[Person]) -> bool:
    """Whether the figure can be held at these points."""
    return _sees(portrait, points) and float(np.mean([_sees(person, points) for person in people])) > _OFTEN


def _sees(person: Person, points: tuple[int, ...]) -> bool:
    return bool((person.body[list(points), 2] >= SURE).all())


def _middle(body: np.ndarray, points: tuple[int, ...]) -> np.ndarray:
    return np.asarray(body[list(points), :2].mean(axis=0))


def _lengths(people: Sequence[Person]) -> dict[tuple[int, int], float]:
    """Length of each bone that is ever seen; both of a pair have the longer one's."""
    bodies = np.array([person.body for person in people]).reshape(len(people), -1, 3)
    found = {}
    for start, end in _TREE:
        seen = (bodies[:, start, 2] >= SURE) & (bodies[:, end, 2] >= SURE)
        if seen.any():
            lengths = np.linalg.norm(bodies[seen, start, :2] - bodies[seen, end, :2], axis=1)
            found[start, end] = float(np.percentile(lengths, _LONGEST))
    for one, other in _PAIRS:
        longer = max(found.get(one, 0.0), found.get(other, 0.0))
        if longer:
            found[one] = found[other] = longer
    return found


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
