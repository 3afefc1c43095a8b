"""Files that take another's place only when they are whole.

What is written goes beside the file that it is for, in the same folder, and takes its place in one step at the end.
A program that fails, is stopped or finds the disk full leaves the earlier file as it was.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from realtime.errors import AvatarError, BadFile, NotWritten
from realtime.home import user_path

_WHILE_RUNNING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM}


class Draft:
    """A file on its way: it is written at `at`, and `finish` puts it in the place of `path`. `drop` removes it.

    kept: it is worth something unfinished, so that its name says what it is, should the program be killed:
    out.partial.mp4, or out.partial-2.mp4 where that is taken. Otherwise the name is a hidden one. A link is followed;
    what is no plain file (a device, a pipe) is written itself.

    Raises BadFile, NotWritten.
    """

    def __init__(self, path: str | Path, kept: bool = False) -> None:
        self.path = user_path(path)
        try:
            self._target = self.path.resolve()
            self._mode = self._target.stat().st_mode if self._target.exists() else None
            self._beside = self._mode is None or stat.S_ISREG(self._mode)
            self.at = _claim(_names(self._target, kept)) if self._beside else self._target
        except OSError as error:
            raise not_written(self.path, error) from error

    def finish(self) -> None:
        """Put the file in its place. Where that fails it stays where it is."""
        if not self._beside:
            return
        try:
            with self.at.open("r+b") as file:
                os.fsync(file.fileno())
            if self._mode is not None:
                self.at.chmod(stat.S_IMODE(self._mode))
            os.replace(self.at, self._target)
        except OSError as error:
            raise not_written(self.path, error) from error

    def drop(self) -> None:
        """Remove what was written; nothing where it is finished."""
        if self._beside:
            with contextlib.suppress(OSError):
                self.at.unlink()


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the place to write to; where the block ends well, that file takes the place of `path`.

    An error or a stop leaves `path` as it was. Raises BadFile, NotWritten, also for an OSError of the block."""
    draft = Draft(path)
    try:
        yield draft.at
        draft.finish()
    except OSError as error:
        raise not_written(draft.path, error) from error
    finally:
        draft.drop()


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, in one step. Raises BadFile, NotWritten."""
    with replacing(path) as at:
        at.write_bytes(content.encode() if isinstance(content, str) else content)


def not_written(path: object, error: OSError) -> AvatarError:
    """What a failed attempt to write `path` is: wrong usage (BadFile), or bad luck while running (NotWritten)."""
    reason = f"cannot be written ({error.strerror or error})"
    return NotWritten(path, reason) if error.errno in _WHILE_RUNNING else BadFile(path, reason)


def _names(path: Path, kept: bool) -> Iterable[Path]:
    if not kept:
        return (path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{path.suffix}") for _ in itertools.count())
    return (path.with_name(f"{path.stem}.partial{f'-{n}' if n > 1 else ''}{path.suffix}") for n in itertools.count(1))


def _claim(names: Iterable[Path]) -> Path:
    """The first name that is free, made as an empty file so that no one else takes it."""
    for name in names:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return name
    raise AssertionError("names do not end")
