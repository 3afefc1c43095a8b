"""Sliders, amplitude and held gaze, and every sentence about what cannot be set."""

import numpy as np
import pytest

from realtime.errors import BadValue, UnknownName
from realtime.motion.edits import Edits, check_amount, find_direction, parse_setting, parse_settings
from realtime.types import Direction, MotionCode

DIRECTIONS = (
    Direction("smile", 5, -1, 1, group="mouth"),
    Direction("yaw", 0, -35, 35, group="head", unit="deg"),
    Direction("pitch", 1, -25, 25, group="head", unit="deg"),
    Direction("gaze_x", 2, -0.25, 0.25, group="gaze"),
    Direction("gaze_y", 3, -0.15, 0.15, group="gaze"),
    Direction("blink", 4, 0, 1, group="eyes"),
    Direction("7", 7, -3, 3, named=False),
)


def code(*values: float, kind: str = "test") -> MotionCode:
    return MotionCode(kind, np.array([*values, *[0.0] * (8 - len(values))], np.float32), 1.5, 2.5, 3)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("smile=0.3", ("smile", 0.3, "")),
        ("yaw=-10deg", ("yaw", -10.0, "deg")),
        (" yaw = +10 ° ", ("yaw", 10.0, "deg")),
        ("blink=50%", ("blink", 50.0, "%")),
        ("smile=.5", ("smile", 0.5, "")),
        ("smile=1e-1", ("smile", 0.1, "")),
    ],
)
def test_settings_are_read(text, parsed):
    assert parse_setting(text) == parsed


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("smile", "--set cannot be 'smile': it takes NAME=VALUE, such as smile=0.3 or yaw=-10deg"),
        ("=3", "--set cannot be '=3': it takes NAME=VALUE, such as smile=0.3 or yaw=-10deg"),
        ("smile=wide", "--set smile cannot be 'wide': a number, such as 0.3 or -10deg"),
        ("smile=", "--set smile cannot be '': a number, such as 0.3 or -10deg"),
        ("smile=nan", "--set smile cannot be 'nan': a number, such as 0.3 or -10deg"),
        ("smile=1e999", "--set smile cannot be '1e999': a finite number"),
        ("yaw=3rad", "--set yaw cannot be '3rad': the unit 'rad' is not known; deg and % are"),
        ("smile=3deg", "--set smile cannot be '3deg': smile is a plain number"),
        ("yaw=110deg", "yaw cannot be 110.0: it takes -35 to 35 deg"),
        ("blink=-1.5", "blink cannot be -1.5: it takes 0 to 1"),
    ],
)
def test_sentences_about_bad_settings(text, sentence):
    with pytest.raises(BadValue) as caught:
        parse_settings([text], DIRECTIONS)
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 2


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UnknownName, match=r"there is no direction called 'smlie'. Did you mean 'smile'?"):
        parse_settings(["smlie=1"], DIRECTIONS)


def test_of_many_names_the_nearest_are_given_and_where_the_rest_is():
    many = [Direction(f"{part}_{n}", n, -1, 1) for n, part in enumerate(["smile", "smirk", *["brow"] * 60])]
    with pytest.raises(UnknownName) as caught:
        find_direction("smile_1", many)
    said = str(caught.value)
    assert "Did you mean 'smile_0' or" in said
    assert said.endswith("All 62: avatar directions lists them")
    assert "brow_40" not in said


def test_directions_are_found_by_name_in_any_spelling_or_by_number():
    assert find_direction("Gaze-X", DIRECTIONS).name == "gaze_x"
    assert find_direction("4", DIRECTIONS).name == "blink"
    assert find_direction("7", DIRECTIONS).name == "7"
    with pytest.raises(UnknownName):
        find_direction("99", DIRECTIONS)


def test_per_cent_are_of_the_slider_and_the_last_setting_wins():
    assert parse_settings(["blink=0.1", "blink=50%", "yaw=-20%"], DIRECTIONS) == {"blink": 0.5, "yaw": -7.0}


def test_amounts_may_pass_the_slider_by_its_own_length():
    assert check_amount(DIRECTIONS[0], 3) == 3
    with pytest.raises(BadValue):
        check_amount(DIRECTIONS[0], 3.1)
    with pytest.raises(BadValue):
        check_amount(DIRECTIONS[0], float("nan"))


def test_an_edit_is_an_addition_and_keeps_the_time():
    before = code(10, 0, 0, 0, 0, 0.25)
    after = Edits(DIRECTIONS, {"smile": 0.5, "7": -1}).apply(before, code())
    np.testing.assert_allclose(after.values, [10, 0, 0, 0, 0, 0.75, 0, -1])
    assert (after.captured, after.pts, after.index, after.values.dtype) == (1.5, 2.5, 3, np.float32)
    assert before.values[5] == 0.25  # the driver's code is left alone


def test_amplitude_scales_about_the_reference():
    reference = code(4, 0, 0.1, 0, 0.2, 0.5)
    edited = Edits(DIRECTIONS, amplitude={"head": 0.5, "eyes": 0.0, "mouth": 2.0}).apply(
        code(10, -6, 0.2, 0.3, 1.0, 0.75), reference
    )
    np.testing.assert_allclose(edited.values[:6], [7, -3, 0.1, 0, 0.2, 1.0], atol=1e-6)


def test_amplitude_of_a_group_outranks_the_part_that_holds_it():
    edited = Edits(DIRECTIONS, amplitude={"eyes": 0.0, "gaze": 1.0}).apply(code(0, 0, 0.2, 0, 1.0), code())
    np.testing.assert_allclose(edited.values[[2, 4]], [0.2, 0], atol=1e-7)


def test_sentences_about_bad_amplitudes():
    with pytest.raises(BadValue, match=r"amplitude head cannot be 5.0: a factor from 0 to 3"):
        Edits(DIRECTIONS, amplitude={"head": 5.0})
    with pytest.raises(UnknownName, match=r"no part called 'heads'. Did you mean 'head'?"):
        Edits(DIRECTIONS, amplitude={"heads": 1.0})


def test_held_gaze_turns_against_the_head():
    held = Edits(DIRECTIONS, {"gaze_x": 0.01}, hold_gaze=True)
    still = held.apply(code(0, 0, 0.2, 0.1, kind="mesh"), code(kind="mesh"))
    np.testing.assert_allclose(still.values[2:4], [0.01, -0.065], atol=1e-6)
    turned = held.apply(code(10, -10, 0.2, 0.1, kind="mesh"), code(kind="mesh"))
    assert turned.values[2] < 0.0 < still.values[3] - turned.values[3]  # nose right: eyes left; face down: eyes up


def test_held_gaze_leaves_codes_alone_that_do_not_tell_where_the_eyes_look():
    same = code(0, 0, 0.2, 0.1)
    assert Edits(DIRECTIONS, hold_gaze=True).apply(same, code()) is same


def test_without_edits_the_code_itself_comes_back():
    same = code(1)
    assert not Edits(DIRECTIONS)
    assert Edits(DIRECTIONS).apply(same, code()) is same


def test_held_gaze_needs_no_gaze_to_do_nothing():
    same = code(1)
    assert Edits(DIRECTIONS[:1], hold_gaze=True).apply(same, code()) is same
