"""Which weights are at hand: files registered under a name, with their checksum, origin and licence.

A record is a small JSON file, `AVATAR_HOME/models/NAME.json`; the weights lie beside it (pulled) or elsewhere
(added).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from realtime.errors import BadFile, UnknownName
from realtime.families import FAMILIES, target
from realtime.home import home, user_path
from realtime.outputs import not_written, write_whole


@dataclass(frozen=True)
class Published:
    """Weights that someone has published. family: of the engine they are for. repository, filename: on the Hugging
    Face hub; empty where they are published elsewhere, see `where`."""

    name: str
    family: str
    about: str
    licence: str
    repository: str = ""
    filename: str = ""
    where: str = ""
    filenames: tuple[str, ...] = ()
    """Where the weights are several files: these, which become one file of ours."""
    size: int = 0
    """Bytes of a repository that is kept whole, as a folder; 0 where that is not known, and for all others."""


CC_BY_NC = "CC BY-NC 4.0"


@dataclass(frozen=True)
class WeightFiles:
    """What one folder of engines knows of its weight files. Making it must not take torch; the functions may.

    published: what can be had. family_of: the family whose network a file holds, seen at as little of it as does, ""
    where it is none of these; raises BadFile where it can be none. check: loads a file whole as weights of a family,
    and says what it holds; raises BadFile. gather: where weights are published as several files, makes one of those
    in a folder; raises BadFile. folder: the weights are a folder that is kept as it is, not a file.
    """

    published: tuple[Published, ...]
    family_of: Callable[[Path], str]
    check: Callable[[Path, str], str]
    gather: Callable[[Path, Path], None] | None = None
    folder: bool = False


def weight_files(family: str | None = None) -> list[WeightFiles]:
    """Those of a family, [] where it has none; all of them without a name."""
    found = FAMILIES.values() if family is None else [FAMILIES[family]] if family in FAMILIES else []
    return [target(text) for text in dict.fromkeys(f.weights for f in found if f.weights)]


def catalogue() -> dict[str, Published]:
    """All published weights, by name."""
    return {model.name: model for files in weight_files() for model in files.published}


@dataclass(frozen=True)
class Record:
    """One registered weight file, or folder. accepted: the licence that was accepted when it was pulled."""

    name: str
    family: str
    about: str
    path: str
    sha256: str
    bytes: int
    origin: str = ""
    accepted: str = ""


def models_folder() -> Path:
    """Where records and pulled weights are kept. It may not exist yet."""
    return home() / "models"


def records() -> list[Record]:
    """All registered weights, by name. A record that cannot be read is left out."""
    found = []
    for path in sorted(models_folder().glob("*.json")):
        record = _read(path)
        if record is not None:
            found.append(record)
    return found


def record_of(name: str) -> Record | None:
    """The record `name`, None where there is none."""
    return _read(models_folder() / f"{name}.json")


def _read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(record: Record) -> None:
    """Register, replacing a record of the same name. Raises BadFile, NotWritten."""
    folder = models_folder()
    target = folder / f"{record.name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error
    write_whole(target, json.dumps(asdict(record), indent=1) + "\n")


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file, in hex. `progress` is told how many bytes were read so far. Raises BadFile."""
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(done)
    except OSError as error:
        raise BadFile(path, f"may not be read ({error.strerror})") from error
    return digest.hexdigest()


def sha256_of_folder(folder: Path, progress: Callable[[int], None] | None = None) -> str:
    """SHA-256, in hex, of the names and checksums of all files in a folder, hidden ones left out. `progress` as in
    `sha256_of`. Raises BadFile."""
    digest, done = hashlib.sha256(), 0
    for path in files_in(folder):
        before = done
        each = sha256_of(path, None if progress is None else lambda n, before=before: progress(before + n))  # type: ignore[misc]
        digest.update(f"{path.relative_to(folder).as_posix()} {each}\n".encode())
        done += path.stat().st_size
    return digest.hexdigest()


def files_in(folder: Path) -> list[Path]:
    """The files of a folder and its folders, in order, without hidden ones."""
    inside = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in inside if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def find_weights(family: str, weights: str | Path | None) -> Path:
    """The weights for an engine of that family: a path, a registered name, or None for the registered ones. A folder
    only where they are published as several files.

    Raises BadFile, UnknownName.
    """
    if weights is None:
        fitting = [r for r in records() if r.family == family]
        chosen = next((r for r in fitting if r.name == family), fitting[0] if fitting else None)
        if chosen is None:
            cure = f"avatar models pull {family}" if _pullable(family) else f"avatar models add {family} PATH"
            raise BadFile(models_folder(), f"holds no weights for the engine {family}: {cure}, or --weights PATH")
        return _present(chosen)
    text = str(weights)
    path = user_path(text)
    if not path.exists() and path.name == text and not path.suffix:
        record = record_of(text)
        if record is None:
            raise UnknownName("registered model", text, [r.name for r in records()])
        return _present(record)
    if not path.exists():
        raise BadFile(path, "no such weight file")
    if path.is_dir() and gatherer(family) is None and not in_folder(family):
        raise BadFile(path, "is a folder, not a weight file")
    return path


def in_folder(family: str) -> bool:
    """Whether the weights of this family are a folder, kept as it is."""
    return any(files.folder for files in weight_files(family))


def gatherer(family: str) -> Callable[[Path, Path], None] | None:
    """What makes one file of a folder of weights of this family; None where they are never several."""
    return next((files.gather for files in weight_files(family)), None)


def _present(record: Record) -> Path:
    path = Path(record.path)
    if not path.exists():
        raise BadFile(path, f"the weights registered as {record.name!r} are no longer there: avatar models list")
    return path


def _pullable(family: str) -> bool:
    return any(p.family == family and p.repository for p in catalogue().values())
