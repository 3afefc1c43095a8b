"""Motion codes as bytes on a network: one small packet per frame. Pure: no socket, no clock.

A client that extracts codes itself sends packets in place of video, one binary message each. Little endian.
Version 1, for codes of up to 91 values::

    offset  size  type     field
    0       1     uint8    magic, 0x4D ("M")
    1       1     uint8    version, 1
    2       1     uint8    kind of the code, its number in `realtime.families`
    3       1     uint8    K, how many values follow; 0: the client saw no face in this frame
    4       4     uint32   sequence number, one more for each packet, wraps to 0 after 2**32 - 1
    8       8     uint64   capture time, microseconds of the sender's monotonic clock (any origin)
    16      2 K   float16  the values, in the order of `MotionCode.values`; finite

Version 2, for codes of up to 1024 values, differs where it counts them::

    1       1     uint8    version, 2
    3       1     uint8    0
    16      2     uint16   K
    18      2 K   float16  the values

Both versions are read; what fits into version 1 is sent as version 1, which older servers read as well. A packet has
16 + 2 K or 18 + 2 K bytes and at most `MAX_PACKET`. At 30 packets a second with 97 values that is 51 kbit/s, or
65 kbit/s with WebSocket, TCP and IPv4 headers. Half precision keeps 11 bits: a value of 1 is kept to 0.0005, an angle
of 40 degrees to 0.016.

Packets may come late or in disorder. `Newest` lets through only those newer than all before (serial number
arithmetic of RFC 1982), so that the avatar never moves back in time. `ClockOffset` maps the sender's clock to ours.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from realtime.errors import AvatarError
from realtime.families import kind_of, number_of
from realtime.types import MotionCode

MAGIC = 0x4D
_HEADER, _COUNT = struct.Struct("<BBBBIQ"), struct.Struct("<H")
MAX_VALUES_1, MAX_VALUES = 91, 1024
"""Most values of a packet of version 1, and of one of version 2."""
MAX_PACKET = _HEADER.size + _COUNT.size + 2 * MAX_VALUES
"""Bytes. A longer message is refused before it is looked at."""
_HALF_MAX = float(np.finfo(np.float16).max)


class BadPacket(AvatarError):
    """The bytes are no motion packet; `reason` says why."""

    what = "motion packet"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. values: float32 (K,), None where the client saw no face.

    sequence: 0 to 2**32 - 1. captured: seconds of the sender's monotonic clock, in whole microseconds."""

    kind: str
    sequence: int
    captured: float
    values: np.ndarray | None

    def code(self, captured: float, pts: float = 0.0) -> MotionCode | None:
        """The motion code it carries, with its capture time on our clock. None where there was no face."""
        if self.values is None:
            return None
        return MotionCode(self.kind, self.values, captured=captured, pts=pts, index=self.sequence)


def pack(packet: Packet) -> bytes:
    """The bytes of `packet`. Values beyond the range of float16 become its largest value.

    Raises BadPacket: unknown kind, too many values, a value that is not finite, a number out of range."""
    number = number_of(packet.kind)
    if number is None:
        raise BadPacket(f"no number is assigned to codes of kind {packet.kind!r}")
    if not 0 <= packet.sequence < 1 << 32:
        raise BadPacket(f"sequence {packet.sequence} is outside 0 to 2**32 - 1")
    micros = round(packet.captured * 1e6)
    if not 0 <= micros < 1 << 64:
        raise BadPacket(f"capture time {packet.captured} s is out of range")
    values = np.empty(0, np.float32) if packet.values is None else np.asarray(packet.values, np.float32).ravel()
    if packet.values is not None and not 1 <= values.size <= MAX_VALUES:
        raise BadPacket(f"{values.size} values; a packet holds 1 to {MAX_VALUES}")
    if not np.isfinite(values).all():
        raise BadPacket("a value is not finite")
    half = np.clip(values, -_HALF_MAX, _HALF_MAX).astype("<f2")
    if values.size <= MAX_VALUES_1:
        return _HEADER.pack(MAGIC, 1, number, values.size, packet.sequence, micros) + half.tobytes()
    header = _HEADER.pack(MAGIC, 2, number, 0, packet.sequence, micros)
    return header + _COUNT.pack(values.size) + half.tobytes()


def unpack(data: bytes) -> Packet:
    """The packet in `data`. Raises BadPacket for anything else: wrong length, version, kind, or a value that is
    not finite."""
    if len(data) > MAX_PACKET:
        raise BadPacket(f"{len(data)} bytes; at most {MAX_PACKET}")
    if len(data) < _HEADER.size:
        raise BadPacket(f"{len(data)} bytes; the header alone has {_HEADER.size}")
    magic, version, number, count, sequence, micros = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BadPacket(f"begins with 0x{magic:02x}, not 0x{MAGIC:02x}")
    if version not in (1, 2):
        raise BadPacket(f"version {version}; this side speaks versions 1 and 2")
    kind = kind_of(number)
    if kind is None:
        raise BadPacket(f"unknown kind {number}")
    begin, most = _HEADER.size, MAX_VALUES_1
    if version == 2:
        if count:
            raise BadPacket(f"byte 3 is {count}; in version 2 it is 0")
        begin, most = begin + _COUNT.size, MAX_VALUES
        if len(data) < begin:
            raise BadPacket(f"{len(data)} bytes; the header of version 2 has {begin}")
        (count,) = _COUNT.unpack_from(data, _HEADER.size)
    if count > most:
        raise BadPacket(f"{count} values; version {version} holds up to {most}")
    if len(data) != begin + 2 * count:
        raise BadPacket(f"{len(data)} bytes do not hold {count} values")
    values = None
    if count:
        values = np.frombuffer(data, "<f2", count, begin).astype(np.float32)
        if not np.isfinite(values).all():
            raise BadPacket("a value is not finite")
    return Packet(kind, sequence, micros / 1e6, values)


@dataclass(slots=True)
class Newest:
    """Lets through packets newer than all before, counts the others.

    late: came after a newer one (or twice). lost: numbers that were skipped, less those that came late."""

    last: int | None = None
    late: int = 0
    lost: int = 0

    def admit(self, sequence: int) -> bool:
        """Is it newer than everything so far? (RFC 1982: within half the number space ahead.)"""
        if self.last is None:
            self.last = sequence
            return True
        ahead = (sequence - self.last) % (1 << 32)
        if 0 < ahead < 1 << 31:
            self.last = sequence
            self.lost += ahead - 1
            return True
        self.late += 1
        self.lost = max(0, self.lost - 1) if ahead else self.lost
        return False


@dataclass(slots=True)
class ClockOffset:
    """Our clock minus the sender's, seen through the packet that travelled fastest.

    The smallest difference (arrived - captured) of all packets is taken as the offset, so that times mapped by it
    are late by the fastest trip and no more. It may grow by `drift` seconds per second, for clocks that run apart.
    """

    drift: float = 1e-4
    offset: float | None = None
    _at: float = 0.0

    def map(self, captured: float, arrived: float) -> float:
        """A capture time of the sender as a time of ours, never after `arrived`. All in seconds."""
        seen = arrived - captured
        if self.offset is None:
            self.offset = seen
        else:
            self.offset = min(seen, self.offset + self.drift * max(0.0, arrived - self._at))
        self._at = arrived
        return captured + self.offset
