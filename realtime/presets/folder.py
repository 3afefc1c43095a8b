"""Presets that are kept on this machine: a file for each, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from realtime.errors import BadFile, UnknownName
from realtime.home import home, user_path
from realtime.outputs import not_written, write_whole
from realtime.presets.preset import MOST_BYTES, Preset, check_name, dump, fits, parse

MOST = 64
"""Presets that are kept."""
_PREFIX, _SUFFIX = "preset-", ".json"  # no name can be that of a device, or hidden


class PresetFolder:
    """folder: where they are, `presets` in `home()` unless given; made when the first one is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home() / "presets"

    @property
    def names(self) -> list[str]:
        """Names of all that are kept, in order."""
        found = self.folder.glob(f"{_PREFIX}*{_SUFFIX}") if self.folder.is_dir() else ()
        return sorted((path.name[len(_PREFIX) : -len(_SUFFIX)] for path in found), key=str.casefold)

    def load(self, name: str) -> Preset:
        """Raises BadValue, UnknownName, BadFile."""
        name = check_name(name)
        if name not in self.names:
            raise UnknownName("preset", name, self.names)
        return read(self._path(name))

    def save(self, preset: Preset) -> None:
        """Keep a preset, in place of one of the same name. Raises BadFile, NotWritten."""
        if preset.name not in self.names and len(self.names) >= MOST:
            raise BadFile(self.folder, f"holds {MOST} presets already; delete one first")
        path, text = self._path(check_name(preset.name)), dump(preset)
        if not fits(text):
            most = f"{MOST_BYTES // 2**20} MiB"
            raise BadFile(path, f"its background and its portrait together are too large for a preset ({most})")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise not_written(self.folder, error) from error
        write_whole(path, text)

    def remove(self, name: str) -> None:
        """Raises BadValue, UnknownName, BadFile."""
        name = check_name(name)
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise UnknownName("preset", name, self.names) from None
        except OSError as error:
            raise not_written(self._path(name), error) from error

    def _path(self, name: str) -> Path:
        return self.folder / f"{_PREFIX}{name}{_SUFFIX}"


def read(path: str | Path) -> Preset:
    """The preset in a file. Raises BadFile."""
    path = user_path(path)
    try:
        with path.open("rb") as file:
            return parse(file.read(MOST_BYTES + 1), path)
    except FileNotFoundError:
        raise BadFile(path, "no such file") from None
    except OSError as error:
        raise BadFile(path, f"may not be read ({error.strerror})") from error


def find(spec: str) -> Preset:
    """The preset that `--preset` names: a file where it ends in .json or has a folder in it, else one that is kept.
    Raises BadFile, BadValue, UnknownName."""
    if spec.lower().endswith(_SUFFIX) or Path(spec).name != spec:
        return read(spec)
    return PresetFolder().load(spec)
