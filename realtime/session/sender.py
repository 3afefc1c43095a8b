"""The driver's half of a session, where another machine renders: codes of the newest frames, never a picture."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator

from realtime.engines import Engine
from realtime.errors import as_avatar_error
from realtime.flow.mailbox import Closed, Mailbox
from realtime.session.core import Encoding
from realtime.sources import Item, Source
from realtime.types import MotionCode


async def codes_of(
    source: Source, engine: Engine, mirror: bool = False
) -> AsyncGenerator[tuple[MotionCode | None, float]]:
    """(code, or None where no face is seen; capture time) of the source's frames, the newest only: reading and
    encoding have threads of their own. Raises AvatarError where the source or the encoder fails."""
    frames: Mailbox[Item] = Mailbox()
    codes: Mailbox[tuple[MotionCode | None, float]] = Mailbox()
    failures: list[Exception] = []
    encoding = Encoding(engine, strict=True)
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

    def encode() -> None:
        try:
            while True:
                item = frames.get()
                if item is not None:
                    now = time.monotonic()
                    codes.put((encoding.see(item, mirror, now), item.captured or now))
        except Closed:
            pass
        except Exception as error:
            failures.append(error)
        finally:
            codes.close()

    source.stopping = over.is_set
    threads = [threading.Thread(target=work, daemon=True) for work in (read, encode)]
    for thread in threads:
        thread.start()
    try:
        while True:
            item = await codes.aget()
            if item is not None:
                yield item
    except Closed:
        if failures:
            raise as_avatar_error(failures[0], source.name) from None
    finally:
        over.set()
        frames.close()
        codes.close()
        for thread in threads:
            await asyncio.to_thread(thread.join, 3.0)
