"""Films of a whole body, made offline: slow networks that need the whole clip beforehand.

A new way to make them is one package and one line in `MAKERS`; `avatar animate --engine NAME` works after it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from realtime.errors import UnknownName
from realtime.film.segments import Kept

MAKERS: dict[str, str] = {
    "wan": "realtime.film.wan.maker:WanMaker",
    "wan-2": "realtime.film.wan.maker2:WanMaker2",
    "unimotion": "realtime.film.unimotion:UniMotionMaker",
}
"""By name, the first is the default."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many of how many are done."""


@dataclass(frozen=True)
class Job:
    """What the user asked for; None is the maker's own choice.

    portrait: uint8 (H, W, 3) RGB. driving: the clip. duration: only its first seconds. anyway: also where it is found
    unfit. length, overlap: frames of a segment, and how many of them are of the one before. weights: a folder or a
    registered name. transformer: a file in place of the folder's. loras: files with their strengths. memory: of the
    GPU, GB. restart: forget what is finished of this film.
    """

    portrait: np.ndarray
    driving: Path
    mode: str = "animate"
    size: str = "480p"
    fps: float | None = None
    duration: float | None = None
    anyway: bool = False
    seed: int = 0
    steps: int | None = None
    length: int | None = None
    overlap: int | None = None
    prompt: str | None = None
    weights: str | None = None
    transformer: Path | None = None
    loras: tuple[tuple[Path, float], ...] = ()
    memory: float | None = None
    device: str = "auto"
    restart: bool = False


class Maker(Protocol):
    """Contract of a way to make films. Preparation and making are apart: a folder lies between them."""

    modes: tuple[str, ...]
    """What it can do with a clip."""

    def check(self, job: Job) -> None:
        """Raise UsageError for what can be known at once, weights included."""

    def plan(self, job: Job) -> list[tuple[str, str]]:
        """What would be done, as (what, in words); needs neither weights nor a GPU. Raises UsageError."""

    def prepare(self, job: Job, folder: Path, progress: Progress) -> tuple[str, ...]:
        """Write all that the film is made of into `folder`, or leave it where it is there already. Gives what is
        wrong with the clip, in words. Raises BadFile where it refuses it, NotWritten."""

    def make(self, job: Job, folder: Path, work: Path, progress: Progress) -> Film:
        """Make the film of what was prepared in `folder`; finished segments are kept in `work`, and not made again.
        Raises AvatarError."""


@dataclass(frozen=True)
class Film:
    """A finished film, still in pictures. driving: the clip whose sound it takes; None: it has none."""

    kept: Kept
    fps: float
    driving: Path | None


def open_maker(name: str) -> Maker:
    """Raises UnknownName."""
    if name not in MAKERS:
        raise UnknownName("way to make films", name, MAKERS)
    module, _, attribute = MAKERS[name].partition(":")
    maker: Maker = getattr(importlib.import_module(module), attribute)()
    return maker
