"""The microphone's sound beside a film that is being made: each sample where it belongs in time.

Pictures carry the time at which their driving frame was captured, and sound the time at which it reached the
microphone, both of one clock: nothing has to be aligned by ear, however long a picture took to be made.
"""

from __future__ import annotations

import contextlib
import queue
import time
from typing import Any

import numpy as np

from realtime.errors import DeviceError
from realtime.media.microphones import choose_microphone, portaudio
from realtime.sinks.sound import BITS

RATE = 48_000
BLOCK = RATE // 50
MOST_WAITING = 500
"""Blocks that wait while no picture comes: ten seconds; the oldest give way."""
SLIP = 0.02
"""Seconds by which the sound may be off by itself (two clocks are never alike) before it is mended."""


class Placing:
    """Puts blocks of sound in their places. Pure. Times in seconds of one clock; samples are float32 (N,)."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self.given = 0
        """Samples that were given so far: the next one belongs at `begin + given / RATE`."""

    def place(self, block: np.ndarray, at: float) -> np.ndarray:
        """What is to be written of a block whose first sample was heard at `at`: what was before the begin, or is
        there already, is left out; where something is missing there is silence."""
        ahead = round((at - self._begin) * RATE) - self.given
        if self.given and abs(ahead) <= SLIP * RATE:
            ahead = 0
        out = block[-ahead:] if ahead < 0 else np.concatenate([np.zeros(ahead, np.float32), block])
        if ahead < -len(block):
            out = block[:0]
        self.given += len(out)
        return out


class Voice:
    """A microphone, heard while a film is made. wanted: "", a number, or a part of its name. audio: the library;
    tests bring their own."""

    def __init__(self, wanted: str, audio: Any = None) -> None:
        self._wanted, self._audio = wanted, audio
        self._heard: queue.Queue[tuple[float, np.ndarray]] = queue.Queue(MOST_WAITING)
        self._device: Any = None
        self._placing: Placing | None = None

    def check(self) -> None:
        """Raises NoDevice where the system has no such microphone, or no PortAudio."""
        if self._audio is None:
            self._audio = portaudio()
        default = self._audio.default.device[0]
        number = int(default) if default is not None and default >= 0 else None
        self._number, self.name = choose_microphone(self._wanted, self._audio.query_devices(), number)

    def open(self, container: Any) -> None:
        """Begin to hear, for a stream of `container`. Raises DeviceError."""
        self._container = container
        self._stream = container.add_stream("aac", rate=RATE)
        self._stream.bit_rate, self._stream.layout = BITS, "mono"
        try:
            self._device = self._audio.InputStream(
                samplerate=RATE, channels=1, dtype="float32", blocksize=BLOCK, device=self._number, latency="low",
                callback=self._take,
            )  # fmt: skip
            self._device.start()
        except (self._audio.PortAudioError, OSError, ValueError) as error:
            self.stop()
            cure = "Close other programs that hold it, or allow its use"
            raise DeviceError(self.name, f"cannot be opened ({error})", cure) from error

    def _take(self, block: np.ndarray, _frames: int, at: Any, _status: Any) -> None:
        """Called by PortAudio, from its own thread: nothing here may wait."""
        late = at.currentTime - at.inputBufferAdcTime if at is not None and at.inputBufferAdcTime > 0 else 0.0
        if self._heard.full():
            with contextlib.suppress(queue.Empty):
                self._heard.get_nowait()
        self._heard.put_nowait((time.monotonic() - min(1.0, max(0.0, late)), block[:, 0].copy()))

    def write(self, begin: float) -> None:
        """Write what was heard since. begin: when the first picture was captured, seconds of `time.monotonic()`."""
        import av

        self._placing = self._placing or Placing(begin)
        while not self._heard.empty():
            at, block = self._heard.get_nowait()
            first = self._placing.given
            samples = self._placing.place(block, at)
            if not len(samples):
                continue
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, self._stream.codec_context.time_base
            for packet in self._encoder().resample(frame):
                self._mux(packet)

    def _encoder(self) -> Any:
        """AAC takes frames of one length."""
        if not hasattr(self, "_cut"):
            from av.audio.resampler import AudioResampler

            size = self._stream.codec_context.frame_size or 1024
            self._cut = AudioResampler("fltp", "mono", RATE, frame_size=size)
        return self._cut

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def stop(self) -> None:
        """Hear no more. Safe to call twice."""
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def finish(self) -> None:
        """Write what is left; the container is still open."""
        if self._placing is not None:
            for frame in self._encoder().resample(None):
                self._mux(frame)
            self._mux(None)
