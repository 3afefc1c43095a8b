"""A folder with all that a film is made of: pictures that can be looked at, and mended by hand, before it is made.

::

    film.json            what it was made of and for, and what is wrong with it; written last
    portrait.png
    pose/00000.png ...   the skeleton, of the film's size
    face/00000.png ...   the driver's face, 512 x 512
    background/, mask/   for `replace`: the clip without the person, and where the person was (white)
    sheet.png            a contact sheet of it all
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realtime.engines.weights.registry import sha256_of
from realtime.errors import BadFile
from realtime.home import user_path
from realtime.media.pictures import read_picture, write_picture
from realtime.outputs import not_written, write_whole

FORMAT = 1
ABOUT = "film.json"
SHEET = "sheet.png"
PORTRAIT = "portrait.png"
POSE, FACE, BACKGROUND, MASK, DRIVING = "pose", "face", "background", "mask", "driving"


@dataclass(frozen=True)
class About:
    """What a prepared film is. driving: the clip, whose sound the film takes; its digest and the portrait's say what
    they held. kinds: the folders of pictures, each with one for every frame. findings: what is wrong, in words."""

    engine: str
    mode: str
    width: int
    height: int
    fps: float
    frames: int
    driving: str
    driving_sha256: str
    portrait_sha256: str
    duration: float | None
    kinds: tuple[str, ...]
    findings: tuple[str, ...] = field(default=(), compare=False)


class Prepared:
    """A prepared film in `folder`."""

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.about = folder, about

    @classmethod
    def read(cls, folder: str | Path) -> Prepared:
        """Raises BadFile where the folder holds no prepared film, or one that is not whole."""
        folder = user_path(folder)
        path = folder / ABOUT
        if not folder.is_dir():
            raise BadFile(folder, "no such folder; avatar animate ... --prepare-only FOLDER makes one")
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = f"holds no prepared film ({ABOUT} is missing: was it stopped?)"
            raise BadFile(folder, f"{reason}; prepare it again with --prepare-only") from error
        except ValueError as error:
            raise BadFile(path, "is damaged; prepare the film again with --prepare-only") from error
        try:
            if content.pop("format") != FORMAT:
                raise BadFile(path, "is of another version of this program; prepare the film again")
            content["kinds"], content["findings"] = tuple(content["kinds"]), tuple(content["findings"])
            prepared = cls(folder, About(**content))
        except (KeyError, TypeError, AttributeError) as error:
            raise BadFile(path, "is no description of a prepared film; prepare it again") from error
        prepared.check()
        return prepared

    def check(self) -> None:
        """Raise BadFile where a picture is missing."""
        for kind in self.about.kinds:
            missing = [n for n in range(self.about.frames) if not self.path(kind, n).is_file()]
            if missing:
                raise BadFile(
                    self.path(kind, missing[0]), f"is missing, as are {len(missing) - 1} more; prepare again"
                )

    def path(self, kind: str, frame: int) -> Path:
        return self.folder / kind / f"{frame:05d}.png"

    def write(self, kind: str, frame: int, image: np.ndarray) -> None:
        """uint8 (H, W, 3) RGB, or (H, W). Raises BadFile, NotWritten."""
        path = self.path(kind, frame)
        make_folder(path.parent)
        write_picture(path, image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))

    def picture(self, kind: str, frame: int) -> np.ndarray:
        """uint8 (H, W, 3) RGB. Raises BadFile."""
        return read_picture(self.path(kind, frame))

    def portrait(self) -> np.ndarray:
        """uint8 (H, W, 3) RGB. Raises BadFile."""
        return read_picture(self.folder / PORTRAIT)

    def finish(self) -> None:
        """Say that all pictures are there. Raises BadFile, NotWritten."""
        write_whole(self.folder / ABOUT, json.dumps({"format": FORMAT, **asdict(self.about)}, indent=1) + "\n")

    def digest(self) -> str:
        """SHA-256 over every picture that the film is made of, in hex: it changes when one was mended by hand."""
        digest = hashlib.sha256()
        pictures = (self.path(kind, n) for kind in self.about.kinds for n in range(self.about.frames))
        for path in (self.folder / PORTRAIT, *pictures):
            digest.update(sha256_of(path).encode())
        return digest.hexdigest()


def picture_digest(image: np.ndarray) -> str:
    """SHA-256 of a picture's pixels and shape, in hex."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def make_folder(folder: Path) -> None:
    """Raises BadFile, NotWritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error


Progress = Callable[[int, int], None]
"""Told how many of how many are done."""
