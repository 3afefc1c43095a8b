"""The drawn characters: what is known of a picture is what the picture shows."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.training.config import PuppetConfig  # noqa: E402
from realtime.training.data import puppets  # noqa: E402
from realtime.training.data.puppets import BODY, HAND, JOINTS, Place, Pose, feet, render, skeleton  # noqa: E402
from realtime.training.data.scenes import UNSEEN, SceneSet, augment, character, crops_of  # noqa: E402

PLACE = Place(0.85, 0.5, 0.95, 3)


def someone(seed=0):
    return puppets.draw_character(np.random.default_rng(seed))


def pose(hands=None, **angles):
    """Arms away from the body, everything else at rest."""
    body = dict.fromkeys(BODY, 0.0) | {"right shoulder": 1.2, "left shoulder": 1.2} | angles
    hand = dict.fromkeys(HAND, 0.0) | {"spread": 0.5, "thumb": 0.5} | (hands or {})
    face = np.array([0.0, 0.0, 0.8, 0.0, 0.5, 0.0])
    return Pose(np.array([body[n] for n in BODY]), np.array([[hand[n] for n in HAND]] * 2), face)


def at(drawn, joint):
    x, y = drawn.joints[JOINTS.index(joint)] * len(drawn.picture)
    return int(y), int(x)


def test_a_picture_follows_from_its_seed_alone():
    first, again = (SceneSet(PuppetConfig(), 64, 32, 5)[7] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (SceneSet(PuppetConfig(), 64, 32, 5)[8], SceneSet(PuppetConfig(), 64, 32, 6)[7]):
        assert not torch.equal(first.target, other.target)


def test_scenes_are_those_of_the_drawing_s_version():
    """Where this fails, a resumed run sees other scenes than before: raise `DRAWING`, then mend the figures."""
    scene = SceneSet(PuppetConfig(), 64, 32, 0)[0]
    assert puppets.DRAWING == 2
    known = [[0.4729, 0.3480], [0.1136, 0.6084], [0.8041, 0.5723], [0.4909, 0.9579]]
    np.testing.assert_allclose(scene.joints[[0, 5, 9, 12]], known, atol=1e-4)
    np.testing.assert_allclose(scene.driver_joints[0], [0.5169, 0.3554], atol=1e-4)
    means = [float(picture.mean()) for picture in (scene.target, scene.driver, scene.crops)]
    np.testing.assert_allclose(means, [0.4730, 0.5239, 0.5470], atol=2e-3)  # OpenCV may draw an edge otherwise


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [64, 256])
def test_the_joints_are_where_the_drawing_has_them(seed, size):
    who = someone(seed)
    drawn = render(who, pose(), PLACE, size)
    upper = np.array(who.shirt) * 0.85
    wanted = {"right elbow": upper, "left elbow": upper, "right knee": who.trousers, "left knee": who.trousers}
    wanted |= {"right ankle": who.shoes, "left ankle": who.shoes, "right hand": who.skin, "left hand": who.skin}
    for joint, colour in wanted.items():
        assert np.abs(drawn.picture[at(drawn, joint)].astype(float) - colour).max() < 25, joint


def test_the_middle_of_a_disc_is_exactly_its_joint():
    who = someone(1)
    lost = Place(PLACE.height, PLACE.x, PLACE.floor, 3)
    with_head, joints = render(who, pose(), lost, 256).picture, render(who, pose(), lost, 256).joints
    skin = (np.abs(with_head.astype(int) - who.shoes).max(2) < 3).astype(float)
    left = np.arange(256)[None] > 128
    ys, xs = np.nonzero(skin * left)
    ankle, unit = joints[JOINTS.index("left ankle")] * 256, PLACE.height * 256
    toe = ankle + np.array([0.03, 0.015]) * unit
    middle = np.array([xs.mean(), ys.mean()]) + 0.5
    along = (toe - ankle) / np.linalg.norm(toe - ankle)
    off = (middle - ankle) @ np.array([-along[1], along[0]])
    assert abs(off) < 0.6  # pixels, across the foot's axis, from the drawn shoe's own middle
    assert 0 < (middle - ankle) @ along < np.linalg.norm(toe - ankle)


def test_height_place_and_lean_move_the_joints_as_they_say():
    who = someone()
    small, large = (skeleton(who, pose(), Place(h, 0.5, 0.95, 0)) - [0.5, 0.95] for h in (0.4, 0.8))
    np.testing.assert_allclose(large, 2 * small, atol=1e-6)
    upright, leaning = (skeleton(who, pose(lean=angle), PLACE) for angle in (0.0, 0.2))
    hips = [JOINTS.index(f"{side} knee") for side in ("right", "left")]
    assert leaning[JOINTS.index("head"), 0] < upright[JOINTS.index("head"), 0] - 0.02
    assert np.abs(leaning[hips] - upright[hips]).max() < 0.03


def test_everybody_stands_on_the_floor_whatever_the_pose():
    rng = np.random.default_rng(0)
    for _ in range(20):
        place = puppets.draw_place(rng)
        joints = skeleton(puppets.draw_character(rng), puppets.draw_pose(rng), place)
        ankles = joints[[JOINTS.index("right ankle"), JOINTS.index("left ankle")]]
        np.testing.assert_allclose([ankles[:, 0].mean(), ankles[:, 1].max()], [place.x, place.floor], atol=1e-6)


def turned(points, angle):
    return points @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_a_pose_can_be_seen_in_a_picture_of_it():
    """The directions of the driver's bones, put on the reference's lengths and feet, are the target."""
    rng = np.random.default_rng(1)
    trunk = [JOINTS.index(n) for n in ("neck", "right shoulder", "left shoulder", "right hip", "left hip")]
    limbs = [(1, 0)] + [(a, a + 1) for a in (2, 3, 4, 6, 7, 8, 10, 11, 13, 14)]
    for _ in range(20):
        who, other = puppets.draw_character(rng), puppets.draw_character(rng)
        rest, pose = puppets.draw_pose(rng), puppets.draw_pose(rng)
        here, there = puppets.draw_place(rng), puppets.draw_place(rng)
        reference, target, driver = skeleton(who, rest, here), skeleton(who, pose, here), skeleton(other, pose, there)
        up = [joints[1] - joints[[10, 13]].mean(0) for joints in (driver, reference)]
        made = np.zeros_like(target)
        made[trunk] = turned(reference[trunk] - reference[1], np.subtract(*(np.arctan2(*v) for v in up)))
        for a, b in limbs:
            way, length = driver[b] - driver[a], np.linalg.norm(reference[b] - reference[a])
            made[b] = made[a] + way / np.linalg.norm(way) * length
        np.testing.assert_allclose(made - feet(made) + feet(reference), target, atol=1e-4)


def test_all_characters_take_a_pose_alike_and_have_bodies_of_their_own():
    taken = pose(**{"right elbow": 0.7})
    bodies = [skeleton(someone(seed), taken, PLACE) for seed in range(5)]
    fore = [b[JOINTS.index("right wrist")] - b[JOINTS.index("right elbow")] for b in bodies]
    angles = [np.arctan2(x, y) for x, y in fore]
    np.testing.assert_allclose(angles, angles[0], atol=1e-4)
    assert np.std([np.linalg.norm(f) for f in fore]) > 0.005


def test_the_normals_say_how_the_hand_is_turned():
    who = someone(2)
    seen = {}
    for roll in (0.0, 0.5, 1.0):
        drawn = render(who, pose({"roll": roll, "index": 0.0}), PLACE, 128, normals=True)
        normal = drawn.normals[at(drawn, "right hand")]
        seen[roll] = normal
        where = (drawn.normals != 0).any(2)
        np.testing.assert_allclose(np.linalg.norm(drawn.normals[where], axis=1), 1, atol=1e-5)
        ys, xs = np.nonzero(where[:, :64])
        hand = drawn.joints[JOINTS.index("right hand")] * 128
        assert np.hypot(xs.mean() + 0.5 - hand[0], ys.mean() + 0.5 - hand[1]) < 4
    assert seen[0.0][2] > 0.99
    assert seen[1.0][2] < -0.99
    assert abs(seen[0.5][2]) < 0.05
    both = render(who, pose({"roll": 0.5}), PLACE, 128, normals=True)
    mirror = both.normals[at(both, "left hand")]
    assert mirror[0] == pytest.approx(-seen[0.5][0], abs=0.05)


def test_a_curled_finger_is_shorter():
    who = someone(2)
    drawn = [(render(who, pose({"fingers": c, "index": c}), PLACE, 256, True).normals != 0).any(2) for c in (0, 1)]
    assert drawn[1].sum() < 0.8 * drawn[0].sum()


def test_a_mirrored_left_hand_is_cropped_as_a_right_one():
    who = someone(3)
    drawn = render(who, pose({"roll": 0.1, "index": 1.0}), PLACE, 256)
    plain = np.full_like(drawn.picture, 128)
    body = np.abs(drawn.picture.astype(int) - who.skin).max(2) < 12
    plain[body] = who.skin
    right, left, _ = crops_of(plain, drawn.boxes, 32)
    assert np.abs(right.astype(int) - left).mean() < 6
    assert np.abs(right.astype(int) - left[:, ::-1]).mean() > 6


def test_augmentation_takes_joints_and_boxes_along():
    drawn = render(someone(), pose(), PLACE, 128)
    dotted = np.zeros((128, 128, 3), np.uint8)
    joint = JOINTS.index("neck")
    cv2.circle(dotted, at(drawn, "neck")[::-1], 3, (255, 255, 255), -1)
    for seed in range(8):
        config = PuppetConfig(colour=0.0, spatial=0.2)
        moved = augment(puppets.Drawn(dotted, drawn.joints, None, drawn.boxes), config, np.random.default_rng(seed))
        ys, xs = np.nonzero(moved.picture[..., 0] > 127)
        wanted = moved.joints[joint] * 128
        assert np.hypot(xs.mean() + 0.5 - wanted[0], ys.mean() + 0.5 - wanted[1]) < 1.5
        assert np.abs(moved.boxes[0, :2] - moved.joints[puppets.RIGHT_HAND]).max() < 1e-5


def test_augmentation_changes_the_driver_alone():
    plain, changed = (SceneSet(PuppetConfig(augment=on), 64, 32, 0)[3] for on in (False, True))
    for same in ("reference", "target", "joints", "normals", "hands", "face"):
        assert torch.equal(getattr(plain, same), getattr(changed, same))
    assert (plain.driver - changed.driver).abs().mean() > 0.05
    assert (plain.crops - changed.crops).abs().mean() > 0.05


def test_the_driver_is_the_target_or_somebody_else_in_its_pose():
    own = SceneSet(PuppetConfig(cross=0.0, augment=False), 64, 32, 0)[1]
    assert (own.driver - own.target).abs().mean() < 0.02  # drawn at another size
    assert torch.equal(own.driver_joints, own.joints)
    other = SceneSet(PuppetConfig(cross=1.0, augment=False), 64, 32, 0)[1]
    assert (other.driver - other.target).abs().mean() > 0.1
    assert torch.equal(other.target, own.target)
    cast = SceneSet(PuppetConfig(cross=1.0), 64, 32, 0).cast(1)
    assert cast.who != cast.driver


def test_who_is_measured_on_is_not_trained_on():
    trained, unseen = (SceneSet(PuppetConfig(characters=50), 64, 32, 0, unseen=u) for u in (False, True))
    cast = {character(0, n) for n in range(50)}
    assert all(trained.cast(n).who in cast for n in range(20))
    assert not any(unseen.cast(n).who in cast or unseen.cast(n).driver in cast for n in range(20))
    assert unseen.cast(0).who in {character(0, UNSEEN + n) for n in range(50)}


def test_a_performance_moves_smoothly():
    frames = puppets.moving(np.random.default_rng(0), 30)
    steps = [np.abs(a.body - b.body).max() for a, b in pairwise(frames)]
    assert len(frames) == 30
    assert 0 < max(steps) < 0.6
