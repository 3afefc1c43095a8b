"""Settings: what users may ask for, and how it is read."""

from __future__ import annotations

import pytest

from realtime.errors import BadValue
from realtime.settings import PROPORTIONS, EngineSettings, Shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("512", Shape(512)),
        ("640x480", Shape((640, 480))),
        ("640 X 480", Shape((640, 480))),
        ("square", Shape(512)),
        ("1:1@300", Shape(300)),
        ("16:9", Shape((910, 512))),
        ("16:9@720", Shape((1280, 720))),
        ("9:16@720", Shape((720, 1280))),
        ("4:3@480", Shape((640, 480))),
        ("3:4", Shape((512, 682))),
        ("round", Shape(512, round=True)),
        ("Round@400", Shape(400, round=True)),
    ],
)
def test_a_size_is_a_number_a_pair_or_a_shape(text, shape):
    assert Shape.parse(text) == shape


def test_every_shape_has_even_sides_of_its_proportions():
    """Video takes even sides alone: a row or column that is cut would not be seen, but a shape would be wrong."""
    for name, (wide, high) in PROPORTIONS.items():
        for side in (64, 333, 512, 719, 1080):
            size = Shape.parse(f"{name}@{side}").size
            width, height = size if isinstance(size, tuple) else (size, size)
            assert width % 2 == height % 2 == 0
            assert abs(width * high - height * wide) <= 2 * (wide + high)
            assert abs(min(width, height) - side) <= 1


@pytest.mark.parametrize("text", ["big", "16:10", "512@300", "16:9@", "16:9@tall", "1x2x3", "", "-5", "640x"])
def test_other_sizes_are_refused_with_what_could_be_written(text):
    with pytest.raises(BadValue, match="16:9"):
        Shape.parse(text)


def test_a_shape_too_large_is_refused():
    with pytest.raises(BadValue, match="from 64 to 2048"):
        EngineSettings(size=Shape.parse("16:9@1440").size)
