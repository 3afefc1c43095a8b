"""From any picture to a portrait: reading files, finding and framing the face, and every sentence of refusal."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from realtime.engines.mesh import framing
from realtime.engines.mesh.framing import choose_frame, frame_portrait, load_picture, output_size
from realtime.errors import BadFile, BadPortrait, BadValue, UnknownName
from realtime.face.face_model import CHIN, FOREHEAD, OVAL, load_face_model
from realtime.face.landmarks import find_faces
from realtime.face.pose import rotation_matrix
from realtime.face.upright import CUT, box
from realtime.media.portraits import builtin_portrait, builtin_portraits
from tests.support import test_data


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return builtin_portrait()


def face_at(x: float, y: float, fh: float) -> np.ndarray:
    """A frontal face of height `fh` whose oval's middle lies at (x, y)."""
    mean = load_face_model().mean
    return (mean - [*mean[list(OVAL), :2].mean(axis=0), 0.0]) * fh + [x, y, 0.0]


def share_of(framed: framing.FramedPortrait) -> float:
    face = framed.landmarks
    return float(np.linalg.norm(face[FOREHEAD] - face[CHIN])) / framed.picture.shape[0]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_formats_are_read(tmp_path, suffix):
    colours = np.zeros((40, 60, 3), np.uint8)
    colours[:, :30] = (200, 30, 60)
    Image.fromarray(colours).save(tmp_path / f"a.{suffix}")
    got = load_picture(tmp_path / f"a.{suffix}")
    assert got.dtype == np.uint8
    assert got.shape == (40, 60, 3)
    assert np.abs(got[20, 10].astype(int) - (200, 30, 60)).max() < 12


def test_a_picture_is_turned_upright(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    got = load_picture(tmp_path / "a.jpg")
    assert got.shape == (40, 20, 3)
    assert got[5].mean() > 200
    assert got[35].mean() < 50


def test_transparency_lies_over_light_grey(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (load_picture(tmp_path / "a.png") == 224).all()


def test_grey_and_deep_pictures_become_eight_bit_rgb(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "grey.png")
    assert (load_picture(tmp_path / "grey.png") == 77).all()
    Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (load_picture(tmp_path / "deep.png") == 77).all()


def test_files_that_are_no_pictures_say_so(tmp_path, monkeypatch):
    with pytest.raises(BadFile, match="no such file"):
        load_picture(tmp_path / "none.png")
    with pytest.raises(BadFile, match="a folder"):
        load_picture(tmp_path)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(BadFile, match="unknown format"):
        load_picture(tmp_path / "text.png")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(BadFile, match="truncated or damaged"):
        load_picture(tmp_path / "half.png")
    monkeypatch.setattr(framing, "MAX_PIXELS", 1000)
    with pytest.raises(BadFile, match="scale it down"):
        load_picture(tmp_path / "whole.png")


# ---------------------------------------------------------------- sizes and frames


def test_output_sizes():
    assert output_size(512) == (512, 512)
    assert output_size((1280, 720)) == (1280, 720)
    for bad in (0, 63, 5000, (1280, 100), (200, 1200)):
        with pytest.raises(BadValue):
            output_size(bad)


def test_a_picture_framed_as_a_portrait_is_taken_whole():
    assert choose_frame(face_at(256, 240, 200), (512, 512), 1.0) == (0, 0, 512, 512)
    assert choose_frame(face_at(256, 300, 420), (512, 512), 1.0) == (0, 0, 512, 512)


@pytest.mark.parametrize(("width", "height", "face"), [(900, 1200, 160), (1920, 1080, 140)])
def test_a_half_body_in_its_own_shape_is_taken_whole(width, height, face):
    whole = choose_frame(face_at(width / 2, 0.25 * height, face), (width, height), width / height)
    assert whole == (0, 0, width, height)
    closer = choose_frame(face_at(width / 2, 0.25 * height, 0.8 * face), (width, height), width / height)
    assert closer[2] - closer[0] < 0.5 * width


def test_a_half_body_of_other_proportions_is_cut_to_them_and_no_further():
    face = face_at(300, 200, 150)
    assert choose_frame(face, (600, 900), 3 / 4) == (0, 0, 600, 800)
    x0, _, x1, _ = choose_frame(face, (600, 900), 1.0)
    assert x1 - x0 == pytest.approx(150 / framing.FACE_SHARE, rel=0.05), "a square shows head and shoulders"
    x0, _, x1, _ = choose_frame(face_at(300, 200, 60), (600, 900), 3 / 4)
    assert x1 - x0 < 300, "nor is a face made tiny"


@pytest.mark.parametrize("aspect", [1.0, 16 / 9, 0.75])
def test_a_small_face_in_a_large_picture_is_cropped_inside_it(aspect):
    x0, y0, x1, y1 = choose_frame(face_at(2000, 700, 250), (4000, 3000), aspect)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(aspect)
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= 4000
    assert y1 <= 3000
    assert 250 / (y1 - y0) == pytest.approx(framing.FACE_SHARE)


def test_a_frame_near_the_edge_is_pushed_inside():
    x0, y0, x1, _ = choose_frame(face_at(3900, 100, 250), (4000, 3000), 1.0)
    assert x1 == pytest.approx(4000)
    assert y0 == pytest.approx(0)
    assert x0 < 3900 < x1


def test_a_frame_that_cannot_fit_reaches_beyond_the_picture():
    x0, _, x1, _ = choose_frame(face_at(150, 150, 200), (300, 400), 16 / 9)
    assert x0 < 0
    assert x1 > 300


@pytest.mark.parametrize("size", [(256, 256), (640, 360), (360, 640)])
def test_portraits_of_any_shape(astronaut, size):
    framed = frame_portrait(astronaut, size)
    assert framed.picture.shape == (size[1], size[0], 3)
    pad = 2 * framed.margin
    assert framed.canvas.shape == (size[1] + pad, size[0] + pad, 3)
    inside = framed.landmarks[:468, :2]
    assert (inside > 0).all()
    assert (inside < size).all()
    assert 0.15 < share_of(framed) < 0.65


def test_a_face_at_the_edge_is_padded(astronaut):
    """The head cut off at the top and on one side still makes a square portrait."""
    framed = frame_portrait(astronaut[60:420, 250:520], 256)
    assert framed.picture.shape == (256, 256, 3)
    assert share_of(framed) < 0.75


def test_a_large_picture_gives_the_same_frame_as_a_small_one(astronaut):
    large = np.kron(astronaut, np.ones((3, 3, 1), np.uint8))
    small, big = frame_portrait(astronaut, 256), frame_portrait(large, 256)
    assert np.abs(small.landmarks[:468, :2] - big.landmarks[:468, :2]).mean() < 1.5
    assert np.abs(small.picture.astype(int) - big.picture).mean() < 4


def test_a_framed_picture_of_the_right_size_is_unchanged(astronaut):
    import cv2

    exact = cv2.resize(astronaut, (320, 320), interpolation=cv2.INTER_AREA)
    assert (frame_portrait(exact, 320).picture == exact).all()


# ---------------------------------------------------------------- which face, and refusals


def test_the_larger_of_two_faces_is_taken(astronaut):
    import cv2

    small = cv2.resize(astronaut, (380, 380), interpolation=cv2.INTER_AREA)
    wide = np.full((768, 1300, 3), 190, np.uint8)
    wide[:, :768] = astronaut
    wide[200:580, 900:1280] = small
    framed = frame_portrait(wide, 256)
    alone = frame_portrait(astronaut, 256)
    assert share_of(framed) == pytest.approx(framing.FACE_SHARE, rel=0.15)
    colours = [p.picture[100:150, 100:150].mean(axis=(0, 1)) for p in (framed, alone)]
    assert np.abs(colours[0] - colours[1]).max() < 30


def refusal(image: np.ndarray) -> str:
    with pytest.raises(BadPortrait) as caught:
        frame_portrait(image, 256)
    text = str(caught.value)
    assert text.count(".") == 0
    assert "\n" not in text
    return text


def test_what_is_not_an_rgb_picture_is_refused():
    for shape, dtype in (((300, 300), np.uint8), ((300, 300, 4), np.uint8), ((300, 300, 3), np.float32)):
        assert "uint8" in refusal(np.zeros(shape, dtype))
    assert "only 40x40" in refusal(np.zeros((40, 40, 3), np.uint8))


def test_a_picture_without_a_face_is_refused():
    rng = np.random.default_rng(1)
    assert "no human face" in refusal(rng.integers(0, 256, (300, 300, 3), np.uint8))
    assert "no human face" in refusal(np.full((500, 400, 3), 120, np.uint8))


def test_too_small_a_face_is_refused(astronaut):
    import cv2

    tiny = np.full((600, 600, 3), 150, np.uint8)
    tiny[200:340, 200:340] = cv2.resize(astronaut, (140, 140), interpolation=cv2.INTER_AREA)
    assert "pixels high" in refusal(tiny)


def test_an_animal_is_refused():
    assert "no human face" in refusal(load_picture(test_data("portraits", "p10_dog.png")))


@pytest.mark.parametrize("name", ["p05_painting_smile_full.jpg", "p08_cartoon_3d.png", "p09_statue.png"])
def test_paintings_cartoons_and_statues_work(name):
    framed = frame_portrait(load_picture(test_data("portraits", name)), 256)
    assert 0.15 < share_of(framed) < 0.8


def test_a_turned_face_earns_a_warning():
    pose = framing.fit_pose(load_face_model().mean, face_at(0, 0, 100))
    assert framing._warnings(pose, False) == ()
    turned = framing.HeadPose(1.0, rotation_matrix(38, 0, 0), pose.translation)
    assert "38 degrees" in framing._warnings(turned, False)[0]


def test_a_face_that_the_border_cuts_earns_a_warning():
    picture = builtin_portrait()
    left, _top, width, _height = box(find_faces(picture)[0])
    cut = np.ascontiguousarray(picture[:, round(left + 0.25 * width) :])
    assert frame_portrait(cut, 128).warnings == (CUT,)


def test_the_builtin_portraits_show_several_people():
    """As far as their faces' shapes tell: two drawings of one photograph differ by a hundredth of a face."""
    shapes = []
    for name in builtin_portraits():
        framed = frame_portrait(builtin_portrait(name), 256)
        shapes.append(framed.pose.to_face(framed.landmarks.astype(np.float64))[:, :2])
    apart = [[float(np.abs(a - b).mean()) for a in shapes] for b in shapes]
    names = builtin_portraits()
    same = apart[names.index("painting")][names.index("astronaut")]
    assert all(apart[i][j] > 2 * same for i in range(4) for j in range(i))


def test_builtin_portraits_are_usable():
    for name in builtin_portraits():
        picture = builtin_portrait(name)
        assert picture.dtype == np.uint8
        assert picture.shape == (768, 768, 3)
        assert not frame_portrait(picture, 128).warnings
    with pytest.raises(UnknownName):
        builtin_portrait("nobody")
