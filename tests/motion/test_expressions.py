"""The board of expressions: what is on it for an engine, how it comes and goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.engines import load_engine
from realtime.engines.mesh.motion.code import DIRECTIONS, LENGTH
from realtime.errors import UnknownName
from realtime.motion.expressions import BOARD, FALL, HOLD, RISE, Played, board_of, played, worn
from realtime.types import Direction, MotionCode

MESH = DIRECTIONS
REST = MotionCode("mesh", np.zeros(LENGTH, np.float32))
INDEX = {direction.name: direction.index for direction in MESH}


def smile(on, now: float) -> float:
    return float(worn(on, REST, MESH, now).values[INDEX["smile"]])


def test_the_built_in_engine_has_all_nine_and_a_nameless_one_has_none():
    assert [each.name for each in board_of(MESH)] == [each.name for each in BOARD]
    assert len(BOARD) == 9, "as many as there are keys"
    assert board_of([Direction("d0", 0, -1, 1, named=False)]) == ()


def test_every_amount_is_within_the_sliders():
    by_name = {direction.name: direction for direction in MESH}
    for expression in BOARD:
        for name, amount in expression.of(MESH).items():
            assert by_name[name].lo <= amount <= by_name[name].hi, (expression.name, name)


def test_liveportrait_has_its_own_amounts():
    code = pytest.importorskip("realtime.engines.liveportrait.code", reason="torch is not installed")
    theirs = code.DIRECTIONS
    by_name = {direction.name: direction for direction in theirs}
    assert {"smile", "laugh", "wink", "surprise", "kiss", "sleep"} <= {each.name for each in board_of(theirs)}
    for expression in board_of(theirs):
        for name, amount in expression.of(theirs).items():
            assert by_name[name].lo <= amount <= by_name[name].hi, (expression.name, name)


def test_it_eases_in_holds_and_eases_out():
    on = played((), "smile", MESH, 10.0)
    seen = [smile(on, t) for t in np.arange(10.0, 10.0 + RISE + HOLD + FALL + 0.1, 0.01)]
    assert seen[0] == 0.0
    assert max(seen) == pytest.approx(0.9)
    assert seen[-1] == 0.0
    assert np.abs(np.diff(seen)).max() < 0.9 * 0.1, "it jumps"
    assert smile(on, 10.0 + RISE + HOLD) == pytest.approx(0.9)
    assert worn(on, REST, MESH, 20.0) is REST


def test_one_that_is_held_stays_until_it_is_let_go():
    on = played((), "smile", MESH, 0.0, on=True)
    assert smile(on, 500.0) == pytest.approx(0.9)
    assert played(on, "smile", MESH, 500.0, on=True) == on, "a key that repeats begins nothing anew"
    off = played(on, "smile", MESH, 500.0, on=False)
    assert 0 < smile(off, 500.0 + FALL / 2) < 0.9
    assert smile(off, 500.0 + FALL) == 0.0
    assert played(off, "wink", MESH, 510.0, on=False) == (), "what is over is forgotten"


def test_let_go_before_it_had_come_it_goes_from_where_it_is():
    on = played(played((), "smile", MESH, 0.0, on=True), "smile", MESH, RISE / 2, on=False)
    assert smile(on, RISE / 2) == pytest.approx(0.45)
    assert smile(on, RISE / 2 + 0.02) <= 0.45


def test_several_add_up_within_the_sliders():
    on = played(played((), "smile", MESH, 0.0, on=True), "laugh", MESH, 0.0, on=True)
    assert smile(on, 5.0) == pytest.approx(1.0)


def test_there_is_no_tongue():
    with pytest.raises(UnknownName, match="expression called 'tongue'"):
        played((), "tongue", MESH, 0.0)


@given(st.lists(st.tuples(st.sampled_from(["smile", "laugh"]), st.sampled_from([True, False, None])), max_size=12))
def test_however_keys_are_pressed_the_slider_stays_within_its_range(presses):
    on: tuple[Played, ...] = ()
    for n, (name, how) in enumerate(presses):
        on = played(on, name, MESH, 0.1 * n, how)
        assert len({each.name for each in on if each.until > 0.1 * n}) == len([e for e in on if e.until > 0.1 * n])
        assert 0.0 <= smile(on, 0.1 * n + 0.05) <= 1.0


def test_the_engine_shows_it():
    from realtime.media.portraits import builtin_portrait

    engine = load_engine("mesh", size=128)
    engine.set_portrait(builtin_portrait())
    rest = engine.portrait_code
    engine.reference = rest
    still = engine.render(rest).astype(int)
    try:
        for expression in BOARD:
            on = played((), expression.name, engine.directions, 0.0, on=True)
            shown = engine.render(worn(on, rest, engine.directions, 1.0)).astype(int)
            assert np.abs(shown - still).max() > 40, expression.name
    finally:
        engine.close()
