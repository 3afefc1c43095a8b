"""Synthetic characters: whole bodies with faces and hands, drawn in 2D, of which everything is known exactly.

A picture follows from a `Character` (proportions, clothes, hair, colours), a `Pose` (angles, hands, face) and a
`Place` (where it stands, how large, before what). The three are drawn apart, so that any character can take any pose:
that is what cross-identity pairs are made of (X-UniMotion renders 3D characters for them; these are flat). Lengths
are in body heights, y grows downwards, angles are in radians. "Right" is the character's right: it is on the left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

JOINTS = (
    "head", "neck", "right shoulder", "right elbow", "right wrist", "right hand", "left shoulder", "left elbow",
    "left wrist", "left hand", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
)  # fmt: skip
"""The order of the joints everywhere. "head": the middle of the face; "hand": the middle of the open hand."""
HEAD, RIGHT_HAND, LEFT_HAND = 0, 5, 9
ANKLES = [12, 15]
DRAWING = 2
"""Version of what is drawn: raised with every change by which scene n of a seed becomes another. 1: bodies that
sway and bob above their feet; 2: bodies that stand."""
HAND = ("index", "fingers", "spread", "thumb", "roll")
"""What a hand does: curl of the index finger and of the three others, spread, the thumb's distance, all 0 to 1; roll:
0 shows the palm, 1 the back."""
FACE = ("open", "smile", "eyes", "gaze", "brows", "turn")
"""What a face does: mouth, eyes and brows 0 to 1; smile, gaze and turn of the head -1 to 1."""
BODY = (
    "lean", "tilt", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "left hip", "left knee", "sway",
)  # fmt: skip
"""The angles of a body. lean: of the trunk; sway: of both legs together, from the feet; tilt: of the head."""
_LOWEST = np.array([-0.25, -0.3, -0.15, -0.5, -0.5, -0.15, -0.5, -0.5, -0.12, -0.05, -0.12, -0.05, -0.2])
_HIGHEST = np.array([0.25, 0.3, 2.5, 2.1, 0.5, 2.5, 2.1, 0.5, 0.55, 0.7, 0.55, 0.7, 0.2])
_FACE_LOWEST = np.array([0.0, -1.0, 0.0, -1.0, 0.0, -1.0])
FINEST = 4
"""Bits behind the point of the coordinates that are drawn."""

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Character:
    """Who is drawn. Lengths in body heights, colours RGB from 0 to 255. hair: 0 short, 1 long, 2 a cap, 3 none.
    pattern: of the shirt, 0 plain, 1 a stripe, 2 a belt."""

    head: float
    width: float
    torso: float
    shoulders: float
    hips: float
    upper: float
    fore: float
    thigh: float
    shin: float
    hand: float
    arm_width: float
    leg_width: float
    skin: Colour
    hair_colour: Colour
    shirt: Colour
    second: Colour
    trousers: Colour
    shoes: Colour
    eyes: Colour
    hair: int
    pattern: int
    sleeves: bool
    shorts: bool


@dataclass(frozen=True)
class Pose:
    """What is done. body: (13,) float64 in the order of `BODY`, angles in radians. hands: (2, 5), right then left, in
    the order of `HAND`. face: (6,), in the order of `FACE`."""

    body: np.ndarray
    hands: np.ndarray
    face: np.ndarray


@dataclass(frozen=True)
class Place:
    """Where it is done. height: of the body, in sides of the picture. x: of the middle between the ankles; floor: of
    the lower ankle; both in sides. scene: seed of the background."""

    height: float
    x: float
    floor: float
    scene: int


@dataclass(frozen=True)
class Drawn:
    """A picture and what is known of it.

    picture: uint8 (S, S, 3) RGB. joints: float32 (16, 2), x and y in sides of the picture, pixel centres at
    (n + 0.5) / S. normals: float32 (S, S, 3), the hands' unit normals (x right, y down, z towards the viewer) and 0
    where no hand is; None where they were not asked for. boxes: float32 (3, 3), the squares around right hand, left
    hand and face: middle and side, in sides of the picture.
    """

    picture: np.ndarray
    joints: np.ndarray
    normals: np.ndarray | None
    boxes: np.ndarray


def draw_character(rng: np.random.Generator) -> Character:
    """A character by chance."""

    def length(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def colour(low: int = 20, high: int = 236) -> Colour:
        r, g, b = rng.integers(low, high, 3)
        return int(r), int(g), int(b)

    shade = rng.uniform(0.3, 1.0)
    skin = (int(255 * shade), int((205 + rng.integers(-15, 16)) * shade), int((170 + rng.integers(-25, 26)) * shade))
    return Character(
        head=length(0.105, 0.15), width=length(0.8, 1.0), torso=length(0.23, 0.34), shoulders=length(0.085, 0.15),
        hips=length(0.045, 0.085), upper=length(0.12, 0.19), fore=length(0.11, 0.17), thigh=length(0.14, 0.22),
        shin=length(0.13, 0.2), hand=length(0.085, 0.115), arm_width=length(0.04, 0.07),
        leg_width=length(0.055, 0.095), skin=skin, hair_colour=colour(), shirt=colour(), second=colour(),
        trousers=colour(), shoes=colour(), eyes=colour(10, 150), hair=int(rng.integers(4)),
        pattern=int(rng.integers(3)), sleeves=bool(rng.random() < 0.6), shorts=bool(rng.random() < 0.4),
    )  # fmt: skip


def draw_pose(rng: np.random.Generator) -> Pose:
    """A pose by chance: every angle evenly over its range, all independent."""
    body = rng.uniform(_LOWEST, _HIGHEST)
    return Pose(body, rng.random((2, len(HAND))), rng.uniform(_FACE_LOWEST, 1.0))


def draw_place(rng: np.random.Generator) -> Place:
    """A place by chance; the whole body is in the picture, hands that are raised highest apart."""
    return Place(
        float(rng.uniform(0.76, 0.92)), float(rng.uniform(0.44, 0.56)), float(rng.uniform(0.93, 0.97)),
        int(rng.integers(2**31)),
    )  # fmt: skip


def moving(rng: np.random.Generator, frames: int, every: int = 12) -> list[Pose]:
    """A performance of `frames` poses, a new pose by chance every so many frames, and smooth ways between them."""
    keys = [draw_pose(rng) for _ in range(frames // every + 2)]

    def between(n: int) -> Pose:
        which, rest = divmod(n, every)
        share = 0.5 - 0.5 * math.cos(math.pi * rest / every)
        a, b = keys[which], keys[which + 1]
        return Pose(*(x + share * (y - x) for x, y in ((a.body, b.body), (a.hands, b.hands), (a.face, b.face))))

    return [between(n) for n in range(frames)]


def render(who: Character, pose: Pose, place: Place, size: int, normals: bool = False) -> Drawn:
    """The picture of a character: `size` pixels a side, drawn at twice that (at least 128) and averaged."""
    fine = max(2 * size, 128) if size <= 64 else size
    sheet = _Sheet(background(place.scene, fine), np.zeros((fine, fine, 3), np.uint8) if normals else None)
    joints = _figure(sheet, who, pose, place)
    picture, map_ = sheet.picture, sheet.normals
    if fine != size:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        if map_ is not None:
            map_ = map_[fine // size // 2 :: fine // size, fine // size // 2 :: fine // size]
    side = who.hand * place.height
    face = who.head * place.height
    boxes = np.array([
        [*joints[RIGHT_HAND], 1.7 * side], [*joints[LEFT_HAND], 1.7 * side], [*joints[HEAD], 2.4 * face],
    ], np.float32)  # fmt: skip
    return Drawn(picture, joints, None if map_ is None else _decoded(map_), boxes)


def _decoded(colours: np.ndarray) -> np.ndarray:
    """Normals from the colours they were drawn in; exactly zero where nothing was drawn, of unit length elsewhere."""
    seen = colours.any(2, keepdims=True)
    vectors = colours.astype(np.float32) / 127.5 - 1
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    return np.where(seen, vectors / np.maximum(length, 1e-6), 0).astype(np.float32)


def background(scene: int, size: int) -> np.ndarray:
    """uint8 (size, size, 3): a gradient with a few soft shapes."""
    rng = np.random.Generator(np.random.Philox(key=[scene, 17]))
    corners = rng.integers(70, 186, (2, 2, 3)).astype(np.float32)
    image = cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR).clip(0, 255).astype(np.uint8)
    for kind in rng.integers(0, 2, int(rng.integers(1, 6))):
        x, y, w, h = (rng.random(4) * [1, 1, 0.4, 0.4] * size).astype(int)
        colour = tuple(int(c) for c in rng.integers(70, 186, 3))
        if kind:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.circle(image, (x, y), w // 2 + 2, colour, -1, cv2.LINE_AA)
    return cv2.blur(image, (size // 32 + 1, size // 32 + 1))


class _Sheet:
    """What is drawn on: the picture, and the hands' normals as colours."""

    def __init__(self, picture: np.ndarray, normals: np.ndarray | None) -> None:
        self.picture, self.normals, self.side = picture, normals, picture.shape[0]

    def _at(self, point: Point) -> tuple[int, int]:
        # A pixel's middle is a whole number for OpenCV and half of one for us.
        scale = 1 << FINEST
        return round((point[0] * self.side - 0.5) * scale), round((point[1] * self.side - 0.5) * scale)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        corners = np.array([self._at(p) for p in points], np.int32)
        cv2.fillConvexPoly(self.picture, corners, colour, cv2.LINE_AA, FINEST)

    def disc(self, middle: Point, radius: float, colour: Colour) -> None:
        size = round(radius * self.side * (1 << FINEST))
        cv2.circle(self.picture, self._at(middle), size, colour, -1, cv2.LINE_AA, FINEST)

    def oval(self, middle: Point, half: Point, angle: float, colour: Colour, begin: int = 0, end: int = 360) -> None:
        scale = self.side * (1 << FINEST)
        axes = max(1, round(half[0] * scale)), max(1, round(half[1] * scale))
        cv2.ellipse(
            self.picture, self._at(middle), axes, math.degrees(angle), begin, end, colour, -1, cv2.LINE_AA, FINEST
        )

    def stroke(self, a: Point, b: Point, width: float, colour: Colour) -> None:
        thick = max(1, round(width * self.side))
        cv2.line(self.picture, self._at(a), self._at(b), colour, thick, cv2.LINE_AA, FINEST)

    def limb(self, a: Point, b: Point, wide: float, narrow: float, colour: Colour) -> None:
        """A tapered capsule, `wide` at a, `narrow` at b."""
        away = math.hypot(b[0] - a[0], b[1] - a[1]) or 1.0
        px, py = -(b[1] - a[1]) / away / 2, (b[0] - a[0]) / away / 2
        self.polygon([
            (a[0] + px * wide, a[1] + py * wide), (b[0] + px * narrow, b[1] + py * narrow),
            (b[0] - px * narrow, b[1] - py * narrow), (a[0] - px * wide, a[1] - py * wide),
        ], colour)  # fmt: skip
        self.disc(a, wide / 2, colour)
        self.disc(b, narrow / 2, colour)

    def part_of_hand(self, points: list[Point], colour: Colour, normal: tuple[float, float, float]) -> None:
        """A flat part, in the picture and in the map of normals."""
        self.polygon(points, colour)
        if self.normals is not None:
            r, g, b = (round((c + 1) * 127.5) for c in normal)
            corners = np.array([self._at(p) for p in points], np.int32)
            cv2.fillConvexPoly(self.normals, corners, (r, g, b), cv2.LINE_8, FINEST)


def _dark(colour: Colour, share: float) -> Colour:
    return int(colour[0] * share), int(colour[1] * share), int(colour[2] * share)


def skeleton(who: Character, pose: Pose, place: Place) -> np.ndarray:
    """float32 (16, 2): where the joints lie, in sides of the picture.

    The character stands: its ankles are at the place, whatever it does, and the rest follows from angles and lengths.
    So a pose moves nothing that cannot be seen in a picture of it."""
    b = dict(zip(BODY, pose.body.tolist(), strict=True))
    joints: dict[str, Point] = {}

    def go(start: Point, angle: float, length: float) -> Point:
        """From `start`, `angle` from straight down, positive to the picture's right."""
        return start[0] + math.sin(angle) * length, start[1] + math.cos(angle) * length

    pelvis = (0.0, 0.0)
    along, across = b["lean"], b["lean"] + math.pi / 2
    neck = go(pelvis, along + math.pi, who.torso)
    joints["neck"] = neck
    joints["head"] = go(neck, along + b["tilt"] + math.pi, who.head * 1.05)
    for side, sign in (("right", -1), ("left", 1)):
        shoulder = go(go(neck, along, 0.035), across, sign * who.shoulders)
        upper = along * 0.5 + sign * b[f"{side} shoulder"]
        fore = upper + sign * b[f"{side} elbow"]
        hand = fore + sign * b[f"{side} wrist"]
        elbow = go(shoulder, upper, who.upper)
        wrist = go(elbow, fore, who.fore)
        hip = go(pelvis, across, sign * who.hips)
        thigh = b["sway"] + sign * b[f"{side} hip"]
        knee = go(hip, thigh, who.thigh)
        joints |= {f"{side} shoulder": shoulder, f"{side} elbow": elbow, f"{side} wrist": wrist}
        joints |= {f"{side} hand": go(wrist, hand, 0.5 * who.hand), f"{side} hip": hip, f"{side} knee": knee}
        joints[f"{side} ankle"] = go(knee, thigh - sign * b[f"{side} knee"], who.shin)
    points = np.array([joints[name] for name in JOINTS])
    return ((points - feet(points)) * place.height + [place.x, place.floor]).astype(np.float32)


def feet(joints: np.ndarray) -> np.ndarray:
    """Where a character stands, (..., 1, 2) of joints (..., 16, 2): between the ankles, as low as the lower.

    D has the same of tensors, as gradients go through it (`realtime.engines.unimotion.decoder.feet`)."""
    x, y = np.moveaxis(joints[..., ANKLES, :], -1, 0)
    return np.stack([x.mean(-1), y.max(-1)], -1)[..., None, :]


def _figure(sheet: _Sheet, who: Character, pose: Pose, place: Place) -> np.ndarray:
    joints = skeleton(who, pose, place)
    at: dict[str, Point] = {name: (float(x), float(y)) for name, (x, y) in zip(JOINTS, joints, strict=True)}
    unit = place.height
    for side in ("right", "left"):
        hip, knee, ankle = at[f"{side} hip"], at[f"{side} knee"], at[f"{side} ankle"]
        width = who.leg_width * unit
        sheet.limb(knee, ankle, width * 0.85, width * 0.65, who.skin if who.shorts else who.trousers)
        sheet.limb(hip, knee, width * 1.1, width * 0.85, who.trousers)
        toe = (ankle[0] + (-0.03 if side == "right" else 0.03) * unit, ankle[1] + 0.015 * unit)
        sheet.limb(ankle, toe, width * 0.75, width * 0.6, who.shoes)
    _torso(sheet, who, at, unit)
    _head(sheet, who, at, pose.face, unit)
    for n, side in enumerate(("right", "left")):
        shoulder, elbow, wrist = at[f"{side} shoulder"], at[f"{side} elbow"], at[f"{side} wrist"]
        width = who.arm_width * unit
        sheet.limb(elbow, wrist, width * 0.85, width * 0.65, who.shirt if who.sleeves else who.skin)
        sheet.limb(shoulder, elbow, width * 1.1, width * 0.85, _dark(who.shirt, 0.85))
        _hand(sheet, who, wrist, at[f"{side} hand"], pose.hands[n], -1 if side == "right" else 1, unit)
    return joints


def _torso(sheet: _Sheet, who: Character, at: dict[str, Point], unit: float) -> None:
    a, b, c, d = at["right shoulder"], at["left shoulder"], at["left hip"], at["right hip"]
    pad = who.arm_width * 0.3 * unit
    sheet.limb(a, b, pad * 2.4, pad * 2.4, who.shirt)
    sheet.polygon([(a[0] - pad, a[1]), (b[0] + pad, b[1]), (c[0] + pad, c[1]), (d[0] - pad, d[1])], who.shirt)
    sheet.limb(d, c, who.leg_width * unit, who.leg_width * unit, who.trousers)

    def down(share: float) -> tuple[Point, Point]:
        return (
            (a[0] + share * (d[0] - a[0]), a[1] + share * (d[1] - a[1])),
            (b[0] + share * (c[0] - b[0]), b[1] + share * (c[1] - b[1])),
        )

    if who.pattern == 1:
        sheet.stroke(*down(0.4), 0.05 * unit, who.second)
    elif who.pattern == 2:
        sheet.stroke(*down(0.88), 0.035 * unit, who.second)


def _head(sheet: _Sheet, who: Character, at: dict[str, Point], face: np.ndarray, unit: float) -> None:
    opened, smile, eyes, gaze, brows, turn = face.tolist()
    neck, middle = at["neck"], at["head"]
    up = math.atan2(middle[0] - neck[0], neck[1] - middle[1])
    r = who.head * unit
    wide = r * who.width

    def on(x: float, y: float) -> Point:
        """A point of the head: x to the picture's right, y up, in half heads; straight up is -y of the picture."""
        x, y = x * wide, y * r
        return (
            middle[0] + math.cos(up) * x + math.sin(up) * y,
            middle[1] + math.sin(up) * x - math.cos(up) * y,
        )

    if who.hair == 1:
        sheet.oval(on(0, -0.1), (wide * 1.2, r * 1.15), up, who.hair_colour)
    sheet.limb(neck, on(0, -0.8), 0.05 * unit, 0.05 * unit, _dark(who.skin, 0.85))
    sheet.oval(middle, (wide, r), up, who.skin)
    if who.hair != 3:
        sheet.oval(on(0, 0.3 if who.hair != 2 else 0.35), (wide * 1.04, r * 0.75), up, who.hair_colour, 180, 360)
    if who.hair == 2:
        sheet.stroke(on(-1.0, 0.35), on(1.0, 0.35), 0.12 * r, who.second)
    shift = 0.22 * turn
    for sign in (-1, 1):
        x = 0.42 * sign + shift
        sheet.oval(on(x, 0.08), (0.22 * wide, (0.03 + 0.17 * eyes) * r), up, (250, 250, 250))
        if eyes > 0.15:
            sheet.disc(on(x + 0.1 * gaze, 0.08), 0.11 * r * min(1.0, 0.4 + eyes), who.eyes)
        height = 0.3 + 0.16 * brows
        sheet.stroke(on(x - 0.2, height), on(x + 0.2, height), 0.07 * r, _dark(who.hair_colour, 0.6))
    sheet.stroke(on(shift * 1.4, 0.0), on(shift * 1.4, -0.18), 0.07 * r, _dark(who.skin, 0.75))
    half, corner = 0.3 + 0.1 * smile, 0.14 * smile
    lip = (150, 40, 50)
    left, right, low = (
        on(shift - half, -0.47 + corner),
        on(shift + half, -0.47 + corner),
        on(shift, -0.5 - corner / 2),
    )
    sheet.stroke(left, low, 0.1 * r, lip)
    sheet.stroke(low, right, 0.1 * r, lip)
    if opened > 0.05:
        sheet.oval(on(shift, -0.52 - corner / 2), (0.75 * half * wide, 0.24 * opened * r), up, (70, 10, 20))


def _hand(
    sheet: _Sheet, who: Character, wrist: Point, middle: Point, does: np.ndarray, sign: int, unit: float
) -> None:
    """Palm, four fingers, thumb, all flat. sign: -1 for the right hand, whose thumb points to the picture's left when
    it hangs and shows its palm."""
    index, fingers, spread, thumb, roll = does.tolist()
    length = who.hand * unit
    ax, ay = middle[0] - wrist[0], middle[1] - wrist[1]
    away = math.hypot(ax, ay) or 1.0
    ax, ay = ax / away, ay / away
    # Across, towards the thumb of a hand that shows its palm.
    px, py = (-ay * -sign, ax * -sign)
    facing = math.cos(math.pi * roll)
    wide = math.copysign(max(abs(facing), 0.3), facing)
    turned = (math.sin(math.pi * roll) * px, math.sin(math.pi * roll) * py, facing)
    colour = who.skin if facing > 0 else _dark(who.skin, 0.72)

    def on(across: float, along: float) -> Point:
        """A point of the hand in hand lengths, as the picture shows it."""
        x, y = across * wide * length, along * length
        return wrist[0] + px * x + ax * y, wrist[1] + py * x + ay * y

    def finger(base: tuple[float, float], angle: float, size: float, thick: float, curl: float) -> None:
        bent = math.radians(70) * curl
        normal = tuple(c * math.cos(bent) + a * math.sin(bent) for c, a in zip(turned, (ax, ay, 0.0), strict=True))
        size *= 1 - 0.75 * curl
        dx, dy = math.sin(angle) * size, math.cos(angle) * size
        ox, oy = math.cos(angle) * thick / 2, -math.sin(angle) * thick / 2
        x, y = base
        corners = [on(x + ox, y + oy), on(x - ox, y - oy), on(x + dx - ox, y + dy - oy), on(x + dx + ox, y + dy + oy)]
        sheet.part_of_hand(corners, _dark(colour, 1 - 0.25 * curl), normal)  # type: ignore[arg-type]

    for n in range(4):
        place = 0.24 - 0.16 * n
        curl = index if n == 0 else fingers
        finger((place, 0.5), (1.5 - n) * (0.06 + 0.22 * spread), 0.5 if n < 3 else 0.4, 0.13, curl)
    sheet.part_of_hand([on(0.2, 0.0), on(-0.2, 0.0), on(-0.32, 0.55), on(0.32, 0.55)], colour, turned)
    finger((0.24, 0.18), 0.3 + 0.8 * thumb, 0.42, 0.15, 0.0)
