"""Drive an avatar on another machine: motion codes go over the wire, never a picture.

avatar serve
python examples/drive_a_server.py http://127.0.0.1:8000 --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from realtime import builtin_track
from realtime.clients.motion_client import MotionClient, motion_url


def complain(message: dict[str, Any]) -> None:
    """What the server says while it is driven: shown where it refuses something."""
    if message["type"] == "error":
        print(f"server: {message['error']}")


async def main() -> None:
    """Send the built-in motion track, at its own pace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", help="the link that the server printed, token included")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()

    track = builtin_track()
    async with MotionClient(motion_url(options.to), heard=complain) as client:
        print(f"{client.hello['engine']} renders; seen at {options.to.partition('?')[0].rstrip('/')}{client.view}")
        await client.command(type="set_edits", values={"smile": 0.3})
        began = time.monotonic()
        for n, code in enumerate(track.codes()):
            due = n / track.fps
            if due > options.seconds:
                break
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            await client.send(code, time.monotonic())
        print(f"{client.sent.packets} codes, {client.sent.kilobits_per_s:.0f} kbit/s")


if __name__ == "__main__":
    asyncio.run(main())
