"""aiortc on the client's side, on a loop in a thread: who drives, and who watches as a WHEP player does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from benchmarks.live.clients.seen import Seen
from benchmarks.live.sync import Beeps, Flashes, listen, look

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@contextlib.contextmanager
def loop() -> Iterator[Run]:
    """A way to run coroutines on a loop of another thread, one after the other; it waits for each."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, running).result()
    finally:
        running.call_soon_threadsafe(running.stop)
        thread.join()
        running.close()


def ask(url: str, body: str | None, kind: str, method: str = "POST") -> tuple[str, str]:
    """The body and the `Location` of an answer."""
    request = urllib.request.Request(url, body.encode() if body else None, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode(), answer.headers.get("Location", "")


async def drive(url: str, faces: tuple[np.ndarray, np.ndarray], profile: str) -> RTCPeerConnection:
    """A session whose driver flashes and beeps, by the server's own API."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    begun = time.monotonic() + 1.0
    pc.addTrack(Flashes(begun, *faces))
    pc.addTrack(Beeps(begun))
    await pc.setLocalDescription(await pc.createOffer())
    body = json.dumps({"sdp": pc.localDescription.sdp, "type": "offer", "source": "camera", "profile": profile})
    answer, _ = await asyncio.to_thread(ask, f"{url}/api/sessions", body, "application/json")
    await pc.setRemoteDescription(RTCSessionDescription(json.loads(answer)["sdp"], "answer"))
    return pc


async def watch(url: str, view: str, until: Callable[[], Awaitable[Any]]) -> Seen:
    """A WHEP player. until: what is waited for, once the call is made."""
    pc, found, tasks = RTCPeerConnection(RTCConfiguration(iceServers=[])), Seen(), []

    def came(track: MediaStreamTrack) -> None:
        tasks.append(
            asyncio.create_task(look(track, found.seen) if track.kind == "video" else listen(track, found.heard))
        )

    pc.on("track", came)
    for kind in ("video", "audio"):
        pc.addTransceiver(kind, direction="recvonly")
    begun = time.monotonic()
    await pc.setLocalDescription(await pc.createOffer())
    answer, location = await asyncio.to_thread(ask, f"{url}/whep/{view}", pc.localDescription.sdp, "application/sdp")
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    try:
        await until()
    finally:
        await asyncio.to_thread(ask, url + location, None, "application/sdp", "DELETE")
        await pc.close()
        for task in tasks:
            task.cancel()
    found.first = found.seen[0][0] - begun if found.seen else None
    return found
