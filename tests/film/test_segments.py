"""Films in segments: which frames each makes, and what is kept of the finished ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from realtime.errors import BadFile, BadValue
from realtime.film.segments import Kept, Segment, State, reflected, segments_of


@pytest.mark.parametrize("overlap", [1, 5])
@pytest.mark.parametrize("frames", [1, 4, 16, 17, 18, 33, 40, 100])
def test_segments_make_every_frame_once_and_begin_with_the_overlap(frames, overlap):
    segments = segments_of(frames, 17, overlap)
    made = [n for s in segments for n in range(s.start + s.overlap, min(s.stop, frames))]
    assert made == list(range(frames))
    assert all(s.stop - s.start == 17 for s in segments)
    assert [s.overlap for s in segments] == [0] + [overlap] * (len(segments) - 1)
    assert all(after.start + overlap == before.stop for before, after in pairwise(segments))


def test_a_segment_that_is_too_short_for_its_overlap_is_refused():
    with pytest.raises(BadValue, match="more than twice the overlap of 5"):
        segments_of(40, 9, 5)


def test_beyond_its_end_a_film_runs_back_and_forth():
    assert [reflected(n, 5) for n in range(11)] == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2]
    assert [reflected(n, 1) for n in range(3)] == [0, 0, 0]


SETTINGS = {"seed": 1, "steps": 20, "lora": [["abc", 0.5]]}


def pictures(segment: Segment, frames: int) -> np.ndarray:
    numbers = range(segment.start + segment.overlap, min(segment.stop, frames))
    return np.array([np.full((4, 6, 3), n, np.uint8) for n in numbers])


def state(index: int) -> State:
    return State(np.full((1, 3, 1, 4, 6), index + 0.25, np.float32), np.arange(8, dtype=np.uint8))


def test_finished_segments_are_found_again_with_what_they_hand_on(tmp_path):
    segments = segments_of(40, 17, 1)
    kept = Kept(tmp_path / "made", SETTINGS, segments, 40)
    assert kept.open() == 0
    assert kept.state(0) is None
    for segment in segments[:2]:
        kept.keep(segment, pictures(segment, 40), state(segment.index))
    again = Kept(tmp_path / "made", SETTINGS, segments, 40)
    assert again.open() == 2
    assert np.array_equal(again.state(2).tail, state(1).tail)
    assert np.array_equal(again.state(2).random, state(1).random)
    again.keep(segments[2], pictures(segments[2], 40), state(2))
    assert [int(picture[0, 0, 0]) for picture in again.pictures()] == list(range(40))


def test_a_segment_that_lost_a_picture_is_made_again(tmp_path):
    segments = segments_of(40, 17, 1)
    kept = Kept(tmp_path, SETTINGS, segments, 40)
    kept.open()
    for segment in segments:
        kept.keep(segment, pictures(segment, 40), state(segment.index))
    (tmp_path / "frames" / "00020.png").unlink()
    assert kept.finished() == 1


def test_other_settings_are_named_and_refused_until_restart(tmp_path):
    segments = segments_of(17, 17, 1)
    kept = Kept(tmp_path / "made", SETTINGS, segments, 17)
    kept.open()
    kept.keep(segments[0], pictures(segments[0], 17), state(0))
    other = Kept(tmp_path / "made", {**SETTINGS, "seed": 2}, segments, 17)
    with pytest.raises(BadFile, match=r"seed 1 \(now 2\).*--restart"):
        other.open()
    assert other.open(restart=True) == 0
    assert other.finished() == 0


def test_a_half_record_is_one_sentence(tmp_path):
    segments = segments_of(40, 17, 1)
    kept = Kept(tmp_path, SETTINGS, segments, 40)
    kept.open()
    kept.keep(segments[0], pictures(segments[0], 40), state(0))
    record = tmp_path / "segment-000.npz"
    record.write_bytes(record.read_bytes()[:200])
    with pytest.raises(BadFile, match="is damaged; remove it"):
        kept.state(1)
