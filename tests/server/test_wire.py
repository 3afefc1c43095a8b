"""The motion packet: what goes in comes out, nothing else gets in, and the newest wins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.families import FAMILIES
from realtime.motion import wire

pytestmark = pytest.mark.hostile

KINDS = {name: family.number for name, family in FAMILIES.items() if family.number is not None}

halves = st.floats(-60000, 60000, width=16)
packets = st.builds(
    wire.Packet,
    kind=st.sampled_from(sorted(KINDS)),
    sequence=st.integers(0, 2**32 - 1),
    captured=st.integers(0, 2**50).map(lambda micros: micros / 1e6),
    values=st.none() | st.lists(halves, min_size=1, max_size=120).map(lambda v: np.array(v, np.float32)),
)


@given(packets)
def test_what_is_packed_comes_back(packet):
    data = wire.pack(packet)
    assert len(data) <= wire.MAX_PACKET
    assert data[1] == (1 if packet.values is None or packet.values.size <= 91 else 2)
    assert data[1] == 2 or len(data) < 200
    back = wire.unpack(data)
    assert (back.kind, back.sequence) == (packet.kind, packet.sequence)
    assert abs(back.captured - packet.captured) < 2e-6
    if packet.values is None:
        assert back.values is None
        assert back.code(1.0) is None
    else:
        np.testing.assert_array_equal(back.values, packet.values)
        code = back.code(captured=7.0)
        assert code.kind == packet.kind
        assert code.captured == 7.0
        assert code.values.dtype == np.float32


@pytest.mark.parametrize("count", [1, 91, 92, 500, wire.MAX_VALUES])
def test_codes_of_every_length_travel(count):
    values = np.arange(count, dtype=np.float32)
    back = wire.unpack(wire.pack(wire.Packet("mesh", 7, 1.0, values)))
    np.testing.assert_array_equal(back.values, values)


def test_a_version_that_has_more_values_than_it_may_is_refused():
    first = bytearray(wire.pack(wire.Packet("mesh", 0, 0.0, np.zeros(91))))
    first[3] = 92
    with pytest.raises(wire.BadPacket, match="92 values; version 1 holds up to 91"):
        wire.unpack(bytes(first) + b"\0\0")
    second = bytearray(wire.pack(wire.Packet("mesh", 0, 0.0, np.zeros(wire.MAX_VALUES))))
    second[16:18] = (wire.MAX_VALUES + 1).to_bytes(2, "little")
    with pytest.raises(wire.BadPacket, match="1025 values; version 2"):
        wire.unpack(bytes(second))
    with pytest.raises(wire.BadPacket, match="header of version 2"):
        wire.unpack(bytes(second[:17]))


def test_version_two_may_be_short_too():
    """A client that speaks version 2 alone is understood."""
    one = wire.pack(wire.Packet("mesh", 3, 1.0, np.array([1.0, 2.0])))
    two = bytes([one[0], 2, one[2], 0]) + one[4:16] + b"\x02\0" + one[16:]
    np.testing.assert_array_equal(wire.unpack(two).values, [1.0, 2.0])
    nothing = two[:16] + b"\0\0"
    assert wire.unpack(nothing).values is None


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_packet_or_a_sentence(data):
    try:
        packet = wire.unpack(data)
    except wire.BadPacket:
        return
    assert packet.values is None or np.isfinite(packet.values).all()
    if packet.captured <= 2**50 / 1e6 and (data[1] == 1 or len(data) > 18 + 2 * 91):
        assert wire.pack(packet) == data


@given(packets, st.data())
def test_a_changed_header_is_refused_or_read_as_it_says(packet, data):
    raw = bytearray(wire.pack(packet))
    at = data.draw(st.integers(0, 3))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    if at == 2 and raw[2] in KINDS.values():
        assert wire.unpack(bytes(raw)).kind != packet.kind
    else:
        with pytest.raises(wire.BadPacket):
            wire.unpack(bytes(raw))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_must_be_finite_both_ways(bad):
    with pytest.raises(wire.BadPacket, match="finite"):
        wire.pack(wire.Packet("mesh", 0, 0.0, np.array([bad])))
    raw = wire.pack(wire.Packet("mesh", 0, 0.0, np.array([1.0])))[:-2] + np.array([bad], "<f2").tobytes()
    with pytest.raises(wire.BadPacket, match="finite"):
        wire.unpack(raw)


def test_documented_bytes():
    packet = wire.Packet("lia-x", 0x01020304, 1.000002, np.array([1.0, -2.0]))
    assert wire.pack(packet).hex(" ") == "4d 01 03 02 04 03 02 01 42 42 0f 00 00 00 00 00 00 3c 00 c0"
    packet = wire.Packet("lia-x", 0x01020304, 1.000002, np.array([1.0, -2.0, *[0.0] * 90]))
    start = "4d 02 03 00 04 03 02 01 42 42 0f 00 00 00 00 00 5c 00 00 3c 00 c0 00 00"
    assert wire.pack(packet).hex(" ").startswith(start)
    too_many = wire.Packet("mesh", 0, 0, np.zeros(wire.MAX_VALUES + 1))
    with pytest.raises(wire.BadPacket, match="values"):
        wire.pack(too_many)


def test_thirty_codes_a_second_fit_in_64_kbit_with_all_headers():
    ws, tcp_ip = 2 + 4 + 2, 20 + 12 + 20  # client frame: two bytes, 16-bit length, mask; TCP with timestamps; IPv4
    packet = wire.pack(wire.Packet("mesh", 0, 0.0, np.zeros(87)))
    assert 30 * 8 * (len(packet) + ws + tcp_ip) < 64000


def test_out_of_order_and_late_packets_do_not_pass():
    newest = wire.Newest()
    assert [newest.admit(n) for n in (5, 6, 9, 7, 9, 10)] == [True, True, True, False, False, True]
    assert newest.late == 2
    assert newest.lost == 1  # 7 and 8 were skipped, 7 came late after all


@given(st.integers(0, 2**32 - 1), st.integers(1, 1000))
def test_sequence_wraps(start, steps):
    newest = wire.Newest()
    newest.admit(start)
    assert newest.admit((start + steps) % 2**32)
    assert not newest.admit(start)


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=50), st.floats(-1000, 1000))
def test_mapped_times_are_never_in_the_future(delays, apart):
    clock = wire.ClockOffset()
    for i, delay in enumerate(delays):
        captured = 2000 + i / 30
        arrived = captured + apart + delay
        mapped = clock.map(captured, arrived)
        assert mapped <= arrived + 1e-9
        assert arrived - mapped <= delay + 1e-6  # it claims no more delay than there was
