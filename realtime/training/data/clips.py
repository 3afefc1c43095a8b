"""From a folder of videos to training data: find the face, crop it, write the frames into tar shards with an index.

A clip is cut where the face is lost or wanders out of reach of one crop; every piece has one fixed square, so that
the head moves inside a picture that stands still. Shards follow WebDataset's layout: the members of one sample
share the name up to the first dot (``talk-0000.0012.jpg``), so that the same files stream from a web server.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realtime.engines.neural.crop import LIFT, box_of
from realtime.errors import AvatarError, BadFile
from realtime.outputs import write_whole

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
INDEX_NAME = "index.json"
FORMAT = 1
SHORTEST = 16
"""Frames of the shortest piece that is kept."""
LOOK_EVERY = 5
"""The face is sought in every so many frames; between them it is taken to stay near."""


@dataclass(frozen=True)
class Piece:
    """A run of frames with one crop. first, last: frame numbers, `last` included. square: left, top and side of the
    crop in pixels of the video."""

    first: int
    last: int
    square: tuple[int, int, int]


@dataclass
class IndexedClip:
    """One piece in a shard. name: unique. shard: file name. frames: (offset, length) of each JPEG in the shard."""

    name: str
    source: str
    shard: str
    frames: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Index:
    """What `index.json` holds. size: side of the stored pictures. sources: modification time and length of every
    video that was read, to see what is new. skipped: why a video gave nothing."""

    size: int
    margin: float
    clips: list[IndexedClip] = field(default_factory=list)
    sources: dict[str, list[int]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return sum(len(clip.frames) for clip in self.clips)


def read_index(folder: str | Path) -> Index:
    """The index of a data folder. Raises BadFile."""
    path = Path(folder) / INDEX_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError("made by another version")
        clips = [IndexedClip(c["name"], c["source"], c["shard"], [tuple(f) for f in c["frames"]])
                 for c in values.pop("clips")]  # fmt: skip
        return Index(clips=clips, **values)
    except OSError as error:
        raise BadFile(path, "there is no index here; avatar train makes one from a folder of videos") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(path, f"not a readable index ({error})") from error


def find_videos(folder: str | Path) -> list[Path]:
    """The videos under `folder` (or the one video that it is), by name. Raises BadFile where there is none."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES) if folder.is_dir() else []
    if not found:
        raise BadFile(folder, "there are no videos here (" + ", ".join(sorted(VIDEO_SUFFIXES)) + ")")
    return found


def cut(
    boxes: Sequence[np.ndarray | None], every: int, frames: int, margin: float, width: int, height: int
) -> list[Piece]:
    """Where to cut a clip, and each piece's square.

    boxes: per looked-at frame (every `every`-th) the face as (centre x, centre y, longer side) in pixels, None where
    there is none. margin: side of the square in those. A piece ends where the face is lost, where it leaves the
    middle of the square by more than a fifth of its side, or where its size changes by more than half. The square
    lies around the face as that of the engines does (`engines.crop.square_around`) and is pushed into the frame of
    width x height pixels; it is made smaller only where it does not fit.
    """
    pieces: list[Piece] = []
    run: list[tuple[int, np.ndarray]] = []

    def close() -> None:
        if run:
            at = np.array([box for _, box in run])
            unit = float(np.median(at[:, 2]))
            side = min(max(16, round(unit * margin)), width, height)
            middle = (at[:, :2].min(0) + at[:, :2].max(0)) / 2 - (0, LIFT * unit)
            first, last = run[0][0] * every, min(frames, (run[-1][0] + 1) * every) - 1
            if last - first + 1 >= SHORTEST:
                left = min(max(0, round(float(middle[0]) - side / 2)), width - side)
                top = min(max(0, round(float(middle[1]) - side / 2)), height - side)
                pieces.append(Piece(first, last, (left, top, side)))
        run.clear()

    for number, box in enumerate(boxes):
        if box is None:
            close()
            continue
        if run:
            at = np.array([b for _, b in run] + [box])
            side = float(np.median(at[:, 2])) * margin
            wander = (at[:, :2].max(0) - at[:, :2].min(0)).max()
            if wander > 0.4 * side or at[:, 2].max() > 1.5 * at[:, 2].min():
                close()
        run.append((number, box))
    close()
    return pieces


def fitted(image: np.ndarray, size: int) -> np.ndarray:
    """A square picture at size x size."""
    if image.shape[:2] == (size, size):
        return image
    import cv2

    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC)


def crop(image: np.ndarray, square: tuple[int, int, int], size: int) -> np.ndarray:
    """The `square` (left, top, side) of `image` at size x size."""
    left, top, side = square
    return fitted(image[top : top + side, left : left + side], size)


def face_box(landmarks: np.ndarray) -> np.ndarray:
    """(centre x, centre y, longer side) of the face from landmarks (478, 3) in pixels."""
    left, top, right, bottom = box_of(landmarks)
    return np.array([(left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)])


def decoded(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video: uint8 (H, W, 3) RGB. A file that breaks off ends early; raises BadFile where nothing
    can be read."""
    import av

    try:
        container = av.open(str(path.absolute()))
    except (OSError, ValueError) as error:
        raise BadFile(path, "cannot be opened as a video") from error
    with container:
        if not container.streams.video:
            raise BadFile(path, "holds no video")
        with contextlib.suppress(av.error.InvalidDataError, av.error.EOFError):
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")


class ShardWriter:
    """Appends samples to tar shards of at most `limit` bytes and keeps the index.

    Used as a context: the index is written when the block ends without an error."""

    def __init__(self, folder: Path, index: Index, limit: int = 512 << 20) -> None:
        self.folder, self.index, self.limit = folder, index, limit
        folder.mkdir(parents=True, exist_ok=True)
        self._number = 1 + max((int(c.shard[6:11]) for c in index.clips), default=-1)
        self._tar: tarfile.TarFile | None = None
        self._shard = ""

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if self._tar is not None:
            self._tar.close()
        if kind is None:
            self.save()

    def add(self, name: str, source: str, pictures: Sequence[bytes]) -> None:
        """One sample: the JPEG files of consecutive frames. `name` has no dot."""
        if self._tar is None or self._tar.offset > self.limit:
            if self._tar is not None:
                self._tar.close()
            self._shard = f"shard-{self._number:05d}.tar"
            self._number += 1
            self._tar = tarfile.open(self.folder / self._shard, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        clip = IndexedClip(name, source, self._shard)
        for number, data in enumerate(pictures):
            member = tarfile.TarInfo(f"{name}.{number:04d}.jpg")
            member.size = len(data)
            clip.frames.append((self._tar.offset + tarfile.BLOCKSIZE, len(data)))
            self._tar.addfile(member, io.BytesIO(data))
        self.index.clips.append(clip)

    def save(self) -> None:
        write_whole(self.folder / INDEX_NAME, json.dumps({"format": FORMAT, **asdict(self.index)}))


def build_index(
    videos: Sequence[Path],
    folder: str | Path,
    size: int,
    margin: float,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Index:
    """Crop the faces of all `videos` into shards in `folder`, and return the index.

    Videos that an index in that folder already covers, at the same size and margin, are not read again. progress is
    called with videos done, videos in all, and the name of the one being read. A video that cannot be read or that
    shows no face is noted in `skipped` and left out; raises BadFile where no video gave anything.
    """
    folder = Path(folder)
    index = Index(size, margin)
    if (folder / INDEX_NAME).exists():
        known = read_index(folder)
        if (known.size, known.margin) == (size, margin):
            index = known
        else:
            raise BadFile(
                folder, f"holds pictures of size {known.size} and margin {known.margin}; take another folder"
            )
    stamps = {v: [int(v.stat().st_mtime), v.stat().st_size] for v in videos}
    new = [v for v in videos if index.sources.get(v.name) != stamps[v]]
    changed = {v.name for v in new} & set(index.sources)
    if changed:
        raise BadFile(folder, f"{sorted(changed)[0]} has changed since it was indexed; take another folder")
    if new:
        with ShardWriter(folder, index) as writer:
            for done, video in enumerate(new):
                progress(done, len(new), video.name)
                try:
                    _add_video(writer, video, size, margin)
                except AvatarError as error:
                    index.skipped[video.name] = str(error)
                index.sources[video.name] = stamps[video]
            progress(len(new), len(new), "")
    if not index.clips:
        reasons = "; ".join(f"{k}: {v}" for k, v in list(index.skipped.items())[:3])
        raise BadFile(folder, f"no video gave anything to train on ({reasons})")
    return index


def _add_video(writer: ShardWriter, video: Path, size: int, margin: float) -> None:
    import cv2

    from realtime.face.landmarks import FaceTracker

    boxes: list[np.ndarray | None] = []
    frames = width = height = 0
    with FaceTracker() as tracker:
        for frame in decoded(video):
            height, width = frame.shape[:2]
            if frames % LOOK_EVERY == 0:
                face = tracker.track(frame)
                boxes.append(None if face is None else face_box(face))
            frames += 1
    pieces = cut(boxes, LOOK_EVERY, frames, margin, width, height)
    if not pieces:
        raise BadFile(video, f"no face for {SHORTEST} frames on end" if frames else "holds no frames")
    pictures: list[list[bytes]] = [[] for _ in pieces]
    for number, frame in enumerate(decoded(video)):
        for piece, held in zip(pieces, pictures, strict=True):
            if piece.first <= number <= piece.last:
                image = cv2.cvtColor(crop(frame, piece.square, size), cv2.COLOR_RGB2BGR)
                held.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in video.stem)
    for number, held in enumerate(pictures):
        writer.add(f"{stem}-{number:04d}", video.name, held)
