"""OSC 1.0 (Open Sound Control) over UDP, by python-osc: datagrams of messages, each an address with arguments."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from realtime.errors import BadValue, DeviceError, MissingExtra

LOOPBACK = "127.0.0.1"
_LARGEST = 65535
_BUNDLE = b"#bundle\0"
_DEEPEST = 4
"""Bundles in bundles."""
Message = tuple[str, list[Any]]


def need_osc(what: str) -> None:
    """Raise MissingExtra where python-osc is not installed. what: needs it."""
    if importlib.util.find_spec("pythonosc") is None:
        raise MissingExtra(what, "python-osc", "osc")


def parse_place(name: str, text: str, port: int) -> tuple[str, int]:
    """Host and port of "", "PORT", "HOST" or "HOST:PORT"; this machine and `port` where they are left out. name: of
    the option. Raises BadValue."""
    host, colon, tail = text.rpartition(":")
    if not colon:
        host, tail = ("", text) if text.isdecimal() else (text, "")
    if tail and not (tail.isdecimal() and 0 < int(tail) < 65536):
        raise BadValue(name, text, "HOST:PORT, a port from 1 to 65535")
    return host.strip("[]") or LOOPBACK, int(tail or port)


class Receiver:
    """Listens to OSC at a port of this machine alone: 127.0.0.1. What is no OSC is left out. Raises DeviceError where
    the port is taken."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((LOOPBACK, port))
        except OSError as error:
            self._socket.close()
            raise DeviceError(
                f"UDP port {port}", f"cannot be listened to ({error.strerror})", "Name another"
            ) from None
        self.port: int = self._socket.getsockname()[1]

    def take(self, timeout: float) -> list[Message]:
        """The messages of the next datagram; none after `timeout` seconds, or where it was no OSC."""
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(_LARGEST)
        except OSError:  # nothing came, or closed
            return []
        return messages(data)

    def close(self) -> None:
        """Stop listening. Safe to call twice."""
        self._socket.close()


def messages(data: bytes) -> list[Message]:
    """The messages of a datagram, those of bundles too, in order; none of one that is no OSC."""
    from pythonosc.osc_message import OscMessage

    found: list[Message] = []
    with contextlib.suppress(Exception):  # whatever a stranger's bytes make the parser do
        for each in _elements(data):
            message = OscMessage(each)
            found.append((message.address, list(message.params)))
    return found


def _elements(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """The messages' own bytes. Here and not by the library, whose parser of bundles goes on for ever at an element of
    less than no length."""
    if not data.startswith(_BUNDLE):
        yield data
        return
    at = len(_BUNDLE) + 8  # and a time, which is not waited for
    while depth < _DEEPEST and at + 4 <= len(data):
        (size,) = struct.unpack_from(">i", data, at)
        if size <= 0 or at + 4 + size > len(data):
            return
        yield from _elements(data[at + 4 : at + 4 + size], depth + 1)
        at += 4 + size


class Sender:
    """Sends bundles of messages to a place. Nobody has to listen there. Raises BadValue where the host has no
    address."""

    def __init__(self, host: str, port: int) -> None:
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise BadValue("host", host, f"it has no address ({error.strerror})") from None
        self._socket, self._to = socket.socket(family, kind, protocol), where

    def send(self, batch: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """One datagram. Floats are sent as such; what cannot be sent (nobody is there) is lost."""
        from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
        from pythonosc.osc_message_builder import OscMessageBuilder

        bundle = OscBundleBuilder(IMMEDIATELY)
        for address, arguments in batch:
            message = OscMessageBuilder(address)
            for argument in arguments:
                message.add_arg(argument)
            bundle.add_content(message.build())
        with contextlib.suppress(OSError):
            self._socket.sendto(bundle.build().dgram, self._to)

    def close(self) -> None:
        """Safe to call twice."""
        self._socket.close()
