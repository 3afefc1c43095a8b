"""Every error that a user can meet.

::

    AvatarError                  exit code 1: failed while running
    ├── UsageError               exit code 2: wrong usage or bad input, said in one sentence
    │   ├── BadValue             an option or a setting has a value that cannot be used
    │   ├── BadFile              a file is missing, unreadable, or not what it should be
    │   ├── BadPortrait          a picture that cannot serve as a portrait
    │   ├── UnknownName          a name that is in no registry (engine, direction, source, sink)
    │   └── MissingExtra         an optional library is not installed
    ├── NotWritten               a file could not be written while running: the disk is full
    ├── NoMemory                 memory or threads ran out
    ├── Interrupted              Ctrl-C or SIGTERM before the end
    ├── DeviceError              a camera, virtual camera or GPU is busy, or failed
    │   └── NoDevice             there is no such device (also a UsageError: exit code 2)
    ├── EngineError              an engine could not load or failed while running
    └── ConnectionLost           a peer or a network source went away
        └── NoConnection         it never was there (also a UsageError: exit code 2)

An exception carries data; ``str()`` builds the sentence: what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from realtime.extras import install_command


class AvatarError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(AvatarError):
    """Wrong usage or bad input."""

    exit_code = 2


class BadValue(UsageError):
    """An option `name` has the value `value`; `expected` says what it may be."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        self.name, self.value, self.expected = name, value, expected

    def __str__(self) -> str:
        return f"{self.name} cannot be {self.value!r}: {self.expected}"


class BadFile(UsageError):
    """The file `path` cannot be used; `reason` says why and, where there is one, the cure."""

    def __init__(self, path: object, reason: str) -> None:
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NotWritten(AvatarError):
    """The file `path` could not be written while running: the disk is full, or fails."""

    def __init__(self, path: object, reason: str) -> None:
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Interrupted(AvatarError):
    """A command was told to stop before its end. kept: a sentence about what is left of its output."""

    def __init__(self, kept: str = "") -> None:
        self.kept = kept

    def __str__(self) -> str:
        return f"interrupted: {self.kept or 'nothing was finished'}"


class NoMemory(AvatarError):
    """Memory, or the number of threads, is limited too tightly."""

    def __str__(self) -> str:
        return (
            "there is too little memory here, or it is limited (ulimit -v, a container); a smaller --size needs less"
        )


def lacks_memory(error: BaseException) -> bool:
    """Whether `error` says, in one of the ways in which libraries say it, that memory or threads ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN)):
        return True
    said = str(error)
    return any(words in said for words in ("can't start new thread", "failed to map segment", "allocate memory"))


class BadPortrait(UsageError):
    """A picture that cannot serve as a portrait."""

    def __init__(self, reason: str, path: object | None = None) -> None:
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path is not None else f"It cannot be a portrait: {self.reason}"


MOST_LISTED = 20
"""Of more choices than this only the nearest are named."""


class UnknownName(UsageError):
    """`name` is not one of the known `choices` of this `kind`; the nearest are suggested. where: what lists them all,
    where they are too many for a sentence."""

    def __init__(self, kind: str, name: str, choices: Iterable[str], where: str = "") -> None:
        self.kind, self.name, self.choices, self.where = kind, name, sorted(choices), where
        super().__init__(kind, name, self.choices, where)  # plain data: it crosses to other processes

    def __str__(self) -> str:
        many = len(self.choices) > MOST_LISTED and self.where
        near = difflib.get_close_matches(self.name.lower(), self.choices, n=3 if many else 1, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        known = f"All {len(self.choices)}: {self.where}" if many else f"Known: {', '.join(self.choices)}"
        return f"there is no {self.kind} called {self.name!r}.{hint} {known}"


class MissingExtra(UsageError):
    """An optional library is absent; `extra` is the extra of this package that installs it."""

    def __init__(self, what: str, library: str, extra: str) -> None:
        self.what, self.library, self.extra = what, library, extra

    def __str__(self) -> str:
        return f"{self.what} needs {self.library}: {install_command(self.extra)}"


class DeviceError(AvatarError):
    """A camera, virtual camera or GPU is busy, or failed; `cure` is the command or act that mends it."""

    def __init__(self, device: str, reason: str, cure: str = "") -> None:
        self.device, self.reason, self.cure = device, reason, cure

    def __str__(self) -> str:
        return f"{self.device}: {self.reason}" + (f". {self.cure}" if self.cure else "")


class NoDevice(DeviceError, UsageError):
    """There is no such device; `cure` is the command or act that makes one."""

    exit_code = 2


class EngineError(AvatarError):
    """The engine `engine` could not load or failed while running."""

    def __init__(self, engine: str, reason: str) -> None:
        self.engine, self.reason = engine, reason

    def __str__(self) -> str:
        return f"engine {self.engine}: {self.reason}"


class ConnectionLost(AvatarError):
    """A peer or a network source went away."""

    def __init__(self, peer: str, reason: str) -> None:
        self.peer, self.reason = peer, reason

    def __str__(self) -> str:
        return f"{self.peer}: {self.reason}"


class NoConnection(ConnectionLost, UsageError):
    """Nothing that can be used answers at the address of a peer or a network source."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """An error's message on one short line."""
    text = " ".join(str(error).split())
    return text if len(text) < 160 else text[:157] + "..."


def as_avatar_error(error: BaseException, where: str) -> AvatarError:
    """`error` itself where it is one of ours; otherwise one of ours that says where it came from."""
    if isinstance(error, AvatarError):
        return error
    if lacks_memory(error):
        return NoMemory()
    detail = str(error).strip().splitlines()
    wrapped = AvatarError(f"{where}: {detail[0] if detail else type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped
