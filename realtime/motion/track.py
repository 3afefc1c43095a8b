"""Motion tracks: motion codes as a file, safe to read from strangers and equal bit for bit when read back.

Layout of a file, all numbers little-endian::

    8 bytes   b"AVMOTION"
    uint16    version, 1
    uint32    length of the header in bytes
    header    UTF-8 JSON object:
              kind       family of the codes, a name in `realtime.families`
              fps        frames per second
              count      number of frames
              length     number of entries of a code
              names      name of each entry, "" for one without (length strings)
              reference  whether a neutral code comes before the frames
              creator    what wrote the file
              weights    SHA-256 of the weights whose codes these are, where they mean nothing to others
    body      zlib stream of: the reference, float32 (length,), if there is one;
              times in seconds from the start, float64 (count,);
              codes, float32 (count, length); a frame without a face is NaN throughout
    uint32    CRC-32 of everything before it

A track of an earlier release, whose codes have fewer entries, is read as one of today: the entries that came later
are 0. Nothing in it is ever executed; sizes are checked before memory is taken.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import BadFile, BadValue
from realtime.motion.vocabulary import of_today
from realtime.outputs import write_whole
from realtime.types import Direction, MotionCode

MAGIC = b"AVMOTION"
VERSION = 1
LONGEST_CODE = 4096
MOST_BYTES = 1 << 29
"""Largest body, unpacked: three hours of codes of a hundred entries at 60 fps are half of it."""
LARGEST_HEADER = 1 << 20
_PREFIX = struct.Struct("<8sHI")


@dataclass(frozen=True, eq=False)
class MotionTrack:
    """A recorded performance.

    kind: family of the codes. fps: frames per second. names: of the code's entries. times: float64 (N,), seconds
    from the start. values: float32 (N, K), NaN rows where there is no face. reference: float32 (K,), the neutral
    code, or None. creator: what made it. weights: SHA-256 (hex) of the weights whose codes these are, "" where codes
    do not depend on weights or nobody noted them.
    Raises BadValue where these do not fit together.
    """

    kind: str
    fps: float
    names: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    reference: np.ndarray | None = None
    creator: str = "realtime-avatar"
    weights: str = ""

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.float32)
        times = np.ascontiguousarray(self.times, np.float64)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "times", times)
        if self.reference is not None:
            object.__setattr__(self, "reference", np.ascontiguousarray(self.reference, np.float32))
        problem = self._problem()
        if problem:
            raise BadValue("motion track", self.kind, problem)

    def _problem(self) -> str:
        values, times, reference = self.values, self.times, self.reference
        if values.ndim != 2 or not 1 <= values.shape[1] <= LONGEST_CODE:
            return f"codes must be (frames, 1 to {LONGEST_CODE})"
        if times.shape != values.shape[:1]:
            return "every frame needs a time"
        if len(self.names) != values.shape[1]:
            return "every entry needs a name, if only an empty one"
        if reference is not None and reference.shape != values.shape[1:]:
            return "the reference must be as long as a code"
        if not 0.1 <= self.fps <= 1000:
            return "fps must be from 0.1 to 1000"
        lost = np.isnan(values)
        if np.isinf(values).any() or (lost.any(axis=1) != lost.all(axis=1)).any():
            return "values must be finite, or not a number for a whole frame"
        if reference is not None and not np.isfinite(reference).all():
            return "the reference must be finite"
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            return "times must be finite and must not run backwards"
        return ""

    @classmethod
    def of_codes(
        cls,
        codes: Sequence[MotionCode | None],
        fps: float,
        directions: Sequence[Direction] = (),
        reference: MotionCode | None = None,
    ) -> MotionTrack:
        """From codes in order, None for frames without a face. Raises BadValue where there is no code at all."""
        seen = [c for c in codes if c is not None]
        if not seen:
            raise BadValue("motion track", "empty", "no frame has a motion code: no face was seen")
        length = len(seen[0].values)
        values = np.full((len(codes), length), np.nan, np.float32)
        for row, code in zip(values, codes, strict=True):
            if code is not None:
                row[:] = code.values
        times = np.array([c.pts if c is not None else np.nan for c in codes])
        lost = np.isnan(times)
        places = np.arange(len(codes))
        times[lost] = np.interp(places[lost], places[~lost], times[~lost])
        neutral = reference.values if reference is not None else None
        return cls(seen[0].kind, fps, names_of(directions, length), times, values, neutral)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def duration(self) -> float:
        """Seconds from the first frame's start to the last one's end."""
        return float(self.times[-1] - self.times[0] + 1 / self.fps) if len(self) else 0.0

    def code(self, n: int) -> MotionCode | None:
        """The code of frame `n`, None where it has no face. `captured` is 0."""
        row = self.values[n]
        return None if np.isnan(row[0]) else MotionCode(self.kind, row.copy(), 0.0, float(self.times[n]), n)

    def codes(self) -> Iterator[MotionCode | None]:
        """The codes in order."""
        return (self.code(n) for n in range(len(self)))

    @property
    def reference_code(self) -> MotionCode | None:
        """The driver's neutral code, where the track holds it."""
        return None if self.reference is None else MotionCode(self.kind, self.reference.copy())

    def check(self, kind: str, directions: Sequence[Direction]) -> None:
        """Raises BadValue unless an engine with these codes and directions can play the track."""
        if kind != self.kind:
            raise BadValue("motion track", self.kind, f"its codes are for the {self.kind} engine, this one is {kind}")
        for direction in directions:
            if direction.index >= len(self.names) or self.names[direction.index] not in ("", direction.name):
                raise BadValue("motion track", self.kind, "it was recorded with another motion dictionary")

    def to_bytes(self) -> bytes:
        """The file's content."""
        header = {
            "kind": self.kind,
            "fps": self.fps,
            "count": len(self),
            "length": self.values.shape[1],
            "names": list(self.names),
            "reference": self.reference is not None,
            "creator": self.creator,
            **({"weights": self.weights} if self.weights else {}),
        }
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        body = b"" if self.reference is None else self.reference.astype("<f4").tobytes()
        body += self.times.astype("<f8").tobytes() + self.values.astype("<f4").tobytes()
        content = _PREFIX.pack(MAGIC, VERSION, len(text)) + text + zlib.compress(body, 9)
        return content + struct.pack("<I", zlib.crc32(content))

    def save(self, path: str | Path) -> None:
        """Write the file in one step. Raises BadFile, NotWritten where it cannot be written."""
        write_whole(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> MotionTrack:
        """Read a file. Raises BadFile with what is wrong with it."""
        if not Path(path).exists():
            raise BadFile(path, "there is no such motion track; avatar encode makes one, motion:builtin is built in")
        try:
            size = Path(path).stat().st_size
            if size > MOST_BYTES:
                raise BadFile(path, f"is {size >> 20} MiB, too large for a motion track")
            content = Path(path).read_bytes()
        except OSError as error:
            raise BadFile(path, f"cannot be read: {error.strerror}") from error
        return cls.from_bytes(content, path)

    @classmethod
    def from_bytes(cls, content: bytes, path: object = "motion track") -> MotionTrack:
        """The track in a file's content; `path` is named in errors. Raises BadFile."""
        header, start = _header(content, path)
        if len(content) < start + 4 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
            raise BadFile(path, "is damaged or cut off: its checksum does not fit")
        count, length, has_reference = header["count"], header["length"], header["reference"]
        size = 4 * length * has_reference + 8 * count + 4 * count * length
        if size > MOST_BYTES:
            raise BadFile(path, f"claims {size >> 20} MiB of codes, too many for a motion track")
        body = _inflate(content[start:-4], size, path)
        at = 4 * length * has_reference
        reference = np.frombuffer(body, "<f4", length) if has_reference else None
        times = np.frombuffer(body, "<f8", count, at)
        values = np.frombuffer(body, "<f4", count * length, at + 8 * count).reshape(count, length)
        kind, names = header["kind"], tuple(header["names"])
        if len(names) == length:
            values = of_today(kind, values)
            reference = of_today(kind, reference) if reference is not None else None
            names += ("",) * (values.shape[1] - length)
        try:
            return cls(
                kind, header["fps"], names, times, values, reference, header["creator"], header.get("weights", "")
            )
        except BadValue as error:
            raise BadFile(path, f"is not a sound motion track: {error.expected}") from error


def _header(content: bytes, path: object) -> tuple[dict[str, Any], int]:
    """The checked header and where the body starts."""
    if len(content) < _PREFIX.size or not content.startswith(MAGIC):
        raise BadFile(path, "is not a motion track; `avatar encode CLIP -o TRACK.motion` makes one")
    _, version, length = _PREFIX.unpack_from(content)
    if version != VERSION:
        raise BadFile(path, f"has version {version} of the format; this program reads version {VERSION}")
    start = _PREFIX.size + length
    if length > LARGEST_HEADER or start > len(content):
        raise BadFile(path, "is damaged or cut off: its header is incomplete")
    try:
        header = json.loads(content[_PREFIX.size : start].decode())
    except (ValueError, RecursionError) as error:
        raise BadFile(path, "is damaged: its header is not JSON") from error
    wanted = {
        "kind": str, "fps": (int, float), "count": int, "length": int, "names": list, "reference": bool,
        "creator": str,
    }  # fmt: skip
    if not isinstance(header, dict):
        raise BadFile(path, "is damaged: its header is not a JSON object")
    for key, kind in wanted.items():
        value = header.get(key)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):  # type: ignore[arg-type]
            raise BadFile(path, f"is damaged: its header has no proper {key!r}")
    if header["count"] < 0 or not 1 <= header["length"] <= LONGEST_CODE:
        raise BadFile(path, "is damaged: its header counts wrongly")
    if not isinstance(header.get("weights", ""), str):
        raise BadFile(path, "is damaged: its header has no proper 'weights'")
    if not all(isinstance(name, str) for name in header["names"]):
        raise BadFile(path, "is damaged: its header has no proper 'names'")
    return header, start


def _inflate(packed: bytes, size: int, path: object) -> bytes:
    """The body, which must be `size` bytes: a stream that holds more is refused before it takes memory."""
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, size + 1)
    except zlib.error as error:
        raise BadFile(path, "is damaged: its codes cannot be unpacked") from error
    if len(body) != size or not stream.eof or stream.unused_data:
        raise BadFile(path, "is damaged: it holds more or fewer codes than its header says")
    return body


def names_of(directions: Sequence[Direction], length: int) -> tuple[str, ...]:
    """Name of each entry of a code of `length` entries, "" where no direction moves it."""
    names = [""] * length
    for direction in directions:
        names[direction.index] = direction.name
    return tuple(names)


@lru_cache(maxsize=1)
def builtin_track() -> MotionTrack:
    """The performance that comes with the package, for the mesh engine: talking, smiling, blinking, looking about."""
    name = "demo.motion"
    return MotionTrack.from_bytes(resources.files("realtime.data").joinpath(name).read_bytes(), name)
