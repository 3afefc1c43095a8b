"""A screen in memory, for browsers that want one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

from benchmarks.live.clients.seen import Absent


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """Its name, as DISPLAY has it; Xvfb finds a free one. Raises Absent."""
    if shutil.which("Xvfb") is None:
        raise Absent("a screen", "is not here", "On Debian: apt-get install xvfb")
    told, tells = os.pipe()
    command = ["Xvfb", "-displayfd", str(tells), "-screen", "0", "1280x1024x24"]
    with subprocess.Popen(command, pass_fds=[tells], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        os.close(tells)
        try:
            with os.fdopen(told) as line:
                number = line.readline().strip()
            if not number:
                raise Absent("a screen", "does not start (Xvfb)")
            yield f":{number}"
        finally:
            process.terminate()
