"""Pictures and clips behind portraits: what is taken, and how a clip takes a plain colour's place."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np
import pytest

from realtime.errors import BadPortrait
from realtime.media import backdrop
from realtime.media.backdrop import (
    KEYS,
    Backdrop,
    BadBackdrop,
    Keyed,
    Player,
    best_channel,
    clip_kind,
    decode_backdrop,
)
from realtime.media.backgrounds import Behind, person_mask
from realtime.media.portraits import builtin_portrait
from realtime.media.uploads import encode_jpeg

PIXELS = 24_000_000


def clip(colours: list[tuple[int, int, int]], seconds: float, fps: int = 12, kind: str = "mp4") -> bytes:
    """A clip that shows each colour for an equal part of its time."""
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream("libx264" if kind == "mp4" else "libvpx", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        count = round(seconds * fps)
        for n in range(count):
            image = np.full((48, 64, 3), colours[n * len(colours) // count], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_clip_goes_round(kind):
    data = clip([(200, 30, 30), (30, 30, 200)], 2.0, kind=kind)
    assert clip_kind(data) == kind
    made = decode_backdrop(data, PIXELS)
    assert (made.moving, made.cut, made.source) == (True, False, data)
    assert made.seconds == pytest.approx(2.0, abs=0.1)
    first, second = (made.picture(made.index(at)).mean(axis=(0, 1)) for at in (0.2, 1.5))
    assert first[0] > 150 > first[2]
    assert second[2] > 150 > second[0]
    assert made.index(0.2) == made.index(0.2 + 3 * made.seconds)


def test_a_long_clip_is_cut_and_a_fast_one_thinned():
    made = decode_backdrop(clip([(9, 9, 9)], 3.0, fps=60), PIXELS, seconds=1.0)
    assert made.cut
    assert made.fps == 24.0
    assert len(made.pictures) == 24


def test_a_clip_of_many_bytes_is_cut_where_it_has_them(monkeypatch):
    data = clip([(200, 30, 30), (30, 30, 200)], 2.0)
    whole = decode_backdrop(data, PIXELS)
    monkeypatch.setattr(backdrop, "KEPT", sum(map(len, whole.pictures[:5])))
    made = decode_backdrop(data, PIXELS)
    assert made.cut
    assert made.pictures == whole.pictures[:5]


@pytest.mark.hostile
def test_a_clip_that_grows_on_its_way_is_refused(monkeypatch):
    """Its head says one size, its pictures have another."""
    out = b"".join(_annex_b(side) for side in (64, 256))
    box = io.BytesIO()
    with av.open(io.BytesIO(out), format="h264") as source, av.open(box, "w", format="matroska") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(source.demux()):
            packet.pts = packet.dts = n
            packet.stream = stream
            container.mux(packet)
    monkeypatch.setattr(backdrop, "PIXELS", 128 * 128)
    with pytest.raises(BadBackdrop, match="pixels a picture"):
        decode_backdrop(box.getvalue(), PIXELS)


def _annex_b(side: int) -> bytes:
    """Two pictures of that size, as plain H.264."""
    out = io.BytesIO()
    with av.open(out, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for _ in range(2):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())
    return out.getvalue()


def test_a_picture_stands_still():
    made = decode_backdrop(encode_jpeg(np.full((90, 120, 3), 77, np.uint8), None, 95), PIXELS)
    assert (made.moving, made.seconds, len(made.pictures)) == (False, 0.0, 1)
    assert made.picture().shape == (90, 120, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\0\0\0\x20ftypisom" + bytes(200), b"\x1a\x45\xdf\xa3" + bytes(200), clip([(1, 2, 3)], 1)[:90]],
)
def test_what_is_neither_is_refused_with_a_sentence(data):
    with pytest.raises(BadBackdrop, match="That cannot be a background: "):
        decode_backdrop(data, PIXELS)
    assert issubclass(BadBackdrop, BadPortrait)


@pytest.mark.parametrize("channel", sorted(KEYS))
def test_a_mixture_with_the_plain_colour_is_the_same_mixture_with_the_clips(channel):
    """A disc with a soft edge before the plain colour comes out as if it had stood before the clip."""
    y, x = np.mgrid[:128, :128]
    share = np.clip((40 - np.hypot(x - 64, y - 64)) / 8 + 0.5, 0, 1)[..., None]
    own, other = np.array((180, 130, 110)), np.array((240, 20, 90))
    image = (own * share + np.array(KEYS[channel]) * (1 - share) + 0.5).astype(np.uint8)
    behind = Backdrop((cv2.imencode(".png", np.full((8, 8, 3), other[::-1], np.uint8))[1].tobytes(),), 1.0)
    shown = Player(Keyed(None, behind, channel)).show(image, 0.0)
    truth = own * share + other * (1 - share)
    assert np.abs(shown - truth).mean() < 3
    inside = (share == 1.0)[..., 0]
    assert np.array_equal(shown[inside], image[inside])
    outside = (share == 0.0)[..., 0]
    assert np.abs(shown[outside].astype(int) - other).max() <= 1


def test_who_wears_green_stands_before_blue():
    image = np.full((64, 64, 3), (120, 90, 80), np.uint8)
    assert best_channel(image, np.ones((64, 64))) == 1
    image[32:] = (20, 190, 60)
    assert best_channel(image, np.ones((64, 64))) == 2


def test_a_portrait_before_a_clip_is_left_as_it_is_inside():
    portrait = builtin_portrait()
    made = decode_backdrop(clip([(200, 30, 30), (30, 30, 200)], 1.0), PIXELS)
    keyed = Behind("own", own=made).of(portrait)
    player = Player(keyed)
    early, late = player.show(keyed.data, 0.1), player.show(keyed.data, 0.8)
    middle = (slice(200, 420), slice(300, 460))
    assert np.abs(early[middle].astype(int) - portrait[middle].astype(int)).max() <= 2
    corner = (slice(0, 20), slice(0, 20))
    assert early[corner][..., 0].mean() > 150
    assert late[corner][..., 2].mean() > 150
    assert person_mask(portrait)[corner].max() < 0.05
