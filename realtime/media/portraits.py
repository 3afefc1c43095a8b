"""Portraits that come with the package, free to publish (see `realtime/data/README.md`)."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np

from realtime.errors import UnknownName

_NAMES = ("astronaut", "painting", "sketch")
HEAD = (slice(0, 300), slice(74, 374))
"""The head and shoulders in the photograph (rows, columns)."""
SIDE = 768
"""Side of a built-in portrait, pixels."""


def builtin_portraits() -> tuple[str, ...]:
    """Names for `builtin_portrait`, the default first."""
    return _NAMES


def builtin_portrait(name: str = "astronaut") -> np.ndarray:
    """A built-in portrait: uint8 (768, 768, 3) RGB. "painting" and "sketch" are drawn from the photograph.

    Raises UnknownName.
    """
    if name not in _NAMES:
        raise UnknownName("built-in portrait", name, _NAMES)
    stored = np.frombuffer(resources.files("realtime.data").joinpath("astronaut.png").read_bytes(), np.uint8)
    photo = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    # the head and shoulders, at the size they are shown, so that strokes come out at the right scale
    head = cv2.resize(photo[HEAD], (SIDE, SIDE), interpolation=cv2.INTER_LANCZOS4)
    drawn = {"astronaut": lambda picture: picture, "painting": _painting, "sketch": _sketch}[name](head)
    return np.ascontiguousarray(drawn[..., ::-1])


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
