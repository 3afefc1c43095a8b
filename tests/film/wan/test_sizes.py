"""Sizes and rates of a film."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.errors import BadValue
from realtime.film.clip import at_rate, film_rate
from realtime.film.wan.sizes import film_size
from realtime.types import Frame


@pytest.mark.parametrize(
    ("wanted", "shape", "size"),
    [
        ("480p", (1080, 1920), (480, 848)),
        ("480p", (1920, 1080), (848, 480)),
        ("480p", (512, 512), (624, 624)),
        ("720p", (720, 1280), (720, 1280)),
        ("832x480", (9, 9), (480, 832)),
    ],
)
def test_a_size_is_an_area_in_the_shape_of_the_picture_or_stands_as_it_is(wanted, shape, size):
    assert film_size(wanted, *shape) == size
    assert all(side % 16 == 0 for side in size)


@pytest.mark.parametrize(
    ("wanted", "words"), [("830x480", "832x480"), ("huge", "480p, 720p or"), ("16x480", "from 32 to 2048")]
)
def test_a_size_that_the_network_does_not_take_is_refused_with_the_nearest(wanted, words):
    with pytest.raises(BadValue, match=words):
        film_size(wanted, 480, 832)


def test_the_rate_is_the_clips_thinned_out_by_whole_numbers():
    assert [film_rate(None, clip) for clip in (24, 25, 30, 29.97, 60, 50, 120, None)] == [
        24, 25, 30, 29.97, 30, 25, 30, 30,
    ]  # fmt: skip
    assert film_rate(16, 60) == 16
    with pytest.raises(BadValue, match="from 1 to 60"):
        film_rate(0, 30)


def frames(times: list[float]) -> list[Frame]:
    image = np.zeros((2, 2, 3), np.uint8)
    return [Frame(image, 0.0, n, t) for n, t in enumerate(times)]


@pytest.mark.parametrize(
    ("clip", "fps", "shown"),
    [
        (30, 30, [0, 1, 2, 3, 4, 5]),
        (60, 30, [0, 2, 4]),
        (30, 60, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (25, 30, [0, 0, 1, 2, 3, 4, 5, 5]),
    ],
)
def test_each_moment_shows_the_frame_that_has_begun(clip, fps, shown):
    got = [frame.index for frame in at_rate(frames([n / clip for n in range(6)]), fps)]
    assert got == shown


def test_a_variable_rate_keeps_its_times():
    got = [f.index for f in at_rate(frames([0.0, 0.1, 0.15, 0.4]), 10)]
    assert got[:5] == [0, 1, 2, 2, 3]
