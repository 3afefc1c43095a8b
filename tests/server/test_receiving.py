"""From packets to frames: no picture waits for the next one, none is lost, joined or cut."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from aiortc import rtcrtpreceiver
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from realtime.server.hosting.frames import to_rgb, to_video_frame, to_yuv
from realtime.server.rtc import decoders
from realtime.server.rtc.decoders import CodedPicture, PatientNack, PromptBuffer
from realtime.server.rtc.encoders import SteadyVp8
from tests.support.server import portrait_picture

STEP = 3000


def packets(sizes: list[int], first: int = 65_530, marked: bool = True) -> list[RtpPacket]:
    """Pictures of so many packets each; packet k of picture n holds "n.k ". Sequence numbers wrap."""
    out = []
    for n, size in enumerate(sizes):
        for k in range(size):
            number = (first + len(out)) & 0xFFFF
            packet = RtpPacket(sequence_number=number, timestamp=(2**32 - STEP + n * STEP) & 0xFFFFFFFF)
            packet.marker = int(marked and k == size - 1)
            packet._data = f"{n}.{k} ".encode()
            out.append(packet)
    return out


def whole(n: int, size: int) -> bytes:
    return b"".join(f"{n}.{k} ".encode() for k in range(size))


def pictures(buffer: PromptBuffer, packet: RtpPacket) -> list[bytes]:
    _, found = buffer.add(packet)
    return [] if found is None else [one.data for one in found.each()]


def test_a_picture_is_there_with_its_last_packet():
    sizes = [3, 1, 4, 1]
    buffer = PromptBuffer(capacity=128, is_video=True)
    came = [pictures(buffer, packet) for packet in packets(sizes)]
    assert came == [[], [], [whole(0, 3)], [whole(1, 1)], [], [], [], [whole(2, 4)], [whole(3, 1)]]


def test_a_sender_without_markers_is_understood_one_picture_later():
    buffer = PromptBuffer(capacity=128, is_video=True)
    came = [pictures(buffer, packet) for packet in packets([2, 1, 2], marked=False)]
    assert came == [[], [], [whole(0, 2)], [whole(1, 1)], []]


def test_what_waited_for_a_lost_packet_comes_at_once_when_it_comes():
    buffer = PromptBuffer(capacity=128, is_video=True)
    first, lost, *rest = packets([2, 1, 1, 1])
    assert [pictures(buffer, packet) for packet in [first, *rest]] == [[]] * 4
    _, found = buffer.add(lost)
    assert isinstance(found, CodedPicture)
    found.timestamp = 90  # as the receiver counts them
    assert [(one.data, one.timestamp) for one in found.each()] == [
        (whole(n, size), 90 + n * STEP) for n, size in enumerate([2, 1, 1, 1])
    ]


def test_packets_that_only_fill_the_line_are_no_picture():
    buffer = PromptBuffer(capacity=128, is_video=True)
    first, filler, second = packets([1, 1, 1])
    filler._data, filler.marker, filler.timestamp = b"", 0, first.timestamp
    assert [pictures(buffer, packet) for packet in (first, filler, second)] == [[b"0.0 "], [], [b"2.0 "]]


@given(st.lists(st.integers(1, 5), min_size=2, max_size=20), st.integers(0, 2**32), st.booleans())
def test_any_order_of_packets_gives_every_picture_once_whole_and_in_order(sizes, seed, marked):
    first, *rest = packets(sizes, marked=marked)
    shuffle = random.Random(seed)
    groups = [rest[at : at + 6] for at in range(0, len(rest), 6)]
    mixed = [packet for group in groups for packet in shuffle.sample(group, len(group))]
    buffer = PromptBuffer(capacity=128, is_video=True)
    came = [data for packet in [first, *mixed] for data in pictures(buffer, packet)]
    expected = [whole(n, size) for n, size in enumerate(sizes)]
    assert came == (expected if marked else expected[:-1])


def test_sound_is_there_with_each_packet_and_late_ones_hold_it_up_for_a_moment_only():
    buffer, now = PromptBuffer(capacity=16, prefetch=4), [0.0]
    buffer.clock = lambda: now[0]
    line = packets([1] * 10)
    del line[3]
    came = []
    for packet in line:
        came.append(pictures(buffer, packet))
        now[0] += 0.02
    whole_ones = [[whole(n, 1)] for n in range(10)]
    assert came == [*whole_ones[:3], [], [], [], [data for one in whole_ones[4:8] for data in one], *whole_ones[8:]]


class Line:
    """A receiver's buffer and requests behind a line that loses packets, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.buffer, self.nack = PromptBuffer(capacity=512, is_video=True), PatientNack()
        self.buffer.clock = self.nack.clock = lambda: self.now
        self.asked: list[float] = []
        self.keys: list[float] = []
        self.came: list[int] = []

    def take(self, packet: RtpPacket) -> None:
        if self.nack.add(packet):
            self.asked.append(self.now)
        asks, found = self.buffer.add(packet)
        if asks:
            self.keys.append(self.now)
        self.came += [] if found is None else [int(one.data[1:].split(b".")[0]) for one in found.each()]


def coded(count: int, keys: set[int], size: int = 2) -> list[list[RtpPacket]]:
    """So many pictures of two packets; the first byte says whether it is a key frame, as in VP8."""
    out = packets([size] * count, first=100)
    for n in range(count):
        out[size * n]._data = (b"\0" if n in keys else b"\1") + out[size * n]._data
    return [out[size * n : size * n + size] for n in range(count)]


def test_after_a_loss_that_nobody_mends_pictures_go_on_with_the_next_key_frame():
    line = Line()
    for n, picture in enumerate(coded(60, keys={0, 30})):
        for k, packet in enumerate(picture):
            if (n, k) != (10, 0):
                line.take(packet)
        line.now += 1 / 30
    assert line.came == [*range(10), *range(30, 60)]
    assert line.keys[0] == pytest.approx(10 / 30 + 0.3, abs=0.05)  # patience over
    assert len(line.keys) == 2  # and asked again, for none came
    assert line.asked[0] == pytest.approx(10 / 30)
    assert 3 <= len(line.asked) <= 7  # the packet was asked for several times, and then forgotten
    assert line.asked[-1] < 10 / 30 + 0.35


def test_a_sender_that_makes_no_key_frames_is_taken_as_it_is():
    line = Line()
    for n, picture in enumerate(coded(90, keys={0})):
        for k, packet in enumerate(picture):
            if (n, k) != (10, 0):
                line.take(packet)
        line.now += 1 / 30
    assert line.came[:10] == list(range(10))
    assert line.came[10] in range(45, 55)
    assert line.came[-1] == 89


def test_after_a_cut_of_ten_seconds_pictures_are_back_with_the_first_key_frame():
    line = Line()
    for n, picture in enumerate(coded(420, keys={0, 345}, size=3)):
        if n < 30 or n >= 330:
            for packet in picture:
                line.take(packet)
        line.now += 1 / 30
    assert line.came == [*range(30), *range(345, 420)]
    assert line.keys[0] <= 330 / 30 + 0.01  # asked for with the first packet that came
    assert len(line.nack.missing) == 0


def test_what_is_sent_again_in_time_costs_no_picture():
    line = Line()
    late: list[RtpPacket] = []
    for n, picture in enumerate(coded(60, keys={0})):
        for packet in [*picture, *late]:
            if n % 5 == 3 and packet is picture[0]:
                late = [packet]
            else:
                line.take(packet)
                late = [] if packet in late else late
        line.now += 1 / 30
    assert line.came == list(range(60))
    assert line.keys == []


def test_key_frames_are_known():
    encoder = SteadyVp8()
    shots = [encoder._bytes(to_video_frame(to_yuv(portrait_picture(128)), STEP * n), False) for n in range(2)]
    assert [decoders.is_key(data) for data in shots] == [True, False]
    assert decoders.is_key(b"\0\0\0\1\x67aa\0\0\0\1\x68b\0\0\0\1\x65cc")
    assert not decoders.is_key(b"\0\0\0\1\x41cc")


async def test_the_decoder_goes_on_after_damage_and_hands_the_end_on():
    encoder = SteadyVp8()
    image = portrait_picture(128)
    coded = [encoder._bytes(to_video_frame(to_yuv(np.roll(image, n, axis=1)), STEP * n), False) for n in range(4)]
    one, later = CodedPicture(coded[0], 0, came=7.5), CodedPicture(coded[1], STEP)
    one.later.append(later)
    todo: queue.Queue = queue.Queue()
    vp8 = SimpleNamespace(name="VP8", mimeType="video/VP8")
    damaged = CodedPicture(b"\x00broken", 2 * STEP)
    for each in (one, damaged, CodedPicture(coded[2], 2 * STEP), CodedPicture(coded[3], 3 * STEP)):
        todo.put((vp8, each))
    todo.put(None)
    frames: asyncio.Queue = asyncio.Queue()
    failed = threading.Event()
    await asyncio.to_thread(decoders.decode, asyncio.get_running_loop(), todo, frames, failed)
    await asyncio.sleep(0)
    came = [frames.get_nowait() for _ in range(frames.qsize())]
    assert came.pop() is None
    assert [frame.pts for frame in came] == [0, STEP, 2 * STEP, 3 * STEP]
    assert [frame.opaque for frame in came[:2]] == [7.5, 0.0], "when the first packet came, not when it was decoded"
    assert np.abs(to_rgb(came[0]).astype(int) - image).mean() < 8
    assert failed.is_set()


def test_the_receivers_of_this_process_use_them():
    decoders.install()
    assert rtcrtpreceiver.JitterBuffer is PromptBuffer
    assert rtcrtpreceiver.decoder_worker is decoders.decode


@pytest.mark.parametrize("size", [(128, 128), (130, 96), (96, 130)])
def test_a_frame_for_the_encoder_shares_the_pictures_memory(size):
    yuv = to_yuv(np.ascontiguousarray(portrait_picture(160)[: size[0], : size[1]]))
    frame = to_video_frame(yuv, 0)
    assert np.array_equal(frame.to_ndarray(), yuv)
    yuv[0, 0] ^= 1
    assert (frame.to_ndarray()[0, 0] == yuv[0, 0]) == (size[0] % 4 == 0)  # else PyAV cannot share
