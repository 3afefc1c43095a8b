"""A WebRTC client by aiortc, for tests that need a real connection."""

from __future__ import annotations

import asyncio
import json

import av
import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError

from realtime.server.hosting.frames import to_rgb
from tests.support import PATIENCE_S


class Spot(VideoStreamTrack):
    """A camera that shows a bright spot. `at`: where, 0 to 1; None: darkness."""

    def __init__(self, at: float | None = 0.5) -> None:
        super().__init__()
        self.at = at

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        image = np.zeros((240, 320, 3), np.uint8)
        if self.at is not None:
            x = int(self.at * 280)
            image[100:140, x : x + 40] = 255
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Client:
    """A WebRTC client. frames: pictures received, the newest last."""

    def __init__(
        self, camera: VideoStreamTrack | None = None, direction: str = "sendrecv", audio: bool = False
    ) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames: list[np.ndarray] = []
        self.pts: list[int] = []
        self.heard: list[dict] = []
        self.count = 0
        self.camera = camera
        self.direction = direction
        self._tasks: list[asyncio.Task] = []
        self.pc.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._pump(track))))

    async def _pump(self, track) -> None:
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.count += 1
                    self.pts.append(frame.pts)
                    self.frames = [*self.frames[-4:], to_rgb(frame)]
        except MediaStreamError:
            return

    async def offer(self, control: bool = True) -> str:
        if control:
            self.channel = self.pc.createDataChannel("control")
            self.channel.on("message", lambda text: self.heard.append(json.loads(text)))
        self.pc.addTransceiver(self.camera or "video", direction=self.direction)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def accept(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def open(self, http: httpx.AsyncClient) -> str:
        answer = await http.post("/api/sessions", json={"sdp": await self.offer(), "type": "offer"})
        assert answer.status_code == 201, answer.text
        await self.accept(answer.json()["sdp"])
        return answer.json()["id"]

    def last(self, kind: str) -> dict | None:
        return next((message for message in reversed(self.heard) if message["type"] == kind), None)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.pc.close()


async def until(condition, seconds: float = PATIENCE_S) -> None:
    """`tests.support.until` on an event loop."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
