"""What the benchmark of the body makes of its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import body
from benchmarks.report.result import Result
from realtime.measures.media import Clip
from realtime.types import Frame, MotionCode


def test_the_total_is_moving_over_still_mean_over_clips():
    result = Result("body")
    for way, clips in (("moving", (0.02, 0.04)), ("still", (0.1, 0.05))):
        for name, value in zip(("a06", "a09"), clips, strict=True):
            result.add(f"{name}.{way}.shoulders", value, "fh")
    body._total(result)
    assert result.get("all.moving.shoulders").value == pytest.approx(0.03)
    ratio = result.get("all.ratio.shoulders")
    assert ratio.value == pytest.approx(0.4)
    assert ratio.target == 0.5
    assert result.get("all.ratio.l1") is None


class Told:
    """An engine whose code is the frame's brightness, and whose picture is its code."""

    portrait_code = reference = MotionCode("told", np.zeros(5, np.float32))

    def set_portrait(self, image) -> None: ...

    def reset(self) -> None: ...

    def encode(self, frame: Frame) -> MotionCode:
        return MotionCode("told", np.full(5, frame.image[0, 0, 0], np.float32))

    def render(self, code: MotionCode) -> np.ndarray:
        return np.full((8, 8, 3), code.values[0], np.uint8)


def test_both_ways_go_through_all_frames_and_keep_what_is_wanted():
    clip = Clip("c", [np.full((8, 8, 3), 10 * k, np.uint8) for k in range(20)], 30.0)
    engines: dict[str, Any] = {"moving": Told(), "still": Told()}
    courses = body._drive(engines, clip, [4, 9, 19], timed=12)
    for course in courses.values():
        assert [int(picture[0, 0, 0]) for picture in course.pictures] == [40, 90, 190]
        assert len(course.seconds) == 7  # the sixth to the twelfth
    heads = body._heads(clip, [4, 9, 19], courses)
    assert [far for far, _ in heads] == pytest.approx([0, 50 * 2**0.5, 150 * 2**0.5])


def test_several_looks_see_the_shoulders_where_they_are(monkeypatch):
    picture = np.zeros((512, 512, 3), np.uint8)
    for x, y in ((150, 300), (350, 340)):
        picture[y - 2 : y + 2, x - 2 : x + 2] = 255

    def dots(_: Any, seen: np.ndarray) -> np.ndarray:
        """The left one in the picture is the person's right shoulder, as the network has it; and it errs by place."""
        ys, xs = np.nonzero(seen[..., 0])
        left = xs < (xs.min() + xs.max()) / 2
        points = np.array([(xs[half].mean() + 0.5, ys[half].mean() + 0.5) for half in (left, ~left)])
        return (points + 3.0 * np.sin(points)) / 512

    monkeypatch.setattr(body._Pose, "read", dots)
    once, steady = dots(None, picture), body._Pose().read_steadily(picture)
    truth = np.array([[150, 300], [350, 340]]) / 512
    assert steady is not None
    assert np.abs(steady - truth).mean() < 0.6 * np.abs(once - truth).mean()


def test_shoulders_that_few_looks_find_are_not_found(monkeypatch):
    found = iter([np.zeros((2, 2)), None, np.zeros((2, 2)), None, None])
    monkeypatch.setattr(body._Pose, "read", lambda *_: next(found))
    assert body._Pose().read_steadily(np.zeros((64, 64, 3), np.uint8)) is None
