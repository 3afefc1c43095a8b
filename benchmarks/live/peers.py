"""Synthetic browsers: aiortc peers that send a stamped clip and read the stamps of what comes back.

What they send is encoded once, before the measurement, so that a peer costs little more than its packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from benchmarks.live import stamp
from realtime.flow.pacing import Cadence
from realtime.motion.landmark_wire import LandmarkWriter
from realtime.types import Landmarks

CLOCK = 90_000


@dataclass(frozen=True)
class Stamped:
    """A clip as VP8: the data and whether it is a key frame, of every frame. Frame k carries the number k."""

    frames: tuple[tuple[bytes, bool], ...]
    fps: int


def encode_clip(images: Sequence[np.ndarray], fps: int, bit_rate: int = 1_000_000) -> Stamped:
    """VP8 of a stamped clip, a key frame every second, as a browser's encoder would make it."""
    codec = av.CodecContext.create("libvpx", "w")
    codec.height, codec.width = images[0].shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, fps), Fraction(fps)
    codec.bit_rate, codec.gop_size = bit_rate, fps
    codec.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"}
    out = []
    for index, image in enumerate(images):
        image = image.copy()
        stamp.draw(image, index)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = index, codec.time_base
        out += [(bytes(p), p.is_keyframe) for p in codec.encode(frame)]
    out += [(bytes(p), p.is_keyframe) for p in codec.encode(None)]
    return Stamped(tuple(out), fps)


class CameraTrack(MediaStreamTrack):
    """Hands out a stamped clip again and again, at its pace, and remembers when each number went out."""

    kind = "video"

    def __init__(self, clip: Stamped, offset: int) -> None:
        super().__init__()
        keys = [k for k, (_, key) in enumerate(clip.frames) if key]
        self._next = keys[offset % len(keys)]  # peers do not all show the same frame
        self._clip, self._count = clip, 0
        self._beat = Cadence(clip.fps)
        self.sent: dict[int, float] = {}
        """Number to moment, seconds of `time.monotonic()`; the latest counts."""

    async def recv(self) -> av.Packet:
        """The next frame, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        due = self._beat.due(time.monotonic())
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        data, _ = self._clip.frames[self._next]
        packet = av.Packet(data)
        packet.pts, packet.time_base = self._count * CLOCK // self._clip.fps, Fraction(1, CLOCK)
        self.sent[self._next % stamp.PERIOD] = time.monotonic()
        self._next = (self._next + 1) % len(self._clip.frames)
        self._count += 1
        return packet


@dataclass
class SyntheticPeer:
    """One browser's worth of a call. `seen`: (moment, delay in seconds or None) of every picture that came back."""

    source = "camera"

    clip: Stamped
    number: int
    seen: list[tuple[float, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._send()
        self._reader: asyncio.Task | None = None
        self._peer.on("track", self._on_track)

    def _send(self) -> None:
        """Let the connection carry what drives the avatar."""
        self._camera = CameraTrack(self.clip, self.number)
        self._peer.addTrack(self._camera)

    async def call(self, exchange: Any) -> dict[str, str]:
        """Connect; the answer. Raises what `exchange` (offer in, answer out; may block) raises."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        mine = self._peer.localDescription
        answer = await asyncio.to_thread(exchange, {"type": mine.type, "sdp": mine.sdp, "source": self.source})
        await self._peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return answer

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._reader = asyncio.ensure_future(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                now = time.monotonic()
                self.seen.append((now, self._delay(frame, now)))

    def _delay(self, frame: av.VideoFrame, now: float) -> float | None:
        number = stamp.read(luma(frame))
        sent = None if number is None else self._camera.sent.get(number)
        return None if sent is None else now - sent

    async def close(self) -> None:
        """Hang up. Safe to call twice."""
        await self._peer.close()
        if self._reader is not None:
            self._reader.cancel()


@dataclass
class LandmarkPeer(SyntheticPeer):
    """One that finds its landmarks itself, and sends them over a data channel in place of video; what they are was
    found beforehand. No stamp comes back, and so no delay."""

    source = "landmarks"
    found: Sequence[Landmarks] = ()

    def _send(self) -> None:
        self._peer.addTransceiver("video", direction="recvonly")
        self._peer.createDataChannel("control")
        self._channel = self._peer.createDataChannel("landmarks", ordered=False, maxRetransmits=0)
        self._writer = LandmarkWriter()
        self._channel.on("message", lambda said: self._writer.kept(json.loads(said)["sequence"]))
        self._channel.on("open", lambda: setattr(self, "_sender", asyncio.ensure_future(self._drive())))
        self._sender: asyncio.Task | None = None

    async def _drive(self) -> None:
        beat, count = Cadence(self.clip.fps), len(self.found) // 2 * self.number
        while True:
            await asyncio.sleep(max(0.0, beat.due(time.monotonic()) - time.monotonic()))
            now = time.monotonic()
            self._channel.send(self._writer.pack(replace(self.found[count % len(self.found)], captured=now)))
            count += 1

    def _delay(self, frame: av.VideoFrame, now: float) -> float | None:
        return None

    async def close(self) -> None:
        """Hang up. Safe to call twice."""
        if self._sender is not None:
            self._sender.cancel()
        await super().close()


def luma(frame: av.VideoFrame) -> np.ndarray:
    """The brightness of a frame, uint8 (H, W, 1), without converting its colours."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width, None]
