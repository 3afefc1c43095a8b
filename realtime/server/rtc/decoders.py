"""How received media gets from packets to frames, in place of parts of aiortc that make it wait or work more.

aiortc takes a picture for complete only when the first packet of the next one comes: a whole frame interval late,
33 ms at 30 fps. The last packet of a picture says that it is the last (the marker bit: RFC 7741, section 4.1, for
VP8, and RFC 6184, section 5.1, for H.264), so nobody has to wait. And it starts a task of the event loop for each
decoded frame. `install` puts ours where aiortc's receiver looks for them; all else of aiortc stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import av
from aiortc import rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RTP_HISTORY_SIZE
from aiortc.utils import uint16_add, uint16_gt

log = logging.getLogger(__name__)

PICTURE_PATIENCE_S = 0.3
"""How long a packet of a picture is waited for: it may be lost, asked for and sent again twice on the way to the next
continent."""
SOUND_PATIENCE_S = 0.06
"""How long a packet of sound is waited for: it is not sent again, only late."""
ASK_MISSING_S = 0.06
"""Between two requests for the packets that are missing."""
ASK_AGAIN_S = 0.3
"""Between two requests for a key frame."""
KEY_PATIENCE_S = 1.0
"""How long a key frame is waited for."""


class CodedPicture(JitterFrame):
    """One coded picture, and those `later` ones that became complete with it, when a packet that was missing came.

    timestamp: of the picture, in ticks of 1/90000 s; the receiver replaces it by one that counts from zero. came:
    when its first packet did, monotonic seconds; the decoded frame has it as `opaque`.
    """

    def __init__(self, data: bytes, timestamp: int, came: float = 0.0) -> None:
        super().__init__(data, timestamp)
        self.came = came
        self.later: list[CodedPicture] = []
        self._sent = timestamp

    def each(self) -> list[CodedPicture]:
        """This picture and the later ones, in order, all counting from the same zero as this one."""
        for picture in self.later:
            picture.timestamp = self.timestamp + ((picture._sent - self._sent) & 0xFFFFFFFF)
        return [self, *self.later]


class PromptBuffer(JitterBuffer):
    """Puts packets in order and pictures together; gives each picture with its last packet, not with the next one's
    first, and each packet of sound at once: aiortc holds back four, 80 ms.

    What is missing is waited for until `patience` seconds after the packet behind it came (aiortc waits until 512
    packets lie there, ten seconds of a camera at 0.5 Mbit/s). Then the damaged pictures are left out, and those that
    build on them, until a key frame comes; it is asked for again and again, for requests are lost too. A sender that
    makes none for `KEY_PATIENCE_S` is taken as it is."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, capacity: int, prefetch: int = 0, is_video: bool = False) -> None:
        super().__init__(capacity, prefetch, is_video)
        self.patience = PICTURE_PATIENCE_S if is_video else SOUND_PATIENCE_S
        self._gap: int | None = None  # number of the first packet that is missing
        self._newest: int | None = None
        self._damaged: deque[int] = deque(maxlen=16)
        self._key_wanted_at: float | None = None
        self._asked_at = -math.inf

    def add(self, packet: Any) -> tuple[bool, Any]:
        """Take in a packet: whether a key frame must be asked for, and what is complete now."""
        packet.came_at = now = self.clock()
        if self._newest is None or uint16_gt(packet.sequence_number, self._newest):
            self._newest = packet.sequence_number
        lost, found = super().add(packet)
        if lost:
            self._want_key(now)
        while found is None and self._skip(now):
            self._want_key(now)
            found = self._remove_frame(packet.sequence_number)
        asks = self._key_wanted_at is not None and now - self._asked_at >= ASK_AGAIN_S
        if asks:
            self._asked_at = now
        return asks, found

    def _remove_frame(self, sequence_number: int) -> Any:
        first: CodedPicture | None = None
        while (picture := self._next()) is not None:
            if not picture.data or not self._usable(picture):  # packets without payload only fill the line
                continue
            if first is None:
                first = picture
            else:
                first.later.append(picture)
        return first

    def _want_key(self, now: float) -> None:
        if self._is_video and self._key_wanted_at is None:
            self._key_wanted_at = now

    def _usable(self, picture: CodedPicture) -> bool:
        """It is whole, and so is what it builds on."""
        if picture.timestamp in self._damaged:
            return False
        since = self._key_wanted_at
        if since is not None and not is_key(picture.data) and self.clock() - since < KEY_PATIENCE_S:
            return False
        self._key_wanted_at = None
        return True

    def _next(self) -> CodedPicture | None:
        """Take out the oldest picture, or packet of sound. None while a packet of it is missing."""
        packets: list[Any] = []
        origin = self._origin or 0
        for offset in range(self._capacity):
            packet: Any = self._packets[(origin + offset) % self._capacity]
            if packet is None:
                self._gap = uint16_add(origin, offset)
                return None
            over = bool(packets) and packet.timestamp != packets[0].timestamp  # a sender that sets no marker
            if not over:
                packets.append(packet)
            if over or packet.marker or not self._is_video:
                self.remove(len(packets))
                return CodedPicture(b"".join(p._data for p in packets), packets[0].timestamp, packets[0].came_at)
        return None

    def _skip(self, now: float) -> bool:
        """Give up what is missing, where it is late by now."""
        origin, gap, newest = self._origin, self._gap, self._newest
        if origin is None or gap is None or newest is None or not uint16_gt(newest, gap):
            return False
        offset = uint16_add(gap, -origin)
        behind: Any = None
        while offset < self._capacity and (behind := self._packets[(origin + offset) % self._capacity]) is None:
            offset += 1
        if behind is None or now - behind.came_at < self.patience:
            return False
        head: Any = self._packets[origin % self._capacity]
        self.remove(offset)
        if self._is_video:
            self._damaged.extend(packet.timestamp for packet in (head, behind) if packet is not None)
        return True


class PatientNack(NackGenerator):
    """Which packets to ask for again. aiortc asks when it sees a gap, and never again before the next gap; here what
    is missing is asked for each `ASK_MISSING_S`, and forgotten when it would come too late."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[int, float] = {}
        self._asked_at = -math.inf

    def add(self, packet: Any) -> bool:
        """Mark a packet as received. True where the missing ones are to be asked for now."""
        now, number = self.clock(), packet.sequence_number
        if self.max_seq is not None and uint16_gt(number, uint16_add(self.max_seq, RTP_HISTORY_SIZE)):
            self.max_seq = uint16_add(number, -RTP_HISTORY_SIZE)  # further back nobody keeps anything
        missed = super().add(packet)
        self._since = {number: self._since.get(number, now) for number in self.missing}
        self.missing = {number for number, since in self._since.items() if now - since < PICTURE_PATIENCE_S}
        self._since = {number: self._since[number] for number in self.missing}
        if not self.missing or not (missed or now - self._asked_at >= ASK_MISSING_S):
            return False
        self._asked_at = now
        return True


def is_key(data: bytes) -> bool:
    """A coded picture that builds on no other: VP8 (RFC 6386, section 9.1), H.264 with an IDR slice."""
    if data.startswith((b"\0\0\0\1", b"\0\0\1")):
        return any(unit[0] & 31 == 5 for unit in data.split(b"\0\0\1")[1:] if unit)
    return not data[0] & 1


def decode(
    loop: asyncio.AbstractEventLoop,
    coded: queue.Queue[Any],
    frames: asyncio.Queue[Any],
    failed: threading.Event,
) -> None:
    """Body of a receiver's decoder thread, until None comes; it hands the None on.

    coded: pairs of a codec and a coded picture (or sound). failed: set where one could not be decoded; the decoder
    goes on with the next, and the receiver asks for a key frame.
    """
    name = ""
    decoder: Any = None
    while (task := coded.get()) is not None:
        codec, coded_frame = task
        if codec.name != name:
            name, decoder = codec.name, get_decoder(codec)
        each = coded_frame.each() if isinstance(coded_frame, CodedPicture) else [coded_frame]
        for one in each:
            try:
                decoded = decoder.decode(one)
            except av.FFmpegError as error:
                log.info("a received %s frame could not be decoded: %s", name, error)
                failed.set()
                continue
            for frame in decoded:
                if isinstance(one, CodedPicture) and isinstance(frame, av.VideoFrame):
                    frame.opaque = one.came
                _hand_over(loop, frames, frame)
    _hand_over(loop, frames, None)


def _hand_over(loop: asyncio.AbstractEventLoop, frames: asyncio.Queue[Any], frame: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants frames any more
        loop.call_soon_threadsafe(frames.put_nowait, frame)


def install() -> None:
    """Let aiortc's receivers use these. Safe to call twice."""
    receiver: Any = rtcrtpreceiver
    receiver.JitterBuffer, receiver.decoder_worker, receiver.NackGenerator = PromptBuffer, decode, PatientNack
