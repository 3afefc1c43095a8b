"""One WebRTC connection, by aiortc: driving frames or their landmarks in, pictures out, the `control` channel beside
them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp

from realtime.errors import AvatarError
from realtime.flow.mailbox import Closed, Mailbox
from realtime.media.backgrounds import Background
from realtime.server.hosting.frames import Driven, Part, Shown, to_video_frame
from realtime.server.hosting.player import Player
from realtime.server.rtc import decoders, encoders, guard, steady
from realtime.server.rtc.addresses import ASKED, listening
from realtime.server.rtc.sdp import BadOffer, Uplink, check_offer, hint_bitrate, let_peer_begin, wants
from realtime.server.rtc.sound import Voice, VoiceTrack
from realtime.server.rtc.trickle import MOST_CANDIDATES, Fragment
from realtime.voice.reading import OneChannel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RtcSettings:
    """How connections are made.

    ice_servers: STUN and TURN servers ("stun:host:port", "turn:user:password@host:port"); none by default, so that
    no outside server is contacted. host: the address at which media is sent and received; 0.0.0.0: all of them."""

    ice_servers: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    uplink: Uplink = field(default_factory=Uplink)


def parse_ice_server(text: str) -> RTCIceServer:
    """ "turn:user:password@host:port" or "stun:host:port" as aiortc wants it."""
    scheme, _, rest = text.partition(":")
    credentials, at, address = rest.rpartition("@")
    user, _, password = credentials.partition(":")
    if scheme not in {"stun", "stuns", "turn", "turns"} or not address:
        raise ValueError(f"{text!r} is no ICE server: stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT")
    if not at:
        return RTCIceServer(f"{scheme}:{address}")
    return RTCIceServer(f"{scheme}:{address}", username=user, credential=password)


def install() -> None:
    """Prepare aiortc for this process: our encoders, decoders, clock, what guards its ports. Safe to call twice."""
    guard.install()
    steady.install()
    encoders.install()
    decoders.install()


class AvatarTrack(MediaStreamTrack):
    """The avatar as a video track: each new picture once, the newest only, on the avatar's clock."""

    kind = "video"

    def __init__(self, box: Mailbox[Shown]) -> None:
        super().__init__()
        self._box = box
        self.sent = 0
        self._captured: float | None = None
        self._delays: deque[float] = deque(maxlen=15)

    def delay(self) -> float | None:
        """Seconds from a driving frame's arrival until the last packet of its picture has left: the median of half a
        second. None before the first one."""
        return median(self._delays) if self._delays else None

    async def recv(self) -> Any:
        """The next picture as `av.VideoFrame`. Raises MediaStreamError when the session has ended."""
        if self._captured is not None:  # the sender comes for the next picture when it has sent the last one
            self._delays.append(time.monotonic() - self._captured)
        try:
            shown = await self._box.aget()
        except Closed:
            shown = None
        if shown is None or self.readyState != "live":
            self.stop()
            raise MediaStreamError
        self.sent += 1
        self._captured = shown.captured
        frame = to_video_frame(shown.yuv, shown.pts)
        if shown.stream is not None:
            frame.opaque = Part(shown.stream)
        return frame

    def stop(self) -> None:
        """No more pictures are wanted."""
        super().stop()
        self._box.close()


class Peer:
    """One connection to one performer.

    publishes: its camera may drive the avatar, and its sound goes to those who listen. voice: the session's sound.
    background: what this peer sees behind the portrait, None for what the session has.
    message: called with each control message and a function that answers. packet: called with what comes over the
    channel `landmarks`; gives what to answer there, and raises AvatarError to close it. None: this peer has no such
    channel. up, down: called once each, when it connected and when it is over.
    """

    def __init__(
        self,
        performer: Player,
        settings: RtcSettings,
        *,
        publishes: bool,
        watches: bool,
        background: Background | None = None,
        voice: Voice,
        message: Callable[[Any, Peer], None],
        packet: Callable[[bytes], str | None] | None = None,
        up: Callable[[Peer], None],
        down: Callable[[Peer], None],
        greet: Callable[[Peer], None],
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        self.performer, self.settings = performer, settings
        self.publishes, self.watches, self._voice = publishes, watches, voice
        self._background = background
        self._message, self._up, self._down, self._greet = message, up, down, greet
        self._packet = packet
        servers = [parse_ice_server(server) for server in settings.ice_servers]
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self.channel: RTCDataChannel | None = None
        self._landmarks: RTCDataChannel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._track: AvatarTrack | None = None
        self._sound: VoiceTrack | None = None
        self._connected = self._over = False
        self._trickled = 0
        self.pc.on("track", self._on_track)
        self.pc.on("datachannel", self._on_channel)
        self.pc.on("connectionstatechange", self._on_state)

    async def answer(self, sdp: str) -> str:
        """The answer to an offer. Raises BadOffer; the connection is closed then."""
        check_offer(sdp)
        _, receives = wants(sdp, "video")
        try:
            await self.pc.setRemoteDescription(RTCSessionDescription(let_peer_begin(sdp), "offer"))
            if self.watches and receives:
                self._track = AvatarTrack(self.performer.watch(self._background))
                self.pc.addTrack(self._track)
                self._prefer_codec()
            if self.watches and wants(sdp, "audio")[1]:
                self._sound = self._voice.listen(self._track.delay if self._track else lambda: None)
                self.pc.addTrack(self._sound)
            ASKED.set(listening(self.settings.host, sdp))
            await self.pc.setLocalDescription(await self.pc.createAnswer())
        except Exception as error:  # aiortc raises whatever its parser meets; the text comes from a stranger
            log.debug("offer refused", exc_info=True)
            await self.close()
            raise BadOffer(
                "The offer cannot be answered: it is damaged, or has no codec in common (VP8, H.264)"
            ) from error
        return hint_bitrate(self.pc.localDescription.sdp, self.settings.uplink)

    async def trickle(self, fragment: Fragment) -> bool:
        """More candidates of the other side. False where they belong to another ICE session, which would be a
        restart. Raises BadOffer."""
        if fragment.ufrag is not None and f"a=ice-ufrag:{fragment.ufrag}\r" not in self.pc.remoteDescription.sdp:
            return False
        self._trickled += len(fragment.candidates)
        if self._trickled > MOST_CANDIDATES:
            raise BadOffer(f"More than {MOST_CANDIDATES} candidates came")
        try:
            for mid, line in fragment.candidates:
                candidate = candidate_from_sdp(line)
                candidate.sdpMid = mid
                await self.pc.addIceCandidate(candidate)
            if fragment.end:
                await self.pc.addIceCandidate(None)
        except Exception as error:  # aiortc raises whatever its parser meets; the text comes from a stranger
            raise BadOffer("A candidate cannot be read, or came after the end of candidates") from error
        return True

    def _prefer_codec(self) -> None:
        if encoders.preferred_codec() != "H264":
            return
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        h264 = [codec for codec in capabilities if codec.mimeType == "video/H264"]
        others = [codec for codec in capabilities if codec.mimeType != "video/H264"]
        for transceiver in self.pc.getTransceivers():
            if transceiver.kind == "video":
                transceiver.setCodecPreferences([*h264, *others])

    @property
    def codec(self) -> str | None:
        """What the avatar is sent in: "VP8", "H264"."""
        encoder = self._encoder()
        return None if encoder is None else "H264" if isinstance(encoder, encoders.SteadyH264) else "VP8"

    @property
    def bitrate(self) -> int | None:
        """Bits per second that its encoder aims at now."""
        encoder = self._encoder()
        return encoder.target_bitrate if encoder else None

    @property
    def delay(self) -> float | None:
        """Seconds from a driving frame's arrival until the last packet of its picture has left; None where this peer
        watches nothing, or before the first picture."""
        return self._track.delay() if self._track is not None else None

    def _encoder(self) -> Any:
        for sender in self.pc.getSenders():
            encoder = getattr(sender, "_RTCRtpSender__encoder", None)
            if encoder is not None and sender.kind == "video":
                return encoder
        return None

    def send(self, text: str) -> None:
        """Send on the control channel; given up where it is closed, or the peer does not read."""
        channel = self.channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < 256 * 1024:
            channel.send(text)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == "control" and self.channel is None:
            self.channel = channel
            channel.on("message", lambda text: self._message(text, self))
            self._greet(self)
        elif channel.label == "landmarks" and self._landmarks is None and self._packet is not None:
            self._landmarks = channel
            channel.on("message", self._on_packet)
        else:
            channel.close()

    def _on_packet(self, data: str | bytes) -> None:
        channel = self._landmarks
        if channel is None or self._packet is None or not isinstance(data, bytes):
            return
        try:
            answer = self._packet(data)
        except AvatarError:
            self._landmarks, self._packet = None, None
            channel.close()
            return
        if answer is not None and channel.readyState == "open" and channel.bufferedAmount < 4096:
            channel.send(answer)

    def _hear(self, ear: OneChannel, packet: Any) -> None:
        if self.performer.hears:
            self.performer.hear(ear.take(packet))

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self.publishes:
            self._keep(self._drive(track))
        elif track.kind == "audio" and self.publishes:
            self._keep(self._voice.relay(track, partial(self._hear, OneChannel())))
        else:
            self._keep(_discard(track))

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, track: MediaStreamTrack) -> None:
        """Each received frame is handed on at once; the performer keeps the newest."""
        index = 0
        try:
            while True:
                frame: Any = await track.recv()
                media = None if frame.pts is None else float(frame.pts * frame.time_base)
                now = time.monotonic()
                came = frame.opaque if isinstance(frame.opaque, float) else now
                self.performer.offer(Driven(min(came, now), media, frame=frame, index=index))
                index += 1
        except MediaStreamError:
            return

    def _on_state(self) -> None:
        state = self.pc.connectionState
        if state == "connected" and not self._connected:
            self._connected = True
            self._up(self)
        elif state in {"failed", "closed"} and not self._over:
            self._over = True
            self._down(self)

    @property
    def connected(self) -> bool:
        """It has been up."""
        return self._connected

    async def close(self) -> None:
        """Hang up and free all. Safe to call twice."""
        self._over = True
        if self._track is not None:
            self._track.stop()
        if self._sound is not None:
            self._sound.stop()
        for task in list(self._tasks):
            task.cancel()
        await self.pc.close()


async def _discard(track: MediaStreamTrack) -> None:
    """Read a track that nobody wants, so that its frames do not pile up."""
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        return


def ice_servers_for_browser(servers: Sequence[str]) -> list[dict[str, str]]:
    """The servers as `RTCPeerConnection` in a page takes them."""
    out = []
    for text in servers:
        server = parse_ice_server(text)
        entry = {"urls": server.urls if isinstance(server.urls, str) else server.urls[0]}
        if server.username:
            entry |= {"username": server.username, "credential": server.credential or ""}
        out.append(entry)
    return out
