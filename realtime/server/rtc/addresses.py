"""At which of this machine's addresses media is sent and received: those that the server was bound to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from aioice import ice

EVERYWHERE = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Listening:
    """hosts: the addresses whose ports are opened; none: all that this machine has, the loopback address first.
    fenced: only this machine may send to them."""

    hosts: tuple[str, ...] = ()
    fenced: bool = False


EVERY = Listening()
ASKED: ContextVar[Listening] = ContextVar("ASKED", default=EVERY)
"""What the connection that is being made listens at; set around its gathering of addresses."""


def listening(host: str, offer: str) -> Listening:
    """What a server bound to `host`, an address (see `resolved`), opens for this offer.

    Chromium, FFmpeg and all that is made of libwebrtc name 127.0.0.1 in their offers and can use it. Firefox and
    libnice (GStreamer) pair a loopback address with a loopback address alone, and have none themselves: for offers
    that name none, a server of this machine alone opens the other addresses as well, closed to all that comes from
    elsewhere."""
    if host in EVERYWHERE:
        return EVERY
    if ipaddress.ip_address(host).is_loopback and not re.search(r"(?m)[ :](127\.\d|::1\b)", offer):
        return Listening(fenced=True)
    return Listening((host,))


def can_listen(host: str) -> bool:
    """A UDP port can be opened at this address."""
    if host in EVERYWHERE:
        return True
    try:
        address = resolved(host)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except (OSError, UnicodeError):
        return False
    return True


def resolved(host: str) -> str:
    """The address that a name stands for; one of `EVERYWHERE`, or an address, is itself. Blocks while a name server
    is asked: a server does so once, when it starts, as the listening socket of HTTP does. Raises OSError."""
    if host in EVERYWHERE:
        return host
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
        return str(found[0][4][0])  # the first, as the listening socket of HTTP takes it


class HostAddresses:
    """In place of aioice's `get_host_addresses`, which knows all addresses but 127.0.0.1."""

    def __init__(self, original: Callable[..., list[str]]) -> None:
        self.original = original

    def __call__(self, use_ipv4: bool, use_ipv6: bool) -> list[str]:
        hosts = ASKED.get().hosts
        return list(hosts) or ["127.0.0.1", *self.original(use_ipv4=use_ipv4, use_ipv6=use_ipv6)]


def own_addresses() -> frozenset[str]:
    """All addresses of this machine. A datagram that says it comes from one of them does: systems drop those that
    come in from outside."""
    return frozenset({"127.0.0.1", "::1", *ice.get_host_addresses(use_ipv4=True, use_ipv6=True)})


def install() -> None:
    """Let aioice ask here for addresses. Safe to call twice."""
    if not isinstance(ice.get_host_addresses, HostAddresses):
        ice.get_host_addresses = HostAddresses(ice.get_host_addresses)
