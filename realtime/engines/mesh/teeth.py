"""Drawing teeth: two rows, once per portrait, in the light and the colours of its face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# widths and heights of the teeth from the middle outwards, in face heights (Ash and Nelson's averages over 172 mm)
UPPER_WIDTHS = (0.0485, 0.038, 0.042, 0.039, 0.036, 0.058, 0.055)
UPPER_HEIGHTS = (0.061, 0.054, 0.060, 0.050, 0.045, 0.044, 0.040)
LOWER_WIDTHS = (0.031, 0.033, 0.038, 0.038, 0.040, 0.062, 0.060)
LOWER_HEIGHTS = (0.052, 0.052, 0.056, 0.048, 0.043, 0.043, 0.041)
CANINE = 2
"""Which tooth from the middle is the pointed one."""
ROW_WIDTH, ROW_HEIGHT = 0.66, 0.09
EDGE = 0.072
"""Where in the height of an upper row its biting edge lies (a lower row is the same upside down)."""
OVERSAMPLING = 2.0
"""A row is drawn this much larger than it is kept."""


@dataclass(frozen=True, slots=True)
class Teeth:
    """upper, lower: uint8 (h, w, 4), RGB times alpha and alpha. density: texels per face height."""

    upper: np.ndarray
    lower: np.ndarray
    density: float


def draw_teeth(tooth: np.ndarray, gum: np.ndarray, fh: float) -> Teeth:
    """Both rows for a face of height `fh` pixels. tooth, gum: (3,) colours, 0..255."""
    density = float(np.clip(2.0 * fh, 100.0, 1000.0))
    upper = _row(UPPER_WIDTHS, UPPER_HEIGHTS, tooth, gum, density * OVERSAMPLING)
    lower = _row(LOWER_WIDTHS, LOWER_HEIGHTS, 0.93 * tooth, gum, density * OVERSAMPLING)[::-1]
    size = (round(ROW_WIDTH * density), round(ROW_HEIGHT * density))
    small = [cv2.resize(row, size, interpolation=cv2.INTER_AREA) + 0.5 for row in (upper, lower)]
    upper, lower = (np.ascontiguousarray(np.clip(row, 0, 255), np.uint8) for row in small)
    return Teeth(upper, lower, density)


def _row(
    widths: tuple[float, ...], heights: tuple[float, ...], tooth: np.ndarray, gum: np.ndarray, fine: float
) -> np.ndarray:
    """One row, gums at the top, `fine` pixels per face height: float32 (h, w, 4)."""
    h, w = round(ROW_HEIGHT * fine), round(ROW_WIDTH * fine)
    rows = np.arange(h, dtype=np.float32)[:, None] / np.float32(fine)
    columns = np.arange(w, dtype=np.float32) / np.float32(fine) - np.float32(ROW_WIDTH / 2.0)
    colour = np.zeros((h, w, 3), np.float32)
    alpha = np.zeros((h, w), np.float32)
    ends = np.concatenate([[0.0], np.cumsum(widths)])
    for side in (-1, 1):
        for i, (width, height) in enumerate(zip(widths, heights, strict=True)):
            u = (side * columns - (ends[i] + ends[i + 1]) / 2.0) / (width / 2.0)  # -1 inner side .. 1 outer side
            there = np.flatnonzero((1.0 - np.abs(u)) * width / 2.0 * fine + 0.5 > 0)  # the tooth's own columns
            here = (slice(None), slice(there[0], there[-1] + 1))
            yy, u = np.broadcast_arrays(rows, u[here[1]])
            neck = EDGE - height
            v = (yy - neck) / height  # 0 at the gum .. 1 at the biting edge
            inside = np.clip((1.0 - np.abs(u)) * width / 2.0 * fine + 0.5, 0, 1)
            bite = 0.16 * np.abs(u) ** 1.5 if i == CANINE else 0.04 * np.abs(u) ** 4 + 0.05 * np.clip(u, 0, 1) ** 6
            edge = EDGE - bite * height - (0.0015 if i == 1 else 0.0)  # lateral incisors are a little shorter
            a = inside * np.clip((edge - yy) * fine / 1.5 + 0.5, 0, 1)
            rounded = 1.0 - 0.10 * np.abs(u) ** 4 - 0.06 * np.clip(1.0 - v * 2.5, 0, 1)
            glassy = np.clip((v - 0.85) / 0.15, 0, 1)[..., None] * np.array([0.07, 0.05, 0.03])
            shine = 10.0 * np.exp(-(((u + 0.2) / 0.35) ** 2) - ((v - 0.45) / 0.30) ** 2)[..., None]
            body = tooth * (rounded * (1.0 - 0.04 * i))[..., None] * (1.0 - glassy) + shine
            # a narrow shadow, not a hole, lies between two teeth, deeper towards the biting edge
            line = np.exp(-(((np.abs(u) - 1.0) * width / 2.0 / 0.0018) ** 2))
            body = body * (1.0 - 0.24 * line * (0.35 + 0.65 * np.clip(v, 0, 1)))[..., None]
            # the gum ends in an arch over each tooth
            arch = neck + 0.003 + 0.010 * np.abs(u) ** 3
            flesh = np.clip((arch - yy) * fine / 3.0 + 0.5, 0, 1)[..., None]
            body = body * (1.0 - flesh) + gum * flesh
            colour[here] = colour[here] * (1.0 - a[..., None]) + body * a[..., None]
            alpha[here] = np.maximum(alpha[here], a)
    return np.dstack([colour, 255.0 * alpha]).astype(np.float32)
