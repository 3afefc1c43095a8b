"""The control of `glass`: a WebRTC server that sends every frame back and does nothing else.

  python -m benchmarks.live.echo_server PORT [prompt]

"prompt" takes pictures from the packets as our server does (realtime/server/rtc/decoders.py), not as aiortc does.
"""

from __future__ import annotations

import sys

import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from fastapi import FastAPI

from benchmarks.live.loopback import offer_loopback
from realtime.server.rtc import decoders


def make_app() -> FastAPI:
    """One route: POST /offer takes {"sdp", "type"} and answers in kind."""
    app, relay, peers = FastAPI(), MediaRelay(), set()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/offer")
    async def offer(body: dict[str, str]) -> dict[str, str]:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.add(peer)

        @peer.on("track")
        def on_track(track) -> None:
            peer.addTrack(relay.subscribe(track, buffered=False))

        @peer.on("connectionstatechange")
        async def on_state() -> None:
            if peer.connectionState in {"failed", "closed"}:
                await peer.close()
                peers.discard(peer)

        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        await peer.setLocalDescription(await peer.createAnswer())
        return {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}

    return app


if __name__ == "__main__":
    offer_loopback()
    if sys.argv[2:] == ["prompt"]:
        decoders.install()
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
