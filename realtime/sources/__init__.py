"""Sources: where driving frames come from.

A new source is one file and one line in `SOURCES`. A source is written on the command line as ``name``,
``name:argument``, or as a bare path or address:

========================  =======================================================
``camera``, ``camera:1``  a webcam, by number or by name (``camera:Logitech``)
``clip.mp4``              a video file at its own pace
``face.png``              one still picture
``mic``, ``mic:1``        a microphone, by number or by name: lips follow what it hears
``talk.wav``              a recording, likewise; ``sound:talk.mp4`` takes a video's sound
``motion:walk.motion``    a motion track; ``motion:builtin`` is the one that comes with the package
``vmc``, ``vmc:39540``    a face that another program tracks and sends here by VMC, from this machine
``rtsp://host/stream``    a network camera or a video at an http(s) address
========================  =======================================================
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from realtime.errors import BadFile, BadValue, UnknownName
from realtime.home import user_path
from realtime.types import Direction, Frame, Landmarks, MotionCode

SOURCES: dict[str, str] = {
    "camera": "realtime.sources.camera:CameraSource",
    "file": "realtime.sources.file:FileSource",
    "mic": "realtime.sources.sound:MicrophoneSource",
    "motion": "realtime.sources.motion_track:MotionTrackSource",
    "sound": "realtime.sources.sound:SoundSource",
    "still": "realtime.sources.still:StillSource",
    "url": "realtime.sources.url:UrlSource",
    "vmc": "realtime.sources.vmc:VmcSource",
}

EXAMPLES = {
    "file": "file:clip.mp4",
    "motion": "motion:walk.motion or motion:builtin",
    "sound": "sound:talk.wav",
    "still": "still:face.png",
    "url": "rtsp://192.168.1.20/stream",
}
"""Sources that are nothing without an argument, and how one is written."""

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic"})

SOUND_SUFFIXES = frozenset(
    {".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".oga", ".aiff", ".aif", ".wma"}
)

DEVICES = frozenset({"camera", "mic", "vmc"})
"""Sources that need no argument."""

Tell = Callable[[str], None]
"""Takes one sentence for the user. May be called from any thread."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """An item of a motion track in which there is no face. Fields as in `Frame`."""

    captured: float
    pts: float = 0.0
    index: int = 0


Item = Frame | Landmarks | MotionCode | Unseen
"""What a source gives: a driving frame to encode, the face that another tracker found in one, or what another encoder
saw."""


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read."""

    fps: float = 30.0
    """Rate asked of a camera; rate at which a still picture is repeated."""
    paced: bool = True
    """A file keeps its own pace; otherwise it is read as fast as it goes."""
    loop: bool = False
    """A file starts again when it ends."""
    max_side: int = 1280
    """Larger driving frames are scaled down to this, pixels. The driver's face needs no more."""


class Source(Protocol):
    """Contract of a source.

    `check` is called first, from any thread, and must be cheap. `open`, `read` and `close` are called from one
    thread, the source's own. `read` blocks until the next item is there and looks at `stopping` at least twice a
    second. `close` is safe to call twice, and without `open`.
    """

    name: str
    """For people: "camera 0", "clip.mp4"; never with a password in it."""
    fps: float | None
    """Nominal rate, frames a second; None where it is unknown. Known after `open`."""
    frames: int | None
    """How many items will come; None where it is unknown. Known after `open`."""
    live: bool
    """Frames come when they come: the clock is the camera's."""
    kind: str | None
    """Kind of the motion codes that it gives, see `MotionCode.kind`; None where it gives driving frames. Known after
    `check`."""
    still: bool
    """One picture, again and again: that it never changes is no fault."""
    waiting: bool
    """It has told that it waits for its device or peer to come back."""
    reference: MotionCode | None
    """The driver's neutral code where the source knows it. Known after `check`."""
    tell: Tell
    """Set by the pipeline: takes a sentence when the camera goes away or comes back."""
    stopping: Callable[[], bool]
    """Set by the pipeline: true when `read` should give up."""

    def check(self) -> None:
        """Raise BadFile, BadValue, DeviceError or MissingExtra for what can be known without heavy work."""

    def fit(self, kind: str, directions: Sequence[Direction]) -> None:
        """Raise BadFile where an engine with codes of this kind and these directions cannot be driven by it."""

    def open(self) -> None:
        """Get ready to read. Raises BadFile, DeviceError, NoConnection."""

    def read(self) -> Item | None:
        """The next item, None when there are no more."""

    def close(self) -> None:
        """Free what is held."""


class SourceBase:
    """What sources have in common. Not part of the contract."""

    name = "source"
    fps: float | None = None
    frames: int | None = None
    live = False
    kind: str | None = None
    still = False
    waiting = False
    reference: MotionCode | None = None

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self.tell: Tell = _silent
        self.stopping: Callable[[], bool] = _never

    def check(self) -> None:
        """Nothing to check."""

    def fit(self, kind: str, directions: Sequence[Direction]) -> None:
        """Pictures can drive any engine."""

    def open(self) -> None:
        """Nothing to open."""

    def sleep_until(self, due: float) -> None:
        """Wait until `due`, seconds of `time.monotonic()`, or until told to stop."""
        while (left := due - time.monotonic()) > 0 and not self.stopping():
            time.sleep(min(left, 0.25))

    def close(self) -> None:
        """Nothing to free."""


def open_source(spec: str, options: SourceOptions | None = None) -> Source:
    """The source that `spec` names, checked but not open yet. Raises UnknownName, BadFile, BadValue, DeviceError."""
    kind, argument = parse_source(spec)
    module, _, attribute = SOURCES[kind].partition(":")
    source: Source = getattr(importlib.import_module(module), attribute)(argument, options or SourceOptions())
    source.check()
    return source


def parse_source(spec: str) -> tuple[str, str]:
    """Split a source as written on the command line: (name of the registry, argument). Raises BadFile, BadValue,
    UnknownName."""
    if not spec.strip():
        raise BadValue(
            "source",
            spec,
            "camera, camera:N, mic, a clip, a recording, a picture, motion:PATH, vmc:PORT, or an rtsp/http address",
        )
    if re.match(r"(rtsps?|rtmps?|https?|udp|tcp|srt)://", spec, re.IGNORECASE):
        return "url", spec
    kind, _, argument = spec.partition(":")
    if kind in SOURCES and (argument or kind in DEVICES):
        return kind, argument
    path = user_path(spec)
    if kind in EXAMPLES and not argument and not path.exists():
        raise BadValue("source", spec, f"say which, as in {EXAMPLES[kind]}")
    if path.is_dir():
        raise BadFile(spec, "is a folder; a source is a video, a picture or a camera")
    if not path.exists():
        if spec == "builtin":
            raise BadFile(spec, "no such file; the built-in motion track is motion:builtin")
        if re.fullmatch(r"[a-z]+(:.*)?", spec) and not path.suffix:
            raise UnknownName("source", kind, ["camera", "mic", "motion", "sound", "PATH", "URL"])
        raise BadFile(spec, "no such file")
    if path.suffix.lower() == ".motion":
        return "motion", spec
    if path.suffix.lower() in SOUND_SUFFIXES:
        return "sound", spec
    return ("still" if path.suffix.lower() in PICTURE_SUFFIXES else "file"), spec


def _silent(_sentence: str) -> None:
    return None


def _never() -> bool:
    return False
