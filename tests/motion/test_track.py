"""Motion tracks come back bit for bit; whatever else stands in a file is refused in one sentence."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from realtime.engines.mesh.motion.code import DIRECTIONS, KIND, LENGTH
from realtime.errors import BadFile, BadValue
from realtime.motion.track import MotionTrack, builtin_track, names_of
from realtime.types import Direction, MotionCode

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def tracks(draw) -> MotionTrack:
    count, length = draw(st.integers(0, 20)), draw(st.integers(1, 12))
    values = draw(hnp.arrays(np.float32, (count, length), elements=finite))
    lost = draw(hnp.arrays(bool, count))
    values[lost] = np.nan
    steps = draw(hnp.arrays(np.float64, count, elements=st.floats(0, 1e6)))
    return MotionTrack(
        kind=draw(st.text(max_size=12)),
        fps=draw(st.floats(0.1, 1000)),
        names=tuple(draw(st.lists(st.text(max_size=8), min_size=length, max_size=length))),
        times=np.cumsum(steps),
        values=values,
        reference=draw(st.none() | hnp.arrays(np.float32, length, elements=finite)),
        creator=draw(st.text(max_size=12)),
        weights=draw(st.sampled_from(["", "0f" * 32])),
    )


def small(**changes) -> MotionTrack:
    fields = {
        "kind": "mesh",
        "fps": 30.0,
        "names": ("a", "b"),
        "times": np.arange(3) / 30,
        "values": np.array([[0, 1], [np.nan, np.nan], [4, 5]], np.float32),
        "reference": np.array([0, 0.5], np.float32),
    }
    return MotionTrack(**{**fields, **changes})


def as_file(header: dict | bytes, body: bytes) -> bytes:
    """A file with that header and unpacked body, and the right checksum."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = struct.pack("<8sHI", b"AVMOTION", 1, len(text)) + text + zlib.compress(body)
    return content + struct.pack("<I", zlib.crc32(content))


HEADER = {"kind": "mesh", "fps": 30, "count": 1, "length": 2, "names": ["", ""], "reference": False, "creator": ""}
BODY = bytes(8 + 8)


@given(tracks())
@settings(max_examples=25)
def test_round_trip_is_bit_for_bit(track):
    again = MotionTrack.from_bytes(track.to_bytes())
    for field in ("kind", "fps", "names", "creator", "weights"):
        assert getattr(again, field) == getattr(track, field)
    assert again.times.tobytes() == track.times.tobytes()
    assert again.values.tobytes() == track.values.tobytes()
    assert (again.reference is None) == (track.reference is None)
    if track.reference is not None:
        assert again.reference.tobytes() == track.reference.tobytes()
    assert again.to_bytes() == track.to_bytes()


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_garbage_is_refused(content):
    with pytest.raises(BadFile):
        MotionTrack.from_bytes(content)
    with pytest.raises(BadFile):
        MotionTrack.from_bytes(b"AVMOTION\x01\x00" + content)


@given(st.data())
@settings(max_examples=60)
def test_truncated_and_flipped_files_are_refused(data):
    content = small().to_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BadFile):
        MotionTrack.from_bytes(content[:cut])
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(content)
    flipped[at] ^= 1 << bit
    with pytest.raises(BadFile):
        MotionTrack.from_bytes(bytes(flipped))


def test_a_sound_file_made_by_hand_is_read():
    track = MotionTrack.from_bytes(as_file(HEADER, BODY))
    assert (len(track), track.fps, track.reference) == (1, 30, None)


@pytest.mark.parametrize(
    ("change", "body", "sentence"),
    [
        ({"count": -1}, BODY, "counts wrongly"),
        ({"count": True}, BODY, "no proper 'count'"),
        ({"count": 1.0}, BODY, "no proper 'count'"),
        ({"length": 0}, BODY, "counts wrongly"),
        ({"length": 10**6}, BODY, "counts wrongly"),
        ({"count": 10**9}, BODY, "too many for a motion track"),
        ({"count": 10**30}, BODY, "too many for a motion track"),
        ({"count": 2}, BODY, "more or fewer codes"),
        ({}, BODY + b"\0", "more or fewer codes"),
        ({}, bytes(50_000_000), "more or fewer codes"),
        ({"names": ["", 3]}, BODY, "no proper 'names'"),
        ({"names": [""]}, BODY, "every entry needs a name"),
        ({"weights": 3}, BODY, "no proper 'weights'"),
        ({"fps": 0}, BODY, "fps must be"),
        ({"fps": float("nan")}, BODY, "fps must be"),
        ({"kind": None}, BODY, "no proper 'kind'"),
        ({}, struct.pack("<dff", 0, float("inf"), 0), "values must be finite"),
        ({}, struct.pack("<dff", 0, float("nan"), 0), "values must be finite"),
        ({}, struct.pack("<dff", float("nan"), 0, 0), "times must be finite"),
    ],
)
def test_sentences_about_unsound_files(change, body, sentence):
    with pytest.raises(BadFile, match=sentence) as caught:
        MotionTrack.from_bytes(as_file({**HEADER, **change}, body), "some.motion")
    assert str(caught.value).startswith("some.motion: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_headers_that_are_no_object(header):
    with pytest.raises(BadFile, match="header"):
        MotionTrack.from_bytes(as_file(header, BODY))


def test_other_files_and_versions():
    with pytest.raises(BadFile, match="is not a motion track; `avatar encode CLIP"):
        MotionTrack.from_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    newer = bytearray(small().to_bytes())
    newer[8] = 9
    with pytest.raises(BadFile, match="version 9 of the format"):
        MotionTrack.from_bytes(bytes(newer))


def test_files_on_disk(tmp_path):
    small().save(tmp_path / "a.motion")
    assert MotionTrack.load(tmp_path / "a.motion").to_bytes() == small().to_bytes()
    with pytest.raises(BadFile, match="there is no such motion track"):
        MotionTrack.load(tmp_path / "b.motion")
    with pytest.raises(BadFile, match="cannot be read"):
        MotionTrack.load(tmp_path)
    with pytest.raises(BadFile, match="cannot be written"):
        small().save(tmp_path / "nowhere" / "a.motion")
    with (tmp_path / "huge.motion").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(BadFile, match="too large"):
        MotionTrack.load(tmp_path / "huge.motion")


@pytest.mark.parametrize(
    "changes",
    [
        {"times": np.array([0.0, 2.0, 1.0])},
        {"times": np.arange(2.0)},
        {"names": ("a",)},
        {"reference": np.zeros(3, np.float32)},
        {"values": np.array([[0, np.nan], [0, 0], [0, 0]], np.float32)},
        {"fps": 0.0},
    ],
)
def test_parts_that_do_not_fit_together(changes):
    with pytest.raises(BadValue):
        small(**changes)


def test_codes_come_back_with_their_place_in_time():
    track = small()
    first, lost, last = track.codes()
    assert lost is None
    assert (first.kind, first.index, last.index, last.pts) == ("mesh", 0, 2, 2 / 30)
    np.testing.assert_array_equal(last.values, [4, 5])
    np.testing.assert_array_equal(track.reference_code.values, [0, 0.5])
    assert track.duration == pytest.approx(0.1)


def test_made_of_codes():
    codes = [None, MotionCode("mesh", np.ones(2, np.float32), pts=0.1, index=1), None]
    track = MotionTrack.of_codes(codes, 10, [Direction("b", 1, 0, 1)], codes[1])
    assert track.names == ("", "b")
    assert [c is None for c in track.codes()] == [True, False, True]
    assert track.times.tolist() == [0.1, 0.1, 0.1]
    with pytest.raises(BadValue, match="no face was seen"):
        MotionTrack.of_codes([None], 10)


def test_an_engine_says_whether_it_can_play_a_track():
    track = small()
    track.check("mesh", [Direction("a", 0, 0, 1)])
    with pytest.raises(BadValue, match="its codes are for the mesh engine, this one is lia"):
        track.check("lia", [])
    with pytest.raises(BadValue, match="another motion dictionary"):
        track.check("mesh", [Direction("b", 0, 0, 1)])
    with pytest.raises(BadValue, match="another motion dictionary"):
        track.check("mesh", [Direction("c", 2, 0, 1)])


def test_a_track_of_an_earlier_release_is_read_as_one_of_today():
    track = MotionTrack.load(Path(__file__).parents[1] / "data" / "mesh" / "of-87-entries.motion")
    track.check(KIND, DIRECTIONS)
    assert track.values.shape == (5, LENGTH)
    assert track.reference.shape == (LENGTH,)
    assert track.code(2) is None
    assert np.abs(track.values[3, :87]).max() > 0
    np.testing.assert_array_equal(np.delete(track.values, 2, axis=0)[:, 87:], 0)
    again = MotionTrack.from_bytes(track.to_bytes())
    np.testing.assert_array_equal(again.values, track.values)


def test_built_in_performance():
    track = builtin_track()
    track.check(KIND, DIRECTIONS)
    assert 20 <= track.duration <= 30
    assert track.values.shape[1] == LENGTH
    assert all(code is not None for code in track.codes())
    moved = track.values - track.reference
    np.testing.assert_array_equal(moved[[0, -1]], 0)  # it loops
    span = dict(zip(track.names, np.ptp(track.values, axis=0), strict=True))
    assert span["yaw"] > 35
    assert span["gaze_x"] > 0.3
    assert span["jaw_open"] > 5
    assert min(track.values[:, track.names.index("eye_open_right")]) < 0.02  # it blinks
    assert names_of(DIRECTIONS, LENGTH) == track.names


def test_built_in_performance_is_what_its_author_wrote():
    from realtime.training.fits.author_demo import perform

    authored, shipped = perform(), builtin_track()
    np.testing.assert_allclose(authored.values, shipped.values, atol=2e-2)
    np.testing.assert_array_equal(authored.reference, shipped.reference)
