"""Eyes: a whole eyeball behind the lids.

The portrait shows only the part of an eyeball between its lids. At preparation the rest is made, in two layers: the
white goes on behind the iris, and the iris is completed by its own mirror image; both without the shadow of the upper
lid, as far as that is known. In motion the white is rigid with the head, the iris lies on it, shifted by the gaze;
the smooth opening between the lids is the window through which both are seen, in the shadow of the lid where that is
now.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.curves import SAMPLES, Opening, build_opening, opening
from realtime.engines.mesh.inpaint import fill_smooth
from realtime.face.face_model import LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS
from realtime.face.pose import HeadPose
from realtime.flow.jit import compiled

EYE_RINGS = (RIGHT_EYE, (LEFT_EYE[8], *LEFT_EYE[7:0:-1], LEFT_EYE[0], *LEFT_EYE[:8:-1]))
"""Rings of both eyes that begin at the corner on the left side of the picture."""
IRISES = (RIGHT_IRIS, LEFT_IRIS)
UPPER_INSET, LOWER_INSET = 0.10, 0.04
"""How far the lashes reach into the opening, as a share of its height."""
LIFTED = 0.25
"""Eyes that open by so much more than in the portrait are seen up to the edges of their lids: lashes point away."""
LID_SHADE, LID_SHADE_REACH = 0.32, 0.07
"""How much of the light the upper lid takes from the eyeball below it, and how far down (e-fold, eye widths)."""
SHADE_CHANGES, DARKEST = 0.5, 0.6
"""How much more it takes for each opening by which an eye closes, and less as it opens wider; and at most."""
MIN_OPENING = 0.008
"""Eyes that open less than this (face heights) are taken as closed: there is no eyeball to show."""
LASHES = 0.20
"""How far the upper lashes and the lid's line reach beyond the opening, in eye widths."""
LASH_LINE, LASH_DARK = 0.025, 0.6
"""Half the width of the line of lashes where closed lids meet, in eye widths (a millimetre of a whole one), and how
much of the light it takes."""
SKIN_LIGHT = (30.0, 60.0)
"""Percentiles of the light around an eye: no skin is darker than the first, all is skin from the second on."""
WHITE_FROM, WHITE_FULLY = 0.5, 0.85
"""Of the way from the iris's colour to the white's: what is nearer the iris than the first belongs to it, its shadow
or the lashes, what is past the second is white."""
LIGHTEST = 90.0
"""Percentile of the light between the lids that no part of the eyeball exceeds out of the lid's shadow."""
CORNER_SHADE, CORNER_REACH = 0.4, 0.15
"""How much of the light an eye's corner takes from the white that is made there, and how far (e-fold, eye widths)."""
LIMBUS = 8.0
"""Grey levels by which the white of an eye and its iris differ at least where they can be told apart."""
LARGEST_IRIS = 1.6
"""An iris is at most so many times as large as the tracker, which knows human eyes, says."""
ZOOM = 2
"""Texels per pixel of the portrait, so that bilinear sampling stays sharp."""
LIMBUS_WIDTH = 0.2
"""Width of the soft rim of a drawn iris, in radii."""
HALFWAY = np.array([-0.09375, 0.59375, 0.59375, -0.09375])
"""What four neighbours count halfway between the inner two: Keys' cubic, a = -0.75."""


@dataclass(frozen=True, slots=True)
class Eye:
    """One eye of a portrait.

    ring, iris: landmark indices. seen, white, disc: uint8 (h, w, 3), the picture around the eye, the same with an
    eyeball that has no iris, and the same with a whole iris. lid: uint8 (h, w, 3), the skin that a closing lid brings
    down, without lashes. corner: (x, y) of texel (0, 0) in the portrait, pixels. centre, radius: of the iris, and
    width, height: of the opening, in pixels of the portrait. rest: the ring in the face frame, (16, 3).
    """

    ring: tuple[int, ...]
    iris: tuple[int, ...]
    seen: np.ndarray
    white: np.ndarray
    disc: np.ndarray
    lid: np.ndarray
    corner: tuple[int, int]
    centre: np.ndarray
    radius: float
    width: float
    height: float
    rest: np.ndarray

    def draw(self, out: np.ndarray, shape: np.ndarray, start: HeadPose, pose: HeadPose) -> None:
        """Paint the eye of the face `shape` (478, 3; face frame) in pose `pose` into `out`, uint8 (H, W, 3).

        start: the pose in the portrait.
        """
        _place_and_draw(
            out,
            np.ascontiguousarray(shape, np.float64),
            np.array(self.ring),
            self.rest,
            self.iris[0],
            (start.scale, np.ascontiguousarray(start.rotation), start.translation),
            (pose.scale, np.ascontiguousarray(pose.rotation), pose.translation),
            (self.seen, self.white, self.disc, self.lid),
            np.array([*self.corner, *self.centre, self.radius, self.width, self.height]),
        )


def prepare_eyes(picture: np.ndarray, landmarks: np.ndarray, pose: HeadPose) -> list[Eye]:
    """The eyes of a portrait that are open and inside the picture.

    picture: uint8 (H, W, 3). landmarks: (478, 3), pixels of that picture. pose: of the face in it.
    """
    eyes = []
    for ring, iris in zip(EYE_RINGS, IRISES, strict=True):
        eye = _prepare_eye(picture, landmarks, pose, ring, iris)
        if eye is not None:
            eyes.append(eye)
    return eyes


def _prepare_eye(
    picture: np.ndarray, landmarks: np.ndarray, pose: HeadPose, ring: tuple[int, ...], iris: tuple[int, ...]
) -> Eye | None:
    lids = landmarks[list(ring), :2]
    centre = landmarks[iris[0], :2].copy()
    radius = float(np.linalg.norm(landmarks[list(iris[1:]), :2] - centre, axis=1).mean())
    width = float(np.linalg.norm(lids[8] - lids[0]))
    window = opening(lids)
    height = window.height
    reach = np.array([1.1 * width, 0.8 * width])
    middle = lids.mean(axis=0)
    low = np.floor(np.maximum(middle - reach, 0)).astype(int)
    high = np.ceil(np.minimum(middle + reach, (picture.shape[1] - 1, picture.shape[0] - 1))).astype(int) + 1
    if height < MIN_OPENING * pose.scale or width < 4.0 or (high - low < 6).any():
        return None
    crop = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
    white, disc, radius = _eyeball(crop, lids - low, centre - low, max(1.0, radius), height)
    lid = _lid_skin(crop, lids - low, width)
    rest = pose.to_face(landmarks[list(ring)])
    return Eye(
        ring=ring,
        iris=iris,
        seen=magnify(crop),
        white=magnify(white),
        disc=magnify(disc),
        lid=magnify(lid),
        corner=(int(low[0]), int(low[1])),
        centre=centre,
        radius=radius,
        width=width,
        height=height,
        rest=rest,
    )


def _whiteness(crop: np.ndarray, inside: np.ndarray, distance: np.ndarray, radius: float) -> np.ndarray:
    """float32 (h, w): 1 where `crop` has the colour of the white of the eye, 0 where it has the iris's; 1 everywhere
    where the two are alike. inside: bool, between the lids. distance: from the iris's middle, pixels."""
    image = crop.astype(np.float32)
    whole = np.ones(crop.shape[:2], np.float32)
    iris, beside = inside & (abs(distance / radius - 0.8) < 0.2), inside & (distance > 1.2 * radius)
    if iris.sum() < 4 or beside.sum() < 4:
        return whole
    light = image[beside].mean(axis=1)
    dark, white = np.median(image[iris], axis=0), np.median(image[beside][light >= np.median(light)], axis=0)
    apart = white - dark
    if np.abs(apart).mean() < LIMBUS:
        return whole
    along = (image - dark) @ apart / float(apart @ apart)
    return np.clip((along - WHITE_FROM) / (WHITE_FULLY - WHITE_FROM), 0.0, 1.0).astype(np.float32)


def _iris_radius(white: np.ndarray, inside: np.ndarray, centre: np.ndarray, radius: float) -> float:
    """The iris's radius: how far its colour goes on both sides of the middle, from the tracker's `radius`, which is a
    human's, to `LARGEST_IRIS` times that: painted eyes can have larger ones. white: `_whiteness`."""
    steps = radius * np.arange(1.0, LARGEST_IRIS, 0.05)
    ends = []
    for middle in (0.0, np.pi):
        around = middle + np.deg2rad(np.arange(-24.0, 25.0, 8.0))[:, None]
        x, y = (np.rint(centre[i] + f(around) * steps).astype(int) for i, f in ((0, np.cos), (1, np.sin)))
        x, y = x.clip(0, white.shape[1] - 1), y.clip(0, white.shape[0] - 1)
        seen = inside[y, x]
        ended = (white[y, x] * seen).sum(axis=0) >= 0.5 * seen.sum(axis=0)
        ends.append(float(steps[int(np.argmax(ended))]) if ended.any() else radius)
    return min(ends)


def _eyeball(
    crop: np.ndarray, lids: np.ndarray, centre: np.ndarray, radius: float, height: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """`crop` with the white of the eye behind the lids and the iris, and with a whole iris: uint8 (h, w, 3) each;
    and the iris's radius, from the tracker's."""
    h, w = crop.shape[:2]
    image = crop.astype(np.float32)
    inside = coverage(opening(lids, 0.16 * height, 0.10 * height), (h, w), 1.0) > 0.7
    xx, yy = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    distance = np.hypot(xx - centre[0], yy - centre[1])
    white = _whiteness(crop, inside, distance, radius)
    if white.min() < 1.0:  # else nothing tells the ball from what is painted or carved on it
        lightest = np.percentile(image.mean(axis=2)[inside], LIGHTEST)
        image /= _lid_shade(lids, height, (h, w))[..., None]
        image *= np.minimum(1.0, lightest / np.maximum(image.mean(axis=2), 1.0))[..., None]
    radius = _iris_radius(white, inside, centre, radius)
    beside = inside & (distance > 1.2 * radius)
    if beside.sum() < 4:
        beside = inside
    if not beside.any():
        return crop, crop, radius
    known = np.maximum(beside * white, 1e-3 * beside)
    filled = fill_smooth(image, known)
    to_corner = np.minimum(*(np.hypot(xx - lids[k, 0], yy - lids[k, 1]) for k in (0, 8)))
    reach = CORNER_REACH * float(np.hypot(*(lids[8] - lids[0])))
    filled *= (1.0 - CORNER_SHADE * np.exp(-to_corner / reach))[..., None]
    keep = (cv2.GaussianBlur(known, (0, 0), 0.7) * known)[..., None]
    ball = image * keep + filled * (1.0 - keep)

    mirror_y = (2.0 * centre[1] - yy).astype(np.float32)
    mirrored = cv2.remap(image, xx, mirror_y, cv2.INTER_LINEAR)
    mirrored_inside = cv2.remap(inside.astype(np.uint8), xx, mirror_y, cv2.INTER_NEAREST) > 0
    iris = (distance < 1.05 * radius) & (inside | mirrored_inside)
    disc = np.where(inside[..., None], image, mirrored)
    if iris.any():
        disc = np.where(iris[..., None], disc, fill_smooth(disc, iris.astype(np.float32)))
    ball, disc = (np.clip(layer + 0.5, 0, 255).astype(np.uint8) for layer in (ball, disc))
    return ball, disc, radius


def _lid_shade(lids: np.ndarray, height: float, shape: tuple[int, int]) -> np.ndarray:
    """float32 `shape`: how much light the shadow of the upper lid leaves the eye in the portrait."""
    window = opening(lids, UPPER_INSET * height, LOWER_INSET * height)
    x, y, across, down, length = window.frame
    xx, yy = np.meshgrid(np.arange(shape[1]) - x, np.arange(shape[0]) - y)
    u, v = (xx * across + yy * down) / length, yy * across - xx * down
    below = np.maximum(v - window.upper[(u.clip(0.0, 1.0) * (SAMPLES - 1)).astype(int)], 0.0)
    return (1.0 - LID_SHADE * np.exp(-below / (LID_SHADE_REACH * length))).astype(np.float32)


def _lid_skin(crop: np.ndarray, lids: np.ndarray, width: float) -> np.ndarray:
    """`crop` with the eye and its lashes replaced by the skin around them: uint8 (h, w, 3)."""
    image = crop.astype(np.float32)
    hole = np.zeros(crop.shape[:2], np.uint8)
    reach = LASHES * width
    upper = lids[:9] + np.array([0.0, -reach])
    cv2.fillPoly(hole, [np.round(np.concatenate([upper, lids[8:], lids[:1]])).astype(np.int32)], (1.0,))
    around = 2 * max(1, round(0.05 * width)) + 1
    grown = cv2.dilate(hole, np.ones((around, around), np.uint8))
    ring = cv2.dilate(grown, np.ones((2 * around + 1, 2 * around + 1), np.uint8)).astype(bool) & (grown == 0)
    if not ring.any():
        return crop
    light = image.mean(axis=2)
    low, high = np.percentile(light[ring], SKIN_LIGHT)
    # creases, lashes, liner, brows and what lies behind a turned face are darker than a lid
    skin = ring * np.clip((light - low) / max(1.0, float(high - low)), 0.0, 1.0)
    filled = fill_smooth(image, skin.astype(np.float32))
    soft = cv2.GaussianBlur(grown.astype(np.float32), (0, 0), max(0.8, 0.04 * width))[..., None]
    return np.clip(image * (1.0 - soft) + filled * soft + 0.5, 0, 255).astype(np.uint8)


def magnify(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, c) enlarged by `ZOOM` so that texel (2 x, 2 y) is exactly pixel (x, y): cubic between, the edge
    repeated."""
    out = np.empty((2 * image.shape[0], 2 * image.shape[1], image.shape[2]), np.uint8)
    out[::2, ::2] = image
    for y, x in ((0, 1), (1, 0), (1, 1)):
        across, down = (HALFWAY if odd else np.ones(1) for odd in (x, y))
        out[y::2, x::2] = cv2.sepFilter2D(image, -1, across, down, anchor=(x, y), borderType=cv2.BORDER_REPLICATE)
    return out


def coverage(window: Opening, shape: tuple[int, ...], soft: float) -> np.ndarray:
    """float32 `shape`: how far each pixel is inside `window`, 0..1, over an edge `soft` pixels wide."""
    mask = np.zeros(shape, np.float32)
    box = window.box(2.0 + soft, shape[1], shape[0])
    if box is not None:
        _fill_coverage(mask, np.array(box, np.int64), window.frame, window.upper, window.lower, soft)
    return mask


@compiled("float64(float64, float64, float64[::1], float64[::1], float64[::1], float64)")
def cover(x: float, y: float, frame: np.ndarray, upper: np.ndarray, lower: np.ndarray, soft: float) -> float:
    """How far the pixel (x, y) is inside an opening, 0..1. frame: origin x, y, along x, y, length."""
    dx = x - frame[0]
    dy = y - frame[1]
    u = (dx * frame[2] + dy * frame[3]) / frame[4]
    v = dy * frame[2] - dx * frame[3]
    if u <= 0.0 or u >= 1.0:
        return 0.0
    at = u * (SAMPLES - 1)
    k = int(at)
    t = at - k
    top = upper[k] + t * (upper[k + 1] - upper[k])
    bottom = lower[k] + t * (lower[k + 1] - lower[k])
    gap = bottom - top
    # a steep edge is nearer than it looks from above
    rise = (upper[k + 1] - upper[k]) * (SAMPLES - 1) / frame[4]
    fall = (lower[k + 1] - lower[k]) * (SAMPLES - 1) / frame[4]
    above = soft * np.sqrt(1.0 + min(rise * rise, 16.0))
    below = soft * np.sqrt(1.0 + min(fall * fall, 16.0))
    if v < top - above or v > bottom + below or gap <= 0.0:
        return 0.0
    inside = min(1.0, max(0.0, (v - top) / above + 0.5)) * min(1.0, max(0.0, (bottom - v) / below + 0.5))
    open_ = min(1.0, gap / (1.5 * soft))
    return inside * open_


@compiled("void(uint8[:,:,::1], int64[::1], float64[::1], float64[::1], float64[::1], float64)")
def soften_seam(
    out: np.ndarray, box: np.ndarray, frame: np.ndarray, upper: np.ndarray, lower: np.ndarray, amount: float
) -> None:
    """Blend the pixels along a closed opening with those above and below it: two lips meet without a staircase."""
    for y in range(max(1, box[1]), min(out.shape[0] - 1, box[3])):
        for x in range(box[0], box[2]):
            u = ((x - frame[0]) * frame[2] + (y - frame[1]) * frame[3]) / frame[4]
            if u <= 0.0 or u >= 1.0:
                continue
            v = (y - frame[1]) * frame[2] - (x - frame[0]) * frame[3]
            k = min(SAMPLES - 1, int(u * (SAMPLES - 1) + 0.5))
            gap = lower[k] - upper[k]
            off = abs(v - 0.5 * (upper[k] + lower[k]))
            if gap < 2.0 and off < 1.5:
                share = 0.6 * amount * min(1.0, 2.0 - gap) * min(1.0, 1.5 - off)
                for c in range(3):
                    beside = 0.5 * (np.float64(out[y - 1, x, c]) + np.float64(out[y + 1, x, c]))
                    out[y, x, c] = np.uint8(out[y, x, c] * (1.0 - share) + beside * share + 0.5)


@compiled("void(float32[:,::1], int64[::1], float64[::1], float64[::1], float64[::1], float64)")
def _fill_coverage(
    mask: np.ndarray, box: np.ndarray, frame: np.ndarray, upper: np.ndarray, lower: np.ndarray, soft: float
) -> None:
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            mask[y, x] = cover(float(x), float(y), frame, upper, lower, soft)


@compiled("float64(uint8[:,:,::1], float64, float64, int64)")
def texel(texture: np.ndarray, x: float, y: float, channel: int) -> float:
    """Bilinear sample of one channel, the edge repeated."""
    h, w = texture.shape[:2]
    x = min(max(x, 0.0), w - 1.001)
    y = min(max(y, 0.0), h - 1.001)
    i = int(y)
    j = int(x)
    fx = x - j
    fy = y - i
    top = texture[i, j, channel] * (1.0 - fx) + texture[i, j + 1, channel] * fx
    bottom = texture[i + 1, j, channel] * (1.0 - fx) + texture[i + 1, j + 1, channel] * fx
    return top * (1.0 - fy) + bottom * fy


@compiled("UniTuple(float64, 3)(uint8[:,:,::1], float64, float64)")
def colour(texture: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Bilinear sample of the first three channels, the edge repeated."""
    h, w = texture.shape[:2]
    x = min(max(x, 0.0), w - 1.001)
    y = min(max(y, 0.0), h - 1.001)
    i = int(y)
    j = int(x)
    fx = x - j
    fy = y - i
    a = (1.0 - fx) * (1.0 - fy)
    b = fx * (1.0 - fy)
    c = (1.0 - fx) * fy
    d = fx * fy
    return (
        a * texture[i, j, 0] + b * texture[i, j + 1, 0] + c * texture[i + 1, j, 0] + d * texture[i + 1, j + 1, 0],
        a * texture[i, j, 1] + b * texture[i, j + 1, 1] + c * texture[i + 1, j, 1] + d * texture[i + 1, j + 1, 1],
        a * texture[i, j, 2] + b * texture[i, j + 1, 2] + c * texture[i + 1, j, 2] + d * texture[i + 1, j + 1, 2],
    )


@compiled(
    "void(uint8[:,:,::1], int64[::1], float64[::1], float64[::1], float64[::1], uint8[:,:,::1], uint8[:,:,::1],"
    " uint8[:,:,::1], uint8[:,:,::1], float64[::1], float64[::1], float64[::1], float64[::1])"
)
def _draw_eye(
    out: np.ndarray,
    box: np.ndarray,
    frame: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    seen: np.ndarray,
    white: np.ndarray,
    disc: np.ndarray,
    lid: np.ndarray,
    opened: np.ndarray,
    back: np.ndarray,
    iris: np.ndarray,
    look: np.ndarray,
) -> None:
    """opened: the upper curve of the open eye. back: affine map target to texel, row by row. iris: x, y, shift x,
    shift y, radius; texels. look: width of the soft edge in pixels, nearness to rest 0..1, how closed 0..1, how much
    light the upper lid takes 0..1."""
    soft = look[0]
    rest = look[1]
    closed = look[2]
    lash = LASHES * frame[4]
    line = max(0.8, LASH_LINE * frame[4])
    shade = look[3]
    shade_reach = LID_SHADE_REACH * frame[4]
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            sx = back[0] * x + back[1] * y + back[2]
            sy = back[3] * x + back[4] * y + back[5]
            u = ((x - frame[0]) * frame[2] + (y - frame[1]) * frame[3]) / frame[4]
            v = (y - frame[1]) * frame[2] - (x - frame[0]) * frame[3]
            if closed > 0.01 and 0.0 < u < 1.0:
                k = min(SAMPLES - 1, int(u * (SAMPLES - 1) + 0.5))
                # the skin of the lid comes down with it, smooth, and ends in the line of the lashes
                ends = min(1.0, 8.0 * u, 8.0 * (1.0 - u))
                top = opened[k] - lash
                if v > top and v < upper[k]:
                    cover_lid = min(1.0, (v - top) / lash) * min(1.0, (upper[k] - v) / (0.5 * lash))
                    cover_lid = 0.85 * closed * ends * cover_lid * cover_lid * (3.0 - 2.0 * cover_lid)
                    skin = colour(lid, sx, sy)
                    for c in range(3):
                        out[y, x, c] = np.uint8(out[y, x, c] * (1.0 - cover_lid) + skin[c] * cover_lid + 0.5)
                off = (v - 0.5 * (upper[k] + lower[k])) / line
                shut = min(1.0, max(0.0, 1.5 - (lower[k] - upper[k]) / line))
                dark = LASH_DARK * closed * ends * shut * np.exp(-off * off)
                for c in range(3):
                    out[y, x, c] = np.uint8(out[y, x, c] * (1.0 - dark) + 0.5)
            cov = cover(float(x), float(y), frame, upper, lower, soft)
            if cov <= 0.002:
                continue
            dx = sx - iris[2]
            dy = sy - iris[3]
            away = np.sqrt((dx - iris[0]) ** 2 + (dy - iris[1]) ** 2) / iris[4]
            on = min(1.0, max(0.0, (1.06 - away) / LIMBUS_WIDTH))
            below = max(0.0, v - upper[min(SAMPLES - 1, max(0, int(u * (SAMPLES - 1))))])
            light = 1.0 - shade * np.exp(-below / shade_reach)
            made = colour(white, sx, sy)
            if on > 0.0:
                r, g, b = colour(disc, dx, dy)
                made = made[0] + on * (r - made[0]), made[1] + on * (g - made[1]), made[2] + on * (b - made[2])
            own = colour(seen, sx, sy) if rest > 0.01 else made
            for c in range(3):
                value = made[c] * light * (1.0 - rest) + own[c] * rest
                out[y, x, c] = np.uint8(min(255.0, out[y, x, c] * (1.0 - cov) + value * cov + 0.5))


@compiled("UniTuple(float64, 2)(float64, float64, float64, float64, float64[:,::1], float64[::1])")
def _seen(x: float, y: float, z: float, scale: float, rotation: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """Where a point of the face frame is in a picture, as `HeadPose.to_picture` says."""
    return (
        scale * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z) + at[0],
        scale * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) + at[1],
    )


@compiled("boolean(float64[::1], float64[::1], float64[::1], float64, int64, int64, int64[::1])")
def _reach(
    frame: np.ndarray, upper: np.ndarray, lower: np.ndarray, margin: float, width: int, height: int, box: np.ndarray
) -> bool:
    """Widen `box` (x0, y0, x1, y1) by the pixels that an opening can touch; False where it lies outside."""
    top, bottom = upper.min(), lower.max()
    left = high = np.inf
    right = low = -np.inf
    for u in (0.0, frame[4]):
        for v in (top, bottom):
            x, y = frame[0] + frame[2] * u - frame[3] * v, frame[1] + frame[3] * u + frame[2] * v
            if not (np.isfinite(x) and np.isfinite(y)):
                return False
            left, right, high, low = min(left, x), max(right, x), min(high, y), max(low, y)
    # clipped before they become whole numbers: a broken code may put an eye anywhere
    x0 = int(min(max(np.floor(left - margin), 0.0), float(width)))
    y0 = int(min(max(np.floor(high - margin), 0.0), float(height)))
    x1 = int(min(max(np.ceil(right + margin) + 1, 0.0), float(width)))
    y1 = int(min(max(np.ceil(low + margin) + 1, 0.0), float(height)))
    if x0 >= x1 or y0 >= y1:
        return False
    box[0], box[1] = min(box[0], x0), min(box[1], y0)
    box[2], box[3] = max(box[2], x1), max(box[3], y1)
    return True


_POSE = "Tuple((float64, float64[:,::1], float64[::1]))"


@compiled(
    f"void(uint8[:,:,::1], float64[:,::1], int64[::1], float64[:,::1], int64, {_POSE}, {_POSE},"
    " UniTuple(uint8[:,:,::1], 4), float64[::1])"
)
def _place_and_draw(
    out: np.ndarray,
    shape: np.ndarray,
    ring: np.ndarray,
    rest: np.ndarray,
    iris: int,
    start: tuple[float, np.ndarray, np.ndarray],
    pose: tuple[float, np.ndarray, np.ndarray],
    textures: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    own: np.ndarray,
) -> None:
    """`Eye.draw`. start, pose: scale, rotation and translation. textures: seen, white, disc, lid. own: corner x, y,
    centre x, y, radius, width, height."""
    n = len(ring)
    scale, turn, at = start
    corner_x, corner_y, centre_x, centre_y, radius, width, height = own
    growth = pose[0] / scale
    lids, opened_lids = np.empty((n, 2)), np.empty((n, 2))
    depth = lid_change = 0.0
    for k in range(n):
        point = shape[ring[k]]
        lids[k] = _seen(point[0], point[1], point[2], pose[0], pose[1], pose[2])
        opened_lids[k] = _seen(rest[k, 0], rest[k, 1], rest[k, 2], pose[0], pose[1], pose[2])
        depth += rest[k, 2] / n
        lid_change += abs(point[1] - rest[k, 1]) / n
    # the eyeball lies in a plane of the face frame: two affine views of it make one map, target to portrait
    a, b, c, d = pose[0] * pose[1][0, 0], pose[0] * pose[1][0, 1], pose[0] * pose[1][1, 0], pose[0] * pose[1][1, 1]
    whole = a * d - b * c
    if whole == 0.0 or not np.isfinite(whole):
        return
    back = np.empty(6)
    for row in range(2):
        e, f = scale * turn[row, 0], scale * turn[row, 1]
        back[3 * row], back[3 * row + 1] = (e * d - f * c) / whole, (f * a - e * b) / whole
    origin = _seen(0.0, 0.0, depth, scale, turn, at)
    now = _seen(0.0, 0.0, depth, pose[0], pose[1], pose[2])
    looks = _seen(shape[iris, 0], shape[iris, 1], shape[iris, 2], pose[0], pose[1], pose[2])
    shift = np.empty(2)
    for row in range(2):
        to_x, to_y = back[3 * row], back[3 * row + 1]
        back[3 * row + 2] = origin[row] - to_x * now[0] - to_y * now[1]
        # where the iris was in the portrait, seen from where it shall be now
        shift[row] = to_x * looks[0] + to_y * looks[1] + back[3 * row + 2] - (centre_x, centre_y)[row]
    lid_change *= scale / max(1.0, height)
    gaze_change = max(abs(shift[0]), abs(shift[1])) / radius
    nearness = np.exp(-((lid_change / 0.06) ** 2) - (gaze_change / 0.08) ** 2)
    frame, upper, lower = np.empty(5), np.empty(SAMPLES), np.empty(SAMPLES)
    tall = height * growth
    opened_frame, opened_upper, opened_lower = np.empty(5), np.empty(SAMPLES), np.empty(SAMPLES)
    build_opening(opened_lids, 0.0, 0.0, opened_frame, opened_upper, opened_lower)
    whole_gap = max(1e-6, (opened_lower - opened_upper).max())
    build_opening(lids, 0.0, 0.0, frame, upper, lower)
    wider = (lower - upper).max() / whole_gap - 1.0
    lashes = tall * min(1.0, max(0.0, 1.0 - wider / LIFTED))
    build_opening(lids, UPPER_INSET * lashes, LOWER_INSET * lashes, frame, upper, lower)
    margin = 2.0 + LASHES * width * growth
    box = np.array([out.shape[1], out.shape[0], 0, 0])
    seen = _reach(frame, upper, lower, margin, out.shape[1], out.shape[0], box)
    if not (_reach(opened_frame, opened_upper, opened_lower, margin, out.shape[1], out.shape[0], box) or seen):
        return
    closing = 1.0 - (lower - upper).max() / whole_gap
    closed = min(1.0, max(0.0, 2.0 * (closing - 0.25)))
    shade = min(DARKEST, max(0.0, LID_SHADE - SHADE_CHANGES * wider))
    back[2], back[5] = back[2] - corner_x, back[5] - corner_y
    _draw_eye(
        out,
        box,
        frame,
        upper,
        lower,
        textures[0],
        textures[1],
        textures[2],
        textures[3],
        opened_upper,
        back * ZOOM,
        np.array([centre_x - corner_x, centre_y - corner_y, shift[0], shift[1], radius]) * ZOOM,
        np.array([max(0.7, 0.016 * width * growth), nearness, closed * closed * (3.0 - 2.0 * closed), shade]),
    )
