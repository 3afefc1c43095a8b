"""From a portrait and a clip to what the network is fed: with MediaPipe, on a made-up clip of a real person."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from realtime.errors import BadFile
from realtime.film.clip import look_at
from realtime.film.wan.crops import FACE_SIDE
from realtime.film.wan.judge import FLAT
from realtime.film.wan.people import PeopleReader
from realtime.film.wan.prepare import Wish, flatness, prepare
from realtime.film.wan.prepared import Prepared
from realtime.media.pictures import read_picture
from tests.support.driving import astronaut, moved, write_clip

FRAMES = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mp4", moved(FRAMES))


@pytest.fixture(scope="module")
def animated(clip, tmp_path_factory) -> Prepared:
    return prepare(Wish(clip, astronaut(), size="256x256"), tmp_path_factory.mktemp("animate"))


@pytest.fixture(scope="module")
def replaced(clip, tmp_path_factory) -> Prepared:
    return prepare(Wish(clip, astronaut(), "replace", "320x256"), tmp_path_factory.mktemp("replace"))


def test_a_clip_is_known_before_it_is_read(clip):
    assert look_at(clip, None, None) == (256, 320, 25.0, FRAMES)
    assert look_at(clip, 50, 0.2) == (256, 320, 50, 10)


def test_every_frame_has_a_skeleton_and_a_face(animated):
    about = animated.about
    assert (about.mode, about.width, about.height, about.fps, about.frames) == ("animate", 256, 256, 25.0, FRAMES)
    for n in range(FRAMES):
        pose, face = animated.picture("pose", n), animated.picture("face", n)
        assert pose.shape == (256, 256, 3)
        assert pose.any(-1).sum() > 100
        assert face.shape == (FACE_SIDE, FACE_SIDE, 3)
        assert face.std() > 20
    assert not (animated.folder / "mask").exists()
    assert animated.about.findings == ()


def test_the_portraits_own_skeleton_lies_on_the_portrait_and_follows_the_driver(animated):
    """The driver is the portrait, at 200 of its 512 pixels: the first skeleton is the portrait's own, the last
    one has gone as far to the right as the driver, in the portrait's measure, which is as good as shoulders are read
    in so small a picture: a quarter."""
    noses = [nose(animated.picture("pose", n)) for n in (0, FRAMES - 1)]
    with PeopleReader(still=True) as reader:
        own = reader.read(cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)).body[0, :2]
    assert np.allclose(noses[0], own, atol=6)
    right, down = noses[1] - noses[0]
    assert right == pytest.approx(4 * (FRAMES - 1) * 256 / 200, rel=0.25)
    assert abs(down) < 4


def nose(pose: np.ndarray) -> np.ndarray:
    """Where the only red point of a skeleton is: x, y."""
    return np.argwhere((pose == (255, 0, 0)).all(-1)).mean(axis=0)[::-1]


def test_replace_blacks_out_the_person_and_keeps_the_rest(replaced, clip):
    background, mask = replaced.picture("background", 0), replaced.picture("mask", 0)
    assert set(np.unique(mask)) == {0, 255}
    assert not background[mask[..., 0] > 0].any()
    kept = mask[..., 0] == 0
    assert 0.1 < kept.mean() < 0.9
    assert background[kept].mean() == pytest.approx(moved(1)[0][kept].mean(), abs=2)
    rows, columns = np.nonzero(mask[..., 0])
    assert rows.min() < 100
    assert columns.min() < 90  # the face lies from 89 on
    assert columns.max() > 127


def test_a_contact_sheet_shows_what_was_read(animated, replaced):
    tall, taller = (read_picture(prepared.folder / "sheet.png").shape[0] for prepared in (animated, replaced))
    assert taller > tall > 3 * 176


def test_what_was_prepared_is_found_again(animated):
    again = Prepared.read(animated.folder)
    assert again.about == animated.about
    assert again.digest() == animated.digest()


def test_a_picture_mended_by_hand_is_another_film(replaced):
    before = replaced.digest()
    path = replaced.path("mask", 3)
    whole = path.read_bytes()
    try:
        replaced.write("mask", 3, np.full((256, 320), 255, np.uint8))
        assert replaced.digest() != before
    finally:
        path.write_bytes(whole)
    assert replaced.digest() == before


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "film.json").unlink(), "was it stopped"),
        (lambda folder: (folder / "film.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "film.json").write_text("[1]"), "no description"),
        (lambda folder: (folder / "film.json").write_text('{"format": 99}'), "another version"),
        (lambda folder: (folder / "pose" / "00001.png").unlink(), "00001.png: is missing"),
    ],
)
def test_half_a_folder_is_one_sentence(harm, words, animated, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(animated.folder, folder)
    harm(folder)
    with pytest.raises(BadFile, match=words):
        Prepared.read(folder)


def test_a_clip_without_anybody_is_refused(tmp_path):
    noise = np.random.default_rng(0)
    empty = write_clip(tmp_path / "e.mp4", [noise.integers(0, 255, (128, 160, 3), np.uint8) for _ in range(4)])
    with pytest.raises(BadFile, match=r"no person is found in any of its 4 frames"):
        prepare(Wish(empty, astronaut(), size="64x64"), tmp_path / "work")
    with pytest.raises(BadFile, match="was it stopped"):
        Prepared.read(tmp_path / "work")


def test_two_people_are_refused_unless_told_to_go_on(tmp_path):
    both = [np.concatenate([image, image[:, ::-1]], axis=1) for image in moved(3)]
    clip = write_clip(tmp_path / "two.mp4", both)
    wish = Wish(clip, astronaut(), size="64x64")
    with pytest.raises(
        BadFile, match=r"several people are seen, and one is followed: frames [01]-2 of 3; look at .*--anyway"
    ):
        prepare(wish, tmp_path / "work")
    assert (tmp_path / "work" / "sheet.png").is_file()
    forced = prepare(Wish(clip, astronaut(), size="64x64", anyway=True), tmp_path / "work")
    assert "several people" in forced.about.findings[0]


def test_a_flat_drawing_is_refused_as_nobody_is_found_in_it(tmp_path):
    flat = cv2.medianBlur(cv2.medianBlur(astronaut(), 21) // 64 * 64 + 32, 21)
    clip = write_clip(tmp_path / "drawn.mp4", [np.roll(flat, n, axis=1) for n in range(3)])
    with pytest.raises(BadFile, match="no person is found"):
        prepare(Wish(clip, astronaut(), size="64x64"), tmp_path / "work")


def test_films_have_grain_and_drawings_hardly_any():
    whole = np.ones((512, 512), bool)
    drawn = np.full((512, 512, 3), 90, np.uint8)
    cv2.circle(drawn, (256, 200), 120, (220, 180, 150), -1)
    assert flatness(drawn, whole) > FLAT
    assert flatness(astronaut(), whole) < 0.5 * FLAT


def test_a_portrait_without_a_body_says_so_and_keeps_the_drivers_proportions(clip, tmp_path):
    hill = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    made = prepare(Wish(clip, hill, size="320x256", duration=0.1), tmp_path)
    assert "no body is found in the portrait" in made.about.findings[-1]
    assert made.picture("pose", 0).any()


def test_what_prepared_says_is_plain_json(animated):
    content = json.loads((animated.folder / "film.json").read_text())
    assert content["format"] == 1
    assert content["kinds"] == ["pose", "face"]


REAL = Path(os.environ.get("AVATAR_TEST_DATA", "/nowhere")) / "clips"


@pytest.mark.skipif(not REAL.is_dir(), reason="no film clips of real people: set AVATAR_TEST_DATA")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a05_mouth_extremes.mp4", "the shoulders are outside the picture"),
        ("a10_zoom_out_small_face.mp4", None),
        ("h04_two_faces_1280x720.mp4", "several people"),
        ("h07_no_face.mp4", "no person is found"),
    ],
)
def test_real_clips(name, words, tmp_path):
    try:
        said = prepare(Wish(REAL / name, astronaut(), size="128x128", duration=0.4), tmp_path).about.findings
    except BadFile as error:
        said = (str(error),)
    assert said == () if words is None else any(words in sentence for sentence in said)
