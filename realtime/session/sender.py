"""The driver's half of a session, where another machine renders: what its newest frames show, never a picture."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import numpy as np

from realtime.engines import Engine
from realtime.errors import as_avatar_error
from realtime.face.landmarks import FaceTracker
from realtime.flow.mailbox import Closed, Mailbox
from realtime.session.core import Encoding
from realtime.sources import Item, Source
from realtime.types import Frame, Landmarks, MotionCode

Seen = TypeVar("Seen")


async def codes_of(
    source: Source, engine: Engine, mirror: bool = False
) -> AsyncGenerator[tuple[MotionCode | None, float]]:
    """(code, or None where no face is seen; capture time) of the source's frames, the newest only. Raises AvatarError
    where the source or the encoder fails."""
    encoding = Encoding(engine, strict=True)

    def see(item: Item, now: float) -> tuple[MotionCode | None, float]:
        return encoding.see(item, mirror, now), item.captured or now

    async with contextlib.aclosing(_seen(source, see)) as seen:
        async for one in seen:
            yield one


async def landmarks_of(source: Source, mirror: bool = False) -> AsyncGenerator[Landmarks]:
    """The landmarks of the source's frames, the newest only; for a source of pictures. Raises AvatarError where the
    source fails."""
    tracker = FaceTracker()

    def see(item: Item, now: float) -> Landmarks:
        image = item.image if isinstance(item, Frame) else np.zeros((16, 16, 3), np.uint8)
        height, width = image.shape[:2]
        # told as flipped, they are flipped back there: a picture that was not is then seen as in a mirror
        return Landmarks(tracker.track(image), width, height, mirror, item.captured or now)

    try:
        async with contextlib.aclosing(_seen(source, see)) as seen:  # its threads use the tracker
            async for one in seen:
                yield one
    finally:
        tracker.close()


async def _seen(source: Source, see: Callable[[Item, float], Seen]) -> AsyncGenerator[Seen]:
    """What `see` gives of the newest items, each with the moment when its turn came: reading and seeing have threads
    of their own."""
    frames: Mailbox[Item] = Mailbox()
    found: Mailbox[Seen] = Mailbox()
    failures: list[Exception] = []
    over = threading.Event()

    def read() -> None:
        try:
            source.open()
            while (item := source.read()) is not None and frames.put(item):
                pass
        except Exception as error:
            failures.append(error)
        finally:
            frames.close()
            source.close()

    def look() -> None:
        try:
            while True:
                item = frames.get()
                if item is not None:
                    found.put(see(item, time.monotonic()))
        except Closed:
            pass
        except Exception as error:
            failures.append(error)
        finally:
            found.close()

    source.stopping = over.is_set
    threads = [threading.Thread(target=work, daemon=True) for work in (read, look)]
    for thread in threads:
        thread.start()
    try:
        while True:
            item = await found.aget()
            if item is not None:
                yield item
    except Closed:
        if failures:
            raise as_avatar_error(failures[0], source.name) from None
    finally:
        over.set()
        frames.close()
        found.close()
        for thread in threads:
            await asyncio.to_thread(thread.join, 3.0)
