"""Video encoders for what we send, in place of aiortc's: right rate from the start, and no new encoder per estimate.

aiortc begins VP8 at 0.5 Mbit/s, stops at 1.5, and opens a new encoder (a key frame) whenever the receiver's estimate
moves by a tenth. `install` puts ours where aiortc's sender looks for its encoder; all else of aiortc stays.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np
from aiortc import rtcrtpsender
from aiortc.codecs import get_encoder as aiortc_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from realtime.server.common.limits import Bucket
from realtime.server.hosting.frames import Part, Stream
from realtime.server.rtc.bitrate import Ladder, suitable_rate
from realtime.server.rtc.together import together

log = logging.getLogger(__name__)

FPS = 30
SPARING = 0.5
"""Share of the rate that suits a picture which it gets where the machine is full: a sixth less work, half the
packets, and a built-in portrait at 512 px stays at 44 dB."""
KEYS_PER_S, KEYS_AT_ONCE = 2.0, 2.0
"""Key frames that a receiver can ask for, beside the first one: each is as large as ten other pictures. What is asked
for sooner comes as soon as it may."""


class _Steady(Encoder):
    """An encoder whose rate stands on a `Ladder`. While that is the rate that suits the picture, it shares its work
    with the other encoders of the same stream."""

    def __init__(self) -> None:
        self.ladder: Ladder | None = None
        self.opened = 0
        """How many times a codec was opened."""
        self._context: Any = None
        self._keys = Bucket(KEYS_PER_S, KEYS_AT_ONCE)
        self._key_wanted = False

    @property
    def target_bitrate(self) -> int:
        """Bits per second aimed at; aiortc sets it to each of the receiver's estimates."""
        return self.ladder.rate if self.ladder else 0

    @target_bitrate.setter
    def target_bitrate(self, estimate: int) -> None:
        if self.ladder:
            self.ladder.estimate(estimate, time.monotonic())

    def _bytes(self, frame: av.VideoFrame, force_keyframe: bool) -> bytes:
        """The coded picture."""
        stream = _stream(frame)
        ladder = self._fitted(frame, stream)
        if stream is not None:
            shared = together(stream, type(self), lambda: type(self)()._by_itself)
            if ladder.rate != ladder.suited:
                shared.leave(self)
            elif (data := shared.take(self, frame, force_keyframe)) is not None:
                self._context = None  # what comes after this by itself begins with a key frame
                return data
        return self._by_itself(frame, force_keyframe)

    def _fitted(self, frame: av.VideoFrame, stream: Stream | None) -> Ladder:
        """The ladder, for the rate that this picture may have."""
        share = SPARING if stream is not None and stream.sparing else 1.0
        suited = round(suitable_rate(frame.width, frame.height) * share)
        if self.ladder is None:
            self.ladder = Ladder(suited)
        self.ladder.fit(suited)
        return self.ladder

    def _by_itself(self, frame: av.VideoFrame, force_keyframe: bool) -> bytes:
        context = self._context
        other = context is not None and (context.width, context.height) != (frame.width, frame.height)
        if other:
            self.ladder = None
        rate = self._fitted(frame, _stream(frame)).rate
        if context is None or other:
            self._context = context = self._opened(frame.width, frame.height, rate)
        elif context.bit_rate != rate:
            self._context = context = self._at_rate(context, rate)
        if frame.format.name not in {"yuv420p", context.pix_fmt}:
            frame = frame.reformat(format="yuv420p")
        kinds = av.video.frame.PictureType
        self._key_wanted |= force_keyframe
        if self._key_wanted and self._keys.take(time.monotonic()):
            frame.pict_type, self._key_wanted = kinds.I, False
        else:
            frame.pict_type = kinds.NONE
        return b"".join(bytes(packet) for packet in context.encode(frame))

    def _opened(self, width: int, height: int, rate: int) -> Any:
        self.opened += 1
        return self._open(width, height, rate)

    def _open(self, width: int, height: int, rate: int) -> Any:
        raise NotImplementedError

    def _at_rate(self, context: Any, rate: int) -> Any:
        """The same codec at another rate; a new one where it cannot change."""
        return self._opened(context.width, context.height, rate)


def _stream(frame: av.VideoFrame) -> Stream | None:
    """What the picture belongs to."""
    return frame.opaque.stream if isinstance(frame.opaque, Part) else None


class SteadyVp8(_Steady):
    """VP8 by libvpx. Its rate is fixed once open, so a step of the ladder opens a new one."""

    def __init__(self) -> None:
        super().__init__()
        self._picture = random.randrange(1 << 15)

    def _open(self, width: int, height: int, rate: int) -> Any:
        context: Any = av.CodecContext.create("libvpx", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.bit_rate, context.time_base, context.framerate = rate, VIDEO_TIME_BASE, Fraction(FPS)
        context.gop_size, context.qmin, context.qmax = 3000, 4, 52
        context.thread_count = 1 if width * height <= 800 * 800 else 2
        context.options = {
            "deadline": "realtime",
            "cpu-used": "-8",  # a tenth less work than -6 for the same picture (within 0.05 dB); -10 costs 0.7 dB
            "lag-in-frames": "0",
            "minrate": str(rate),  # equal to the rate and to maxrate: constant bit rate
            "maxrate": str(rate),
            "bufsize": str(rate // 2),
            "max-intra-rate": "450",  # a key frame takes at most 4.5 times a frame's share: no burst, no stall
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "static-thresh": "1",
            "noise-sensitivity": "0",
        }
        return context

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        data = self._bytes(frame, force_keyframe)
        return self._packets(data), convert_timebase(frame.pts, frame.time_base, VIDEO_TIME_BASE)

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        return self._packets(bytes(packet)), convert_timebase(packet.pts, packet.time_base, VIDEO_TIME_BASE)

    def _packets(self, data: bytes) -> list[bytes]:
        self._picture = (self._picture + 1) % (1 << 15)
        return Vp8Encoder._packetize(data, self._picture)


class SteadyH264(_Steady):
    """H.264 by NVENC where it works, else x264. x264 takes a new rate while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = h264_codec()

    def _open(self, width: int, height: int, rate: int) -> Any:
        return open_h264(self.codec, width, height, rate)

    def _at_rate(self, context: Any, rate: int) -> Any:
        if self.codec != "libx264":
            return super()._at_rate(context, rate)
        context.bit_rate = rate
        return context

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        units = H264Encoder._split_bitstream(self._bytes(frame, force_keyframe))
        return H264Encoder._packetize(units), convert_timebase(frame.pts, frame.time_base, VIDEO_TIME_BASE)

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        units = H264Encoder._split_bitstream(bytes(packet))
        return H264Encoder._packetize(units), convert_timebase(packet.pts, packet.time_base, VIDEO_TIME_BASE)


def open_h264(codec: str, width: int, height: int, rate: int) -> Any:
    """An open encoder for live use: baseline profile, no reordering, no look-ahead."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.bit_rate, context.time_base, context.framerate = rate, VIDEO_TIME_BASE, Fraction(FPS)
    context.gop_size, context.max_b_frames = 3000, 0
    if codec == "h264_nvenc":
        context.options = {"preset": "p3", "tune": "ull", "zerolatency": "1", "rc": "cbr", "forced-idr": "1"}
    else:
        # x264 takes another rate while it runs only where it has a buffer model (maxrate, bufsize)
        context.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "maxrate": str(rate),
            "bufsize": str(rate // 2),
        }
    context.profile = "Baseline"
    return context


def measure(codec: str, size: int = 512, frames: int = 12) -> float | None:
    """Median milliseconds that `codec` ("libvpx", "libx264", "h264_nvenc") takes for a frame of `size` squared, at
    the rate that suits it; None where it does not work here."""
    maker: Callable[[int, int, int], Any]
    maker = SteadyVp8()._open if codec == "libvpx" else lambda w, h, r: open_h264(codec, w, h, r)
    noise = np.random.default_rng(0).integers(40, 200, (size * 3 // 2 + 64, size), np.uint8)
    noise = (noise // 16 + np.linspace(30, 200, size, dtype=np.uint8)).astype(np.uint8)
    times = []
    try:
        context = maker(size, size, suitable_rate(size, size))
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[i : i + size * 3 // 2]), format="yuv420p")
            frame.pts, frame.time_base = i * 3000, VIDEO_TIME_BASE
            begun = time.perf_counter()
            context.encode(frame)
            times.append(time.perf_counter() - begun)
    except (av.FFmpegError, ValueError):
        return None
    return 1000 * sorted(times[2:])[len(times[2:]) // 2]


@lru_cache(maxsize=1)
def h264_codec() -> str:
    """The H.264 encoder that is used here: NVENC where PyAV has it, it works, and it is the faster one."""
    nvenc = measure("h264_nvenc")
    if nvenc is None:
        return "libx264"
    x264 = measure("libx264")
    return "h264_nvenc" if x264 is None or nvenc < x264 else "libx264"


def preferred_codec() -> str:
    """ "H264" where a GPU encodes it, else "VP8": the cheapest for the machine."""
    return "H264" if h264_codec() == "h264_nvenc" else "VP8"


def report() -> dict[str, float | None]:
    """Milliseconds a frame takes at 512 x 512, by encoder; None for those that do not work. For `doctor`."""
    return {codec: measure(codec) for codec in ("libvpx", "libx264", "h264_nvenc")}


def _encoder(codec: RTCRtpCodecParameters) -> Encoder:
    kind = codec.mimeType.lower()
    if kind == "video/vp8":
        return SteadyVp8()
    if kind == "video/h264":
        return SteadyH264()
    return aiortc_encoder(codec)


def install() -> None:
    """Let aiortc's senders use these encoders. Safe to call twice."""
    rtcrtpsender.get_encoder = _encoder  # type: ignore[attr-defined]
