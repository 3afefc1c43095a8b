"""Clothes below the picture's lower edge: what is seen above it goes on downwards.

Straight below each point lies its own colour, ever more like its neighbours' farther down, as folds end. The weave,
stripes and grain on it are those of the cloth above the edge, there and back again, so that nothing begins at the
edge. Bare skin (a neckline, a hand) does not go on, but closes in a curve.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtime.engines.mesh.inpaint import fill_smooth
from realtime.engines.mesh.topology import smoothstep

BAND = 0.35
"""What is looked at above the edge, face heights."""
SURELY, MAYBE = 0.9, 0.5
"""Colours are taken from where the mask is above; where that is less than half of a body, above the second."""
FRESH, EDGE = 0.05, 0.03
"""Colours at the edge are means over so much (e-fold, face heights), and the edge's own last so far down."""
THIN, ENDS = 0.06, 0.12
"""Seams and rims with half this width end within so much (e-fold), face heights."""
FOLDS, CALM = (0.05, 0.15), (0.08, 0.6, 0.7)
"""Sizes of folds; and how far down the edge's own colours end in the smaller ones with weave on them, where there is
none, and these in the larger ones (e-fold); face heights."""
WEAVE = 0.03
"""What is smaller than this (face heights) is weave, and goes on for ever."""
ODD = 3.0
"""Weave as strong as so many times its usual strength is none, but an edge of something."""
ENOUGH, RIM = (0.06, 0.2), 0.02
"""From so much of one cloth above the edge its weave is taken, and in full; with less the edge's own colours are
drawn out. The rim of it is none. Face heights."""
OTHER = 30.0
"""What differs from the cloth at the edge by more levels is another."""
SKIN_HUE, SKIN_LIGHT = 0.2, (-1.6, 0.45)
"""How far from the face's a colour is skin (logarithms of red over green and green over blue), and how much darker
and brighter (logarithm)."""
NECKLINE, ROUND, LEAST_SKIN = 0.75, 0.9, 0.02
"""Skin within so much of the middle (face heights) ends below the edge, its depth over half its width; where that
half is less than the last (face heights) it ends there."""
NECK, BESIDE_NECK, SETTLES = 0.28, 0.5, 0.08
"""Half the width of a neck; from so far beside it on clothes are believed to be clothes where hardly any are seen;
and how far down the edge's own colours end in those (e-fold); face heights."""
LEAST_CLOTH = 0.05
"""With less of it above the edge than this on average (face heights) clothes are of one colour."""
UNKNOWN = 0.35
"""Light of clothes of which nothing is seen, as a share of the skin's."""
DRESSED = 0.08
"""Half of so much beside skin (face heights) has to be clothes, else it stays bare."""


def clothes_below(
    band: np.ndarray,
    mask: np.ndarray,
    skin: np.ndarray,
    rows: int,
    fh: float,
    run: tuple[int, int],
    middle: float,
    bare_neck: bool = False,
) -> np.ndarray:
    """So many `rows` of clothes: float32 (rows, W, 3).

    band: float32 (b, W, 3), what is seen above them. mask: float32 (b, W), of the person. skin: (n, 3), colours of
    the person's. fh: height of the face in pixels. run: the person's first and last column in the last row. middle:
    the column of the body's middle. bare_neck: whether the picture ends above where collars are.
    """
    width = band.shape[1]
    rim = max(1, round(RIM * fh))
    person, inset = _surely(mask, run, rim)
    first, last = run[0] + inset, run[1] - inset
    band, person = np.ascontiguousarray(band[:, first : last + 1]), person[:, first : last + 1]
    middle -= first
    columns = _mirrored(np.arange(width), first, last) - first
    bare = _skin(band[-rim - 1 :], skin, fh)[-1]
    if bare_neck:
        neck = np.abs(np.arange(band.shape[1]) - middle) < NECK * fh
        spans = [(start, end) for start, end in _runs(bare & person[-1] & neck).tolist()]
    else:
        spans = _necklines(bare, person[-1], middle, fh)
    cloth = person.copy()
    for start, end in spans:
        around = slice(max(0, round(start - BAND * fh)), round(end + BAND * fh))
        dressed = cloth[:, around] & ~_skin(band[:, around], skin, fh)
        cloth[:, around] = np.cumprod(dressed[::-1], axis=0)[::-1]  # not the skin's highlights above
    if bare_neck or cloth.sum() < LEAST_CLOTH * fh * band.shape[1]:
        clothes = _plain(band, person, skin, rows, fh, middle)
    else:
        clothes = _continued(band, cloth, rows, fh)
    result = clothes[:, columns]
    if spans:
        bared = _continued(band, person, rows, fh)
        shown = _rounded(spans, rows, band.shape[1], fh)[..., None]
        result[:, first : last + 1] += shown * (bared - clothes)
    return result


def others_below(
    clothes: np.ndarray,
    band: np.ndarray,
    mask: np.ndarray,
    fh: float,
    middle: float,
    runs: tuple[tuple[int, int], ...],
) -> None:
    """Write below what else is cut off, in the columns `runs` and farther out, its own colours into `clothes`
    (rows, W, 3). band, mask, fh, middle: see `clothes_below`."""
    all_columns = np.arange(clothes.shape[1])
    for first, last in sorted(runs, key=lambda run: abs(run[0] - middle)):
        columns = slice(first, last + 1)
        known = _surely(mask, (first, last), max(1, round(RIM * fh)))[0]
        made = _continued(np.ascontiguousarray(band[:, columns]), known[:, columns], len(clothes), fh)
        outwards = all_columns[: last + 1] if last < middle else all_columns[first:]
        clothes[:, outwards] = made[:, _mirrored(outwards, first, last) - first]


def _plain(band: np.ndarray, person: np.ndarray, skin: np.ndarray, rows: int, fh: float, middle: float) -> np.ndarray:
    """Clothes of one colour, float32 (rows, W, 3): the usual one in `band` (b, W, 3) of what is surely not skin, best
    beside the neck and near the edge."""
    up = np.arange(len(band), dtype=np.float32)[::-1, None]
    aside = np.abs(np.arange(band.shape[1], dtype=np.float32) - middle) / fh
    sure = np.exp(-up / (ENDS * fh)) * smoothstep(NECK / 2, BESIDE_NECK, aside)
    sure = np.where(person & ~_skin(band, skin, fh), sure, 0.0)
    if sure.max() > 0.0:
        colour = _usual(band.reshape(-1, 3), sure.ravel())
    else:
        colour = UNKNOWN * np.median(band[person], axis=0)
    near = np.exp(-up / (FRESH * fh)) * (person + 1e-3)
    edge = _along((near[..., None] * band).sum(axis=0) / near.sum(axis=0)[:, None], FOLDS[0] * fh)
    down = np.arange(rows, dtype=np.float32)[:, None, None]
    result = colour + np.exp(-down / (SETTLES * fh)) * (edge - colour)
    return (result + np.exp(-down / (EDGE * fh)) * (band[-1] - result[0])).astype(np.float32)


def _usual(colours: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The weighed median of `colours` (n, 3): (3,). weight: (n,)."""
    order = colours.argsort(axis=0)
    half = np.cumsum(weight[order], axis=0) < weight.sum() / 2
    return np.take_along_axis(colours, order, axis=0)[half.sum(axis=0), range(3)]


def _surely(mask: np.ndarray, run: tuple[int, int], rim: int) -> tuple[np.ndarray, int]:
    """Where `mask` (b, W) is the person, bool (b, W), never nowhere in the columns of `run`; and so many of these at
    either end are left out. The outline is half background: where there is enough, `rim` columns of it are none."""
    wide = run[1] - run[0] > 4 * rim
    columns = slice(run[0], run[1] + 1)
    for least in (SURELY, MAYBE):
        person = mask > least
        if wide:
            person = cv2.erode(person.astype(np.uint8), np.ones((1, 2 * rim + 1), np.uint8)) > 0
        if person[:, columns].any(axis=0).mean() > 0.5:
            return person, rim if wide else 0
    return np.ones_like(person), 0


def _mirrored(at: np.ndarray, first: int | np.ndarray, last: int | np.ndarray) -> np.ndarray:
    """Rows or columns beyond `first` and `last` mirrored into what lies between."""
    length = np.maximum(1, last - first)
    there = np.abs((at - first + length) % (2 * length) - length)
    return first + np.where(last > first, there, 0)


def _skin(band: np.ndarray, skin: np.ndarray, fh: float) -> np.ndarray:
    """Where `band` (b, W, 3) has one of the colours `skin` (n, 3), of which there may be none: bool (b, W)."""
    calm = cv2.GaussianBlur(band, (0, 0), max(1.0, 0.015 * fh))
    bare = np.zeros(band.shape[:2], bool)
    for colour in skin:
        bare |= like(calm, colour, SKIN_HUE)
    reach = 2 * max(1, round(LEAST_SKIN * fh)) + 1
    return cv2.dilate(bare.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0


def like(colours: np.ndarray, skin: np.ndarray, hue: float) -> np.ndarray:
    """Whether `colours` (..., 3) are those of `skin` (3,) in some light: bool (...). hue: see `SKIN_HUE`."""
    logs, own = np.log(colours.astype(np.float32) + 8.0), np.log(skin.astype(np.float32) + 8.0)
    hues = logs[..., :-1] - logs[..., 1:] - (own[:-1] - own[1:])
    light = logs.mean(axis=-1) - own.mean()
    return (np.abs(hues).max(axis=-1) < hue) & (light > SKIN_LIGHT[0]) & (light < SKIN_LIGHT[1])


def _necklines(bare: np.ndarray, person: np.ndarray, middle: float, fh: float) -> list[tuple[int, int]]:
    """Stretches of `bare` skin (W,) in the last row, near the middle, that have clothes beside them."""
    spans = []
    for start, end in _runs(bare).tolist():
        beside = (
            person[max(0, start - round(DRESSED * fh)) : start].sum() + person[end : end + round(DRESSED * fh)].sum()
        )
        inside = max(abs(start - middle), abs(end - middle)) < NECKLINE * fh
        if inside and beside > DRESSED * fh / 2:
            spans.append((start, end))
    return spans


def _rounded(spans: list[tuple[int, int]], rows: int, width: int, fh: float) -> np.ndarray:
    """How far skin still shows below the edge: float32 (rows, width)."""
    x, down = np.arange(width, dtype=np.float32), np.arange(rows, dtype=np.float32)[:, None]
    shown = np.zeros((rows, width), np.float32)
    for start, end in spans:
        half = (end - start) / 2.0
        if half < LEAST_SKIN * fh:
            continue
        left = np.sqrt(np.maximum(1.0 - (down / (ROUND * half)) ** 2, 0.0)) * half
        inside = np.clip(left - np.abs(x - (start + end - 1) / 2.0) + 0.5, 0.0, 1.0) * (down < ROUND * half)
        shown = np.maximum(shown, inside)
    return cv2.GaussianBlur(shown, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)


def _continued(band: np.ndarray, known: np.ndarray, rows: int, fh: float) -> np.ndarray:
    """`band` (b, W, 3) as it goes on below where it is `known` (b, W): float32 (rows, W, 3)."""
    weight = known.astype(np.float32)
    filled = np.where(known[..., None], band, fill_smooth(band, weight))
    up = np.arange(len(band), dtype=np.float32)[::-1, None]
    fresh = np.exp(-up / (FRESH * fh)) * (weight + 1e-3)
    fine = (fresh[..., None] * filled).sum(axis=0) / fresh.sum(axis=0)[:, None]  # (W, 3)
    usual = _median(fine, THIN * fh)
    folds, broad = (_along(usual, size * fh) for size in FOLDS)
    odd = fine - folds
    most = ODD / 0.67 * float(np.median(np.abs(odd)))
    fine = folds + np.clip(odd, -most, most)
    down = np.arange(rows, dtype=np.float32)[:, None, None]
    ended, drawn, calmed = (1.0 - np.exp(-down / (size * fh)) for size in CALM)
    weave, enough = _weave(filled, known, rows, fh)
    ended = drawn + enough * (ended - drawn)
    result = fine + ended * (folds - fine + enough * weave + calmed * (broad - folds))
    odd += folds - fine
    result += np.exp(-down / (ENDS * fh)) * odd
    return result + np.exp(-down / (EDGE * fh)) * (filled[-1] - result[0])


def _median(row: np.ndarray, reach: float) -> np.ndarray:
    """One row of colours (W, 3) without what is narrower than `reach`."""
    size = 2 * max(1, round(reach)) + 1
    rows = np.repeat(np.clip(row + 0.5, 0, 255).astype(np.uint8)[None], size, axis=0)
    return cv2.medianBlur(rows, size)[size // 2].astype(np.float32)


def _along(row: np.ndarray, sigma: float) -> np.ndarray:
    """One row of numbers (W,) or colours (W, 3), smooth."""
    size = 2 * max(1, round(3.0 * sigma)) + 1
    return cv2.GaussianBlur(row[None], (size, 1), sigma, borderType=cv2.BORDER_REPLICATE)[0].reshape(row.shape)


def _weave(filled: np.ndarray, known: np.ndarray, rows: int, fh: float) -> tuple[np.ndarray, float]:
    """What is fine in the cloth above the edge, there and back again, float32 (rows, W, 3), and whether there is
    enough of it to be taken for all, 0 to 1."""
    calm = cv2.GaussianBlur(filled, (0, 0), WEAVE * fh)
    same = known & (np.abs(calm - calm[-1]).max(axis=2) < OTHER)
    same = np.cumprod(same[::-1], axis=0)[::-1].astype(np.float32)  # the same cloth without a gap
    height = same.sum(axis=0)
    turn, columns = _patches(height - RIM * fh, ENOUGH[0] * fh)
    if not turn:
        return np.zeros((rows, *filled.shape[1:]), np.float32), 0.0
    fine = filled - calm
    seen = np.flatnonzero(height)
    strength = (np.abs(fine).sum(axis=2) * same).sum(axis=0)[seen] / height[seen]
    strength = _along(np.interp(np.arange(len(height)), seen, strength).astype(np.float32), WEAVE * fh)
    shown = np.median(np.abs(fine[-turn - 1 :]).max(axis=2), axis=0)  # stray hair is no weave
    most = ODD / 0.67 * _along(shown, WEAVE * fh)[:, None]
    fine = np.clip(fine, -most, most)
    weave = fine[len(fine) - 1 - _mirrored(np.arange(rows), 0, turn)[:, None], columns]
    weave *= np.minimum(strength / np.maximum(strength[columns], 1e-3), 1.0)[:, None]
    return weave, float(smoothstep(*ENOUGH, turn / fh))


def _patches(height: np.ndarray, least: float) -> tuple[int, np.ndarray]:
    """Where cloth is that can be taken for all: its height, and the column (W,) for each. height: (W,), of the cloth
    there is in each column; `least` of it, and as wide, is a patch. Without any the height is 0."""
    columns = np.arange(len(height))
    best, chosen = 0.0, (0, columns)
    for wanted in np.unique(np.linspace(least, max(least, height.max()), 8).astype(int)):
        runs = _runs(height >= max(wanted, 1))
        runs = runs[runs[:, 1] - runs[:, 0] > least]
        area = float(wanted * (runs[:, 1] - runs[:, 0]).sum())
        if area > best:
            apart = np.maximum(runs[:, :1] - columns, columns - runs[:, 1:] + 1)
            first, end = runs[apart.argmin(axis=0)].T
            best, chosen = area, (int(wanted) - 1, _mirrored(columns, first, end - 1))
    return chosen


def _runs(there: np.ndarray) -> np.ndarray:
    """First indices of the stretches in which `there` (n,) holds, and those after their last: (m, 2)."""
    return np.flatnonzero(np.diff(np.concatenate([[0], there.astype(np.int8), [0]]))).reshape(-1, 2)
