"""A clip's sound as AAC, where its own codec does not belong into the file: browsers play no PCM in an MP4."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
"""Samples a second that every AAC decoder knows."""
BITS = 128_000
"""A second, for one or two channels."""


def must_encode(codec: str, container: str) -> bool:
    """Whether sound of this codec is not copied into a file of FFmpeg's format `container`."""
    return container == "mp4" and codec.startswith("pcm_")


class Encoded:
    """The sound of `source`, an input container, as AAC in a new stream of `container`. Packets come in order."""

    def __init__(self, source: Any, container: Any) -> None:
        from av.audio.resampler import AudioResampler

        self._source, told = source, source.streams.audio[0]
        rate = told.rate if told.rate in RATES else RATES[0]
        self.stream = container.add_stream("aac", rate=rate)
        self.stream.bit_rate = BITS
        layout = "mono" if told.channels == 1 else "stereo"
        self.stream.layout = layout
        self._resampler = AudioResampler(
            "fltp", layout, rate, frame_size=self.stream.codec_context.frame_size or 1024
        )

    def packets(self) -> Iterator[Any]:
        """All packets. Raises FFmpegError."""
        for frame in self._source.decode(audio=0):
            for part in self._resampler.resample(frame):
                yield from self.stream.encode(part)
        for part in self._resampler.resample(None):
            yield from self.stream.encode(part)
        yield from self.stream.encode(None)
