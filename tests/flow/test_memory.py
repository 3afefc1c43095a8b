"""What keeps the memory of a process that runs for weeks from growing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, sys, threading
from realtime.flow.memory import few_arenas
done = few_arenas()
c = ctypes.CDLL(None)
c.malloc.restype = c.fopen.restype = ctypes.c_void_p
together = threading.Barrier(6)
def allocate():
    together.wait()
    c.malloc(ctypes.c_size_t(1000))
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = c.fopen(sys.argv[1].encode(), b"w")
c.malloc_info(0, ctypes.c_void_p(file))
c.fclose(ctypes.c_void_p(file))
print(done, open(sys.argv[1]).read().count("<heap nr"))
"""

SETTLED = """
import gc
from realtime.flow.memory import settle
kept = [[n] for n in range(5000)]
settle()
print(gc.get_freeze_count() > 5000, len(gc.get_objects()) < 1000, kept[7])
"""


def said(code: str, *arguments: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"}} | environment
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_threads_share_two_arenas_unless_the_user_says_otherwise(tmp_path):
    file = str(tmp_path / "arenas.xml")
    assert said(ARENAS, file) == "True 2"
    done, arenas = said(ARENAS, file, MALLOC_ARENA_MAX="6").split()
    assert done == "False"
    assert int(arenas) > 2


def test_what_is_there_before_serving_is_not_looked_through_again():
    assert said(SETTLED) == "True True [7]"
