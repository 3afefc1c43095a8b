"""What lies beyond the edges of the picture that was given: guessed once, for when the head moves away from there.

A mirror image would show collars and locks of hair twice, and the last pixels drawn out would make stripes. So the
person's outline is continued (`silhouette`), and the person and what is behind are each continued in their own
colours: smoothly, with a little of their grain. Below the lower edge clothes go on as `garment` says, farther than
the canvas: a body that rises needs more than a head that turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.framing import FramedPortrait
from realtime.engines.mesh.garment import BAND, SURELY, clothes_below, like, others_below
from realtime.engines.mesh.inpaint import fill_textured
from realtime.engines.mesh.silhouette import Silhouette, continue_mask
from realtime.engines.mesh.throat import JAW, hue
from realtime.engines.mesh.topology import smoothstep
from realtime.face.face_model import LANDMARKS, OVAL

HEAD_RADIUS = 0.62
"""Radius of a head with its hair, in face heights."""
COLLAR = 0.75
"""So far below the face's middle (face heights) collars are."""
GREY, ONE_HUE, OTHERS = 0.05, 0.1, 0.2
"""A face's hue (logarithms of red over green and green over blue) up to which it is grey; how far from it a colour
is another; and the share of those in a picture that is no monochrome: 0.07 at most of three that are, 0.77 at least
of 14 in colour."""
BELOW_JAW, NECK_HUE, NECK_LIGHT = 0.08, 0.45, 0.6
"""So far below the jaw (face heights) a neck is looked at; how far its colour may be from the face's (see `like`),
and how dark it may be, as a share of the face's."""
REACH = 0.25
"""How far the grain goes on, in face heights (see `fill_textured`)."""
UNDER = 0.4
"""So much below the window clothes are known, face heights."""
NECK = 0.9
"""How far below the face's middle (face heights) the neck lies that a body is taken to be symmetric about, where its
shoulders are unknown."""
SURELY_NOT = 0.05
"""Colours of the background are taken from where the mask is below."""
APART = 0.04
"""And background no nearer to the person than this, in face heights."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """A portrait's canvas, complete. mask: float32 (H, W), of the person. canvas: uint8 (H, W, 3). under: float32
    (n, W, 4), the person in the rows below it, 0 to 255: colours times the mask, and the mask. ends: whether the
    person ends before the canvas's left and right edge."""

    mask: np.ndarray
    canvas: np.ndarray
    under: np.ndarray
    ends: tuple[bool, bool]


def continue_beyond(framed: FramedPortrait, mask: np.ndarray, shoulders: np.ndarray | None = None) -> Beyond:
    """mask: float32, of the part of the canvas that the picture covers (`framed.real`). shoulders: (2, 2), the right
    and the left one in pixels of the window, where they are known."""
    x0, y0, x1, y1 = framed.real
    height, width = framed.canvas.shape[:2]
    fh = framed.pose.scale
    middle = framed.margin + (_neck(framed) if shoulders is None else float(shoulders[:, 0].mean()))
    body = Silhouette.find(mask, framed.real, fh, middle)
    more = max(0, round(UNDER * fh) - framed.margin)
    whole = continue_mask(mask, framed.real, (width, height + more), body)
    ends = (bool(whole[:height, 0].max() < SURELY_NOT), bool(whole[:height, -1].max() < SURELY_NOT))
    if y0 > 0:
        whole[:y0] = np.maximum(whole[:y0], _crown(whole[y0 : y0 + 2].min(axis=0), y0, fh))
    canvas = framed.canvas
    if (x0, y0, x1, y1) != (0, 0, width, height):
        canvas = _filled(framed, whole[:height], fh)
    clothes = np.zeros((height + more - y1, width, 3), np.float32)
    if body is not None and len(clothes):
        above = slice(max(y0, y1 - max(2, round(BAND * fh))), y1)
        band = canvas[above].astype(np.float32)
        clothes = clothes_below(
            band,
            whole[above],
            _skin_colours(framed),
            len(clothes),
            fh,
            body.run,
            body.middle,
            bare_neck=y1 - framed.margin < framed.landmarks[list(OVAL), 1].mean() + COLLAR * fh,
        )
        others_below(clothes, band, whole[above], fh, body.middle, body.others)
    if y1 < height:
        share = whole[y1:height, :, None].copy()
        if body is not None:  # a lock or an arm that falls beside the picture has its own colours there
            beside = np.r_[:x0, x1:width]
            share[:, beside, 0] *= body.reaches(np.arange(y1, height), beside)
        shown = canvas[y1:] * (1.0 - share) + clothes[: height - y1] * share
        canvas[y1:] = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
    share = smoothstep(0.25, 0.95, whole[height:, :, None]).astype(np.float32)
    under = np.dstack([np.clip(clothes[height - y1 :], 0.0, 255.0) * share, 255.0 * share])
    return Beyond(whole[:height], canvas, under, ends)


def _filled(framed: FramedPortrait, whole: np.ndarray, fh: float) -> np.ndarray:
    """The canvas, uint8 (H, W, 3), filled beyond the picture: above and beside it all, below it the background."""
    x0, y0, x1, y1 = framed.real
    height, width = whole.shape
    inside = np.zeros((height, width), bool)
    inside[y0:y1, x0:x1] = True
    reach = 2 * max(1, round(APART * fh)) + 1
    near = cv2.dilate((whole > SURELY_NOT).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    image = framed.canvas.astype(np.float32)
    kinds = [(inside & ~near, 1.0 - whole)]
    if x0 > 0 or y0 > 0 or x1 < width:
        kinds.append((inside & (whole > SURELY), whole))
    kinds = [(known, share) for known, share in kinds if known.any()] or [(inside, np.ones_like(whole))]
    total = np.sum([share for _, share in kinds], axis=0) + 1e-6
    filled = sum(fill_textured(image, known, REACH * fh) * (share / total)[..., None] for known, share in kinds)
    canvas = np.where(inside[..., None], framed.canvas, np.clip(filled + 0.5, 0, 255).astype(np.uint8))
    return np.ascontiguousarray(canvas)


def _crown(edge: np.ndarray, rows: int, fh: float) -> np.ndarray:
    """Hair above the picture's top edge, float32 (rows, W), as a round head would end: by as much as a chord of this
    length lacks of a circle. edge: float32 (W,), the mask along that edge."""
    above = (rows - np.arange(rows, dtype=np.float32))[:, None]
    columns = np.arange(len(edge), dtype=np.float32)
    result = np.zeros((rows, len(edge)), np.float32)
    touching = np.flatnonzero(np.diff(np.concatenate([[0], (edge > 0.5).astype(int), [0]])))
    for start, end in touching.reshape(-1, 2):
        half = (end - start) / 2.0
        if half < 0.05 * fh:
            continue
        radius = max(HEAD_RADIUS * fh, half)
        offset = np.clip(np.abs(columns - (start + end - 1) / 2.0), 0.0, radius)
        height = np.sqrt(np.maximum(radius**2 - offset**2, 0.0)) - np.sqrt(radius**2 - half**2)
        result = np.maximum(result, np.clip(height - above + 0.5, 0.0, 1.0))
    return result


def _neck(framed: FramedPortrait) -> float:
    """Its column in the window."""
    down = framed.pose.rotation[:2, 1]
    return float(framed.landmarks[list(OVAL), 0].mean() + NECK * framed.pose.scale * down[0] / np.linalg.norm(down))


def _skin_colours(framed: FramedPortrait) -> np.ndarray:
    """The usual colours of the face, and of the neck where that is bare: (1 or 2, 3); none, (0, 3), where colours do
    not tell skin, as in black-and-white, brown and dim pictures."""
    height, width = framed.canvas.shape[:2]
    down = np.array([0.0, BELOW_JAW * framed.pose.scale])
    colours = []
    for points in (framed.landmarks[:LANDMARKS, :2], framed.landmarks[list(JAW), :2] + down):
        x, y = (points + framed.margin).round().astype(int).T
        colours.append(np.median(framed.canvas[y.clip(0, height - 1), x.clip(0, width - 1)], axis=0))
    face, neck = colours
    x0, y0, x1, y1 = framed.real
    seen = framed.canvas[y0:y1:3, x0:x1:3].astype(np.float32)
    other = np.abs(hue(seen) - hue(face)).max(axis=-1) > ONE_HUE
    if np.abs(hue(face)).max() < GREY or other.mean() < OTHERS:
        return np.zeros((0, 3))
    return np.array(colours if like(neck, face, NECK_HUE) and neck.mean() > NECK_LIGHT * face.mean() else [face])
