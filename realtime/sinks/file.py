"""A video file: H.264 in MP4, tagged BT.709, written in fragments so that a crash loses at most a second.

While it is written the file is fragmented MP4, playable at any moment, under a name beside its own (out.partial.mp4).
When it is closed well it becomes a plain one (FFmpeg's `hybrid_fragmented`), which every player can seek in; where it
is complete it then takes its own name, in place of an earlier file, and otherwise it stays what it is. Where this
FFmpeg has no H.264 encoder the next best codec is taken, and the user is told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import AvatarError, BadFile, NotWritten
from realtime.home import user_path
from realtime.media.pictures import check_folder_of, fit_into
from realtime.outputs import Draft
from realtime.sinks import SinkBase, SinkOptions
from realtime.sinks.sound import Encoded, must_encode
from realtime.sinks.voice import Voice
from realtime.types import Picture

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
ENCODERS = ("libx264", "h264_videotoolbox", "h264_mf", "libopenh264", "mpeg4")
"""In order of preference: the software encoder first, for it alone has the same quality everywhere."""

TIME_BASE = Fraction(1, 90_000)  # divides the periods of 24, 25, 30, 50, 60 and (30000/1001) fps exactly
_BT709, _LIMITED = 1, 1
_BICUBIC_EXACT = 0x4 | 0x40000 | 0x2000 | 0x4000  # swscale: bicubic chroma, exact rounding


class FileSink(SinkBase):
    """Writes pictures with their own timestamps; the first one is at 0. Odd sizes lose their last row or column."""

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)
        self.path = user_path(argument)
        self.name = self.path.name or "file"
        self._draft: Draft | None = None
        self._container: Any = None
        self._sound: _Sound | None = None
        self._voice = Voice(options.microphone) if options.microphone is not None else None
        self._failed = False
        self._first_captured = 0.0
        self._first_pts: float | None = None
        self._last_tick = -1
        self.written = 0

    def check(self) -> None:
        """Raises BadFile where the name or the folder will not do."""
        if not str(self.path) or self.path == Path("."):
            raise BadFile("file", "a file sink needs a path, as in file:out.mp4")
        if self.path.suffix.lower() not in CONTAINERS:
            raise BadFile(self.path, f"the name must end in {', '.join(CONTAINERS)}")
        check_folder_of(self.path)
        if self._voice is not None:
            self._voice.check()

    def open(self, width: int, height: int, fps: float) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        from realtime.media.watermark import embed

        self._width, self._height = max(2, width - width % 2), max(2, height - height % 2)
        self._period = 1.0 / fps
        rate = Fraction(fps).limit_denominator(1001)
        self._draft = Draft(self.path, kept=True)
        kind, name = CONTAINERS[self.path.suffix.lower()], str(self._draft.at)
        try:
            self._container = av.open(name, "w", format=kind, options=self._muxer_options())
        except (av.FFmpegError, OSError) as error:
            self._draft.drop()
            raise BadFile(self.path, f"cannot be written ({error})") from error
        encoder = next((name for name in ENCODERS if name in av.codecs_available), None)
        if encoder is None:
            raise AvatarError("this FFmpeg has no encoder for H.264 or MPEG-4: pip install --force-reinstall av")
        if encoder == "mpeg4":
            self.tell(f"{self.name}: this FFmpeg has no H.264 encoder; MPEG-4 is written instead")
        self._stream = self._container.add_stream(encoder, rate=rate, options=self._encoder_options(encoder))
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._stream.time_base = TIME_BASE
        context.gop_size = max(1, round(fps))
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        context.thread_count = 2
        if self.options.audio is not None:
            self._sound = _Sound.of(self.options.audio, self._container)
        if self._voice is not None:
            self._voice.open(self._container)
        self._reformatter, self._embed = VideoReformatter(), embed

    def write(self, picture: Picture) -> None:
        import av

        image = fit_into(self.shown(picture), self._width, self._height)
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(image, format="rgb24"),
            format="yuv420p",
            src_color_range=2,
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED,
            interpolation=_BICUBIC_EXACT,
        )
        if self.options.mark:
            self._embed(_luma(frame))
        frame.color_primaries = frame.color_trc = _BT709
        frame.time_base = TIME_BASE
        if self._first_pts is None:
            self._first_pts, self._first_captured = picture.pts, picture.captured
        tick = max(round((picture.pts - self._first_pts) / TIME_BASE), self._last_tick + 1)
        frame.pts = tick
        try:
            self._mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.copy_until(float(tick * TIME_BASE))
            if self._voice is not None:
                self._voice.write(self._first_captured)
        except av.FFmpegError as error:
            raise self._broken(error) from error
        self._last_tick = tick
        self.written += 1

    def close(self) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        import av

        assert self._draft is not None
        failed_before = self._failed
        if self._voice is not None:
            self._voice.stop()
        try:
            with contextlib.closing(container), self._sound or contextlib.nullcontext():
                if self.written:
                    self._mux(self._stream.encode(None), container)
                    if self._sound is not None:
                        self._sound.copy_until(float(self._last_tick * TIME_BASE) + self._period)
                    if self._voice is not None:
                        self._voice.finish()
        except av.FFmpegError as error:
            if not failed_before:  # else it is said already
                raise self._broken(error) from error
        finally:
            self._settle(self._draft)

    def _settle(self, draft: Draft) -> None:
        """Put the closed file in its place, keep it as what was finished, or remove it where nothing was."""
        if not self.written:
            draft.drop()
        elif not self._failed and self.complete():
            draft.finish()
            seconds = float(self._last_tick * TIME_BASE) + self._period
            self.made = f"{self.path}: {self.written} frames, {seconds:.1f} s"
        elif not self._failed:
            self.kept = f"{self._partial(draft)} holds the first {self.written} frames"

    def _broken(self, error: Any) -> AvatarError:
        """The error for the user when writing failed, as on a full disk."""
        self._failed = True
        left = f"; {self._partial(self._draft)} holds what was finished" if self.written and self._draft else ""
        return NotWritten(self.path, f"writing failed ({error.strerror or error}){left}")

    def _partial(self, draft: Draft) -> Path:
        return self.path.with_name(draft.at.name)

    def _mux(self, packets: list[Any], container: Any = None) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = max(1, round(self._period / packet.time_base))
            (container or self._container).mux(packet)

    def _muxer_options(self) -> dict[str, str]:
        if self.path.suffix.lower() == ".mkv":
            return {"flush_packets": "1"}
        # The description waits for the first fragment (delay_moov): by then it is known that the sound begins before
        # 0, with samples that set the decoder up, and an edit list hides them. Otherwise FFmpeg moves all else later.
        return {"movflags": "hybrid_fragmented+delay_moov+frag_keyframe+default_base_moof", "flush_packets": "1"}

    def _encoder_options(self, encoder: str) -> dict[str, str]:
        if encoder != "libx264":
            return {}
        if self.options.live:
            return {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        return {"preset": "medium", "crf": "18", "bf": "0"}


def _luma(frame: Any) -> np.ndarray:
    """The luma plane of a 4:2:0 frame, uint8 (H, W); writing to it changes the frame."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


class _Sound:
    """The sound of a clip, copied packet by packet beside the pictures. packets: of the clip, or encoded anew."""

    def __init__(self, source: Any, stream: Any, container: Any, packets: Iterator[Any]) -> None:
        self._source, self._container, self._out = source, container, stream
        self._packets = packets
        self._waiting: Any = None

    @classmethod
    def of(cls, path: Path, container: Any) -> _Sound | None:
        """None where the clip has no sound, or one that this kind of file cannot hold."""
        import av

        source = av.open(str(path.absolute()))
        try:
            if not source.streams.audio:
                source.close()
                return None
            told = source.streams.audio[0]
            if must_encode(told.codec.name, container.format.name):
                encoded = Encoded(source, container)
                return cls(source, encoded.stream, container, encoded.packets())
            return cls(source, container.add_stream_from_template(told), container, source.demux(told))
        except (av.FFmpegError, ValueError):
            source.close()
            return None

    def copy_until(self, seconds: float) -> None:
        """Write the packets that begin before `seconds` of media time."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if packet.dts is None:
                continue
            if float(packet.dts * packet.time_base) > seconds:
                self._waiting = packet
                return
            packet.stream = self._out
            self._container.mux(packet)

    def __enter__(self) -> _Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
