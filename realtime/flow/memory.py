"""How a process that runs for weeks handles its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform

M_ARENA_MAX = -8
"""glibc, malloc.h."""
ARENAS = 2
"""glibc gives up to eight arenas to each core, and a thread stays with its own. Pictures and landmark models that one
thread allocates and another one frees leave holes in all of them, which grow for hours."""


def few_arenas() -> bool:
    """Let all threads share two arenas, where the C library is glibc and the user has not said otherwise. True where
    it is done. Call it before there are threads: an arena that is there stays."""
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    return _glibc("mallopt", M_ARENA_MAX, ARENAS)


def give_back() -> bool:
    """Give pages that nothing lies in back to the system, those in the middle of an arena too, where the C library is
    glibc. True where there were some. Any thread; Python's lock is not held meanwhile."""
    return _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(getattr(ctypes.CDLL(None), name)(*arguments))
    return False


def settle() -> None:
    """What is there now stays: Python's collector need not look through it again (a quarter of a million objects of
    the libraries, 0.1 to 0.3 s in which no thread runs), and so looks for what sessions leave behind more often."""
    gc.collect()
    gc.freeze()
    gc.collect()  # after which it no longer counts what is frozen
