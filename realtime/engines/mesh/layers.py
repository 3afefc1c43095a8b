"""A portrait taken apart: the person, how much of each pixel is the person (the matte), and the background behind.

With P = I - (1 - alpha) B, the layers put together at rest give the picture back exactly; in motion the person is
warped, matte and all, and the background B stands still.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.inpaint import fill_smooth, fill_textured
from realtime.engines.mesh.topology import smoothstep

RIM = 0.27
"""Width of the rim around the person, as a share of the band below, in which everything that differs from the
background is taken along."""

WIDE_BAND, NARROW_BAND = 0.11, 0.045
"""How far around the person (face heights) stray hair is looked for: before a plain background, a structured one."""
STRAY_REACH = 0.4
"""How far from the person (face heights) locks of hair before a plain background are told from it."""
CLEAR, HAIR = 0.004, 0.25
"""Matte below which a pixel is background, and above which its neighbours may hold something of the person."""
PLAIN_TO_ROUGH = (0.02, 0.07)
"""Roughness (see `_roughness`) of a plain and of a structured background."""


@dataclass(frozen=True, slots=True)
class Layers:
    """matte: float32 (H, W) in 0..1. person: float32 (H, W, 3), 0..255, multiplied by the matte;
    with fine hair before the light it may exceed 255 times the matte, adding light.
    background: float32 (H, W, 3), 0..255, complete behind the person."""

    matte: np.ndarray
    person: np.ndarray
    background: np.ndarray


def split_layers(image: np.ndarray, mask: np.ndarray, surely: np.ndarray, fh: float) -> Layers:
    """Take a picture apart.

    image: uint8 (H, W, 3). mask: float32 (H, W), the network's word on the person. surely: float32 (H, W), 1 where
    the person is known to be (inside the face). fh: height of the face in pixels.
    """
    picture = image.astype(np.float32)
    radius = max(2, int(0.03 * fh))
    soft = cv2.ximgproc.guidedFilter(image, mask, radius, 1e-4 * 255 * 255 * 0.5, scale=0.5)
    matte = np.maximum(smoothstep(0.25, 0.95, soft).astype(np.float32), surely)

    # around the person lies a band in which the mask cannot be trusted (stray hair): no colour is taken from it
    # that is wide where the background is plain, and narrow where it has structure of its own
    core = (matte > 0.5).astype(np.uint8)
    outside = cv2.distanceTransform(1 - core, cv2.DIST_L2, 3) / fh if core.any() else np.full(core.shape, 9.0)
    clear = (outside > WIDE_BAND) & (matte < 0.3)
    if clear.sum() < 50:
        return Layers(np.ones_like(matte), picture, picture.copy())
    rough = fill_smooth(_roughness(picture, clear, 0.08 * fh), clear.astype(np.float32))
    band = WIDE_BAND + (NARROW_BAND - WIDE_BAND) * smoothstep(*PLAIN_TO_ROUGH, rough)
    person = outside < band
    known = ~person & (matte < 0.3)
    stray = _stray(picture, known & (outside < STRAY_REACH), rough, fh)
    if stray.any():
        person |= stray
        known &= ~stray
        rough = np.where(stray, np.median(rough[known & (outside < STRAY_REACH)]), rough)

    # what in the band differs from the background by more than its grain belongs to the person: the smallest alpha
    # for which 0 <= I - (1 - alpha) B <= 255 alpha. A smooth background is used, else its own grain counts as hair.
    weight = known.astype(np.float32)
    plain = np.clip(fill_smooth(picture, weight), 1.0, 254.0)
    needed = _largest(np.maximum((plain - picture) / plain, (picture - plain) / (255.0 - plain)))
    least = 0.05 + 2.5 * rough
    # next to the person the least difference counts: what stayed behind there would trace the outline
    rim = RIM * band
    near = 1.0 - smoothstep(0.0, 1.0, (outside - rim) / rim)
    least = least * (1.0 - near) + 0.004 * near
    hair = needed * np.clip((needed - least) / (0.12 - 0.11 * near), 0.0, 1.0)
    in_band = cv2.GaussianBlur(person.astype(np.float32), (0, 0), 1.0) * person
    matte = np.maximum(matte * person, np.minimum(hair * in_band, 0.98)).astype(np.float32)
    background = fill_textured(picture, known | _seen_through(matte, rough, fh), reach=0.5 * fh)
    alpha = matte[..., None]
    colour = np.clip(picture - (1.0 - alpha) * background, 0.0, 255.0)
    # where the background came out brighter than the picture allows, and little of the person is there, it gives way
    dark = (picture - colour) / np.maximum(1.0 - alpha, 0.05)
    background = np.where(alpha < 0.5, np.minimum(background, np.maximum(dark, 0.0)), background)
    background = np.where(alpha < CLEAR, picture, background)
    colour = np.where(alpha < CLEAR, 0.0, colour)
    return Layers(matte, colour, background)


def _stray(picture: np.ndarray, near: np.ndarray, rough: np.ndarray, fh: float) -> np.ndarray:
    """Where locks of hair stand out before a plain background: bool (H, W). `near`: what to look at."""
    if not near.any() or np.median(rough[near]) > PLAIN_TO_ROUGH[0]:
        return np.zeros_like(near)
    small = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    usual = cv2.medianBlur(np.clip(small, 0, 255).astype(np.uint8), 2 * max(1, int(0.06 * fh)) + 1)
    usual = cv2.resize(usual, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    off = _largest(np.abs(picture - usual)) > 0.12 * np.maximum(_mean(usual), 24.0)
    reach = 2 * max(2, int(0.02 * fh)) + 1
    return cv2.dilate((off & near).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0


def _seen_through(matte: np.ndarray, rough: np.ndarray, fh: float) -> np.ndarray:
    """Where a structured background shows in the band around the person: bool (H, W).

    Behind the person it has to go on from there. Begun beyond the band it would not fit what is left standing in the
    band, and the seam would stay behind as a second outline of the head. Ragged bits are left out: rows and columns
    that begin in different places make streaks.
    """
    apart = 2 * max(1, round(0.01 * fh)) + 1
    beside_hair = cv2.dilate((matte > HAIR).astype(np.uint8), np.ones((apart, apart), np.uint8)) > 0
    clear = (matte < CLEAR) & ~beside_hair
    reach = 2 * max(1, round(0.015 * fh)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    whole = cv2.morphologyEx(clear.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0
    return whole & (rough > np.mean(PLAIN_TO_ROUGH))


def _roughness(picture: np.ndarray, known: np.ndarray, sigma: float) -> np.ndarray:
    """How far known pixels differ from their surroundings, as a share of the brightness: float32 (H, W)."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(known.astype(np.float32), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    spread = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma / 2.0), 1e-4)
    local = cv2.GaussianBlur(small * weight[..., None], (0, 0), sigma / 2.0) / spread[..., None]
    rough = _largest(np.abs(small - local)) / np.maximum(_mean(local), 24.0)
    return cv2.resize(rough, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)


def _largest(image: np.ndarray) -> np.ndarray:
    """Each pixel's largest channel, many times faster than `max(axis=2)`."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def _mean(image: np.ndarray) -> np.ndarray:
    """Each pixel's mean over its three channels."""
    return (image[..., 0] + image[..., 1] + image[..., 2]) / np.float32(3.0)
