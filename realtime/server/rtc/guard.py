"""What strangers and peers may send to a media port, in place of parts of aiortc and aioice that believe too much.

Anybody can send a datagram to an ICE port. aioice hands on whatever is no STUN message, from any address, and aiortc
takes its first byte before it looks whether there is one: one empty datagram ends the connection. `install` puts ours
where aiortc looks for them:

- datagrams count only from addresses that have shown the session's password in a STUN check, or stand in the offer;
- what cannot be read is dropped, and ends nothing;
- a peer can make us do only so much work: streams, addresses, packets sent again;
- a peer is alive while it answers our checks, or while anything authenticated comes from it: FFmpeg answers none.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from typing import Any

from aioice import Candidate, ice, stun
from aiortc import rtcdtlstransport, rtcicetransport, rtcpeerconnection
from aiortc.rtcdtlstransport import RTCDtlsTransport, RtpRouter
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from OpenSSL import SSL

from realtime.server.common.limits import Bucket
from realtime.server.rtc import addresses

log = logging.getLogger(__name__)

WAITING = 4096
"""Datagrams that wait to be read from one connection; more are dropped. Half a second of a fast uplink is 300."""
GATHER_S = 3
"""Seconds that STUN and TURN servers have to answer; without them a session has the addresses of this machine."""
PEER_ADDRESSES = 64
"""Addresses that one peer may use."""
STREAMS = 32
"""RTP streams (SSRC) of one peer."""
AGAIN_PER_S = 500.0
"""Packets that a peer can have sent again in a second; all that is lost at 2.5 Mbit/s and 20 % are 60."""


class GuardedConnection(ice.Connection):
    """An ICE connection that knows who has shown the password.

    heard: how many times something authenticated came. fence: who alone may send, by address; empty: anybody."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard = 0
        self.fence: frozenset[str] = frozenset()
        self._known: set[tuple[Any, ...]] = set()

    async def gather_candidates(self) -> None:
        """Open the ports that were asked for."""
        self.fence = addresses.own_addresses() if addresses.ASKED.get().fenced else frozenset()
        await super().gather_candidates()

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """Our own addresses, and those that STUN and TURN servers name in time."""
        return await super().get_component_candidates(component, addresses, min(timeout, GATHER_S))

    def knows(self, addr: tuple[Any, ...]) -> bool:
        """This address stands in the offer or has shown the password."""
        if addr not in self._known and any((c._network_host, c.port) == addr for c in self._remote_candidates):
            self._known.add(addr)
        return addr in self._known

    def request_received(self, message: stun.Message, addr: tuple[str, int], protocol: ice.StunProtocol) -> None:
        """A STUN request from anybody."""
        super().request_received(message, addr, protocol)
        if self._early_checks and self._early_checks[-1][0] is message:  # it is right, and waits for `connect`
            self._known.add(addr)

    def respond_error(
        self, request: stun.Message, addr: tuple[str, int], protocol: ice.StunProtocol, error_code: tuple[int, str]
    ) -> None:
        """Strangers get no answer: it would be longer than the question, and go to whoever is named as its sender."""
        if error_code[0] not in (400, 401):
            super().respond_error(request, addr, protocol, error_code)

    def check_incoming(self, message: stun.Message, addr: tuple[str, int], protocol: ice.StunProtocol) -> None:
        """A STUN request with the right password."""
        if not self.knows(addr) and len(self._remote_candidates) >= PEER_ADDRESSES:
            return
        self.heard += 1
        self._known.add(addr)
        super().check_incoming(message, addr, protocol)

    def data_received(self, data: bytes, component: int) -> None:
        """Queue a datagram that is no STUN message. The first byte of those is 0 to 3 (RFC 7983, section 7)."""
        if data and data[0] > 3 and self._queue.qsize() < WAITING:
            super().data_received(data, component)

    async def query_consent(self) -> None:
        """Ask the peer whether it is still there; end the connection when it neither answers nor sends anything
        authenticated for `CONSENT_FAILURES` times in a row (RFC 7675, which counts answers alone)."""
        assert self.remote_password is not None
        failures, heard = 0, self.heard
        while failures < ice.CONSENT_FAILURES:
            await asyncio.sleep(ice.CONSENT_INTERVAL * random.uniform(0.8, 1.2))
            for pair in list(self._nominated.values()):
                request = self.build_request(pair, nominate=False)
                key = self.remote_password.encode()
                try:
                    await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
                    failures = 0
                except stun.TransactionError:
                    failures = failures + 1 if self.heard == heard else 0
                heard = self.heard
        self._query_consent_task = None
        await self.close()


class GuardedProtocol(ice.StunProtocol):
    """One UDP port. It drops what strangers send, and what cannot be read."""

    receiver: GuardedConnection

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """A datagram from anybody."""
        sender = (addr[0], addr[1])
        if not data or (self.receiver.fence and addr[0].partition("%")[0] not in self.receiver.fence):
            return
        if data[0] > 3 and not self.receiver.knows(sender):  # type: ignore[operator]
            return
        try:
            super().datagram_received(data, addr)
        except Exception:
            log.debug("a datagram from %s was dropped", sender, exc_info=True)


class GuardedDtls(RTCDtlsTransport):
    """What comes through a connection. A datagram that cannot be read is dropped and the next one taken."""

    async def _recv_next(self) -> None:
        try:
            await super()._recv_next()
        except (ConnectionError, SSL.Error):
            raise
        except Exception:
            log.debug("a datagram was dropped", exc_info=True)

    def _alive(self) -> None:
        connection = self.transport._connection
        if isinstance(connection, GuardedConnection):
            connection.heard += 1

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._alive()
        await super()._handle_rtp_data(data, arrival_time_ms)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self._alive()
        await super()._handle_rtcp_data(data)


class FewStreams(RtpRouter):
    """Hands packets to their streams; a peer that invents streams without end gets no more."""

    def route_rtp(self, packet: Any) -> Any:
        if packet.ssrc not in self.ssrc_table and len(self.ssrc_table) >= STREAMS:
            return None
        return super().route_rtp(packet)


class GuardedSender(RTCRtpSender):
    """Sends packets again that were lost, so many a second: one datagram can ask for 5,000."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._again = Bucket(AGAIN_PER_S, AGAIN_PER_S / 2)

    async def _retransmit(self, sequence_number: int) -> None:
        if self._again.take(time.monotonic()):
            await super()._retransmit(sequence_number)


class GuardedReceiver(RTCRtpReceiver):
    """Reports what it received. Where a peer's own numbers do not fit into a report there is none: an error would
    end the reports, and then the end of the connection waits for ever."""

    async def _send_rtcp(self, packet: Any) -> None:
        try:
            await super()._send_rtcp(packet)
        except struct.error:
            log.debug("a report was left out", exc_info=True)


def install() -> None:
    """Let aiortc use these. Safe to call twice."""
    addresses.install()
    names: list[tuple[Any, str, type]] = [
        (rtcicetransport, "Connection", GuardedConnection),
        (ice, "StunProtocol", GuardedProtocol),
        (rtcpeerconnection, "RTCDtlsTransport", GuardedDtls),
        (rtcdtlstransport, "RtpRouter", FewStreams),
        (rtcpeerconnection, "RTCRtpSender", GuardedSender),
        (rtcpeerconnection, "RTCRtpReceiver", GuardedReceiver),
    ]
    for module, name, ours in names:
        setattr(module, name, ours)
