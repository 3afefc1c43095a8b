"""What a network of parts sees and says about one frame, as pictures: attention of the motion tokens (Fig. 3 of the
Motion Transformer paper), keypoints and affine ellipses, masks, flow, occlusion. Pure: arrays in, pictures out."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ELLIPSE = 0.12
"""Radius of the circle of the reference picture that the affine matrices turn into ellipses, in coordinate units."""


@dataclass(frozen=True)
class PartViews:
    """One driving frame as the network sees it, and the portrait moved by it.

    frame, portrait, made: uint8 (S, S, 3) RGB. points: (K, 2), affine: (K, 2, 2) of the frame; home_points,
    home_affine: of the portrait. masks: (K + 1, h, w), background first. occlusion: (h, w). flow: (h, w, 2), where in
    the portrait each pixel is from, -1..1. attention: (layers, K, rows, columns), each map summing to 1; None for
    estimators that have none.
    """

    frame: np.ndarray
    portrait: np.ndarray
    made: np.ndarray
    points: np.ndarray
    affine: np.ndarray
    home_points: np.ndarray
    home_affine: np.ndarray
    masks: np.ndarray
    occlusion: np.ndarray
    flow: np.ndarray
    attention: np.ndarray | None


def colours(count: int) -> np.ndarray:
    """`count` colours evenly apart in hue: uint8 (count, 3) RGB."""
    hues = [colorsys.hsv_to_rgb(k / max(1, count), 0.8, 1.0) for k in range(count)]
    return (np.array(hues).reshape(-1, 3) * 255).round().astype(np.uint8)


def scaled(image: np.ndarray, side: int) -> np.ndarray:
    """`image` (h, w) or (h, w, 3) at side x side."""
    import cv2

    shrinks = image.shape[0] > side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def with_parts(image: np.ndarray, points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """`image` with a cross at every keypoint and the ellipse that its matrix makes of a circle."""
    import cv2

    out = np.ascontiguousarray(image.copy())
    half = (out.shape[0] - 1) / 2
    turn = np.linspace(0, 2 * np.pi, 48)
    circle = ELLIPSE * np.stack([np.cos(turn), np.sin(turn)])  # (2, 48)
    for point, matrix, colour in zip(points, affine, colours(len(points)), strict=True):
        shade = tuple(int(c) for c in colour)
        ring = ((point[:, None] + matrix @ circle) + 1) * half
        line = np.clip(ring.T.round(), -9999, 9999).astype(np.int32)
        cv2.polylines(out, [line], True, shade, max(1, out.shape[0] // 200), cv2.LINE_AA)
        at = tuple(int(v) for v in np.clip(((point + 1) * half).round(), -9999, 9999))
        cv2.drawMarker(out, at, shade, cv2.MARKER_CROSS, max(5, out.shape[0] // 24), max(1, out.shape[0] // 160))
    return out


def mask_picture(masks: np.ndarray) -> np.ndarray:
    """Masks (K + 1, h, w) that sum to 1: each part in its colour, the background grey. uint8 (h, w, 3)."""
    palette = np.concatenate([[[64, 64, 64]], colours(len(masks) - 1)]).astype(np.float32)
    return np.einsum("khw,kc->hwc", masks, palette).round().clip(0, 255).astype(np.uint8)


def flow_picture(flow: np.ndarray, most: float | None = None) -> np.ndarray:
    """A flow (h, w, 2) of coordinates as its way from rest: hue says where a pixel comes from (red: the right, green:
    below left), saturation how far. `most`: the length of full saturation; None takes the longest, 0.1 at least.
    uint8 (h, w, 3)."""
    import cv2

    height, width = flow.shape[:2]
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    away = flow - np.stack(np.broadcast_arrays(x[None, :], y[:, None]), -1)
    length = np.linalg.norm(away, axis=-1)
    scale = most or max(float(length.max()), 0.1)
    hue = (np.degrees(np.arctan2(away[..., 1], away[..., 0])) % 360) / 2
    full = np.full_like(hue, 255)
    hsv = np.stack([hue, (length / scale).clip(0, 1) * 255, full], -1).round().astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def heat_over(image: np.ndarray, heat: np.ndarray, side: int) -> np.ndarray:
    """`heat` (h, w), divided by its largest value, as a glow over a dimmed `image`: uint8 (side, side, 3)."""
    import cv2

    large = scaled(heat.astype(np.float32) / max(float(heat.max()), 1e-12), side).clip(0, 1)
    glow = cv2.cvtColor(
        cv2.applyColorMap((large * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    )
    return (0.35 * scaled(image, side) + 0.65 * glow).round().astype(np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    """(h, w) in 0..1 as uint8 (h, w, 3)."""
    return np.repeat((values.clip(0, 1) * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def labelled(picture: np.ndarray, text: str) -> np.ndarray:
    """`picture` under a strip with `text`."""
    import cv2

    strip = np.full((18, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([strip, picture])


def page(views: PartViews, tokens: Sequence[int], layers: Sequence[int], side: int = 160) -> np.ndarray:
    """Everything on one page: uint8 (H, W, 3).

    First row: frame and portrait with their parts, result, flow, masks, occlusion. Then a row for each of `tokens`:
    the frame, the part's mask, and its attention in each of `layers` (counted from 0).
    """
    first = [
        ("driving frame", with_parts(scaled(views.frame, side), views.points, views.affine)),
        ("portrait", with_parts(scaled(views.portrait, side), views.home_points, views.home_affine)),
        ("result", scaled(views.made, side)),
        ("flow", scaled(flow_picture(views.flow), side)),
        ("masks", scaled(mask_picture(views.masks), side)),
        ("seen (white), invented", scaled(grey(views.occlusion), side)),
    ]
    rows = [[labelled(picture, name) for name, picture in first]]
    palette = colours(len(views.points))
    for token in tokens:
        row = [
            (f"token {token}", with_parts_of(views, token, side, palette[token])),
            ("mask", heat_over(views.frame, views.masks[token + 1], side)),
        ]
        if views.attention is not None:
            row += [(f"layer {n + 1}", heat_over(views.frame, views.attention[n, token], side)) for n in layers]
        rows.append([labelled(picture, name) for name, picture in row])
    width = max(len(row) for row in rows)
    blank = np.full_like(rows[0][0], 255)
    lines = [np.concatenate(row + [blank] * (width - len(row)), axis=1) for row in rows]
    return np.concatenate(lines)


def with_parts_of(views: PartViews, token: int, side: int, colour: np.ndarray) -> np.ndarray:
    """The frame with one part drawn in its colour."""
    one = np.eye(len(views.points), dtype=bool)[token]
    points = np.where(one[:, None], views.points, 99.0)  # the others far outside the picture
    out = with_parts(scaled(views.frame, side), points, views.affine)
    out[:3] = colour
    return out
