"""A WebRTC client in Python: opens an avatar on a server, lets it play the built-in motion, and hands what comes to a
sink: a file, or this machine's virtual camera (`vcam`).

avatar serve
python examples/record_an_avatar.py http://127.0.0.1:8000 file:avatar.mp4 --seconds 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from realtime import Picture, Sink, open_sink


def ask(method: str, url: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the server's HTTP interface; its answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as reply:
        return json.loads(reply.read() or b"{}")


async def record(peer: RTCPeerConnection, sink: Sink, seconds: float) -> int:
    """Write the pictures that `peer` receives into a sink, for a while from the first one; how many there were."""
    track, taken, loop = peer.getReceivers()[0].track, 0, asyncio.get_running_loop()
    began = now = 0.0
    while not taken or now - began < seconds:
        frame: Any = await track.recv()
        image, now = frame.to_ndarray(format="rgb24"), loop.time()
        if not taken:
            sink.open(image.shape[1], image.shape[0], 30.0)
            began = now
        await asyncio.to_thread(sink.write, Picture(image, now, now - began, taken))
        taken += 1
    return taken


async def main() -> None:
    """Offer to receive, record for a while, end the session."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="the link that the server printed, token included")
    parser.add_argument("sink", help="file:PATH, vcam, preview or null, as on the command line")
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    link = urlsplit(options.server)
    sessions = f"{link.scheme}://{link.netloc}/api/sessions"
    token = parse_qs(link.query).get("token", [""])[0]

    sink = open_sink(options.sink)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"sdp": peer.localDescription.sdp, "source": "sample"}
    answer = await asyncio.to_thread(ask, "POST", sessions, token, offer)
    session = f"{sessions}/{answer['id']}"
    try:
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        smile = {"type": "set_edits", "values": {"smile": 0.5}}
        await asyncio.to_thread(ask, "POST", f"{session}/control", token, smile)
        taken = await asyncio.wait_for(record(peer, sink, options.seconds), options.seconds + 20.0)
    finally:
        await peer.close()
        sink.close()
        await asyncio.to_thread(ask, "DELETE", session, token)
    print(f"{options.sink}: {taken} pictures")


if __name__ == "__main__":
    asyncio.run(main())
