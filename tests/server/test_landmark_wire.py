"""The landmark packet: what goes in comes out, small, whatever is lost on the way; and nothing else gets in."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.face.face_model import CHIN, FOREHEAD, NOSE_TIP, load_face_model
from realtime.face.pose import rotation_matrix
from realtime.motion import landmark_wire as wire
from realtime.motion.landmark_tree import NEIGHBOUR
from realtime.motion.wire import BadPacket, Newest
from realtime.types import Landmarks

pytestmark = pytest.mark.hostile

TALL = 200.0


def faces(count: int, noise: float = 0.15) -> list[np.ndarray]:
    """A head that turns and talks, its landmarks trembling by `noise` pixels: float32 (478, 3)."""
    rng, mean = np.random.default_rng(3), load_face_model().mean
    low = mean[:, 1] > mean[[13, 14], 1].mean()
    out = []
    for n in range(count):
        face = mean.copy()
        face[low, 1] += 0.04 * (1 + np.sin(n / 3))
        turned = face @ rotation_matrix(20 * np.sin(n / 20), 5 * np.sin(n / 13), 3 * np.sin(n / 31)).T
        at = [320 + 30 * np.sin(n / 40), 240, 0]
        out.append((TALL * turned + at + rng.normal(0, noise, face.shape)).astype(np.float32))
    return out


def found(points: np.ndarray | None, n: int = 0, mirrored: bool = False) -> Landmarks:
    return Landmarks(points, 640, 480, mirrored, captured=n / 30)


def worst(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of a coordinate, in face heights."""
    return float(np.abs(a - b).max() / np.linalg.norm(b[FOREHEAD] - b[CHIN]))


def test_what_is_packed_comes_back_with_all_that_goes_with_it():
    writer, reader = wire.LandmarkWriter(), wire.LandmarkReader()
    points = faces(1)[0]
    back, sequence, keep = reader.unpack(writer.pack(found(points, 6, mirrored=True)))
    assert (sequence, keep) == (0, True)
    assert (back.width, back.height, back.mirrored, back.captured, back.index) == (640, 480, True, 0.2, 0)
    assert back.points.dtype == np.float32
    assert worst(back.points, points) < 0.0005
    back, sequence, keep = reader.unpack(writer.pack(found(None, 7)))
    assert (back.points, sequence, keep) == (None, 1, False)


def test_differences_are_small_and_what_is_lost_does_not_add_up():
    """A link with a way back of 100 ms."""
    writer, reader, sizes, answers = wire.LandmarkWriter(), wire.LandmarkReader(), [], []
    for n, points in enumerate(faces(120)):
        data = writer.pack(found(points, n))
        back, sequence, keep = reader.unpack(data)
        assert worst(back.points, points) < 0.0005
        sizes.append(len(data))
        assert (data[3] == 0) == (n <= 3)
        if keep:
            answers.append((n + 3, sequence))
        for _, kept in [answer for answer in answers if answer[0] <= n]:
            writer.kept(kept)
    assert 8 * 30 * np.mean(sizes[4:]) < 250_000
    assert np.mean(sizes[:4]) > 1.3 * np.mean(sizes[4:])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 0.9))
def test_whatever_is_lost_late_or_twice_no_other_packet_is_harmed(seed, loss):
    """Every packet that is newer than all before is read as it was sent, answers being lost as well."""
    chance = random.Random(seed)
    writer, reader, newest, truth, way, read = wire.LandmarkWriter(), wire.LandmarkReader(), Newest(), {}, [], 0
    for n, points in enumerate(faces(60)):
        truth[n] = points
        way += [(n + chance.randrange(5), writer.pack(found(points, n)))] * chance.choice([1, 1, 1, 2])
        for packet in [packet for packet in way if packet[0] <= n]:
            way.remove(packet)
            if chance.random() < loss or not newest.admit(wire.read_head(packet[1]).sequence):
                continue
            back, sequence, keep = reader.unpack(packet[1])
            assert worst(back.points, truth[sequence]) < 0.0005
            read += 1
            if keep and chance.random() > loss:
                writer.kept(sequence)
    assert read or loss


def test_a_sender_that_gets_no_answers_any_more_goes_back_to_packets_that_stand_by_themselves():
    writer, reader = wire.LandmarkWriter(), wire.LandmarkReader()
    all_faces = faces(60)
    reader.unpack(writer.pack(found(all_faces[0])))
    writer.kept(0)
    writer.kept(17)  # never sent
    backs = [writer.pack(found(points))[3] for points in all_faces[1:]]
    assert backs == [*range(1, wire.REACH + 1), *[0] * (59 - wire.REACH)]


def test_a_reader_that_came_later_waits_for_one_that_stands_by_itself():
    writer, early, late = wire.LandmarkWriter(), wire.LandmarkReader(), wire.LandmarkReader()
    for n, points in enumerate(faces(4)):
        data = writer.pack(found(points, n))
        _, sequence, _ = early.unpack(data)
        if n == 0:
            writer.kept(sequence)
        else:
            assert late.unpack(data) == (None, n, False)


def test_the_numbers_wrap():
    writer, reader = wire.LandmarkWriter(), wire.LandmarkReader()
    writer._next = 2**32 - 5
    for n, points in enumerate(faces(12)):
        back, sequence, keep = reader.unpack(writer.pack(found(points, n)))
        assert worst(back.points, points) < 0.0005
        if keep:
            writer.kept(sequence)
    assert sequence == 6
    assert len(reader._held) < 30


def test_documented_bytes():
    points = np.zeros((478, 3), np.float32)
    points[FOREHEAD], points[CHIN] = (4.0, 0.0, 0.0), (4.0, 64.0, 0.0)
    data = wire.LandmarkWriter().pack(Landmarks(points, 640, 480, True, captured=1.000002))
    assert data[:20].hex(" ") == "4c 01 03 00 00 00 00 00 42 42 0f 00 00 00 00 00 80 02 e0 01"
    step, *move = struct.unpack("<13f", data[20:72])
    assert step == 64 / 1024
    assert move == pytest.approx([0.0] * 9 + [8 / 478, 64 / 478, 0.0])
    raw = zlib.decompress(data[72:], -15)
    assert len(raw) == 2 * 1434
    folded = np.frombuffer(raw[:1434], np.uint8) + 256 * np.frombuffer(raw[1434:], np.uint8).astype(int)
    told = np.where(folded & 1, -(folded + 1) // 2, folded // 2).reshape(3, 478)
    remainders = np.rint((points - [8 / 478, 64 / 478, 0]) / step).T
    for n in (FOREHEAD, CHIN, 0):
        assert list(told[:, n]) == list(remainders[:, n] - remainders[:, NEIGHBOUR[n]])
    assert list(told[:, NOSE_TIP]) == list(remainders[:, NOSE_TIP])
    assert list(told[:2, CHIN]) == [64, 1024]
    nobody = wire.LandmarkWriter().pack(Landmarks(None, 640, 480, captured=1.000002))
    assert nobody.hex(" ") == "4c 01 00 00 00 00 00 00 42 42 0f 00 00 00 00 00 80 02 e0 01"


def packet(**changed: object) -> bytes:
    """A packet with a face, with fields or remainders of one's own."""
    fields = {"flags": 1, "width": 640, "height": 480, "step": 0.2, "raw": bytes(2868)}
    fields |= {"move": [0.0] * 9 + [320.0, 240.0, 0.0]} | changed
    sides = fields["width"], fields["height"]
    head = struct.pack("<BBBBIQHHf", 0x4C, 1, fields["flags"], 0, 0, 0, *sides, fields["step"])
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = squeezed.compress(fields["raw"]) + squeezed.flush()
    return head + struct.pack("<12f", *fields["move"]) + fields.get("body", body)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "header alone"),
        (b"M" + packet()[1:], "0x4d"),
        (b"L\2" + packet()[2:], "version 2"),
        (packet(flags=5), "flags"),
        (packet(width=8), "8 x 480"),
        (packet(height=65535), "640 x 65535"),
        (packet()[:20], "more than 72"),
        (packet(flags=0), "without a face it has 20"),
        (packet(step=float("nan")), "step"),
        (packet(step=-1.0), "step"),
        (packet(step=1e9), "step"),
        (packet(move=[float("inf")] * 12), "step or the movement"),
        (packet(move=[0.0] * 9 + [1e30, 0.0, 0.0]), "far outside"),
        (packet(raw=b"\xfe" * 1434 + b"\xff" * 1434, step=20.0), "far outside"),
        (packet(raw=bytes(2867)), "2868 bytes"),
        (packet(raw=bytes(2869)), "2868 bytes"),
        (packet(raw=bytes(10_000_000))[:4096], "2868 bytes"),
        (packet(body=b"\xff" * 30), "not deflated"),
        (packet() + b"more", "2868 bytes"),
        (packet()[:-1], "2868 bytes"),
        (packet(body=bytes(5000)), "at most 4096"),
    ],
)
def test_what_is_no_packet_is_refused_in_words(data, why):
    with pytest.raises(BadPacket, match=why):
        wire.LandmarkReader().unpack(data)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_landmarks_or_a_sentence(data, dressed):
    reader = wire.LandmarkReader()
    reader.unpack(wire.LandmarkWriter().pack(found(faces(1)[0])))
    try:
        back, _, _ = reader.unpack(packet(body=data) if dressed else data)
    except BadPacket:
        return
    assert back is None or back.points is None or np.isfinite(back.points).all()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_changed_byte_gives_landmarks_in_reach_or_a_sentence(data):
    writer, reader = wire.LandmarkWriter(), wire.LandmarkReader()
    first, second = faces(2)
    reader.unpack(writer.pack(found(first)))
    writer.kept(0)
    raw = bytearray(writer.pack(found(second, 1)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        back, _, _ = reader.unpack(bytes(raw))
    except BadPacket:
        return
    assert back is None or back.points is None or np.abs(back.points).max() <= 4 * 8192


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_a_sender_is_told_of_landmarks_that_are_none(bad):
    points = faces(1)[0]
    points[100, 1] = bad
    with pytest.raises(BadPacket):
        wire.LandmarkWriter().pack(found(points))
    with pytest.raises(BadPacket, match="478"):
        wire.LandmarkWriter().pack(found(points[:468]))
    with pytest.raises(BadPacket, match="sides"):
        wire.LandmarkWriter().pack(Landmarks(None, 0, 480))
