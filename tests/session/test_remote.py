"""A session steered by OSC, sent by python-osc."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from realtime.errors import BadValue, DeviceError, MissingExtra
from realtime.flow.metrics import RunStats
from realtime.flow.osc import messages, parse_place
from realtime.session.control import Control
from realtime.session.remote import OscRemote
from realtime.session.shelf import Shelf
from realtime.settings import Live
from tests.support import FakeEngine, until

udp_client = pytest.importorskip("pythonosc.udp_client", reason="python-osc is not installed")


@pytest.fixture
def remote():
    """What a program with python-osc sends to, and the control that it steers."""
    engine = FakeEngine()
    control = Control(Live(), engine.directions, RunStats("fake", "cpu", 64), Shelf(engine))
    with OscRemote(0, control, tuple(engine.directions)) as remote:
        yield udp_client.SimpleUDPClient("127.0.0.1", remote.port), control


def said(control) -> list[str]:
    return [notice["text"] for notice in control.snapshot()["notices"]]


def test_an_expression_is_put_on_and_off(remote):
    client, control = remote
    client.send_message("/avatar/expression/smile", 1)
    until(lambda: [each.name for each in control.live.played] == ["smile"])
    assert control.live.played[0].until == float("inf")
    client.send_message("/avatar/expression/smile", 0.0)
    until(lambda: control.live.played[0].until < float("inf"))
    client.send_message("/avatar/expression/smile", [])
    until(lambda: len(control.live.played) == 2 or control.live.played[0].until > time.monotonic())


def test_sliders_switches_and_buttons(remote):
    client, control = remote
    client.send_message("/avatar/set/smile", 0.5)
    until(lambda: dict(control.live.edits) == {"smile": 0.5})
    client.send_message("/avatar/set/yaw", -10)
    until(lambda: dict(control.live.edits) == {"smile": 0.5, "yaw": -10.0})
    client.send_message("/avatar/reset", 0.0)  # let go
    client.send_message("/avatar/pause", True)
    until(lambda: control.live.paused)
    assert control.live.edits
    client.send_message("/avatar/reset", 1.0)
    until(lambda: not control.live.edits)
    client.send_message("/avatar/pause", [])
    until(lambda: not control.live.paused)
    client.send_message("/avatar/amplitude/head", 0.5)
    until(lambda: dict(control.live.amplitude) == {"head": 0.5})
    client.send_message("/avatar/calibrate", [])
    until(lambda: control.take_recalibrate() is not None)


def test_what_cannot_be_done_is_said_once_and_the_next_is_done(remote):
    client, control = remote
    for _ in range(3):
        client.send_message("/avatar/expression/tongue", 1)
    client.send_message("/avatar/set/smile", "much")
    client.send_message("/avatar/set/smile", 400.0)
    client.send_message("/avatar/dance", 1)
    client.send_message("/elsewhere", 1)
    client.send_message("/avatar/set/smile", 0.25)
    until(lambda: dict(control.live.edits) == {"smile": 0.25})
    told = said(control)
    assert len(told) == 4
    assert "OSC: there is no expression called 'tongue'" in told[0]
    assert "/avatar/set/smile cannot be 'much': a number" in told[1]
    assert "it takes -1 to 1" in told[2]
    assert "there is no OSC address called '/avatar/dance'" in told[3]


NESTED = b"#bundle\0" + bytes(8)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0",
        b"/avatar",
        b"/avatar/set/smile\0\0\0,f\0\0",
        b"/avatar/set/smile\0\0\0,f\0\0" + struct.pack(">f", float("nan")),
        b"/avatar/set/\xff\xfe\0\0\0,f\0\0\0\0\0\0",
        b"#bundle\0" + bytes(8) + struct.pack(">i", 2**31 - 1),
        b"#bundle\0" + bytes(8) + struct.pack(">i", -4),
        *[NESTED * n for n in (2, 500)],
        b"/" * 60000,
    ],
    ids=range(11),
)
def test_datagrams_made_to_harm_change_nothing(remote, datagram):
    client, control = remote
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(datagram, ("127.0.0.1", client._port))
    client.send_message("/avatar/set/smile", 0.25)
    until(lambda: dict(control.live.edits) == {"smile": 0.25})


def test_bundles_in_bundles_in_bundles_are_left_out():
    bundle = b"/avatar/pause\0\0\0,\0\0\0"
    for _ in range(3000):
        bundle = NESTED + struct.pack(">i", len(bundle)) + bundle
    assert messages(bundle[:65000]) == []


def test_it_listens_to_this_machine_alone(remote):
    client, _ = remote
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", client._port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", client._port))  # not all addresses are taken


def test_a_port_that_is_taken_is_said(remote):
    client, control = remote
    with pytest.raises(DeviceError, match=f"UDP port {client._port}: cannot be listened to"):
        OscRemote(client._port, control, ())


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="osc"):
        OscRemote(0, None, ())


def test_places_are_read():
    assert parse_place("x", "", 39539) == ("127.0.0.1", 39539)
    assert parse_place("x", "9000", 39539) == ("127.0.0.1", 9000)
    assert parse_place("x", "studio.local", 39539) == ("studio.local", 39539)
    assert parse_place("x", "[::1]:9000", 39539) == ("::1", 9000)
    for bad in ("a:b", "a:70000", "99999"):
        with pytest.raises(BadValue, match="HOST:PORT"):
            parse_place("x", bad, 39539)
