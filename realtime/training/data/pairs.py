"""Self-reenactment pairs: two frames of one clip, the first as the portrait, the second as what drives it.

`PairSet` reads indexed shards on disk. Which pair is number n of a run follows from the seed and n alone, whatever
the number of workers, so that a resumed run sees exactly what it would have seen. `StreamedPairs` reads shards in
the order in which they come, for data on a web server.
"""

from __future__ import annotations

import os
import re
import tarfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from realtime.errors import BadFile
from realtime.training.config import DataConfig
from realtime.training.data.clips import Index, IndexedClip, fitted

ATTEMPTS = 20
"""Pairs tried in place of one that cannot be read."""


def draw(seed: int, number: int) -> np.random.Generator:
    """The random numbers of pair `number`: a stream of its own for every seed and number."""
    return np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), number]))


def augment(pair: np.ndarray, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """The same mirroring and the same change of colour for both pictures. pair: uint8 (2, S, S, 3) RGB."""
    if config.flip and rng.random() < 0.5:
        pair = pair[:, :, ::-1]
    if config.jitter > 0:
        pair = _recolour(pair, rng.uniform(-config.jitter, config.jitter, 4))
    return np.ascontiguousarray(pair)


def _recolour(pair: np.ndarray, change: np.ndarray) -> np.ndarray:
    """change: of brightness, contrast, saturation (shares) and hue (tenths of a turn)."""
    brightness, contrast, saturation = 1 + change[:3]
    luma = np.array([0.299, 0.587, 0.114])
    # Hue turns the colour about the grey axis.
    turn = 2 * np.pi * 0.1 * change[3]
    axis = np.ones(3) / np.sqrt(3)
    cross = np.cross(np.eye(3), axis)
    rotate = np.cos(turn) * np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * np.outer(axis, axis)
    grey = np.outer(np.ones(3), luma)
    matrix = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * grey) @ rotate
    shift = (1 - contrast) * brightness * float((pair.reshape(-1, 3) @ luma).mean())
    return np.clip(pair @ matrix.T + shift, 0, 255).astype(np.uint8)


def as_tensors(pair: np.ndarray) -> torch.Tensor:
    """uint8 (2, S, S, 3) to float32 (2, 3, S, S) in 0..1."""
    return torch.from_numpy(pair).permute(0, 3, 1, 2).float() / 255


def decode(data: bytes, name: str) -> np.ndarray:
    """A JPEG file as uint8 (S, S, 3) RGB. Raises BadFile."""
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise BadFile(name, "holds a picture that cannot be read")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def trained_frames(clip: IndexedClip, hold_out: float) -> int:
    """How many frames from the start of a clip are trained on; the rest is held out. Two at least."""
    return max(2, len(clip.frames) - round(hold_out * len(clip.frames)))


class PairSet(Dataset[torch.Tensor]):
    """Pairs from the shards of an index: item n is float32 (2, 3, size, size) in 0..1, portrait then driving frame.

    `broken` counts pictures that could not be read (in this process); another pair is given in their place. Raises
    BadFile where `ATTEMPTS` in a row cannot be read.
    """

    def __init__(self, folder: str | Path, index: Index, config: DataConfig, size: int, seed: int) -> None:
        self.folder, self.index, self.config, self.size, self.seed = Path(folder), index, config, size, seed
        self.clips = [clip for clip in index.clips if len(clip.frames) >= 2]
        if not self.clips:
            raise BadFile(folder, "no clip has two frames")
        self.broken = 0
        self._files: dict[str, int] = {}
        self._owner = 0
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> torch.Tensor:
        rng = draw(self.seed, number)
        reason: BadFile | None = None
        for _ in range(ATTEMPTS):
            clip = self.clips[int(rng.integers(len(self.clips)))]
            first, second = rng.choice(trained_frames(clip, self.config.hold_out), 2, replace=False)
            try:
                pair = np.stack([self.picture(clip, int(first)), self.picture(clip, int(second))])
            except BadFile as error:
                self.broken += 1
                reason = error
                continue
            return as_tensors(augment(pair, self.config, rng))
        assert reason is not None
        raise reason

    def picture(self, clip: IndexedClip, frame: int) -> np.ndarray:
        """Frame number `frame` of a clip: uint8 (size, size, 3) RGB. Raises BadFile."""
        offset, length = clip.frames[frame]
        data = os.pread(self._file(clip.shard), length, offset)
        return fitted(decode(data, f"{clip.shard} ({clip.name}, frame {frame})"), self.size)

    def held_out(self) -> list[tuple[IndexedClip, int]]:
        """The frames that are not trained on; all frames where none is held out."""
        frames = [
            (clip, n)
            for clip in self.clips
            for n in range(trained_frames(clip, self.config.hold_out), len(clip.frames))
        ]
        return frames or [(clip, n) for clip in self.clips for n in range(1, len(clip.frames))]

    def _file(self, shard: str) -> int:
        with self._lock:
            if self._owner != os.getpid():  # A forked worker opens its own files.
                self._files, self._owner = {}, os.getpid()
            if shard not in self._files:
                try:
                    self._files[shard] = os.open(self.folder / shard, os.O_RDONLY)
                except OSError as error:
                    raise BadFile(self.folder / shard, "a shard of the index is missing") from error
            return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.update(_files={}, _owner=0, _lock=None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class StepSampler(Sampler[list[int]]):
    """The pair numbers of each step of one process, from step `start` to `stop`."""

    def __init__(self, batch: int, start: int, stop: int, rank: int = 0, processes: int = 1) -> None:
        self.batch, self.start, self.stop, self.rank, self.processes = batch, start, stop, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = (step * self.processes + self.rank) * self.batch
            yield list(range(first, first + self.batch))

    def __len__(self) -> int:
        return max(0, self.stop - self.start)


def expand(pattern: str) -> list[str]:
    """ "shard-{000..012}.tar" as the thirteen names it stands for; another name as it is."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not match:
        return [pattern]
    first, last = match.groups()
    numbers = range(int(first), int(last) + 1)
    return [pattern[: match.start()] + str(n).zfill(len(first)) + pattern[match.end() :] for n in numbers]


class StreamedPairs(IterableDataset[torch.Tensor]):
    """Endless pairs from shards read front to back, local or by http(s), each process and worker its own shards.

    What is drawn depends on the seed and on where the stream stands, so a resumed run starts the stream anew with
    other numbers: it goes on soundly but not bit by bit. A shard that breaks off or cannot be reached is left at
    that point, counted in `broken`, and the next one is read.
    """

    def __init__(
        self, shards: Sequence[str], config: DataConfig, size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.shards = [name for pattern in shards for name in expand(pattern)]
        self.config, self.size, self.seed, self.rank, self.processes = config, size, seed, rank, processes
        self.broken = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        worker = get_worker_info()
        share, shares = self.rank, self.processes
        if worker is not None:
            share, shares = share * worker.num_workers + worker.id, shares * worker.num_workers
        mine = self.shards[share::shares] or self.shards
        rng = draw(self.seed, share)
        held: list[np.ndarray] = []
        fruitless = 0
        while True:
            fruitless += 1
            for name in rng.permutation(mine):
                for frames in self._samples(str(name)):
                    fruitless = 0
                    held.append(self._pair(frames, rng))
                    if len(held) >= self.config.shuffle:
                        yield self._out(held, rng)
            if fruitless > 2:
                raise BadFile(mine[0], "no shard gives any sample")
            while held:
                yield self._out(held, rng)

    def _out(self, held: list[np.ndarray], rng: np.random.Generator) -> torch.Tensor:
        return as_tensors(augment(held.pop(int(rng.integers(len(held)))), self.config, rng))

    def _pair(self, frames: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        first, second = rng.choice(len(frames), 2, replace=False)
        return np.stack([frames[first], frames[second]])

    def _samples(self, name: str) -> Iterator[list[np.ndarray]]:
        """The pictures of one sample after the other, at most 32 of each, spread over it."""
        key = ""
        members: list[bytes] = []
        try:
            opened: Any = urllib.request.urlopen(name, timeout=60) if "://" in name else open(name, "rb")  # noqa: SIM115
            with opened as file, tarfile.open(fileobj=file, mode="r|*") as tar:
                for member in tar:
                    stem = Path(member.name).name.partition(".")[0]
                    data = tar.extractfile(member)
                    if data is None or not member.name.endswith((".jpg", ".jpeg", ".png")):
                        continue
                    if stem != key and members:
                        yield from self._decoded(key, members)
                        members = []
                    key = stem
                    members.append(data.read())
        except (OSError, tarfile.TarError):
            self.broken += 1
        yield from self._decoded(key, members)

    def _decoded(self, key: str, members: list[bytes]) -> Iterator[list[np.ndarray]]:
        chosen = [members[i] for i in np.linspace(0, len(members) - 1, min(32, len(members))).round().astype(int)]
        frames = []
        for data in chosen:
            try:
                frames.append(fitted(decode(data, key), self.size))
            except BadFile:
                self.broken += 1
        if len(frames) >= 2:
            yield frames
