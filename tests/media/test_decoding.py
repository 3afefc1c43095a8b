"""Uploads that are made to cost: judged by their form, and killed where they pass."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from realtime.errors import BadFile, BadPortrait
from realtime.media.decoding import DecodeLimits, Decoder
from realtime.media.pictures import read_picture
from realtime.media.uploads import MOST_SCANS, check_cost, decode_portrait, know_heif
from tests.support.costly import burn, fall, hang, hoard, whose
from tests.support.server import portrait_picture

pytestmark = pytest.mark.hostile


def encoded(kind: str, image: np.ndarray | None = None, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(portrait_picture() if image is None else image).save(out, kind, **options)
    return out.getvalue()


def many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each a pass over the whole picture."""
    data = encoded("JPEG", progressive=True, quality=60)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def many_chunks(chunks: int) -> bytes:
    data = encoded("PNG")
    text = b"tEXt" + b"a\0b"
    chunk = struct.pack(">I", 3) + text + struct.pack(">I", zlib.crc32(text))
    return data[:33] + chunk * chunks + data[33:]


def many_frames(kind: str, frames: int) -> bytes:
    out = io.BytesIO()
    pictures = [Image.new("RGB", (64, 64), (n * 97 % 256, n * 31 % 256, 80)) for n in range(frames)]
    pictures[0].save(out, kind, save_all=True, append_images=pictures[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (many_scans(1500), "scans"),
        (many_scans(MOST_SCANS), "scans"),
        (many_chunks(6000), "pieces"),
        (b"\xff\xd8" + b"\xff\xe1\x00\x02" * 6000, "pieces"),
        (many_frames("WEBP", 250), "frames"),
        (many_frames("PNG", 250), "frames"),
    ],
)
def test_pictures_that_would_cost_are_refused_undecoded(data, says, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(BadPortrait, match=says):
        decode_portrait(data, 24_000_000)


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG"),
        encoded("JPEG", progressive=True),
        encoded("JPEG") + many_scans(200)[2:],  # what follows the end is not looked at: telephones put films there
        encoded("JPEG", exif=b"Exif\0\0" + b"\xff\xda\0\x02" * 200),  # nor what only looks like scans
        encoded("PNG"),
        encoded("WEBP"),
        many_chunks(100),
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n\0",
        b"RIFF\0\0\0\0WEBPxx",
    ],
)
def test_plain_pictures_pass(data):
    check_cost(data)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "TIFF", "JPEG", "WEBP"])
def test_a_damaged_picture_is_told_by_a_sentence(kind, tmp_path):
    know_heif()
    data = encoded(kind)
    data = data[: len(data) // 2] + b"\xff" * (len(data) - len(data) // 2)
    with contextlib.suppress(BadPortrait):  # some decoders show what they can
        decode_portrait(data, 24_000_000)
    path = tmp_path / "damaged.bin"
    path.write_bytes(data)
    with contextlib.suppress(BadFile):
        read_picture(path)


@pytest.mark.parametrize(
    ("does", "limits"),
    [
        (burn, DecodeLimits(cpu_s=0, wall_s=60)),
        (hang, DecodeLimits(wall_s=0.3)),
        (hoard, DecodeLimits(memory_bytes=200 << 20)),
        (fall, DecodeLimits()),
    ],
)
async def test_what_costs_too_much_is_killed(does, limits):
    decoder = Decoder(does, limits)
    try:
        with pytest.raises(BadPortrait, match="takes too much"):
            await asyncio.wait_for(decoder.decode(b""), 30)
    finally:
        decoder.close()


async def test_a_killed_process_is_replaced_and_the_others_get_their_turn():
    decoder = Decoder(decode_portrait, DecodeLimits())
    try:
        image = await decoder.decode(encoded("JPEG"))
        assert image.shape == (256, 256, 3)
        decoder._decode = whose
        first = int((await decoder.decode(b""))[0])
        assert first != os.getpid()
        assert int((await decoder.decode(b""))[0]) == first  # warm: the same process
        decoder._decode = fall
        failing = asyncio.ensure_future(decoder.decode(b""))
        await asyncio.sleep(0)
        decoder._decode = decode_portrait
        results = await asyncio.gather(failing, decoder.decode(encoded("PNG")), return_exceptions=True)
        assert isinstance(results[0], BadPortrait)
        assert isinstance(results[1], np.ndarray)
        decoder._decode = whose
        assert int((await decoder.decode(b""))[0]) != first
        decoder._decode = decode_portrait
        with pytest.raises(BadPortrait, match="damaged"):
            await decoder.decode(encoded("PNG")[:500])
    finally:
        decoder.close()
