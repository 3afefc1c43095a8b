"""How alike two pictures are, pixel by pixel.

Pictures are uint8 or float32 (H, W, 3) RGB in 0..255, both of one shape.
"""

from __future__ import annotations

import cv2
import numpy as np

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003, the weights of five scales


def l1(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute difference in 0..1. `mask`: bool (H, W), only these pixels."""
    d = cv2.absdiff(np.asarray(a, np.float32), np.asarray(b, np.float32)).mean(axis=2)
    if mask is not None:
        d = d[mask]
    return float(d.mean() / 255) if d.size else float("nan")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB; identical pictures give 100."""
    mse = float(np.mean((np.asarray(a, np.float32) - np.asarray(b, np.float32)) ** 2))
    return 100.0 if mse < 1e-6 else min(100.0, 10 * np.log10(255.0**2 / mse))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window, sigma 1.5, 11 px, mean over R, G, B."""
    return _ssim_parts(np.asarray(a, np.float32), np.asarray(b, np.float32))[0]


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003), five scales.

    Needs 176 px at least: the smallest of the five scales must hold the 11 px window.
    """
    x, y = np.asarray(a, np.float32), np.asarray(b, np.float32)
    if min(x.shape[:2]) < 176:
        raise ValueError(f"five scales need 176 px, the picture has {min(x.shape[:2])}")
    out = 1.0
    for scale, weight in enumerate(_SCALES):
        full, contrast = _ssim_parts(x, y)
        out *= max(0.0, full if scale == len(_SCALES) - 1 else contrast) ** weight
        x, y = (cv2.resize(p, (p.shape[1] // 2, p.shape[0] // 2), interpolation=cv2.INTER_AREA) for p in (x, y))
    return float(out)


def _ssim_parts(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean SSIM, and the mean of its contrast-structure factor alone."""

    def blur(p: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(p, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    contrast = (2 * cov + _C2) / (vx + vy + _C2)
    full = contrast * (2 * mx * my + _C1) / (mx * mx + my * my + _C1)
    inner = (slice(5, -5), slice(5, -5))  # the window lies wholly inside the picture
    return float(full[inner].mean()), float(contrast[inner].mean())
