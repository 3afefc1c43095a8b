"""Portraits that come with the package, free to publish (see `realtime/data/README.md`)."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np

from realtime.errors import UnknownName

SIDE = 768
"""Side of a built-in portrait, pixels."""
HEADS = {
    "astronaut": ("astronaut.png", slice(0, 300), slice(74, 374)),
    "admiral": ("admiral.jpg", slice(10, 440), slice(58, 488)),
    "countess": ("countess.png", slice(None), slice(None)),
    "composer": ("composer.png", slice(None), slice(None)),
}
"""By name: the file, and where in it the head and shoulders are (rows, columns)."""
DRAWN = {"painting": "astronaut", "sketch": "admiral"}
"""By name: the portrait that it is drawn from."""
PAPER = (218, 230, 236)
"""BGR of what lies behind a drawing that has no background."""
ROOM = 0.14
"""Paper above such a drawing, as a share of its height."""


def builtin_portraits() -> tuple[str, ...]:
    """Names for `builtin_portrait`, the default first."""
    return (*HEADS, *DRAWN)


def builtin_portrait(name: str = "astronaut") -> np.ndarray:
    """A built-in portrait: uint8 (768, 768, 3) RGB. "painting" and "sketch" are drawn from photographs.

    Raises UnknownName.
    """
    if name not in builtin_portraits():
        raise UnknownName("built-in portrait", name, builtin_portraits())
    head = _head(DRAWN.get(name, name))
    draw = {"painting": _painting, "sketch": _sketch}.get(name)
    return np.ascontiguousarray((draw(head) if draw else head)[..., ::-1])


def _head(name: str) -> np.ndarray:
    """The head and shoulders at the size they are shown, so that strokes come out at the right scale: BGR."""
    file, rows, columns = HEADS[name]
    stored = np.frombuffer(resources.files("realtime.data").joinpath(file).read_bytes(), np.uint8)
    picture = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
    if picture.shape[2] == 4:
        picture = _on_paper(picture)
    return cv2.resize(picture[rows, columns], (SIDE, SIDE), interpolation=cv2.INTER_LANCZOS4)


def _on_paper(drawing: np.ndarray) -> np.ndarray:
    """A drawing higher than wide, uint8 (H, W, 4) BGR and alpha, at the foot of a square of paper: BGR."""
    above = round(ROOM * drawing.shape[0])
    beside = drawing.shape[0] + above - drawing.shape[1]
    drawing = cv2.copyMakeBorder(drawing, above, 0, beside // 2, beside - beside // 2, cv2.BORDER_CONSTANT, value=0)
    alpha = drawing[..., 3:] / 255.0
    return np.round(drawing[..., :3] * alpha + np.array(PAPER) * (1.0 - alpha)).astype(np.uint8)


def _painting(photo: np.ndarray) -> np.ndarray:
    """Flat strokes with warm, deepened colours."""
    strokes = cv2.edgePreservingFilter(photo, flags=cv2.NORMCONV_FILTER, sigma_s=18, sigma_r=0.35)
    strokes = cv2.xphoto.oilPainting(strokes, 3, 1)
    fine = cv2.addWeighted(strokes, 0.75, photo, 0.25, 0)
    lab = cv2.cvtColor(fine, cv2.COLOR_BGR2LAB).astype(np.float32)
    lab[..., 1:] = 128.0 + (lab[..., 1:] - 128.0) * 1.25
    lab[..., 2] += 3.0
    return cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2BGR)


def _sketch(photo: np.ndarray) -> np.ndarray:
    """A pencil drawing on cream paper."""
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY).astype(np.float32)
    light = cv2.GaussianBlur(grey, (0, 0), 9.0)
    lines = np.clip(grey / np.maximum(light, 1.0), 0.0, 1.0) ** 1.6
    tone = 0.45 + 0.55 * np.clip(grey / 215.0, 0.0, 1.0) ** 0.8
    shade = (lines * tone)[..., None]
    paper, pencil = np.array([214.0, 236.0, 244.0]), np.array([48.0, 42.0, 40.0])
    return np.clip(pencil + (paper - pencil) * shade, 0, 255).astype(np.uint8)
