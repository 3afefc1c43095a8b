"""The fitted expression dictionary and the composites made of it."""

import numpy as np
import pytest

from realtime.engines.mesh.motion.composites import COMPOSITES, composite_tables
from realtime.engines.mesh.motion.dictionary import HUNDREDTHS, INDEX, MEASUREMENTS, load_dictionary
from realtime.face import face_model as fm

DICTIONARY = load_dictionary()
MODEL = fm.load_face_model()

LIPS = list(fm.LIPS_INNER + fm.LIPS_OUTER)
EYES = list(fm.RIGHT_EYE + fm.LEFT_EYE)
BROWS = list(fm.RIGHT_BROW + fm.LEFT_BROW)
PLACE = {"mouth": LIPS, "eyes": EYES, "brows": BROWS}


def moved(values: np.ndarray, where: list[int]) -> float:
    """How far landmarks go, on average."""
    return float(np.linalg.norm(DICTIONARY.displacement(values)[where], axis=1).mean())


def unit(name: str) -> np.ndarray:
    return np.eye(len(MEASUREMENTS))[INDEX[name]]


def test_measurements_are_named_once_and_come_in_pairs():
    assert len(INDEX) == len(MEASUREMENTS) == 58
    rights = [name for name in INDEX if name.endswith("_right")]
    assert len(rights) == 23
    for name in rights:
        mirrored = MODEL.mirrored(MEASUREMENTS[INDEX[name]].vector())
        np.testing.assert_allclose(mirrored, MEASUREMENTS[INDEX[name.replace("_right", "_left")]].vector())


def test_a_measurement_measures_what_it_says():
    face = np.zeros((478, 3))
    face[fm.CHIN, 1] = 0.05
    face[61, 0] = -0.02
    assert (MEASUREMENTS[INDEX["jaw_open"]].vector() * face).sum() == pytest.approx(5)
    assert (MEASUREMENTS[INDEX["corner_out_right"]].vector() * face).sum() == pytest.approx(2)


def test_codes_of_decoded_faces_are_the_same_codes():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, len(MEASUREMENTS))
    np.testing.assert_allclose(DICTIONARY.values(DICTIONARY.displacement(values)), values, atol=0.02)


def test_decoding_moves_what_the_name_says():
    """Each measurement comes out with its sign; those that say most of the face nearly by their amount."""
    for name, index in INDEX.items():
        got = (MEASUREMENTS[index].vector() * DICTIONARY.displacement(unit(name))).sum()
        assert 0.3 < got < 1.1, name
        if MEASUREMENTS[index].level == 0:
            assert got == pytest.approx(1, abs=0.1), name


def test_what_usually_follows_comes_along():
    """No name pulls a lone spike out of the face: the lower lip goes with the jaw, the brow moves as one."""
    jaw = DICTIONARY.displacement(unit("jaw_open")) / HUNDREDTHS
    assert jaw[[14, 17, 84, 314], 1].min() > 0.5
    assert abs(jaw[[13, 0], 1]).max() < 0.3
    brow = DICTIONARY.displacement(unit("brow_middle_up_left")) / HUNDREDTHS
    assert brow[list(fm.LEFT_BROW), 1].max() < -0.1
    np.testing.assert_allclose(np.diag(DICTIONARY.follow), 1)


def test_the_dictionary_knows_no_preferred_side():
    smile = DICTIONARY.displacement(unit("corner_up_right"))
    other = DICTIONARY.displacement(unit("corner_up_left"))
    np.testing.assert_allclose(MODEL.mirrored(smile), other, atol=2e-4)


def test_locality():
    """What moves one part of the face leaves the others nearly still."""
    for name in ("jaw_open", "lower_lip_down", "corner_up_left", "corner_out_right"):
        assert moved(unit(name), BROWS) < 0.25 * moved(unit(name), LIPS), name
    for name in ("brow_inner_up_left", "brow_middle_up_right"):
        assert moved(unit(name), LIPS) < 0.25 * moved(unit(name), BROWS), name
    left = [i for i in BROWS if MODEL.mean[i, 0] > 0]
    right = [i for i in BROWS if MODEL.mean[i, 0] < 0]
    assert moved(unit("brow_middle_up_left"), right) < 0.3 * moved(unit("brow_middle_up_left"), left)


def test_completion_brings_out_what_is_wanted():
    face = DICTIONARY.displacement(DICTIONARY.complete({"jaw_open": 6.0, "corner_out_left": -1.0}, ["mouth"]))

    def measured(name: str) -> float:
        return float((MEASUREMENTS[INDEX[name]].vector() * face).sum())

    assert measured("jaw_open") == pytest.approx(6, abs=0.3)
    assert measured("corner_out_left") == pytest.approx(-1, abs=0.3)
    assert measured("lower_lip_down") > 2  # goes along with the jaw
    assert abs(measured("brow_inner_up_left")) < 0.5  # of another group


@pytest.mark.parametrize("composite", COMPOSITES, ids=lambda c: c.name)
def test_composites_show_in_their_part_of_the_face(composite):
    row = composite_tables().faces[COMPOSITES.index(composite)]
    parts = {part: moved(row, where) for part, where in PLACE.items()}
    if composite.group == "mouth":
        assert parts["mouth"] > 0.01
        assert parts["brows"] < 0.2 * parts["mouth"]
    elif composite.group == "brows":
        assert parts["brows"] > 0.01
        assert parts["mouth"] < 0.2 * parts["brows"]
    elif composite.group == "eyes":
        assert min(composite.lids) < -0.4
        assert parts["mouth"] < parts["eyes"]


def test_composites_that_say_what_they_do():
    tables = composite_tables()
    place = {c.name: k for k, c in enumerate(COMPOSITES)}

    def face(name: str, amount: float) -> np.ndarray:
        amounts = np.zeros(len(COMPOSITES))
        amounts[place[name]] = amount
        return DICTIONARY.displacement(tables.expression(amounts)) / HUNDREDTHS

    right, left = fm.MOUTH_CORNERS
    assert face("smile", 1)[[right, left], 1].max() < -2  # corners up
    assert face("smile", 1)[left, 0] > 2
    assert face("smile", -1)[[right, left], 1].min() > 1.5  # corners down
    assert face("mouth_open", 1)[14, 1] - face("mouth_open", 1)[13, 1] > 10
    assert face("pout", 1)[right, 0] > 2  # corners in
    assert face("mouth_side", 1)[[13, 14, right, left], 0].min() > 2
    assert face("brows", 1)[BROWS, 1].max() < -1
    np.testing.assert_allclose(face("wink_right", 1)[BROWS, 1], 0, atol=1.5)


def test_lids_of_composites():
    tables = composite_tables()
    amounts = np.zeros((4, len(COMPOSITES)))
    place = {c.name: k for k, c in enumerate(COMPOSITES)}
    amounts[0, place["blink"]] = 1
    amounts[1, place["wink_left"]] = 1
    amounts[2, place["blink"]] = -0.5
    amounts[3, [place["blink"], place["wink_right"]]] = 1
    np.testing.assert_allclose(tables.opening(amounts), [[0, 0], [1, 0], [1.3, 1.3], [0, 0]])
