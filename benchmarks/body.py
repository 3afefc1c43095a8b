"""Does the body move with the driver's? Shoulders, pictures and processor time, with the body read and without.

Self-reenactment: the portrait is the first frame of a clip and the clip drives it. MediaPipe's pose, which looks at
each picture for itself, says where the shoulders are in the driving frames and in the avatar's pictures; what is
compared is how far they went since the first frame, in face heights. Frames count whose shoulders lie in the picture.
Where its network is shown the same picture a few pixels aside it puts them elsewhere, by up to 0.06 face heights; so
`shoulders_steady` is the same by the mean of five looks at each picture.
Both ways run frame by frame in turn, so that a busy machine slows both.

`--plot` writes two sheets: PATH, with the driver above the avatar with and without its body, a clip after the other;
and one with "-neck" in its name: the ten frames whose heads went farthest, of all clips.

  python -m benchmarks body --json body.json --plot body.png
  python -m benchmarks body --clips me.mp4 --frames 24
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.recordings import test_data_folder
from benchmarks.report.result import Result
from realtime import load_engine
from realtime.engines import Engine
from realtime.errors import BadFile, BadPortrait
from realtime.measures import similarity
from realtime.measures.media import Clip, read_clip, spread, to_size
from realtime.measures.reenactment import SIDE
from realtime.measures.sheets import sheet
from realtime.media.pictures import write_picture
from realtime.types import Frame, MotionCode

WAYS = {"moving": True, "still": False}
"""With the body read, and without."""
CLIPS = ("a05", "a06", "a07", "a08", "a09", "a10")
"""Clips of the test data whose drivers move more than their heads."""
SHOULDERS = (12, 11)
"""MediaPipe's landmarks: the right and the left shoulder."""
SEEN = 0.5
"""Visibility of shoulders that count."""
ASIDE = ((0, 0, False), (12, 7, False), (-9, 11, False), (0, 0, True), (10, -8, True))
"""Looks at a picture: moved so many pixels (of 512), and mirrored."""
LEAST_LOOKS = 3
"""Of these have to find the shoulders."""
LEAST = 4
"""Frames with shoulders in sight, fewer of which say nothing of a clip."""
FARTHEST = 10
"""Frames on the sheet of necks."""
HEAD_X, HEAD_Y = 3, 4
"""Entries of the mesh engine's code: where the head is, in face heights."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `body`."""
    parser.add_argument(
        "--clips", nargs="+", metavar="PATH", help="driving clips; default a05 to a10 of the test data"
    )
    parser.add_argument("--frames", type=int, help="frames compared per clip (16; quick 6)")
    parser.add_argument("--timed", type=int, default=60, help="frames per clip that are rendered to be timed (60)")
    parser.add_argument("--size", type=int, default=512, help="size the engine renders at (512)")


@dataclass(slots=True)
class Course:
    """What one way made of one clip. seconds: processor time of frames that were encoded and rendered."""

    codes: dict[int, MotionCode | None] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)


def run(options: argparse.Namespace) -> Result:
    """Measure both ways on all clips."""
    paths = _paths(options)
    frames = options.frames or (6 if options.quick else 16)
    result = Result("body", settings={
        "clips": [path.stem for path in paths], "frames": frames, "size": options.size, "compared at": SIDE,
    })  # fmt: skip
    rows: list[np.ndarray] = []
    necks: list[tuple[float, np.ndarray]] = []
    with _Pose() as pose:
        engines = {way: load_engine("mesh", size=options.size, body=body) for way, body in WAYS.items()}
        try:
            for path in track(paths, "clips", console=Console(stderr=True), transient=True):
                clip = read_clip(path, square=512)
                wanted = spread(len(clip.frames), frames)
                try:
                    courses = _drive(engines, clip, wanted, options.timed)
                except BadPortrait as error:
                    result.notes.append(f"{clip.name}, first frame: {error.reason}")
                    continue
                _compare(result, clip, wanted, courses, pose)
                rows.append(_row(clip, wanted, courses))
                necks += _heads(clip, wanted, courses)
        finally:
            for engine in engines.values():
                engine.close()
    _total(result)
    result.pictures["body"] = np.stack(rows) if rows else np.zeros(0)
    far = sorted(necks, key=lambda entry: -entry[0])[:FARTHEST]
    result.pictures["necks"] = np.stack([pictures for _, pictures in far]) if far else np.zeros(0)
    return result


def _paths(options: argparse.Namespace) -> list[Path]:
    if options.clips:
        return [Path(path) for path in options.clips]
    data = test_data_folder()
    if data is None:
        raise BadFile("driving clips", "none are at hand: name some with --clips, or set AVATAR_TEST_DATA")
    return [path for path in sorted((data / "clips").glob("a*.mp4")) if path.name[:3] in CLIPS]


def _drive(engines: dict[str, Engine], clip: Clip, wanted: list[int], timed: int) -> dict[str, Course]:
    """Encode all of the clip both ways, a frame at a time, and render what is `wanted`, and what is `timed`."""
    courses = {way: Course() for way in engines}
    for engine in engines.values():
        engine.set_portrait(clip.frames[0])
        engine.reset()
        engine.reference = engine.portrait_code
    last: dict[str, MotionCode] = {way: engine.portrait_code for way, engine in engines.items()}
    for index, image in enumerate(clip.frames):
        for way in sorted(engines, reverse=bool(index % 2)):
            engine, course = engines[way], courses[way]
            frame = Frame(image, captured=index / clip.fps, index=index, pts=index / clip.fps)
            start = time.process_time()
            last[way] = engine.encode(frame) or last[way]
            picture = engine.render(last[way]) if index in wanted or index <= timed else None
            if picture is not None and 5 < index <= timed:
                course.seconds.append(time.process_time() - start)
            if index in wanted and picture is not None:
                course.codes[index] = last[way]
                course.pictures.append(picture)
    return courses


class _Pose:
    """MediaPipe's own pose, which looks at each picture as at the first."""

    def __enter__(self) -> _Pose:
        from mediapipe.python.solutions.pose import Pose

        self._pose = Pose(static_image_mode=True, model_complexity=1)
        return self

    def __exit__(self, *exc: object) -> None:
        self._pose.close()

    def read(self, picture: np.ndarray) -> np.ndarray | None:
        """The shoulders of a square picture in shares of it, (2, 2); None where they are not in sight."""
        found = self._pose.process(np.ascontiguousarray(picture)).pose_landmarks
        if found is None:
            return None
        there = [found.landmark[k] for k in SHOULDERS]
        points = np.array([(p.x, p.y) for p in there])
        seen = all(p.visibility > SEEN for p in there) and bool(((points > 0) & (points < 1)).all())
        return points if seen else None

    def read_steadily(self, picture: np.ndarray) -> np.ndarray | None:
        """The same by the mean of several looks, which see the picture a little aside and mirrored."""
        looks = []
        for right, down, mirrored in ASIDE:
            way = np.array([right, down]) * picture.shape[0] / 512.0
            aside = np.column_stack([np.eye(2), way])
            size = (picture.shape[1], picture.shape[0])
            seen = cv2.warpAffine(picture, aside, size, borderMode=cv2.BORDER_REPLICATE)
            points = self.read(seen[:, ::-1] if mirrored else seen)
            if points is not None:
                points = np.array([1.0, 0.0]) + points[::-1] * (-1.0, 1.0) if mirrored else points
                looks.append(points - way / size)
        return np.mean(looks, axis=0) if len(looks) >= LEAST_LOOKS else None


def _compare(result: Result, clip: Clip, wanted: list[int], courses: dict[str, Course], pose: _Pose) -> None:
    """The figures of one clip."""
    tall = _face_share(clip)
    home = pose.read(clip.frames[0])
    truths = [pose.read(clip.frames[index]) for index in wanted]
    seen = [k for k, truth in enumerate(truths) if truth is not None] if home is not None else []
    moved = [np.linalg.norm(truths[k] - home, axis=1).mean() / tall for k in seen]
    steady = [pose.read_steadily(clip.frames[wanted[k]]) for k in seen]
    steady_home = pose.read_steadily(clip.frames[0])
    if len(seen) < LEAST:
        result.notes.append(
            f"{clip.name}: shoulders are in sight in {len(seen)} of {len(wanted)} frames: not counted"
        )
    for way, course in courses.items():
        if len(seen) >= LEAST:
            got = [pose.read(course.pictures[k]) for k in seen]
            errors = [
                np.linalg.norm(g - truths[k], axis=1).mean() / tall if g is not None else moved[n]
                for n, (k, g) in enumerate(zip(seen, got, strict=True))
            ]
            _add(result, clip, way, "shoulders", errors, "fh", "how far shoulders are from where the driver's are")
            looks = [pose.read_steadily(course.pictures[k]) for k in seen]
            looks = [steady_home if look is None else look for look in looks]  # as if they had gone nowhere
            errors = [
                np.linalg.norm(look - truth, axis=1).mean() / tall
                for truth, look in zip(steady, looks, strict=True)
                if truth is not None and look is not None
            ]
            _add(result, clip, way, "shoulders_steady", errors, "fh", "the same, by the mean of five looks")
        small = [
            (to_size(clip.frames[k], SIDE), to_size(p, SIDE)) for k, p in zip(wanted, course.pictures, strict=True)
        ]
        l1, ms_ssim = ([measure(*pair) for pair in small] for measure in (similarity.l1, similarity.ms_ssim))
        _add(result, clip, way, "l1", l1, "", "mean absolute difference, 0 to 1")
        _add(result, clip, way, "ms_ssim", ms_ssim, "", "structural similarity, five scales", "higher")
        ms = [1e3 * s for s in course.seconds]
        _add(
            result,
            clip,
            way,
            "frame",
            [float(np.median(ms))] if ms else [],
            "ms",
            "processor time, encode and render",
        )
        _add(result, clip, way, "frame_mean", ms, "ms", "the same, mean: the network's pieces are not in every frame")
    if len(seen) >= LEAST:
        _add(result, clip, "driver", "moved", moved, "fh", "how far the driver's shoulders went", "")
        after = [(truths[k], pose.read(clip.frames[min(wanted[k] + 1, len(clip.frames) - 1)])) for k in seen]
        noise = [np.linalg.norm(b - a, axis=1).mean() / tall for a, b in after if a is not None and b is not None]
        _add(
            result,
            clip,
            "driver",
            "noise",
            noise,
            "fh",
            "the same from a frame to the next: what pose itself adds",
            "",
        )


def _add(
    result: Result, clip: Clip, way: str, name: str, samples: list[Any], unit: str, about: str, better: str = "lower"
) -> None:
    result.add(f"{clip.name[:3]}.{way}.{name}", None, unit, samples=samples, better=better, about=about)


def _total(result: Result) -> None:
    """Over all clips: the means, and moving over still."""
    for name in ("shoulders", "shoulders_steady", "l1", "ms_ssim", "frame", "frame_mean"):
        means = {}
        for way in WAYS:
            there = [f for f in result.figures if f.name.endswith(f".{way}.{name}") and f.value is not None]
            values = [float(f.value) for f in there if f.value is not None]
            if values:
                means[way] = float(np.mean(values))
                better = "higher" if name == "ms_ssim" else "lower"
                result.add(f"all.{way}.{name}", means[way], there[0].unit, better=better, about=there[0].about)
        if len(means) == len(WAYS):
            goal = {"shoulders": 0.5, "shoulders_steady": 0.5, "frame": 1.1, "frame_mean": 1.1}.get(name)
            better = "higher" if name == "ms_ssim" else "lower"
            ratio = means["moving"] / means["still"]
            result.add(f"all.ratio.{name}", ratio, "x", better=better, target=goal, about="moving over still")


def _face_share(clip: Clip) -> float:
    """Height of the face in the first frame, as a share of the picture."""
    from realtime.face.face_model import CHIN, FOREHEAD
    from realtime.face.landmarks import find_faces

    faces = find_faces(clip.frames[0])
    return float(np.linalg.norm(faces[0][FOREHEAD, :2] - faces[0][CHIN, :2])) / clip.frames[0].shape[0]


def _row(clip: Clip, wanted: list[int], courses: dict[str, Course]) -> np.ndarray:
    """(3, 6, SIDE, SIDE, 3): six frames of the driver and of both ways."""
    some = [round(k) for k in np.linspace(0, len(wanted) - 1, 6)]
    ways = [[clip.frames[wanted[k]] for k in some], *([c.pictures[k] for k in some] for c in courses.values())]
    return np.stack([np.stack([to_size(p, SIDE) for p in way]) for way in ways])


def _heads(clip: Clip, wanted: list[int], courses: dict[str, Course]) -> list[tuple[float, np.ndarray]]:
    """Of each frame how far the head went, face heights, and its pictures (3, SIDE, SIDE, 3)."""
    course = courses["moving"]
    first = next(code for code in course.codes.values() if code is not None)
    out = []
    for k, index in enumerate(wanted):
        code = course.codes[index] or first
        far = float(np.hypot(*(code.values - first.values)[[HEAD_X, HEAD_Y]]))
        pictures = [clip.frames[index], *(c.pictures[k] for c in courses.values())]
        out.append((far, np.stack([to_size(p, SIDE) for p in pictures])))
    return out


def plot(result: Result, path: str) -> None:
    """The two sheets."""
    place = Path(path)
    rows = [list(way) for clip in result.pictures["body"] for way in clip]
    if rows:
        write_picture(place, sheet(rows, side=192))
    necks = result.pictures["necks"]
    if necks.size:
        write_picture(place.with_stem(place.stem + "-neck"), sheet([list(necks[:, k]) for k in range(3)], side=256))
