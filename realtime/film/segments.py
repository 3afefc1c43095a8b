"""A long film in segments, and what is kept of the finished ones: a film that was stopped goes on where it was.

A segment begins with the last frames of the one before (the overlap). It is finished when its record is there: its
pictures, those last frames as the network made them, and the state of the random numbers. With the same prepared film
and settings the rest comes out bit for bit as it would have without the stop.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtime.errors import BadFile, BadValue
from realtime.media.pictures import read_picture, write_picture
from realtime.outputs import not_written, write_whole

SETTINGS = "settings.json"
PICTURES = "frames"


@dataclass(frozen=True)
class Segment:
    """The frames [start, stop) of the film; the first `overlap` of them, 0 in the first segment, are known already.
    stop may lie beyond the film's end: see `reflected`."""

    index: int
    start: int
    stop: int
    overlap: int


def segments_of(frames: int, length: int, overlap: int) -> list[Segment]:
    """`frames` as segments of `length`, each after the first beginning with `overlap` frames of the one before.
    Raises BadValue."""
    if not 0 < 2 * overlap < length:
        raise BadValue("segment", length, f"more than twice the overlap of {overlap} frames")
    step = length - overlap
    count = max(1, -(-(frames - overlap) // step))
    return [Segment(k, k * step, k * step + length, overlap if k else 0) for k in range(count)]


def reflected(index: int, frames: int) -> int:
    """The frame that stands at `index` where a film goes on beyond its end: it runs back and forth."""
    if frames == 1:
        return 0
    index %= 2 * (frames - 1)
    return min(index, 2 * (frames - 1) - index)


@dataclass(frozen=True)
class State:
    """What a segment hands on. tail: the last frames as the network made them, float32, shape its own; random: the
    state of the random numbers, uint8."""

    tail: np.ndarray
    random: np.ndarray


class Kept:
    """The finished segments of a film in `folder`. settings: all that decides how the film comes out."""

    def __init__(
        self, folder: Path, settings: Mapping[str, object], segments: Sequence[Segment], frames: int
    ) -> None:
        self.folder, self.segments, self.frames = folder, segments, frames
        self._settings = json.loads(json.dumps(dict(settings)))

    def open(self, restart: bool = False) -> int:
        """How many segments are finished. Begins anew with `restart`. Raises BadFile where the folder holds segments
        that were made with other settings, and NotWritten."""
        path = self.folder / SETTINGS
        if restart and self.folder.exists():
            shutil.rmtree(self.folder)
        if path.exists():
            try:
                earlier = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise BadFile(path, "is damaged; --restart makes the film anew") from error
            other = [
                f"{name} {earlier.get(name)!r} (now {value!r})"
                for name, value in self._settings.items()
                if earlier.get(name) != value
            ]
            if other:
                reason = f"holds segments made with another {'; '.join(other)}"
                raise BadFile(self.folder, f"{reason}: take the same again to go on, or --restart to make it anew")
        try:
            (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_written(self.folder, error) from error
        if not path.exists():
            write_whole(path, json.dumps(self._settings, indent=1) + "\n")
        return self.finished()

    def finished(self) -> int:
        """How many segments are whole, counted from the first on."""
        return next((n for n, segment in enumerate(self.segments) if not self._whole(segment)), len(self.segments))

    def state(self, finished: int) -> State | None:
        """What the last of `finished` segments handed on; None before the first. Raises BadFile."""
        if finished == 0:
            return None
        path = self._record(finished - 1)
        try:
            with np.load(path, allow_pickle=False) as record:
                return State(record["tail"], record["random"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BadFile(path, "is damaged; remove it, and that segment is made again") from error

    def keep(self, segment: Segment, pictures: np.ndarray, state: State) -> None:
        """Keep a finished segment: uint8 (N, H, W, 3), its new frames within the film. Raises NotWritten."""
        for n, picture in zip(self._new(segment), pictures, strict=True):
            write_picture(self._picture(n), picture)
        content = io.BytesIO()
        np.savez(content, tail=state.tail, random=state.random)
        write_whole(self._record(segment.index), content.getvalue())

    def new_frames(self, segment: Segment) -> int:
        """How many frames the segment adds to the film."""
        return len(self._new(segment))

    def pictures(self) -> Iterator[np.ndarray]:
        """All frames of the finished film, uint8 (H, W, 3). Raises BadFile."""
        return (read_picture(self._picture(n)) for n in range(self.frames))

    def _new(self, segment: Segment) -> range:
        return range(segment.start + segment.overlap, min(segment.stop, self.frames))

    def _whole(self, segment: Segment) -> bool:
        return self._record(segment.index).is_file() and all(self._picture(n).is_file() for n in self._new(segment))

    def _record(self, index: int) -> Path:
        return self.folder / f"segment-{index:03d}.npz"

    def _picture(self, frame: int) -> Path:
        return self.folder / PICTURES / f"{frame:05d}.png"


OnStep = Callable[[int, int], None]
"""Told which segment, and how many steps of it are done."""
