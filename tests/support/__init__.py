"""What several tests share: real test data where it is present, a clock that stands still until moved, and an
engine, a source and a sink that behave as told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from realtime.errors import BadPortrait, DeviceError
from realtime.families import Family
from realtime.flow.pacing import Cadence
from realtime.motion.vocabulary import Idle, Neutral, Vocabulary
from realtime.sinks import SinkBase, SinkOptions
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Direction, Frame, MotionCode, Picture

NO_REAL_DATA = "real clips and portraits do not travel with the project: AVATAR_TEST_DATA names a folder of them"


def test_data(*names: str) -> Path:
    """The folder of real clips and portraits, or the file `names` inside it; skips the test where it is absent.

    It is the folder in the environment variable AVATAR_TEST_DATA, else `../shared/data` beside the repository.
    """
    root = os.environ.get("AVATAR_TEST_DATA")
    folder = Path(root) if root else Path(__file__).resolve().parents[3] / "shared" / "data"
    path = folder.joinpath(*names)
    if not path.exists():
        pytest.skip(NO_REAL_DATA)
    return path


test_data.__test__ = False  # type: ignore[attr-defined]


def frames_of(path: Path, limit: int | None = None) -> Iterator[np.ndarray]:
    """The frames of a video file as uint8 (H, W, 3) RGB."""
    import av

    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if limit is not None and n >= limit:
                return
            yield frame.to_ndarray(format="rgb24")


def made_up_frames(seconds: float = 6.0, size: int = 256) -> Iterator[np.ndarray]:
    """A talking head: the built-in portrait in the built-in performance, uint8 (size, size, 3)."""
    from realtime.engines import load_engine
    from realtime.media.portraits import builtin_portrait
    from realtime.motion.track import builtin_track

    engine, track = load_engine("mesh", size=size), builtin_track()
    engine.set_portrait(builtin_portrait())
    engine.reference = track.reference_code
    for n in range(min(len(track), int(seconds * track.fps))):
        code = track.code(n)
        if code is not None:
            yield engine.render(code)
    engine.close()


def moved_aside(image: np.ndarray, share: float) -> np.ndarray:
    """The picture shifted to the right by `share` of its width, grey where nothing is left."""
    out = np.full_like(image, 128)
    shift = round(share * image.shape[1])
    out[:, shift:] = image[:, : image.shape[1] - shift]
    return out


PATIENCE_S = 40.0
"""For what happens at once where nothing else runs, seconds: so long a machine may have something else to do."""


def until(condition: Callable[[], object], seconds: float = PATIENCE_S, what: str = "") -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what or "it did not happen"
        time.sleep(0.02)


class FakeClock:
    """Time in seconds that only moves when `advance` is called. Call it to read it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now


FAKE_FAMILY = Family("tests.support:FakeEngine", vocabulary="tests.support:FAKE_WORDS", oblong=True)
"""The line of `FakeEngine`, for tests that register it."""
FAKE_WORDS = Vocabulary(
    length=3, neutral=Neutral(straight={"yaw": 20.0}), idle=Idle(sway={"yaw": (0.9, 9.1), "gaze_x": (0.012, 5.7)})
)


class FakeEngine:
    """An engine without a network: the code of a frame is its mean red, green and blue (0 to 1); the picture is the
    portrait's colour moved by code minus reference. A black frame has no face.

    encode_seconds, render_seconds: how long each call takes. fail_render: makes `render` raise while it is true.
    """

    name, kind, device = "fake", "fake", "cpu"

    def __init__(self, size: int = 64, device: str = "cpu", weights: str | None = None) -> None:
        self.size = size
        self.directions = (
            Direction("smile", 0, -1.0, 1.0, "the corners of the mouth rise", "mouth"),
            Direction("yaw", 1, -30.0, 30.0, "the head turns", "head", "deg"),
            Direction("gaze_x", 2, -1.0, 1.0, "the eyes look aside", "gaze"),
        )
        self.reference: MotionCode | None = None
        self.encode_seconds = self.render_seconds = 0.0
        self.fail_render = self.fail_encode = False
        self.portraits = 0
        self.closed = False
        self.threads: dict[str, set[int]] = {"encode": set(), "render": set()}
        self._portrait = np.full((size, size, 3), 128, np.uint8)

    def set_portrait(self, image: np.ndarray) -> None:
        if image.max() == 0:
            raise BadPortrait("no face was found")
        self._portrait = np.full((self.size, self.size, 3), image.reshape(-1, 3).mean(0), np.uint8)
        self.portraits += 1

    @property
    def portrait_code(self) -> MotionCode:
        return MotionCode(self.kind, self._portrait[0, 0].astype(np.float32) / 255.0)

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        self.threads["encode"].add(threading.get_ident())
        if self.encode_seconds:
            time.sleep(self.encode_seconds)
        if self.fail_encode:
            raise RuntimeError("the encoder broke")
        image = frame.image if isinstance(frame, Frame) else frame
        if image.max() < 8:
            return None
        captured = frame.captured if isinstance(frame, Frame) else 0.0
        return MotionCode(self.kind, (image.reshape(-1, 3).mean(0) / 255.0).astype(np.float32), captured)

    def render(self, code: MotionCode) -> np.ndarray:
        self.threads["render"].add(threading.get_ident())
        if self.render_seconds:
            time.sleep(self.render_seconds)
        if self.fail_render:
            raise RuntimeError("the device is lost")
        if self.reference is None:
            self.reference = code
        moved = self._portrait / 255.0 + (code.values - self.reference.values)
        return (moved.clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

    def reset(self) -> None:
        """Nothing is tracked."""

    def close(self) -> None:
        self.closed = True


class Watching:
    """Mixed into an engine: keeps the `frames` that it encodes, and says how often it forgot the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.resets = 0

    def encode(self, frame: Frame) -> MotionCode | None:
        self.frames.append(frame)
        return super().encode(frame)  # type: ignore[misc, no-any-return]

    def reset(self) -> None:
        self.resets += 1


class ListSource(SourceBase):
    """A source that gives what is in a list: frames, codes, None to wait `gap` seconds, or an exception to raise.

    fps: pace of the frames; None: as fast as they are taken."""

    name = "list"

    def __init__(self, items: Sequence[object], fps: float | None = None, gap: float = 0.0) -> None:
        super().__init__(SourceOptions())
        self.items, self.fps, self.gap = list(items), fps, gap
        self.frames = len(self.items)
        self.closed = 0
        self._index = 0
        self._beat = Cadence(fps) if fps else None

    def read(self) -> Frame | MotionCode | None:
        while self.items:
            item = self.items.pop(0)
            if isinstance(item, Exception):
                raise item
            if item is None:
                time.sleep(self.gap)
                continue
            now = time.monotonic()
            if self._beat is not None:
                time.sleep(max(0.0, self._beat.due(now) - now))
            if isinstance(item, np.ndarray):
                pts = self._index / (self.fps or 30.0)
                item = Frame(item, time.monotonic(), self._index, pts)
            self._index += 1
            return item  # type: ignore[return-value]
        return None

    def close(self) -> None:
        self.closed += 1


class ListSink(SinkBase):
    """A sink that keeps its pictures in a list.

    seconds: how long each takes. fail_after: raise after so many. fail_open: raise on open."""

    name = "list"

    def __init__(self, seconds: float = 0.0, fail_after: int | None = None, fail_open: bool = False) -> None:
        super().__init__(SinkOptions())
        self.pictures: list[Picture] = []
        self.seconds, self.fail_after, self.fail_open = seconds, fail_after, fail_open
        self.opened: tuple[int, int, float] | None = None
        self.closed = 0

    def open(self, width: int, height: int, fps: float) -> None:
        if self.fail_open:
            raise DeviceError("list", "is broken")
        self.opened = (width, height, fps)

    def write(self, picture: Picture) -> None:
        if self.fail_after is not None and len(self.pictures) >= self.fail_after:
            raise RuntimeError("the disk is full")
        if self.seconds:
            time.sleep(self.seconds)
        self.pictures.append(picture)

    def close(self) -> None:
        self.closed += 1


def plain(colour: tuple[int, int, int] | int, height: int = 48, width: int = 64) -> np.ndarray:
    """A picture of one colour, uint8 (height, width, 3) RGB."""
    return np.full((height, width, 3), colour, np.uint8)


def write_clip(path: Path, pictures: Sequence[np.ndarray], fps: float = 30.0) -> Path:
    """Write pictures as an H.264 file with the file sink."""
    from realtime.sinks.file import FileSink

    sink = FileSink(str(path), SinkOptions(live=False))
    sink.open(pictures[0].shape[1], pictures[0].shape[0], fps)
    for n, image in enumerate(pictures):
        sink.write(Picture(image, 0.0, n / fps, n))
    sink.close()
    return path
