"""How keypoints move, against the authors' program and by what must hold of any weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.liveportrait import code as c  # noqa: E402
from realtime.engines.liveportrait import keypoints as kp  # noqa: E402
from realtime.engines.liveportrait import vocabulary  # noqa: E402
from realtime.engines.liveportrait.vocabulary import VOCABULARY  # noqa: E402
from realtime.motion.wire import MAX_VALUES  # noqa: E402
from tests.support.golden import reference  # noqa: E402

FRAMES = ("start", "drive", "face")
NAMES = ("pitch", "yaw", "roll", "t", "exp", "scale", "kp")


class Set:
    """The golden set's codes and keypoints, and `drive` on them."""

    def __init__(self, nets) -> None:
        self.vectors = np.load(reference("liveportrait", "vectors_seed1.npz"))
        self.heads = kp.Heads(nets.stitch, nets.retarget_eye, nets.retarget_lip)
        self.codes = {}
        for tag in ("source", *FRAMES):
            code = kp.code_of({name: self.tensor(f"motion.{tag}.{name}") for name in NAMES})
            code[0, c.EYE_RIGHT : c.EYE_LEFT + 1] = self.tensor(f"ratio.{tag}.eye")
            code[0, c.LIPS] = self.tensor(f"ratio.{tag}.lip")
            self.codes[tag] = code
        self.canonical = self.tensor("motion.source.kp").unflatten(1, (21, 3))
        self.home = kp.Motion.of(self.codes["source"]).place(self.canonical)

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self.vectors[key]))[None]

    def driven(self, code: torch.Tensor, start: str, **rules: bool) -> torch.Tensor:
        chosen = kp.Rules(**rules).tensor()
        return kp.drive(code, self.codes[start], self.codes["source"], self.canonical, self.heads, chosen)

    def equals(self, key: str, value: torch.Tensor, within: float = 5e-6) -> None:
        want = torch.from_numpy(self.vectors[key])
        torch.testing.assert_close(value.reshape(want.shape), want, rtol=0, atol=within)


@pytest.fixture(scope="module")
def golden(nets) -> Set:
    with torch.inference_mode():
        return Set(nets)


@pytest.mark.parametrize("tag", ["source", *FRAMES])
def test_pose_and_place_are_the_published_ones(golden: Set, tag: str) -> None:
    motion = kp.Motion.of(golden.codes[tag])
    golden.equals(f"kp.{tag}.R", motion.rotation)
    golden.equals(f"kp.{tag}.x", motion.place(golden.tensor(f"motion.{tag}.kp").unflatten(1, (21, 3))))
    pitch, yaw, roll = golden.vectors[f"kp.{tag}.deg"]
    code = golden.codes[tag][0]
    assert code[[c.PITCH, c.YAW, c.ROLL]].tolist() == pytest.approx([-pitch, -yaw, roll], abs=1e-4)


@pytest.mark.parametrize(
    ("mode", "start", "rules"),
    [
        ("rel", "start", {}),
        ("rel_expression", "start", {}),
        ("rel_nostitch", "start", {"stitch": False}),
        ("rel_nolip", "start", {"close_lips": True}),
        ("rel_nolip_nostitch", "start", {"close_lips": True, "stitch": False}),
        ("abs", "source", {}),
        ("abs_nostitch", "source", {"stitch": False}),
    ],
)
def test_modes_are_those_of_the_authors_program(golden: Set, mode: str, start: str, rules: dict[str, bool]) -> None:
    moved = torch.cat([golden.driven(golden.codes[tag], start, **rules) for tag in FRAMES])
    golden.equals(f"pipe.{mode}.x_d", moved)


def test_heads_are_the_published_ones(nets, golden: Set) -> None:
    drive = kp.Motion.of(golden.codes["drive"]).place(golden.tensor("motion.drive.kp").unflatten(1, (21, 3)))
    golden.equals("stitch.delta", nets.stitch(golden.home, drive))
    golden.equals("stitch.delta_rev", nets.stitch(drive, golden.home))
    golden.equals("stitch.x", kp.stitched(golden.heads, golden.home, drive))
    three = golden.home.expand(3, -1, -1)
    golden.equals("eye.delta", nets.retarget_eye(three, torch.from_numpy(golden.vectors["in.eye_ratio"])))
    golden.equals("lip.delta", nets.retarget_lip(three, torch.from_numpy(golden.vectors["in.lip_ratio"])))


@pytest.mark.parametrize(
    ("theirs", "ours", "step"),
    [
        ("smile", "smile", 1.3),
        ("wink", "wink", 39.0),
        ("eyebrow", "brows", 30.0),
        ("eyebrow_down", "brows", 30.0),
        ("lip_variation_zero", "pout", 0.09),
        ("lip_variation_one", "purse", 15.0),
        ("lip_variation_two", "grin", 15.0),
        ("lip_variation_three", "mouth_open", 120.0),
    ],
)
def test_sliders_move_what_the_authors_move(golden: Set, theirs: str, ours: str, step: float) -> None:
    code = torch.zeros(1, c.LENGTH)
    code[0, c.INDEX[ours]] = float(golden.vectors[f"slider.{theirs}.value"]) / step
    golden.equals(f"slider.{theirs}.delta", c.expression_of(code), 1e-7)


@pytest.mark.parametrize(
    ("theirs", "entry", "sign"), [("gaze_x", c.GAZE_X, 1), ("gaze_left", c.GAZE_X, 1), ("gaze_y", c.GAZE_Y, -1)]
)
def test_gaze_moves_what_the_authors_move(golden: Set, theirs: str, entry: int, sign: int) -> None:
    code = torch.zeros(1, c.LENGTH)
    code[0, entry] = sign * c.GAZE_UNIT * float(golden.vectors[f"slider.{theirs}.value"])
    golden.equals(f"slider.{theirs}.delta", c.expression_of(code), 1e-7)


def test_gaze_is_taken_out_of_the_expression_and_put_back() -> None:
    exp = torch.randn(5, 63, generator=torch.Generator().manual_seed(1)) * 0.02
    zero = torch.zeros(5, 66)
    out = {"exp": exp, "kp": exp, "scale": torch.ones(5, 1), "t": torch.zeros(5, 3)}
    code = kp.code_of(out | {"pitch": zero, "yaw": zero, "roll": zero})
    torch.testing.assert_close(c.expression_of(code).flatten(1), exp, rtol=0, atol=1e-7)
    rest = code[:, c.EXPRESSION].unflatten(1, (21, 3))
    torch.testing.assert_close(rest[:, 11, :2], -rest[:, 15, :2], rtol=0, atol=1e-7)  # no common turn is left


def test_a_driver_at_rest_leaves_the_portrait_where_it_is(golden: Set) -> None:
    moved = golden.driven(golden.codes["start"], "start", stitch=False)
    torch.testing.assert_close(moved, golden.home, rtol=0, atol=2e-6)
    with_eyes = golden.driven(golden.codes["start"], "start", stitch=False, retarget_eyes=True, retarget_lips=True)
    torch.testing.assert_close(with_eyes, golden.home, rtol=0, atol=2e-6)


def test_retargeting_goes_by_the_measured_opening_alone(golden: Set) -> None:
    closing = golden.codes["start"].clone()
    closing[0, c.EYE_RIGHT] *= 0.3
    still = golden.driven(closing, "start", stitch=False)
    torch.testing.assert_close(still, golden.home, rtol=0, atol=2e-6)
    assert (golden.driven(closing, "start", stitch=False, retarget_eyes=True) - golden.home).abs().max() > 1e-4
    expression = golden.codes["start"].clone()
    expression[0, c.EXPRESSION.start + 3 * 13 + 1] += 0.05  # a lid of the expression
    eyes = golden.driven(expression, "start", stitch=False, retarget_eyes=True)
    torch.testing.assert_close(eyes, golden.home, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["blink", "lips", "zoom"])
def test_the_other_sliders_move_something(golden: Set, name: str) -> None:
    code = golden.codes["start"].clone()
    code[0, c.INDEX[name]] += 0.5 * next(s.hi for s in c.SLIDERS if s.name == name)
    assert (golden.driven(code, "start", stitch=False) - golden.home).abs().max() > 1e-4


def test_zoom_works_in_absolute_motion_too(golden: Set) -> None:
    code = golden.codes["drive"].clone()
    before = golden.driven(code, "source", stitch=False)
    code[0, c.INDEX["zoom"]] = 0.1
    after = golden.driven(code, "source", stitch=False)
    at = torch.nn.functional.pad(code[:, c.X : c.Y + 1], (0, 1))[:, None]
    torch.testing.assert_close(after - at, (before - at) * float(np.exp(0.1)), rtol=1e-4, atol=1e-5)


def test_a_mirrored_code_moves_a_mirrored_face_the_mirrored_way(golden: Set) -> None:
    """Exact for head, place and size; what stays is the expression."""
    assert VOCABULARY.mirror is not None
    flip = torch.tensor([-1.0, 1.0, 1.0])
    code = golden.codes["drive"].clone()
    code[:, c.EXPRESSION] = 0
    code[:, c.GAZE_X] = 0
    canonical = golden.tensor("motion.drive.kp").view(1, 21, 3)
    other = torch.from_numpy(VOCABULARY.mirror(code[0].numpy()))[None]
    want = kp.Motion.of(code).place(canonical) * flip
    torch.testing.assert_close(kp.Motion.of(other).place(canonical * flip), want, rtol=0, atol=1e-5)
    values = golden.codes["drive"][0].numpy()
    once = VOCABULARY.mirror(values)
    assert once[c.GAZE_X] == -values[c.GAZE_X]
    assert (once[c.EYE_RIGHT], once[c.EYE_LEFT]) == (values[c.EYE_LEFT], values[c.EYE_RIGHT])
    np.testing.assert_array_equal(once[c.EXPRESSION], values[c.EXPRESSION])
    np.testing.assert_array_equal(VOCABULARY.mirror(once), values)


def test_codes_fit_the_wire_and_the_vocabulary() -> None:
    assert VOCABULARY.length == c.LENGTH <= MAX_VALUES
    for name in ("YAW", "ROLL", "X", "GAZE_X", "EYE_RIGHT", "EYE_LEFT", "LIPS", "LENGTH"):
        assert getattr(vocabulary, name) == getattr(c, name)
    assert VOCABULARY.neutral.shut[0] == (c.LIPS,)
    names = [d.name for d in c.DIRECTIONS]
    assert len(set(names)) == len(names)
    indices = [d.index for d in c.DIRECTIONS]
    assert len(set(indices)) == len(indices)
    assert max(indices) < c.LENGTH
    wanted = {*VOCABULARY.idle.breath, *VOCABULARY.idle.sway, VOCABULARY.idle.blink, *VOCABULARY.neutral.straight}
    assert wanted <= set(names)
