"""Directions swept as an animation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from realtime.errors import BadFile
from realtime.sheets.sweep import LEG, sweep_amounts, sweep_pictures, write_sweep
from realtime.types import Direction
from tests.sheets.test_flow import SIZE, Toy
from tests.support import frames_of


def test_a_sweep_starts_and_ends_at_rest_and_reaches_both_ends() -> None:
    amounts = sweep_amounts(Direction("smile", 0, -0.5, 1.0))
    assert amounts[0] == amounts[2 * LEG] == amounts[-1] == 0
    assert amounts[LEG] == 1.0
    assert amounts[3 * LEG] == -0.5
    assert np.allclose(np.abs(np.diff(amounts[: 2 * LEG + 1])), 1 / LEG)
    assert len(amounts) == 4 * LEG + 1
    assert min(sweep_amounts(Direction("blink", 0, 0.0, 1.0))) == 0


def test_the_pictures_move_as_the_amount_does() -> None:
    engine = Toy()
    pictures = list(sweep_pictures(engine, [Direction("all", 0, -4.0, 4.0)], leg=4))
    rest = engine.render(engine.portrait_code)
    assert (pictures[0][-SIZE:] == rest).all()
    assert (pictures[4][-SIZE:] == np.roll(rest, 4, 1)).all()
    assert (pictures[-1][-SIZE:] == rest).all()


def test_the_sweep_is_a_video(tmp_path: Path) -> None:
    engine, path = Toy(), tmp_path / "sweep.mp4"
    count = write_sweep(engine, engine.directions[1:], path)
    assert len(list(frames_of(path))) == count == 2 * LEG + 1
    with pytest.raises(BadFile):
        write_sweep(engine, engine.directions, tmp_path / "none" / "sweep.mp4")
