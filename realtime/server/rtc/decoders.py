"""How received media gets from packets to frames, in place of two parts of aiortc that make it wait or work more.

aiortc takes a picture for complete only when the first packet of the next one comes: a whole frame interval late,
33 ms at 30 fps. The last packet of a picture says that it is the last (the marker bit: RFC 7741, section 4.1, for
VP8, and RFC 6184, section 5.1, for H.264), so nobody has to wait. And it starts a task of the event loop for each
decoded frame. `install` puts ours where aiortc's receiver looks for them; all else of aiortc stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from typing import Any

import av
from aiortc import rtcrtpreceiver
from aiortc.codecs import get_decoder
from aiortc.jitterbuffer import JitterBuffer, JitterFrame

log = logging.getLogger(__name__)


class CodedPicture(JitterFrame):
    """One coded picture, and those `later` ones that became complete with it, when a packet that was missing came.

    timestamp: of the picture, in ticks of 1/90000 s; the receiver replaces it by one that counts from zero.
    """

    def __init__(self, data: bytes, timestamp: int) -> None:
        super().__init__(data, timestamp)
        self.later: list[CodedPicture] = []
        self._sent = timestamp

    def each(self) -> list[CodedPicture]:
        """This picture and the later ones, in order, all counting from the same zero as this one."""
        for picture in self.later:
            picture.timestamp = self.timestamp + ((picture._sent - self._sent) & 0xFFFFFFFF)
        return [self, *self.later]


class PromptBuffer(JitterBuffer):
    """Puts packets in order and pictures together; gives each picture with its last packet, not with the next one's
    first. Sound passes as in aiortc."""

    def _remove_frame(self, sequence_number: int) -> Any:
        if not self._is_video:
            return super()._remove_frame(sequence_number)
        first: CodedPicture | None = None
        while (picture := self._next()) is not None:
            if not picture.data:  # packets without payload, which only fill the line
                continue
            if first is None:
                first = picture
            else:
                first.later.append(picture)
        return first

    def _next(self) -> CodedPicture | None:
        """Take out the oldest picture. None while a packet of it is missing."""
        packets: list[Any] = []
        origin = self._origin or 0
        for offset in range(self._capacity):
            packet: Any = self._packets[(origin + offset) % self._capacity]
            if packet is None:
                return None
            over = bool(packets) and packet.timestamp != packets[0].timestamp  # a sender that sets no marker
            if not over:
                packets.append(packet)
            if over or packet.marker:
                self.remove(len(packets))
                return CodedPicture(b"".join(p._data for p in packets), packets[0].timestamp)
        return None


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
                _hand_over(loop, frames, frame)
    _hand_over(loop, frames, None)


def _hand_over(loop: asyncio.AbstractEventLoop, frames: asyncio.Queue[Any], frame: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants frames any more
        loop.call_soon_threadsafe(frames.put_nowait, frame)


def install() -> None:
    """Let aiortc's receivers use these. Safe to call twice."""
    receiver: Any = rtcrtpreceiver
    receiver.JitterBuffer, receiver.decoder_worker = PromptBuffer, decode
