"""What a user brings to lie behind portraits: a picture, or a short clip that goes round.

A picture is put behind the portrait once (`backgrounds.with_background`). A clip cannot be: the portrait is put
before one plain colour, and in each picture that comes of it that colour gives way to the clip. A pixel of the
outline is a mixture, ``p = a F + (1 - a) K``, of the person's colour F and the plain one K. The share 1 - a is read
off how much more of K's own channel it has than of the two others, and ``p + (1 - a) (B - K)`` is the same mixture
with the clip's colour B: F need not be known.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numba import types

from realtime.errors import BadPortrait
from realtime.flow.jit import compiled
from realtime.media.uploads import decode_portrait

SECONDS, RATE = 20.0, 24.0
"""Of a clip: its first seconds go round, at this rate at most."""
SIDE = 960
"""Pixels: longer sides of a clip are scaled down."""
PIXELS = 4096 * 2304
"""Larger clips are refused before a picture of them is decoded."""
KEPT = 48 * 2**20
"""Bytes of a clip's JPEGs: a clip that has more is cut there."""
QUALITY = 84
"""Of the JPEGs that a clip is kept as."""
KEYS = {1: (0, 177, 64), 2: (0, 64, 177)}
"""Plain colours, RGB, by the channel that they have most of: green, and blue for who wears green."""
SLACK = 10
"""So much more of that channel than of the others a person may have without being taken for the plain colour."""
_CLIPS = {"mp4": "mov", "webm": "matroska"}


class BadBackdrop(BadPortrait):
    """A file that cannot lie behind a portrait."""

    def __str__(self) -> str:
        return f"That cannot be a background: {self.reason}"


@dataclass(frozen=True, eq=False)
class Backdrop:
    """pictures: JPEG, one, or those of a clip, at `fps`. source: the file as it was brought. cut: the clip goes on
    beyond what goes round."""

    pictures: tuple[bytes, ...] = field(repr=False)
    fps: float = 0.0
    source: bytes = field(default=b"", repr=False)
    cut: bool = False

    @property
    def moving(self) -> bool:
        """It is a clip."""
        return len(self.pictures) > 1

    @property
    def seconds(self) -> float:
        """How long one round of the clip takes; 0 for a picture."""
        return len(self.pictures) / self.fps if self.moving else 0.0

    def picture(self, index: int = 0) -> np.ndarray:
        """One of its pictures: uint8 (H, W, 3) RGB."""
        return cv2.imdecode(np.frombuffer(self.pictures[index], np.uint8), cv2.IMREAD_COLOR_RGB)

    def index(self, now: float) -> int:
        """Which picture is shown at `now`, seconds of any clock."""
        return int(now * self.fps) % len(self.pictures)


def clip_kind(data: bytes) -> str | None:
    """ "mp4" or "webm" where the file begins as one; None for all else."""
    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"):
        return "mp4"
    return "webm" if data.startswith(b"\x1a\x45\xdf\xa3") else None


def decode_backdrop(data: bytes, max_pixels: int, seconds: float = SECONDS) -> Backdrop:
    """A picture's file, or a clip's (MP4, MOV, WebM), of which the first `seconds` go round. Raises BadBackdrop."""
    kind = clip_kind(data)
    if kind is None:
        try:
            image = decode_portrait(data, max_pixels)
        except BadPortrait as error:
            raise BadBackdrop(error.reason) from None
        return backdrop_of(image, data)
    pictures, fps, cut = _decode_clip(data, kind, seconds)
    return Backdrop(tuple(pictures), fps, data, cut)


def backdrop_of(image: np.ndarray, source: bytes) -> Backdrop:
    """A picture, uint8 (H, W, 3) RGB, of that file."""
    return Backdrop((_jpeg(image),), source=source)


def _decode_clip(data: bytes, kind: str, seconds: float) -> tuple[list[bytes], float, bool]:
    import av

    try:
        with av.open(io.BytesIO(data), format=_CLIPS[kind]) as container:
            if not container.streams.video:
                raise BadBackdrop("the clip holds no pictures")
            stream = container.streams.video[0]
            _check_size(stream.codec_context)
            stream.thread_count = 1
            rate = float(stream.average_rate or RATE)
            fps = min(rate, RATE)
            pictures: list[bytes] = []
            kept = 0
            for at, frame in _timed(container, stream, rate):
                if at >= seconds:
                    return pictures, fps, True
                _check_size(frame)  # which may change on the way
                if len(pictures) > at * fps:
                    continue  # rates above `RATE` lose pictures
                picture = _jpeg(_small(frame))
                kept += len(picture)
                if kept > KEPT:
                    return pictures, fps, True
                while len(pictures) <= at * fps:  # gaps are filled
                    pictures.append(picture)
            if not pictures:
                raise BadBackdrop("no picture of the clip can be decoded")
            return pictures, fps, False
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise BadBackdrop(f"the clip cannot be decoded ({type(error).__name__})") from None


def _check_size(shown: Any) -> None:
    if shown.width * shown.height > PIXELS:
        raise BadBackdrop(f"the clip is larger than {PIXELS // 1_000_000} million pixels a picture")


def _timed(container: Any, stream: Any, rate: float) -> Iterator[tuple[float, Any]]:
    """Frames with their times, from 0."""
    first: float | None = None
    for n, frame in enumerate(container.decode(stream)):
        time = frame.time if frame.time is not None else n / rate
        first = time if first is None else first
        yield time - first, frame


def _small(frame: Any) -> np.ndarray:
    scale = min(1.0, SIDE / max(frame.width, frame.height))
    size = [max(2, round(side * scale)) for side in (frame.width, frame.height)]
    return np.asarray(frame.reformat(*size, format="rgb24").to_ndarray())


def _jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


@dataclass(frozen=True, eq=False)
class Keyed:
    """A portrait before a plain colour that gives way to a clip. data: the portrait, uint8 (H, W, 3) RGB, or what an
    engine has made of it. channel: of `KEYS`."""

    data: Any
    clip: Backdrop
    channel: int


def best_channel(image: np.ndarray, person: np.ndarray) -> int:
    """The plain colour that is least in the person: a channel of `KEYS`. image: uint8 (H, W, 3); person: (H, W)."""
    own = image[person > 0.9].astype(int)
    if not len(own):
        return 1
    most = {channel: np.percentile(_excess(own, channel), 99) for channel in KEYS}
    return 1 if most[1] <= max(most[2], SLACK) else 2


def _excess(pixels: np.ndarray, channel: int) -> np.ndarray:
    """How much more of a channel pixels (..., 3) have than of both others."""
    return np.asarray(pixels[..., channel] - np.delete(pixels, channel, -1).max(-1))


def cover(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of a picture, uint8 (H, W, 3), so scaled that it fills (height, width, 3)."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(scale * picture.shape[1])), max(height, round(scale * picture.shape[0])))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return scaled[top : top + height, left : left + width]


class Player:
    """Puts a clip in the place of the plain colour. Used by one thread."""

    def __init__(self, keyed: Keyed) -> None:
        self._clip, self._channel = keyed.clip, keyed.channel
        self._key = np.array(KEYS[keyed.channel], np.int32)
        self._at: tuple[int, int, int] | None = None
        self._behind = np.zeros((0, 0, 3), np.uint8)

    def show(self, image: np.ndarray, now: float) -> np.ndarray:
        """The picture, uint8 (H, W, 3), before what the clip shows at `now`, seconds: a new array."""
        at = (self._clip.index(now), image.shape[0], image.shape[1])
        if at != self._at:
            self._at = at
            self._behind = np.ascontiguousarray(cover(self._clip.picture(at[0]), at[2], at[1]))
        out = np.empty(image.shape, np.uint8)
        _before(np.ascontiguousarray(image), self._behind, self._key, self._channel, out)
        return out


_READ = types.Array(types.uint8, 3, "C", readonly=True)


@compiled(types.void(_READ, _READ, types.int32[::1], types.int64, types.uint8[:, :, ::1]))
def _before(image: np.ndarray, behind: np.ndarray, key: np.ndarray, channel: int, out: np.ndarray) -> None:
    """``p + (1 - a) (B - K)`` of each pixel, with 1 - a in 256ths."""
    first, second = (channel + 1) % 3, (channel + 2) % 3
    whole = key[channel] - max(key[first], key[second]) - SLACK
    scale = (256 << 8) // whole
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            more = int(image[y, x, channel]) - max(int(image[y, x, first]), int(image[y, x, second])) - SLACK
            if more <= 0:
                for c in range(3):
                    out[y, x, c] = image[y, x, c]
                continue
            share = min(256, (more * scale + 128) >> 8)
            for c in range(3):
                value = int(image[y, x, c]) + ((share * (int(behind[y, x, c]) - key[c]) + 128) >> 8)
                out[y, x, c] = min(255, max(0, value))
