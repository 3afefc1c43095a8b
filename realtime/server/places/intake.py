"""Motion packets of one client: which drive the next picture."""

from __future__ import annotations

from realtime.motion.wire import BadPacket, ClockOffset, Newest, unpack
from realtime.server.common.limits import Bucket
from realtime.server.hosting.frames import Driven


class MotionIntake:
    """Decides about each packet of one client. Pure: time is passed in."""

    def __init__(self, kind: str, size: int, rate: float) -> None:
        self.kind, self.size = kind, size
        self.newest, self.clock = Newest(), ClockOffset()
        self.bucket = Bucket(rate, 2 * rate)
        self.bad = 0

    def take(self, data: bytes, now: float) -> Driven | None:
        """What drives the next picture; None for a packet that is too old or too many. Raises BadPacket."""
        if not self.bucket.take(now):
            return None
        try:
            packet = unpack(data)
            if packet.kind != self.kind:
                raise BadPacket(f"codes of kind {packet.kind}; this avatar takes {self.kind}")
            if packet.values is not None and packet.values.size != self.size:
                raise BadPacket(f"{packet.values.size} values; this avatar takes {self.size}")
        except BadPacket:
            self.bad += 1
            raise
        if not self.newest.admit(packet.sequence):
            return None
        captured = self.clock.map(packet.captured, now)
        code = packet.code(captured, pts=packet.captured)
        return Driven(captured, packet.captured, code=code, seen=code is not None, index=packet.sequence)
