"""Face landmarks as bytes on a network: one small packet per frame, in place of the frame. Pure: no socket, no clock.

A client that finds the face itself sends packets in place of video, one binary message each, over a channel that may
lose and reorder them, or over one that does neither. Little endian. Version 1::

    offset  size  type     field
    0       1     uint8    magic, 0x4C ("L")
    1       1     uint8    version, 1
    2       1     uint8    flags. 1: a face was seen; 2: the frame had been flipped left to right
    3       1     uint8    B: the landmarks are told by what differs from those of the packet B before this one;
                           0: by themselves
    4       4     uint32   sequence number, one more for each packet, wraps to 0 after 2**32 - 1
    8       8     uint64   capture time, microseconds of the sender's monotonic clock (any origin)
    16      2     uint16   width of the frame in pixels, 16 to 8192
    18      2     uint16   height, likewise; a packet without a face ends here
    20      4     float32  step, pixels: what the landmarks are rounded to
    24      48    float32  A (3 x 3, row by row) and t (3): how the earlier landmarks moved as a whole
    72      ...   deflate  raw (RFC 1951), of 2 x 1434 bytes: for x, y and z in turn 478 numbers each, as int16 in
                           zigzag form, (d << 1) ^ (d >> 15); first the low bytes of all of them, then the high ones

Each number d is a landmark's remainder r less that of its neighbour, see `realtime.motion.landmark_tree`; the tip of
the nose has none.

The landmarks are those of `realtime.types.Landmarks`, in pixels. The reader computes A p + t + step r for each of the
earlier packet's landmarks p, as it read them itself, and remainders r; where B is 0 all p are 0. The sender rounds to
`STEPS` a face height, so that no coordinate is off by more than 0.05 % of it, and what is lost does not add up: each
remainder is what is missing to the truth.

A reader keeps every third packet or so that it could read, and says so by the message `kept` of the control channel
with its sequence number. A sender builds on the newest packet that is kept, for `REACH` packets, and else sends one
that stands by itself. So a packet that is lost or comes late harms no other one. `Newest` of `realtime.motion.wire`
lets through those alone that are newer than all before.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from realtime.face.face_model import CHIN, FOREHEAD, LANDMARKS, NOSE_TIP
from realtime.motion.landmark_tree import NEIGHBOUR
from realtime.motion.wire import BadPacket
from realtime.types import Landmarks

MAGIC, VERSION = 0x4C, 1
_HEADER, _STEP, _MOVE = struct.Struct("<BBBBIQHH"), struct.Struct("<f"), struct.Struct("<12f")
_FACE, _MIRRORED = 1, 2
_BODY = _HEADER.size + _STEP.size + _MOVE.size
_NUMBERS = 3 * LANDMARKS
MAX_PACKET = 4096
"""Bytes. A longer message is refused before it is looked at."""
STEPS = 1024
"""Steps that the sender rounds to, in a face height."""
REACH = 32
"""So many packets a sender goes on building on one, and half as many more a reader remembers it."""
EVERY = 3
"""A reader keeps one packet of so many."""
SIDES = (16, 8192)
"""Sides that a frame may have, pixels."""
_WIDEST = 4.0
"""No landmark lies farther from the frame's corner than so many of its longer sides."""


class BadLandmarks(BadPacket):
    """The bytes are no landmark packet, or what was found fits into none; `reason` says why."""

    what = "landmark packet"


def _sums(neighbour: np.ndarray) -> np.ndarray:
    """float64 (478, 478): remainders from what is told of them, each the sum along its way through the tree."""
    sums = np.eye(len(neighbour))
    at = neighbour.copy()
    rows = np.arange(len(neighbour))
    while (at != NOSE_TIP).any():
        sums[rows, at] = 1.0
        at = neighbour[at]
    sums[:, NOSE_TIP] = 1.0
    return sums


_NEIGHBOUR = np.array(NEIGHBOUR)
_OTHERS = (np.arange(LANDMARKS) != NOSE_TIP)[:, None]
_SUMS = _sums(_NEIGHBOUR)


@dataclass(slots=True)
class LandmarkWriter:
    """The sender's side: packets in the order of capture.

    A writer that nobody answers sends packets that stand by themselves."""

    _next: int = 0
    _sent: dict[int, np.ndarray] = field(default_factory=dict)
    _kept: int | None = None

    def kept(self, sequence: int) -> None:
        """The reader has kept this packet."""
        if sequence in self._sent and (self._kept is None or _ahead(sequence, self._kept) < 1 << 31):
            self._kept = sequence

    def pack(self, found: Landmarks) -> bytes:
        """The next packet. Raises BadLandmarks where the landmarks, sides or time are out of range."""
        sequence, self._next = self._next, (self._next + 1) % (1 << 32)
        back, earlier = self._base(sequence)
        flags = _MIRRORED * found.mirrored + _FACE * (found.points is not None)
        micros = round(found.captured * 1e6)
        if not 0 <= micros < 1 << 64:
            raise BadLandmarks(f"capture time {found.captured} s is out of range")
        _check_sides(found.width, found.height)
        header = _HEADER.pack(MAGIC, VERSION, flags, back, sequence, micros, found.width, found.height)
        if found.points is None:
            return header
        points = np.asarray(found.points, np.float64)
        if points.shape != (LANDMARKS, 3) or not np.isfinite(points).all():
            raise BadLandmarks(f"landmarks are {LANDMARKS} points of three finite numbers")
        step = np.float32(max(1e-3, float(np.linalg.norm(points[FOREHEAD] - points[CHIN])) / STEPS))
        move = _moved(earlier, points)
        predicted = _predict(earlier, move)
        remainders = np.rint((points - predicted) / float(step))
        told = remainders - _OTHERS * remainders[_NEIGHBOUR]
        if np.abs(told).max() > 32767:
            raise BadLandmarks("the landmarks lie too far apart")
        self._sent[sequence] = predicted + float(step) * remainders
        for old in [one for one in self._sent if _ahead(sequence, one) >= REACH]:
            del self._sent[old]
        squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = squeezed.compress(_zigzag(told.astype(np.int16))) + squeezed.flush()
        return header + _STEP.pack(step) + move.astype("<f4").tobytes() + body

    def _base(self, sequence: int) -> tuple[int, np.ndarray]:
        """How far back the packet lies that this one builds on (0: nowhere), and its landmarks as read."""
        if self._kept is not None and self._kept in self._sent:
            return _ahead(sequence, self._kept), self._sent[self._kept]
        return 0, np.zeros((LANDMARKS, 3))


@dataclass(slots=True)
class LandmarkReader:
    """The receiver's side. Give it the packets that are newer than all before."""

    _held: dict[int, np.ndarray] = field(default_factory=dict)
    _last: int | None = None

    def unpack(self, data: bytes) -> tuple[Landmarks | None, int, bool]:
        """(what was found, with the sender's capture time; the sequence number; whether to answer `kept`).

        None for what builds on a packet that is not remembered (any more): the next one may be better. Raises
        BadLandmarks for all else that is no such packet."""
        head = read_head(data)
        found = Landmarks(None, head.width, head.height, head.mirrored, head.captured, head.sequence)
        if not head.face:
            return found, head.sequence, False
        step, move, remainders = _body(data)
        earlier = np.zeros((LANDMARKS, 3))
        if head.back:
            known = self._held.get((head.sequence - head.back) % (1 << 32))
            if known is None:
                return None, head.sequence, False
            earlier = known
        points = _predict(earlier, move) + step * remainders
        if not (np.abs(points) <= _WIDEST * max(head.width, head.height)).all():
            raise BadLandmarks("a landmark lies far outside the frame")
        keep = self._last is None or _ahead(head.sequence, self._last) >= EVERY
        if keep:
            for old in [one for one in self._held if not 0 < _ahead(head.sequence, one) <= REACH * 3 // 2]:
                del self._held[old]
            self._held[head.sequence] = points
            self._last = head.sequence
        return replace(found, points=points.astype(np.float32)), head.sequence, keep


@dataclass(frozen=True, slots=True)
class Head:
    """The first part of a packet; fields as above, `captured` in seconds."""

    face: bool
    mirrored: bool
    back: int
    sequence: int
    captured: float
    width: int
    height: int


def read_head(data: bytes) -> Head:
    """The head of a packet. Raises BadLandmarks for anything else."""
    if len(data) > MAX_PACKET:
        raise BadLandmarks(f"{len(data)} bytes; at most {MAX_PACKET}")
    if len(data) < _HEADER.size:
        raise BadLandmarks(f"{len(data)} bytes; the header alone has {_HEADER.size}")
    magic, version, flags, back, sequence, micros, width, height = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BadLandmarks(f"begins with 0x{magic:02x}, not 0x{MAGIC:02x}")
    if version != VERSION:
        raise BadLandmarks(f"version {version}; this side speaks version {VERSION}")
    if flags & ~(_FACE | _MIRRORED):
        raise BadLandmarks(f"unknown flags {flags}")
    _check_sides(width, height)
    if not flags & _FACE and len(data) != _HEADER.size:
        raise BadLandmarks(f"{len(data)} bytes; without a face it has {_HEADER.size}")
    return Head(bool(flags & _FACE), bool(flags & _MIRRORED), back, sequence, micros / 1e6, width, height)


def _check_sides(width: int, height: int) -> None:
    if not (SIDES[0] <= width <= SIDES[1] and SIDES[0] <= height <= SIDES[1]):
        raise BadLandmarks(f"a frame of {width} x {height} pixels; its sides are {SIDES[0]} to {SIDES[1]}")


def _body(data: bytes) -> tuple[float, np.ndarray, np.ndarray]:
    """Step, (A, t) as (3, 4), and remainders (478, 3) of a packet with a face. Raises BadLandmarks."""
    if len(data) <= _BODY:
        raise BadLandmarks(f"{len(data)} bytes; with a face it has more than {_BODY}")
    (step,) = _STEP.unpack_from(data, _HEADER.size)
    move = np.frombuffer(data, "<f4", 12, _HEADER.size + _STEP.size).astype(np.float64)
    if not (np.isfinite(move).all() and 0 < step < SIDES[1]):
        raise BadLandmarks("the step or the movement is out of range")
    inflate = zlib.decompressobj(-15)
    try:
        raw = inflate.decompress(data[_BODY:], 2 * _NUMBERS + 1)
    except zlib.error:
        raise BadLandmarks("the remainders are not deflated data") from None
    if len(raw) != 2 * _NUMBERS or not inflate.eof or inflate.unused_data:
        raise BadLandmarks(f"the remainders are not {2 * _NUMBERS} bytes")
    return float(step), np.concatenate([move[:9].reshape(3, 3), move[9:, None]], axis=1), _SUMS @ _unzigzag(raw)


def _moved(earlier: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float32 (12,): A and t that bring `earlier` nearest to `points`, by least squares."""
    middle, target = earlier.mean(axis=0), points.mean(axis=0)
    x, y = earlier - middle, points - target
    moments = x.T @ x
    scale = float(np.trace(moments))
    a = np.linalg.solve(moments + 1e-9 * scale * np.eye(3), x.T @ y).T if scale > 0 else np.zeros((3, 3))
    return np.concatenate([a.ravel(), target - a @ middle]).astype(np.float32)


def _predict(earlier: np.ndarray, move: np.ndarray) -> np.ndarray:
    """A p + t. move: (12,) or (3, 4)."""
    a, t = (move[:9].reshape(3, 3), move[9:]) if move.ndim == 1 else (move[:, :3], move[:, 3])
    return earlier @ a.astype(np.float64).T + t.astype(np.float64)


def _zigzag(told: np.ndarray) -> bytes:
    """int16 (478, 3) as bytes: low ones first."""
    folded = ((told << 1) ^ (told >> 15)).astype(np.int16).T.ravel().view(np.uint16)
    return bytes((folded & 255).astype(np.uint8)) + bytes((folded >> 8).astype(np.uint8))


def _unzigzag(raw: bytes) -> np.ndarray:
    """The numbers (478, 3) of `_zigzag`."""
    low, high = np.frombuffer(raw, np.uint8).reshape(2, _NUMBERS).astype(np.int32)
    folded = low | high << 8
    return ((folded >> 1) ^ -(folded & 1)).reshape(3, LANDMARKS).T.astype(np.float64)


def _ahead(sequence: int, other: int) -> int:
    """How many packets `sequence` lies after `other`, 0 to 2**32 - 1."""
    return (sequence - other) % (1 << 32)
