"""Clients of a cluster: each keeps one session, as the page does, and offers again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx

from benchmarks.live.peers import Stamped, SyntheticPeer

QUIET_S = 1.0
"""Without a picture for so long the server is asked (`clients/web/stall.js`)."""
LOOK_S = 0.1


@dataclass
class Caller:
    """One client. seen: (moment, delay) of each picture, over all its sessions. began: moments at which it offered;
    refused: statuses of offers that were turned away. id: its session now."""

    clip: Stamped
    number: int
    http: httpx.AsyncClient
    seen: list[tuple[float, float | None]] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    id: str = ""
    _task: asyncio.Task | None = None
    _moved: bool = False

    def start(self) -> None:
        """Begin to call."""
        self._task = asyncio.create_task(self._run())

    async def first(self, patience: float = 60.0) -> None:
        """Until its first picture. Raises TimeoutError."""
        async with asyncio.timeout(patience):
            while not self.seen:
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def gap(self, begin: float, end: float) -> float:
        """The longest time without a picture in a stretch, seconds."""
        moments = [begin, *(t for t, _ in self.seen if begin < t < end), end]
        return max(b - a for a, b in pairwise(moments))

    def back(self, since: float) -> float | None:
        """Seconds from `since` to the first picture of a session that began later."""
        began = next((t for t in self.began if t > since), None)
        return next((t - since for t, _ in self.seen if began is not None and t > began), None)

    async def _run(self) -> None:
        while True:
            await self._session()

    async def _session(self) -> None:
        peer = SyntheticPeer(self.clip, self.number, self.seen)
        channel = peer._peer.createDataChannel("control")
        self._moved = False
        channel.on("message", self._heard)
        self.began.append(time.monotonic())
        try:
            await peer._peer.setLocalDescription(await peer._peer.createOffer())
            if not await self._offer(peer):
                return
            await self._watch()
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2.0):
                    await peer.close()

    async def _offer(self, peer: SyntheticPeer) -> bool:
        from aiortc import RTCSessionDescription

        body = {"sdp": peer._peer.localDescription.sdp}
        try:
            answer = await self.http.post("/api/sessions", json=body)
        except httpx.HTTPError:
            await asyncio.sleep(1.0)
            return False
        if answer.status_code != 201:
            self.refused.append(answer.status_code)
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
            return False
        self.id = answer.json()["id"]
        await peer._peer.setRemoteDescription(RTCSessionDescription(answer.json()["sdp"], "answer"))
        return True

    async def _watch(self) -> None:
        opened = time.monotonic()
        while not self._moved:
            await asyncio.sleep(LOOK_S)
            last = max(opened, self.seen[-1][0] if self.seen else 0.0)
            if time.monotonic() - last >= QUIET_S and not await self._there():
                return

    async def _there(self) -> bool:
        try:
            return (await self.http.get(f"/api/sessions/{self.id}")).status_code not in {404, 503}
        except httpx.HTTPError:
            return True  # the front is away, and media may go on without it

    def _heard(self, text: Any) -> None:
        event = json.loads(text)
        self._moved = self._moved or event["type"] == "ended"
