"""Sound of a file, or of packets from a peer, as `hearing.RATE` samples a second of one channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import BadFile
from realtime.voice.hearing import RATE

GAP = RATE // 20
"""Samples of silence from which on a gap in the timestamps is one; less is rounding."""


class OneChannel:
    """Turns decoded frames of any rate, format and number of channels into float32 samples."""

    def __init__(self) -> None:
        from av.audio.resampler import AudioResampler

        self._resampler = AudioResampler(format="flt", layout="mono", rate=RATE)

    def take(self, frame: Any) -> np.ndarray:
        """frame: an `av.AudioFrame`, None for the last samples. float32 (N,), from -1 to 1; N may be 0."""
        pts = None if frame is None else frame.pts
        if frame is not None:
            frame.pts = None  # samples are counted; a resampler that sees a gap would fill it its own way
        out = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        if frame is not None:
            frame.pts = pts
        return np.concatenate(out) if out else np.zeros(0, np.float32)


class SoundFile:
    """The sound of a file: first audio stream, from media time 0. Raises BadFile where there is none."""

    def __init__(self, path: Path) -> None:
        import av

        if path.is_dir() or not path.exists():
            raise BadFile(path, "is a folder, not a recording" if path.is_dir() else "no such file")
        try:
            self._container: Any = av.open(str(path.absolute()))
        except PermissionError as error:
            raise BadFile(path, "may not be read (permission denied)") from error
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadFile(path, "is not a recording that can be read") from error
        if not self._container.streams.audio:
            self.close()
            raise BadFile(path, "holds no sound")
        self._path, self._stream = path, self._container.streams.audio[0]
        self.decoded = 0
        """Samples given so far."""

    @property
    def seconds(self) -> float | None:
        """How long it says it is; None where it does not say."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def samples(self) -> Iterator[np.ndarray]:
        """All of it, piece by piece; what does not decode ends it. Raises BadFile where nothing does."""
        import av

        channel = OneChannel()
        try:
            for frame in self._container.decode(self._stream):
                begin = None if frame.time is None else round(frame.time * RATE)
                if begin is not None and begin - self.decoded > GAP:
                    yield self._count(np.zeros(begin - self.decoded, np.float32))
                piece = channel.take(frame)
                early = 0 if begin is None or self.decoded else max(0, -begin)  # before 0: for the decoder alone
                yield self._count(piece[early:])
        except (av.FFmpegError, ValueError) as error:
            if not self.decoded:
                raise BadFile(self._path, f"the sound cannot be decoded ({error})") from error
        yield self._count(channel.take(None))

    def _count(self, piece: np.ndarray) -> np.ndarray:
        self.decoded += len(piece)
        return piece

    def close(self) -> None:
        """Free the file."""
        self._container.close()
