"""What the picture of a dictionary's flow is made from."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.sheets.flow import DirectionFlow, flow_sheet, heat, measure
from realtime.types import Direction, MotionCode

SIZE = 64


class Toy:
    """An engine of two directions: "all" moves the whole picture right by its amount, "patch" a corner of it."""

    name = kind = "toy"
    device, size = "cpu", SIZE
    directions = (Direction("all", 0, -4.0, 4.0), Direction("patch", 1, 0.0, 4.0))

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (SIZE // 4, SIZE // 4, 3), np.uint8)
        self._image = noise.repeat(4, 0).repeat(4, 1)
        self.reference: MotionCode | None = None

    @property
    def portrait_code(self) -> MotionCode:
        return MotionCode("toy", np.zeros(2, np.float32))

    def render(self, code: MotionCode) -> np.ndarray:
        out = np.roll(self._image, int(code.values[0]), 1)
        patch = out[:20, :20].copy()
        out[:20, :20] = np.roll(patch, int(code.values[1]), 1)
        return out


class Knowing(Toy):
    """The same, but it knows its own flow."""

    def flow(self, code: MotionCode) -> np.ndarray:
        field = np.full((SIZE, SIZE, 2), 7.0, np.float32)
        field[..., 0] += code.values[0]
        field[:20, :20, 0] += code.values[1]
        return field


def test_an_engines_own_flow_is_taken_against_rest() -> None:
    both = measure(Knowing(), Toy.directions)
    assert [f.direction.name for f in both] == ["all", "patch"]
    assert both[0].mean == pytest.approx(4.0)
    assert both[0].spread == pytest.approx(0.9, abs=0.01)
    assert both[1].mean == pytest.approx(4.0 * 400 / SIZE**2)
    assert both[1].spread == pytest.approx(0.9 * 400 / SIZE**2, abs=0.01)
    assert (both[1].magnitude[30:] == 0).all()


def test_the_flow_of_other_engines_is_seen_in_their_pictures() -> None:
    whole, patch = measure(Toy(), Toy.directions)
    assert whole.mean > 10 * patch.mean
    assert patch.mean > 0
    assert (patch.magnitude[40:, 40:] == 0).all()
    assert patch.spread < 0.3 < whole.spread


def test_a_direction_that_moves_nothing() -> None:
    still = DirectionFlow(Toy.directions[0], np.zeros((8, 8), np.float32))
    assert (still.mean, still.spread) == (0.0, 0.0)
    assert heat(np.zeros((16, 16, 3), np.uint8), still.magnitude).shape == (16, 16, 3)


def test_the_sheet_shows_heat_where_the_motion_is() -> None:
    engine = Knowing()
    flows = measure(engine, engine.directions)
    picture = heat(engine.render(engine.portrait_code), flows[1].magnitude).astype(int)
    colourful = np.abs(picture[..., 0] - picture[..., 2])
    assert colourful[:18, :18].mean() > 10 * colourful[30:].mean() + 1
    sheet = flow_sheet(engine, flows)
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3
