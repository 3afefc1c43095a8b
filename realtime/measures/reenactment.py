"""Self- and cross-reenactment of one engine, measured frame by frame.

Self-reenactment (Motion Transformer, section 4): the portrait is the first frame of a clip, the clip drives it with
absolute motion, and its own frames are what should come out. Cross-reenactment: a clip drives somebody else's
portrait with relative motion; there is no true picture, so what is compared is how the driver's face and the
portrait's moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from realtime.engines import Engine
from realtime.measures import faces, similarity
from realtime.measures.faces import FaceReader
from realtime.measures.media import Clip, middle_square, spread, to_size
from realtime.types import Frame, MotionCode

SIDE = 256
"""Everything is compared at this size, px."""


SCALES = {"pose": 3.0, "mouth": 0.03, "eye": 0.25, "gaze": 0.08, "fold": 0.01, "missing": 0.2}
"""Errors of a frame of cross-reenactment that count as one in its badness, in the units of `transferred`: about what
they are on average, several times over."""


def badness(row: dict[str, float]) -> float:
    """How far a frame of cross-reenactment is off: the sum of its errors, each over its scale (`SCALES`)."""
    errors = dict(row)
    for part in ("mouth", "eye"):
        errors[part] = abs(row.get(f"{part}_got", 0.0) - row.get(f"{part}_want", 0.0))
    return sum(errors.get(name, 0.0) / scale for name, scale in SCALES.items())


@dataclass(slots=True)
class Rows:
    """Measures of single frames, and which frame each belongs to."""

    rows: list[dict[str, float]] = field(default_factory=list)
    missed: int = 0
    """Driving frames in which the engine found no face."""
    pictures: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """(driving frame, rendered picture) at SIDE, for contact sheets."""

    def mean(self, key: str) -> float:
        """Mean over the frames that have this measure."""
        values = [r[key] for r in self.rows if np.isfinite(r.get(key, np.nan))]
        return float(np.mean(values)) if values else float("nan")


def codes_of(
    engine: Engine, clip: Clip, wanted: Sequence[int], lead: int | None, tick: Callable[[], None] = lambda: None
) -> dict[int, MotionCode | None]:
    """Motion codes of the `wanted` frames of a clip.

    lead None: every frame is encoded in order, as live, filters and tracking included. lead N: the engine forgets
    and starts anew N frames before each wanted one. Where the face is lost, the code before it is kept.
    """
    out: dict[int, MotionCode | None] = {}
    last: MotionCode | None = None
    at = 0
    engine.reset()
    for index in wanted:
        if lead is not None:
            engine.reset()
            at = max(0, index - lead)
        while at <= index:
            code = engine.encode(Frame(clip.frames[at], captured=at / clip.fps, index=at, pts=at / clip.fps))
            last = code if code is not None else last
            if at == index:
                out[index] = code if code is not None else last
            at += 1
        tick()
    return out


def framing(portrait: np.ndarray, rest: np.ndarray, reader: FaceReader) -> np.ndarray | None:
    """Which part of the portrait's picture an engine shows: (2, 3) from `portrait` to `rest`, both SIDE px.

    None where it shows the whole picture, or where no face tells. An engine may crop a portrait; driving frames must
    then be cropped alike before they are compared.
    """
    a, b = reader.read(portrait), reader.read(rest)
    if a is None or b is None or faces.average_distance(a, b) < 1.5:
        return None
    matrix, _ = cv2.estimateAffinePartial2D(a[faces.RIGID, :2], b[faces.RIGID, :2])
    if matrix is None:
        return None
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (rest, portrait)]
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-5)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    try:  # from rest to portrait, as findTransformECC defines its warp
        _, inverse = cv2.findTransformECC(grey[0], grey[1], inverse, cv2.MOTION_AFFINE, stop, None, 5)
    except cv2.error:
        return matrix  # the pictures differ too much to refine what the landmarks say
    return cv2.invertAffineTransform(inverse)


def framed(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """`image` at SIDE px, cropped as `matrix` says."""
    image = to_size(image, SIDE)
    if matrix is None:
        return image
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def shown(engine: Engine, code: MotionCode | None) -> np.ndarray:
    """The engine's picture of a code at SIDE px; the portrait at rest where there never was a code."""
    picture = engine.render(code if code is not None else engine.portrait_code)
    return to_size(middle_square(picture), SIDE)


def at_rest(engine: Engine, portrait: np.ndarray, reader: FaceReader) -> tuple[np.ndarray, np.ndarray | None, float]:
    """The portrait in its own motion, how it is framed, and how much of it comes back (PSNR, dB)."""
    engine.reference = engine.portrait_code
    rest = shown(engine, engine.portrait_code)
    matrix = framing(to_size(middle_square(portrait), SIDE), rest, reader)
    return rest, matrix, similarity.psnr(framed(middle_square(portrait), matrix), rest)


def self_reenactment(
    engine: Engine, clip: Clip, count: int, reader: FaceReader, lead: int | None, tick: Callable[[], None]
) -> Rows:
    """The first frame of a (square) clip as the portrait, driven by the clip itself."""
    wanted = spread(len(clip.frames), count)
    engine.set_portrait(clip.frames[0])
    rest, matrix, _ = at_rest(engine, clip.frames[0], reader)
    codes = codes_of(engine, clip, wanted, lead)
    home = engine.portrait_code
    engine.reference = home
    first = reader.read(framed(clip.frames[0], matrix))
    rest_points = reader.read(rest)
    out = Rows()
    for index in wanted:
        out.missed += codes[index] is None
        truth, picture = framed(clip.frames[index], matrix), shown(engine, codes[index])
        row = compare(truth, picture, reader)
        points = reader.read(truth)
        if points is not None and first is not None:
            row["turn"] = faces.degrees(faces.rigid_motion(first, points)[1])
        if rest_points is not None and (now := reader.read(picture)) is not None:
            row["fold"] = faces.fold_over(rest, picture, faces.face_mask(now, picture.shape))
        out.rows.append(row)
        out.pictures.append((truth, picture))
        tick()
    return out


def compare(truth: np.ndarray, picture: np.ndarray, reader: FaceReader) -> dict[str, float]:
    """The figures of one reenacted frame against the true one, both uint8 (SIDE, SIDE, 3).

    `akd`, `lips`, `iris` are missing where either picture shows no face; `missing` is 1 where only the true one does.
    """
    row = {
        "l1": similarity.l1(truth, picture),
        "psnr": similarity.psnr(truth, picture),
        "ssim": similarity.ssim(truth, picture),
        "ms_ssim": similarity.ms_ssim(truth, picture),
    }
    a, b = reader.read(truth), reader.read(picture)
    if a is None:
        return row
    row["face_l1"] = similarity.l1(truth, picture, faces.face_mask(a, truth.shape))
    row["missing"] = float(b is None)
    if b is not None:
        row["akd"] = faces.average_distance(a, b)
        row["lips"] = faces.average_distance(a, b, faces.LIPS)
        row["iris"] = faces.average_distance(a, b, faces.IRISES)
        row["aed"] = float(np.linalg.norm(faces.face_descriptor(truth, a) - faces.face_descriptor(picture, b)))
    return row


def cross_reenactment(
    engine: Engine,
    driver: Clip,
    codes: dict[int, MotionCode | None],
    rest: np.ndarray,
    reader: FaceReader,
) -> Rows:
    """A driver on the portrait that is set, relative to the driver's first wanted frame. `rest`: that portrait."""
    out = Rows()
    indices = sorted(codes)
    engine.reference = codes[indices[0]]
    driver_home, home = reader.read(to_size(driver.frames[indices[0]], SIDE)), reader.read(rest)
    for index in indices[1:]:
        out.missed += codes[index] is None
        frame, picture = to_size(driver.frames[index], SIDE), shown(engine, codes[index])
        out.pictures.append((frame, picture))
        a, b = reader.read(frame), reader.read(picture)
        if a is None or driver_home is None or home is None:
            continue
        row = {"missing": float(b is None), "shown": float(len(out.pictures) - 1)}
        if b is not None:
            row |= transferred(driver_home, a, home, b)
            row["identity"] = float(
                np.linalg.norm(faces.face_descriptor(rest, home) - faces.face_descriptor(picture, b))
            )
            row["fold"] = faces.fold_over(rest, picture, faces.face_mask(b, picture.shape))
        out.rows.append(row)
    return out


def transferred(driver_home: np.ndarray, driver: np.ndarray, home: np.ndarray, moved: np.ndarray) -> dict[str, float]:
    """How the portrait's face moved from `home` to `moved`, beside how the driver's did. Landmarks (478, 3).

    Head: each turned by a rotation from its own start; `pose` is the angle between the two, degrees, and `pose_axis`
    the mean size of its parts about the three axes. Mouth: change
    of the lip gap over face height; a closed mouth cannot close further. Eyes: opening as a ratio to the start.
    Gaze: along the eye absolute, across the eye as a change, in eye widths. `drift`: what a rigid motion leaves of
    the skull's landmarks, % of face height; `drift_driver`: the same for the driver, who is real.
    """
    ds, dr, _, dres = faces.rigid_motion(driver_home, driver)
    ps, pr, _, pres = faces.rigid_motion(home, moved)
    driver_height, height = faces.face_height(driver_home), faces.face_height(home)
    change = faces.mouth_gap(driver) / (driver_height * ds) - faces.mouth_gap(driver_home) / driver_height
    gap_home, gap = faces.mouth_gap(home) / height, faces.mouth_gap(moved) / (height * ps)
    eye_driver = faces.eye_opening(driver) / faces.eye_opening(driver_home)
    eye = faces.eye_opening(moved) / faces.eye_opening(home)
    looks = [faces.gaze(p) for p in (driver_home, driver, home, moved)]
    return {
        "pose": faces.degrees(dr.T @ pr),
        "pose_axis": float(np.abs(faces.axes(dr.T @ pr)).mean()),
        "turn": faces.degrees(dr),
        "zoom": abs(float(np.log(ps / ds))),
        "mouth_want": max(0.0, gap_home + change),
        "mouth_got": gap,
        "eye_want": eye_driver,
        "eye_got": eye,
        "gaze_want": float(looks[1][0]),
        "gaze_got": float(looks[3][0]),
        "gaze": float(np.hypot(looks[3][0] - looks[1][0], (looks[3][1] - looks[2][1]) - (looks[1][1] - looks[0][1]))),
        "drift": 100 * pres / (height * ps),
        "drift_driver": 100 * dres / (driver_height * ds),
    }


def correlation(rows: Sequence[dict[str, float]], want: str, got: str, least: float) -> float:
    """Pearson's r of two measures over frames; NaN where the driver moved less than `least` (standard deviation)."""
    pairs = np.array([(r[want], r[got]) for r in rows if want in r])
    if len(pairs) < 4 or pairs[:, 0].std() < least:
        return float("nan")
    if pairs[:, 1].std() < 1e-6:
        return 0.0  # the driver moved and the portrait did not
    return float(np.corrcoef(pairs.T)[0, 1])


def still_driver(image: np.ndarray, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """A person who does not move before a real camera: sensor noise (sigma 4), 1 % flicker of the light, JPEG 85."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        lit = image * (1 + 0.01 * rng.standard_normal()) + rng.normal(0, 4, image.shape)
        _, data = cv2.imencode(".jpg", np.clip(lit, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
        yield cv2.imdecode(data, cv2.IMREAD_COLOR)


def jitter(engine: Engine, clip: Clip, count: int, reader: FaceReader) -> dict[str, float]:
    """What trembles in the picture when the driver (the clip's first frame, noisy) stands still.

    `jitter` is the acceleration of points on the face, px for a face 110 px high, after the first ten frames; `raw`
    what a landmark tracker makes of the noisy driving frames, so what an unfiltered engine would show; `flicker`
    the mean change of a pixel from frame to frame, grey levels of 255.
    """
    engine.set_portrait(clip.frames[0])
    engine.reset()
    home = engine.portrait_code
    engine.reference = home
    pictures, noisy, last = [], [], home
    for index, image in enumerate(still_driver(clip.frames[0], count)):
        code = engine.encode(Frame(image, captured=index / 30, index=index, pts=index / 30))
        last = code or last
        if index >= 10:
            pictures.append(shown(engine, last))
            noisy.append(to_size(image, SIDE))
    change = [np.abs(a.astype(np.int16) - b).mean() for a, b in itertools.pairwise(pictures)]
    start = reader.read(pictures[0])
    return {
        "jitter": float("nan") if start is None else faces.trembling(faces.follow(pictures, start)),
        "raw": faces.trembling(reader.track(noisy)),
        "flicker": float(np.mean(change)),
    }
