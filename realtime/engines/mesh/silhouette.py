"""Where a person ends beyond the edges of the picture: shoulders widen as people's do, and arms end in background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FALL = 0.6
"""Hair and raised arms that a side of the picture cuts off go on outwards, falling by so much for each pixel."""
DOWN = np.array([0.70, 0.78, 0.97, 1.08, 1.30, 1.80])
HALF = np.array([0.30, 0.35, 0.79, 1.00, 1.16, 1.22])
"""Half the width of a person from the neck to the upper arms (face heights, so far below the face's middle)."""
GAP = 0.4
"""Between an arm and the trunk there may be so much background, face heights; what is farther off is somebody or
something else."""
SOFT = 3
"""So many columns beside what else is cut off belong to its outline."""
SHARP = 0.05
"""A soft outline is sharp from so far below the edge on (face heights): drawn out it would be a veil."""
ROUNDS, ROUNDING = 0.06, 0.15
"""What a side of the picture cuts off ends so much farther outwards at least, within so much (face heights). What is
wider than people are (a skirt, an arm on a chair) goes on: who knows where it ends."""


@dataclass(frozen=True, slots=True)
class BodySide:
    """One side of a body where the picture ends. row: from where down it is guessed; half: how far it is from the
    middle there. cut: whether the picture's side cuts it off. Pixels, as is fh, a face height."""

    row: float
    half: float
    cut: bool
    fh: float

    def at(self, rows: np.ndarray) -> np.ndarray:
        """How far the side is from the middle at `rows` (n,): (n,), pixels; infinite where it is not known to end."""
        start, below = self.half / self.fh, np.maximum(rows - self.row, 0.0) / self.fh
        if self.cut and start > HALF[-1]:
            return np.full(len(rows), np.inf)
        first = float(np.interp(start, HALF, DOWN))
        wider = np.interp(first + below, DOWN, HALF) - np.interp(first, DOWN, HALF)
        rounded = ROUNDS * (1.0 - np.exp(-below / ROUNDING))
        return self.fh * (start + np.maximum(wider, rounded if self.cut else 0.0))


@dataclass(frozen=True, slots=True)
class Silhouette:
    """A body that the picture's lower edge cuts off, on the canvas. middle: column between its sides. run: its first
    and last column in the last row that is known. others: those of what else is cut off there."""

    middle: float
    run: tuple[int, int]
    left: BodySide
    right: BodySide
    others: tuple[tuple[int, int], ...] = ()

    def reaches(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Whether the body, or what else is cut off, and no lock that falls, is at `rows` (n,) in the
        `columns` (m,): float32 (n, m), 0 to 1."""
        offset = columns - self.middle
        far = np.where(offset < 0, self.left.at(rows)[:, None], self.right.at(rows)[:, None])
        there = np.clip(far - np.abs(offset) + 0.5, 0.0, 1.0).astype(np.float32)
        for first, last in self.others:
            there[:, columns <= last if last < self.run[0] else columns >= first] = 1.0
        return there

    @classmethod
    def find(cls, mask: np.ndarray, real: tuple[int, int, int, int], fh: float, middle: float) -> Silhouette | None:
        """From the mask of the part `real` of a canvas; None where nobody is cut off below.

        middle: column of the neck or between the shoulders, for a body that a side of the picture cuts off.
        """
        x0, _, x1, y1 = real
        there = x0 + np.flatnonzero(mask[-1] > 0.5)
        if not len(there):
            return None
        parts = np.split(there, np.flatnonzero(np.diff(there) > GAP * fh) + 1)
        runs = [(int(part[0]), int(part[-1])) for part in parts]
        run = min(runs, key=lambda run: max(run[0] - middle, middle - run[1], 0.0))
        cuts = (run[0] == x0, run[1] == x1 - 1)
        if not any(cuts):
            middle = (run[0] + run[1]) / 2
        middle = float(np.clip(middle, run[0] + 1, max(run[0] + 1, run[1] - 1)))
        sides = []
        for end, cut, column in ((run[0], cuts[0], 0), (run[1], cuts[1], -1)):
            up = int(np.argmin(np.append(mask[::-1, column] > 0.5, False))) if cut else 1
            sides.append(BodySide(float(y1 - up), abs(end - middle), bool(cut), fh))
        return cls(middle, run, sides[0], sides[1], tuple(other for other in runs if other != run))


def continue_mask(
    mask: np.ndarray, real: tuple[int, int, int, int], size: tuple[int, int], body: Silhouette | None
) -> np.ndarray:
    """`mask` of the part `real` of a canvas of `size` (width, height), continued to the sides and below: float32.

    Above there is nothing.
    """
    x0, y0, x1, y1 = real
    width, height = size
    whole = np.zeros((height, width), np.float32)
    whole[y0:y1, x0:x1] = mask
    rows = np.arange(y0, height, dtype=np.float32)
    outer = whole[y0:]
    for edge, beyond, side in (
        (mask[:, 0].copy(), outer[:, :x0][:, ::-1], body.left if body is not None else None),
        (mask[:, -1].copy(), outer[:, x1:], body.right if body is not None else None),
    ):
        if not beyond.shape[1]:
            continue
        far = np.arange(1, beyond.shape[1] + 1, dtype=np.float32)
        if side is not None and side.cut and np.isfinite(side.at(rows[:1])).all():
            top = int(side.row) - y0
            edge[top - int(np.argmin(np.append(edge[:top][::-1] > 0.0, False))) :] = 0.0
            beyond[top:] = np.clip(side.at(rows[top:])[:, None] - (side.half + far) + 0.5, 0.0, 1.0)
        fallen = rows[:, None] - y0 - FALL * far
        higher = cv2.remap(edge[:, None], np.zeros_like(fallen), fallen, cv2.INTER_LINEAR, borderValue=0)
        np.maximum(beyond, higher, out=beyond)
    if body is not None and y1 < height:
        _below(whole, mask[-1], x0, y1, body)
    return whole


def _below(whole: np.ndarray, last: np.ndarray, x0: int, y1: int, body: Silhouette) -> None:
    """Write the rows from y1 on: what the `last` row of the mask, which begins at column x0, goes on to. Beside the
    picture what falls there stays."""
    height, width = whole.shape
    last, beside = last.copy(), last
    for first, end in body.others:
        around = slice(max(0, first - x0 - SOFT), end - x0 + 1 + SOFT)
        whole[y1:, x0 : x0 + len(last)][:, around] = beside[around]  # straight on
        last[around] = 0.0
        for touches, outer in ((first == x0, np.s_[:x0]), (end == x0 + len(last) - 1, np.s_[x0 + len(last) :])):
            if touches:
                whole[y1:, outer] = np.maximum(whole[y1:, outer], whole[y1 - 1, outer])
    rows = np.arange(y1, height, dtype=np.float32)
    offset = np.arange(width, dtype=np.float32) - body.middle
    at = np.empty((height - y1, width), np.float32)
    ends = np.ones_like(at)
    for side, there in ((body.left, offset < 0), (body.right, offset >= 0)):
        reach = side.at(rows)[:, None]
        if side.cut:
            at[:, there] = offset[there] + body.middle
            ends[:, there] = np.clip(reach - np.abs(offset[there]) + 0.5, 0.0, 1.0)
        else:
            at[:, there] = body.middle + offset[there] * (side.half / reach)
    at = np.clip(at - x0, 0.0, len(last) - 1.0)
    sharp = cv2.GaussianBlur((last[None] > 0.5).astype(np.float32), (5, 1), 0.8, borderType=cv2.BORDER_REPLICATE)
    sharper = np.broadcast_to(np.minimum((rows[:, None] - y1) / (SHARP * body.left.fh), 1.0), at.shape)
    shown = cv2.remap(np.vstack([last, sharp]), at, np.ascontiguousarray(sharper, np.float32), cv2.INTER_LINEAR)
    whole[y1:] = np.maximum(whole[y1:], ends * shown)
