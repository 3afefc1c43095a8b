"""One honest caller in a process of its own: a camera of 30 fps, and a line of JSON a second about what comes back.

  python -m benchmarks.live.caller http://127.0.0.1:8000/?token=... [clip]

It calls again where its session is lost, as the page does. The lines, see `Second`: {"at", "pictures", "delay",
"calls", "saying"}, times in seconds of `time.monotonic()`, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO

import numpy as np

from benchmarks.report.machine import ROOT
from realtime.errors import ConnectionLost, DeviceError

CAMERA = (640, 480)
FPS = 30
PATIENCE_S = 10.0
"""A call without a picture for so long is given up and made again."""


@dataclass(frozen=True, slots=True)
class Second:
    """What one second was like. at: when it ended. pictures: that came. delay: median from sending to decoding, s;
    None where none was read. calls: made so far, 1 where no session was lost. saying: what a refused call heard."""

    at: float
    pictures: int
    delay: float | None
    calls: int
    saying: str = ""


class Caller:
    """The process, and what it has said so far. Raises DeviceError where it does not start."""

    def __init__(self, address: str, clip: str | None = None, patience: float = 120) -> None:
        self.seconds: collections.deque[Second] = collections.deque()
        self._first = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.live.caller", address, *([clip] if clip else [])], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        if not self._first.wait(patience) or not self.seconds:
            self.close()
            raise DeviceError("the caller", "its first picture did not come")

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            second = Second(**json.loads(line))
            if second.pictures or self._first.is_set():
                self.seconds.append(second)
                self._first.set()
        self._first.set()

    def between(self, begin: float, end: float) -> list[Second]:
        """The seconds that ended in this stretch."""
        return [second for second in list(self.seconds) if begin < second.at <= end]

    @property
    def calls(self) -> int:
        """Calls made so far; 1 where its session was never lost."""
        return self.seconds[-1].calls

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def calling(address: str, clip: str | None = None) -> Iterator[Caller]:
    """A caller that is ended on leaving."""
    caller = Caller(address, clip)
    try:
        yield caller
    finally:
        caller.close()


async def call_for_ever(address: str, clip: str | None) -> None:
    """Call, say each second how it goes, and call again."""
    from benchmarks.live.glass import post
    from benchmarks.live.peers import SyntheticPeer, encode_clip
    from benchmarks.live.subjects import driving_clip, letterboxed

    stamped = encode_clip(letterboxed(driving_clip(clip, 90).frames, *CAMERA), FPS)
    base, _, query = address.partition("?")
    door = f"{base.rstrip('/')}/api/sessions?{query}"
    calls = 0
    while True:
        peer = SyntheticPeer(stamped, 0)
        calls += 1
        saying = ""
        try:
            await peer.call(lambda offer: post(door, offer))
        except ConnectionLost as error:
            saying = error.reason
        last = time.monotonic()
        while not saying and time.monotonic() - last < PATIENCE_S:
            await asyncio.sleep(1.0)
            seen, peer.seen = peer.seen, []
            if seen:
                last = seen[-1][0]
            _say(seen, calls)
        await peer.close()
        if saying:
            _say([], calls, saying)
            await asyncio.sleep(1.0)


def _say(seen: list[tuple[float, float | None]], calls: int, saying: str = "") -> None:
    delays = [delay for _, delay in seen if delay is not None]
    delay = float(np.median(delays)) if delays else None
    print(json.dumps(asdict(Second(time.monotonic(), len(seen), delay, calls, saying))), flush=True)


if __name__ == "__main__":
    from benchmarks.live.loopback import offer_loopback

    offer_loopback()
    asyncio.run(call_for_ever(sys.argv[1], sys.argv[2] if sys.argv[2:] else None))
