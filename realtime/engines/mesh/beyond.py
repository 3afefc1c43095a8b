"""What lies beyond the edges of the picture that was given: guessed once, for when the head moves away from there.

A mirror image would show collars and locks of hair twice, and the last pixels drawn out would make stripes. So the
person's outline is continued, and the person and what is behind are each continued in their own colours: smoothly,
with a little of their grain.
"""

from __future__ import annotations

import cv2
import numpy as np

from realtime.engines.mesh.framing import FramedPortrait
from realtime.engines.mesh.inpaint import fill_textured

HEAD_RADIUS = 0.62
"""Radius of a head with its hair, in face heights."""
FALL = 0.6
"""Shoulders and hair that a side of the picture cuts off go on outwards, falling by so much for each pixel."""
SHOULDERS, WIDENS = 0.95, 1.5
"""Half the width of a person's shoulders in face heights; up to it a body that is cut off below widens, by so much
for each pixel."""
REACH = 0.25
"""How far the grain goes on, in face heights (see `fill_textured`)."""
CLOTHES = 0.15
"""What goes on below has the colours of this much above the picture's bottom edge, face heights."""
SURELY, SURELY_NOT = 0.9, 0.05
"""Colours of the person and of the background are taken from where the mask is above, and below."""
APART = 0.04
"""And background no nearer to the person than this, in face heights."""


def continue_beyond(framed: FramedPortrait, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The person's mask on the canvas, float32 (H, W), and the canvas complete, uint8 (H, W, 3).

    mask: float32, of the part of the canvas that the picture covers (`framed.real`).
    """
    x0, y0, x1, y1 = framed.real
    height, width = framed.canvas.shape[:2]
    if (x0, y0, x1, y1) == (0, 0, width, height):
        return mask, framed.canvas
    fh = framed.pose.scale
    whole = _outline_beyond(mask, framed.real, (width, height), fh)
    if y0 > 0:
        whole[:y0] = np.maximum(whole[:y0], _crown(whole[y0 : y0 + 2].min(axis=0), y0, fh))
    inside = np.zeros((height, width), bool)
    inside[y0:y1, x0:x1] = True
    reach = 2 * max(1, round(APART * fh)) + 1
    near = cv2.dilate((whole > SURELY_NOT).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    image = framed.canvas.astype(np.float32)
    under = (np.arange(height) >= y1)[:, None]  # what goes on there is clothes, whatever the face's colour
    clothes = (np.arange(height) >= y1 - CLOTHES * fh)[:, None]
    person = inside & (whole > SURELY)
    kinds = [(person & clothes, whole * under), (person, whole * ~under), (inside & ~near, 1.0 - whole)]
    kinds = [(known, share) for known, share in kinds if known.any()] or [(inside, np.ones_like(whole))]
    total = np.sum([share for _, share in kinds], axis=0) + 1e-6
    filled = sum(fill_textured(image, known, REACH * fh) * (share / total)[..., None] for known, share in kinds)
    canvas = np.where(inside[..., None], framed.canvas, np.clip(filled + 0.5, 0, 255).astype(np.uint8))
    return whole, np.ascontiguousarray(canvas)


def _outline_beyond(
    mask: np.ndarray, real: tuple[int, int, int, int], size: tuple[int, int], fh: float
) -> np.ndarray:
    """`mask` of the part `real` of a canvas of `size` (width, height), continued to the sides and below.

    At the sides it falls as shoulders do, below it goes straight on, or widens where the picture ends above the
    shoulders; above there is nothing. fh: height of the face in pixels.
    """
    x0, y0, _, y1 = real
    y, x = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    ends = np.flatnonzero(mask[-1] > 0.5)
    if len(ends):
        middle, half = x0 + (ends[0] + ends[-1]) / 2, max((ends[-1] - ends[0]) / 2, 1.0)
        wider = np.clip(half + WIDENS * (y - y1 + 1), half, max(half, SHOULDERS * fh))
        x = (middle + (x - middle) * (half / wider)).astype(np.float32)
    at_x = np.clip(x - x0, 0, mask.shape[1] - 1)
    at_y = np.minimum(y - y0 - FALL * np.abs(x - x0 - at_x), mask.shape[0] - 1)
    return cv2.remap(mask, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


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
