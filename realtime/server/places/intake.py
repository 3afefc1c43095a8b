"""Packets of one client: which drive the next picture. Pure: time is passed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from realtime.motion.landmark_wire import LandmarkReader, read_head
from realtime.motion.vocabulary import of_today
from realtime.motion.wire import BadPacket, ClockOffset, Newest, unpack
from realtime.server.common.limits import Bucket
from realtime.server.hosting.frames import Driven


class Intake(ABC):
    """What all packets have in common: not too many, none that is older than one before, times mapped to our clock.

    bad: how many were none."""

    def __init__(self, rate: float) -> None:
        self.newest, self.clock = Newest(), ClockOffset()
        self.bucket = Bucket(rate, 2 * rate)
        self.bad = 0

    def take(self, data: bytes, now: float) -> Driven | None:
        """What drives the next picture; None for a packet that is too old or too many. Raises BadPacket."""
        if not self.bucket.take(now):
            return None
        try:
            return self._read(data, now)
        except BadPacket:
            self.bad += 1
            raise

    @abstractmethod
    def _read(self, data: bytes, now: float) -> Driven | None:
        """The same, for one that is not too many."""


class MotionIntake(Intake):
    """Motion packets, of one kind and size of code."""

    def __init__(self, kind: str, size: int, rate: float) -> None:
        super().__init__(rate)
        self.kind, self.size = kind, size

    def _read(self, data: bytes, now: float) -> Driven | None:
        packet = unpack(data)
        if packet.kind != self.kind:
            raise BadPacket(f"codes of kind {packet.kind}; this avatar takes {self.kind}")
        if packet.values is not None:
            values = of_today(packet.kind, packet.values)
            if values.size != self.size:
                raise BadPacket(f"{values.size} values; this avatar takes {self.size}")
            packet = replace(packet, values=values)
        if not self.newest.admit(packet.sequence):
            return None
        captured = self.clock.map(packet.captured, now)
        code = packet.code(captured, pts=packet.captured)
        return Driven(captured, packet.captured, code=code, seen=code is not None, index=packet.sequence)


class LandmarkIntake(Intake):
    """Landmark packets."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self._reader = LandmarkReader()
        self._kept: int | None = None

    def _read(self, data: bytes, now: float) -> Driven | None:
        if not self.newest.admit(read_head(data).sequence):
            return None
        found, sequence, keep = self._reader.unpack(data)
        if keep:
            self._kept = sequence
        if found is None:
            return None
        captured = self.clock.map(found.captured, now)
        return Driven(captured, found.captured, index=sequence, landmarks=found)

    def news(self) -> int | None:
        """The packet that is kept now and was not told yet."""
        kept, self._kept = self._kept, None
        return kept
