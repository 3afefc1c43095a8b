"""Sound as a driver, where there is no camera: lips follow what is heard, head and eyes are alive by themselves.

A microphone is heard live; its codes come `voice.lips.DELAY` after the sound. In a recording the sound of the next
moments is at hand, so that its codes are exactly in time.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from realtime.errors import BadFile, DeviceError
from realtime.flow.pacing import Backoff, Cadence, MediaClock
from realtime.home import user_path
from realtime.media.microphones import choose_microphone, portaudio
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Direction, MotionCode
from realtime.voice.hearing import RATE
from realtime.voice.lips import DELAY
from realtime.voice.reading import SoundFile
from realtime.voice.speaker import Speaker

SILENT_SECONDS = 2.0
"""A microphone that gives nothing for so long is gone."""
MOST_WAITING = 64
"""Blocks of sound that wait while nobody reads; the oldest give way."""


class SoundSource(SourceBase):
    """`argument`: a recording, or a video, whose sound drives."""

    def __init__(self, argument: str, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = user_path(argument)
        self.name = self.path.name
        self.fps = options.fps
        self._file: SoundFile | None = None
        self._speaker: Speaker | None = None
        self._fits: tuple[str, Sequence[Direction]] | None = None
        self._pieces: Iterator[np.ndarray] = iter(())
        self._clock = MediaClock()
        self._end: float | None = None
        self._next = self._first = self._round = 0

    def check(self) -> None:
        """Raises BadFile where there is no sound in the file."""
        file = SoundFile(self.path)
        self.frames = None if file.seconds is None else max(1, round(file.seconds * self.options.fps))
        file.close()

    def fit(self, kind: str, directions: Sequence[Direction]) -> None:
        """Raises BadValue where nobody knows what codes of this kind say of lips."""
        self._fits = kind, directions
        self._speaker = Speaker(kind, directions)
        self.kind, self.reference = kind, self._speaker.reference

    def open(self) -> None:
        self._begin()

    def read(self) -> MotionCode | None:
        speaker = self._speaker
        assert speaker is not None
        at = (self._next - self._first) / self.options.fps
        self._hear(speaker, at)
        if self._end is not None and at >= self._end - 1e-6:
            if not (self.options.loop and self.options.paced and self._next > self._first):
                return None
            self._first = self._next
            self._begin()
            return self.read()
        pts = self._next / self.options.fps
        if self.options.paced:
            self.sleep_until(self._clock.due(pts, time.monotonic()))
        code = speaker.code(at, time.monotonic(), self._next)
        self._next += 1
        return MotionCode(code.kind, code.values, code.captured, pts, code.index)

    def close(self) -> None:
        self._pieces = iter(())
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self.close()
        assert self._fits is not None
        self._file = SoundFile(self.path)
        self._pieces, self._end = self._file.samples(), None
        self._speaker = Speaker(*self._fits, seed=self._round)
        self._round += 1

    def _hear(self, speaker: Speaker, at: float) -> None:
        """Feed until the mouth of moment `at` is known, or the sound is over."""
        while self._end is None and speaker.known < at + 1.0 / self.options.fps:
            piece = next(self._pieces, None)
            if piece is None:
                if speaker.heard == 0.0:
                    raise BadFile(self.path, "holds no sound")
                self._end = speaker.heard
                speaker.feed(np.zeros(round(2 * DELAY * RATE), np.float32))
            else:
                speaker.feed(piece)


class MicrophoneSource(SourceBase):
    """`argument`: "", a number, or a part of the microphone's name. audio: the library; tests bring their own."""

    live = True

    def __init__(self, argument: str, options: SourceOptions, audio: Any = None) -> None:
        super().__init__(options)
        self.wanted = argument.strip()
        self.name = f"microphone {self.wanted}".strip()
        self.fps = options.fps
        self._audio = audio
        self._stream: Any = None
        self._heard: queue.Queue[np.ndarray] = queue.Queue(MOST_WAITING)
        self._cadence = Cadence(options.fps)
        self._back_off = Backoff()
        self._speaker: Speaker | None = None
        self._index = 0
        self._last_sound = 0.0

    def check(self) -> None:
        """Raises NoDevice where the system has no such microphone, or no PortAudio."""
        if self._audio is None:
            self._audio = portaudio()
        number, self.name = choose_microphone(self.wanted, self._audio.query_devices(), self._default())
        self._number = number

    def fit(self, kind: str, directions: Sequence[Direction]) -> None:
        """Raises BadValue where nobody knows what codes of this kind say of lips."""
        self._speaker = Speaker(kind, directions, seed=time.monotonic_ns() & 0xFFFF)
        self.kind, self.reference = kind, self._speaker.reference

    def open(self) -> None:
        self._connect()

    def read(self) -> MotionCode | None:
        speaker = self._speaker
        assert speaker is not None
        self.sleep_until(self._cadence.due(time.monotonic()))
        if self.stopping():
            return None
        self._listen(speaker)
        while self._lost():
            if not self._reconnect():
                return None
        now = time.monotonic()
        code = speaker.code(speaker.known, now - DELAY, self._index)
        self._index += 1
        return code

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _listen(self, speaker: Speaker) -> None:
        while not self._heard.empty():
            speaker.feed(self._heard.get_nowait())
            self._last_sound = time.monotonic()

    def _lost(self) -> bool:
        return self._stream is None or time.monotonic() - self._last_sound > SILENT_SECONDS

    def _connect(self) -> None:
        """Raises DeviceError where it is in use or taken away."""
        try:
            self._stream = self._audio.InputStream(
                samplerate=RATE, channels=1, dtype="float32", blocksize=RATE // 100, device=self._number,
                latency="low", callback=self._take,
            )  # fmt: skip
            self._stream.start()
        except (self._audio.PortAudioError, OSError, ValueError) as error:
            self.close()
            raise DeviceError(
                self.name, f"cannot be opened ({error})", "Close other programs that hold it, or allow its use"
            ) from error
        self._last_sound = time.monotonic()

    def _take(self, block: np.ndarray, _frames: int, _time: Any, _status: Any) -> None:
        """Called by PortAudio, from its own thread: nothing here may wait."""
        if self._heard.full():
            with contextlib.suppress(queue.Empty):
                self._heard.get_nowait()
        self._heard.put_nowait(block[:, 0].copy())

    def _reconnect(self) -> bool:
        """One attempt. False where it is time to stop."""
        if not self.waiting:
            self.waiting = True
            self.tell(f"{self.name} gives no more sound; waiting for it to come back")
        self.close()
        self.sleep_until(time.monotonic() + self._back_off.next())
        if self.stopping():
            return False
        try:
            self._audio._terminate()  # PortAudio lists devices once, as it starts
            self._audio._initialize()
            self.check()
            self._connect()
        except DeviceError:
            return True
        self.waiting = False
        self._back_off.reset()
        self.tell(f"{self.name} is back")
        return True

    def _default(self) -> int | None:
        number = self._audio.default.device[0]
        return int(number) if number is not None and number >= 0 else None
