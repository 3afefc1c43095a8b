"""A body below and beside what the picture shows: where it ends, and what it wears."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.garment import clothes_below
from realtime.engines.mesh.silhouette import Silhouette, continue_mask

FH = 100.0
SKIN, SHIRT = np.array([200.0, 150.0, 120.0]), np.array([70.0, 90.0, 160.0])
WIDTH, ABOVE, ROWS = 300, 40, 60


def below(mask: np.ndarray, margin: int, middle: float = 150.0, more: int = 0) -> np.ndarray:
    """`mask` with a margin, and `more` below it."""
    height, width = mask.shape
    real = (margin, margin, margin + width, margin + height)
    body = Silhouette.find(mask, real, FH, margin + middle)
    return continue_mask(mask, real, (width + 2 * margin, height + 2 * margin + more), body)


def widths(whole: np.ndarray) -> np.ndarray:
    return (whole > 0.5).sum(axis=1) / FH


def test_a_body_cut_off_at_the_collar_widens_to_shoulders_and_no_further():
    mask = np.zeros((300, 300), np.float32)
    mask[:, 110:190] = 1
    wide = widths(below(mask, 50, more=150))[350:]
    assert wide[0] == pytest.approx(0.8, abs=0.1)
    assert 1.9 < wide[40] < 2.3
    assert 2.1 < wide[-1] < 2.5
    assert (np.diff(wide) >= 0).all()


def test_an_arm_that_the_side_cuts_off_ends_in_background():
    mask = np.zeros((300, 300), np.float32)
    mask[150:, 60:] = 1  # the right side cuts the shoulder, the left does not
    whole = below(mask, 50, middle=195.0)
    assert whole[:, -1].max() == 0.0
    assert whole[300, 352] == 1.0, "not at the very edge"
    assert whole[:190, 352:].max() == 0.0, "and not above the shoulder"


def test_what_is_wider_than_people_are_goes_on():
    """A skirt that ended a little beyond the edge would show a straight border when the body moves."""
    mask = np.zeros((300, 300), np.float32)
    mask[150:] = 1
    whole = below(mask, 50)
    assert whole[260:, 0].min() == 1.0
    assert whole[260:, -1].min() == 1.0
    assert whole[:200].max() == 0.0


def test_locks_that_the_side_cuts_off_go_on_as_they_did():
    mask = np.zeros((300, 300), np.float32)
    mask[80:120, 150:] = 1
    whole = below(mask, 50)
    assert whole[160, 360] == 1.0
    assert whole[300:].max() == 0.0


def test_an_arm_that_falls_beside_the_picture_goes_on_below_its_edge():
    mask = np.zeros((300, 300), np.float32)
    mask[240:285, 200:] = 1
    mask[250:, 110:190] = 1
    whole = below(mask, 50)
    assert whole[330:350, 390].max() == 1.0
    assert whole[350:360, 390].max() == 1.0, "it ended in a straight line there"
    assert whole[-1, 350:].max() == 0.0


def test_somebody_else_at_the_edge_is_no_part_of_the_body():
    mask = np.zeros((300, 300), np.float32)
    mask[:, 110:190] = 1
    mask[200:, 270:] = 1
    body = Silhouette.find(mask, (50, 50, 350, 350), FH, 200.0)
    assert body.run == (160, 239)
    assert body.others == ((320, 349),)
    assert body.middle == pytest.approx(199.5)
    alone = mask.copy()
    alone[:, 250:] = 0
    assert (below(mask, 50)[350:, :250] == below(alone, 50)[350:, :250]).all()
    assert below(mask, 50)[380:, 325:].min() == 1.0, "nor does that end at an edge"


def test_an_arm_beside_the_trunk_is_part_of_the_body():
    mask = np.zeros((300, 300), np.float32)
    mask[:, 110:190] = mask[:, 60:80] = 1
    assert Silhouette.find(mask, (0, 0, 300, 300), FH, 150.0).run == (60, 189)


def worn(pattern: np.ndarray, skin: tuple[int, int] | None = None) -> np.ndarray:
    """What clothes of this `pattern` (b, W, 3), with skin between two columns, go on to: (ROWS, W, 3)."""
    band = pattern.astype(np.float32)
    if skin is not None:
        band[:, slice(*skin)] = SKIN
    return clothes_below(band, np.ones(band.shape[:2], bool), SKIN[None], ROWS, FH, (0, WIDTH - 1), WIDTH / 2)


def plain() -> np.ndarray:
    rng = np.random.default_rng(3)
    light = np.linspace(0.8, 1.2, WIDTH)[None, :, None]
    return np.clip(SHIRT * light + rng.normal(0, 2, (ABOVE, WIDTH, 1)), 0, 255)


def test_cloth_goes_on_without_a_seam_or_a_fade():
    cloth = plain()
    made = worn(cloth)
    assert np.abs(made[0] - cloth[-1]).mean() < 1.0
    assert np.abs(made.mean(axis=0) - cloth.mean(axis=0)).mean() < 3.0
    grain = [np.diff(rows, axis=1).std() for rows in (cloth, made[:20], made[-20:])]
    assert grain[1] > 0.6 * grain[0]
    assert grain[2] > 0.6 * grain[0]


def test_stripes_go_straight_on():
    stripes = np.where(np.arange(WIDTH) % 12 < 6, 1.2, 0.8)[None, :, None] * SHIRT
    cloth = np.repeat(stripes, ABOVE, axis=0)
    made = worn(cloth)
    for row in (0, 20, ROWS - 1):
        assert np.corrcoef(made[row, 20:-20, 2], cloth[-1, 20:-20, 2])[0, 1] > 0.95
        assert made[row, 20:-20, 2].std() > 0.6 * cloth[-1, :, 2].std()


def test_a_neckline_closes():
    made = worn(plain(), skin=(135, 165))
    assert np.abs(made[2, 150] - SKIN).max() < 25
    assert np.abs(made[30:, 130:170] - SHIRT).max() < 40
    assert np.abs(made[30:, 130:170].mean(axis=(0, 1)) - SHIRT).max() < 12


def test_bare_shoulders_stay_bare():
    bare = np.broadcast_to(SKIN, (ABOVE, WIDTH, 3)).copy()
    assert np.abs(worn(bare) - SKIN).max() < 2.0


def test_a_brooch_above_the_edge_is_worn_once():
    cloth = plain()
    cloth[10:25, 140:160] = (230, 30, 30)
    made = worn(cloth)
    assert (made[..., 0] - made[..., 2]).max() < 0


def cut_at_the_chin(rows_of_cloth: int) -> np.ndarray:
    """What is worn below a face that ends above its collar: bare in the middle, dark and light cloth beside."""
    band = np.full((ABOVE, WIDTH, 3), SKIN, np.float32)
    band[-rows_of_cloth:, :90] = band[-rows_of_cloth:, 210:] = SHIRT
    band[-rows_of_cloth:, 90:110] = band[-rows_of_cloth:, 200:210] = (240, 240, 245)
    made = clothes_below(
        band, np.ones(band.shape[:2]), SKIN[None], ROWS, FH, (0, WIDTH - 1), WIDTH / 2, bare_neck=True
    )
    return np.concatenate([band[-1:], made])


@pytest.mark.parametrize("rows", [2, 30])
def test_below_a_chin_that_the_edge_cuts_clothes_have_one_colour(rows):
    made = cut_at_the_chin(rows)
    assert np.abs(made[-1] - SHIRT).max() < 12
    skin = made[..., 0] - made[..., 2] > 0
    assert skin[5].any(), "there is a neck"
    assert skin[10:].any(axis=0).sum() < 0.6 * FH, "no wider than that"
    assert np.abs(np.diff(made[30:], axis=1)).max() < 6, "and no border but the neck's"


def test_below_nothing_but_skin_clothes_are_darker_than_that():
    band = np.full((ABOVE, WIDTH, 3), SKIN, np.float32)
    person = np.ones(band.shape[:2])
    made = clothes_below(band, person, SKIN[None], ROWS, FH, (0, WIDTH - 1), WIDTH / 2, bare_neck=True)
    assert made[-1].max() < 0.5 * SKIN.max()
