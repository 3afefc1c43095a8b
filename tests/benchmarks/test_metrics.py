"""The measures of picture quality against scikit-image, known motions and cases worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.quality import WORST, _name_worst
from benchmarks.report.result import Result
from realtime import load_engine
from realtime.measures import baselines, faces, reenactment, similarity
from realtime.measures.media import Clip, middle_square, spread, to_size
from realtime.measures.reenactment import Rows, badness

skimage_data = pytest.importorskip("skimage.data")
skimage_metrics = pytest.importorskip("skimage.metrics")


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """A public-domain photograph of a face, 256 px."""
    return to_size(middle_square(skimage_data.astronaut()[:300, 60:360]), 256)


@pytest.fixture(scope="module")
def reader():
    with faces.FaceReader() as reader:
        yield reader


@pytest.fixture(scope="module")
def landmarks(reader, astronaut) -> np.ndarray:
    found = reader.read(astronaut)
    assert found is not None
    return found


def shifted(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], float)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


class TestPixels:
    def test_identical_pictures(self, astronaut):
        assert similarity.l1(astronaut, astronaut) == 0
        assert similarity.psnr(astronaut, astronaut) == 100
        assert similarity.ssim(astronaut, astronaut) == pytest.approx(1)
        assert similarity.ms_ssim(astronaut, astronaut) == pytest.approx(1)

    def test_ten_grey_levels_apart(self):
        a, b = np.full((200, 200, 3), 100, np.uint8), np.full((200, 200, 3), 110, np.uint8)
        assert similarity.l1(a, b) == pytest.approx(10 / 255)
        assert similarity.psnr(a, b) == pytest.approx(28.1308, abs=1e-3)
        luminance = (2 * 100 * 110 + 6.5025) / (100**2 + 110**2 + 6.5025)
        assert similarity.ssim(a, b) == pytest.approx(luminance, abs=1e-5)
        assert similarity.ms_ssim(a, b) == pytest.approx(luminance**0.1333, abs=1e-5)

    def test_l1_of_a_region(self):
        a = np.zeros((8, 8, 3), np.uint8)
        b = a.copy()
        b[:4] = 51
        top = np.zeros((8, 8), bool)
        top[:4] = True
        assert similarity.l1(a, b, top) == pytest.approx(0.2)
        assert similarity.l1(a, b, ~top) == 0

    @pytest.mark.parametrize("change", ["noise", "shift", "blur"])
    def test_ssim_and_psnr_are_those_of_scikit_image(self, astronaut, change):
        noise = np.random.default_rng(0).normal(0, 15, astronaut.shape)
        other = {
            "noise": np.clip(astronaut + noise, 0, 255).astype(np.uint8),
            "shift": shifted(astronaut, 3, 1),
            "blur": cv2.GaussianBlur(astronaut, (0, 0), 2),
        }[change]
        theirs = skimage_metrics.structural_similarity(
            astronaut, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=255,
        )  # fmt: skip
        assert similarity.ssim(astronaut, other) == pytest.approx(theirs, abs=2e-3)
        theirs = skimage_metrics.peak_signal_noise_ratio(astronaut, other)
        assert similarity.psnr(astronaut, other) == pytest.approx(theirs, abs=1e-3)

    def test_ms_ssim_falls_as_noise_grows_and_forgives_what_is_fine_grained(self, astronaut):
        noise = np.random.default_rng(0).normal(0, 1, astronaut.shape)
        values = [similarity.ms_ssim(astronaut, np.clip(astronaut + s * noise, 0, 255)) for s in (0, 10, 20, 40)]
        assert values == sorted(values, reverse=True)
        assert values[2] > similarity.ssim(astronaut, np.clip(astronaut + 20 * noise, 0, 255))

    def test_ms_ssim_refuses_a_picture_too_small_for_five_scales(self):
        with pytest.raises(ValueError, match="176"):
            similarity.ms_ssim(np.zeros((128, 128, 3)), np.zeros((128, 128, 3)))


class TestLandmarks:
    def test_akd_by_hand(self):
        a = np.zeros((478, 3))
        b = a + np.array((3, 4, 99))  # depth does not count
        assert faces.average_distance(a, b) == pytest.approx(5)
        b[faces.LIPS] = a[faces.LIPS] + (0, 1, 0)
        assert faces.average_distance(a, b, faces.LIPS) == pytest.approx(1)
        assert faces.average_distance(a, b) == pytest.approx((5 * (478 - 40) + 40) / 478)

    def test_a_shifted_picture_is_as_far_as_it_was_shifted(self, reader, astronaut, landmarks):
        moved = reader.read(shifted(astronaut, 6, -8))
        assert faces.average_distance(landmarks, moved) == pytest.approx(10, abs=0.4)

    def test_reading_does_not_depend_on_what_was_read_before(self, astronaut, landmarks):
        with faces.FaceReader() as fresh:
            fresh.read(shifted(astronaut, 30, 20))
            assert np.allclose(fresh.read(astronaut), landmarks, atol=1e-6)

    def test_no_face_is_none(self, reader):
        assert reader.read(np.full((256, 256, 3), 90, np.uint8)) is None

    def test_rigid_motion_is_recovered_whatever_the_mouth_does(self, landmarks):
        rotation = Rotation.from_euler("yxz", (12, -7, 5), degrees=True).as_matrix()
        moved = 1.15 * landmarks @ rotation.T + (4, -9, 2)
        moved[faces.LIPS] += (0, 12, 0)
        moved[152] += (0, 15, 0)
        scale, found, shift, left = faces.rigid_motion(landmarks, moved)
        assert scale == pytest.approx(1.15, abs=1e-4)
        assert faces.degrees(found.T @ rotation) < 0.01
        assert shift == pytest.approx(np.array((4, -9, 2)), abs=0.01)
        assert left < 1e-3
        assert faces.degrees(rotation) == pytest.approx(14.8, abs=0.3)

    def test_residual_sees_a_skull_that_changes_its_shape(self, landmarks):
        wider = landmarks * (1.05, 1, 1)
        assert faces.rigid_motion(landmarks, wider)[3] > 0.3

    def test_gap_opening_and_gaze(self, landmarks):
        points = landmarks.copy()
        lower = [14, 87, 317]
        points[lower] = points[[13, 82, 312]] + (0, 7, 0)
        assert faces.mouth_gap(points) == pytest.approx(7)
        before = faces.gaze(points)
        width = np.mean([np.linalg.norm((points[a] - points[b])[:2]) for a, b in ((33, 133), (263, 362))])
        points[faces.IRISES] += (0.1 * width, 0, 0)
        assert (faces.gaze(points) - before)[0] == pytest.approx(0.1, abs=0.01)
        closed = points.copy()
        for _, _, _, lids in faces._EYES:
            for upper, lid in lids:
                closed[lid] = closed[upper]
        assert faces.eye_opening(closed) == 0
        assert faces.eye_opening(points) > 0.15

    def test_descriptor_tells_the_same_from_another(self, astronaut, landmarks):
        one = faces.face_descriptor(astronaut, landmarks)
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
        darker = faces.face_descriptor((astronaut * 0.8).astype(np.uint8), landmarks)
        upside_down = faces.face_descriptor(np.ascontiguousarray(astronaut[::-1]), landmarks)
        assert np.linalg.norm(one - darker) < 0.25 < 0.5 < np.linalg.norm(one - upside_down)

    def test_trembling_is_that_of_a_known_motion(self, astronaut, landmarks):
        shake = np.random.default_rng(1).normal(0, 0.1, (20, 2))
        pictures = [shifted(astronaut, *d) for d in shake - shake[0]]
        height = np.linalg.norm((landmarks[10] - landmarks[152])[:2])
        true = np.linalg.norm(shake[2:] - 2 * shake[1:-1] + shake[:-2], axis=1).mean() * 110 / height
        assert faces.trembling(faces.follow(pictures, landmarks)) == pytest.approx(true, rel=0.25)
        assert faces.trembling(faces.follow([astronaut] * 5, landmarks)) == 0

    def test_fold_over_sees_a_strip_turned_round(self, astronaut):
        everywhere = np.ones(astronaut.shape[:2], bool)
        assert faces.fold_over(astronaut, astronaut, everywhere) == 0
        assert faces.fold_over(astronaut, shifted(astronaut, 4, 0), everywhere) < 0.003
        folded = astronaut.copy()
        folded[:, 96:136] = folded[:, 96:136][:, ::-1]
        assert faces.fold_over(astronaut, folded, everywhere) > 0.01


class TestReenactment:
    def test_first_frame_is_not_compared(self):
        assert spread(17, 4) == [4, 8, 12, 16]
        assert spread(3, 16) == [1, 2]
        assert spread(1, 4) == [0]

    def test_transfer_of_the_same_motion_is_without_error(self, landmarks):
        moved = landmarks @ Rotation.from_euler("y", 10, degrees=True).as_matrix().T
        row = reenactment.transferred(landmarks, moved, landmarks, moved)
        assert row["pose"] < 0.01
        assert row["turn"] == pytest.approx(10, abs=0.1)
        assert row["mouth_want"] == pytest.approx(row["mouth_got"], abs=1e-6)
        assert row["eye_want"] == row["eye_got"]
        assert row["gaze"] == pytest.approx(0, abs=1e-9)

    def test_a_portrait_that_stays_misses_the_whole_turn(self, landmarks):
        moved = landmarks @ Rotation.from_euler("y", 10, degrees=True).as_matrix().T
        assert reenactment.transferred(landmarks, moved, landmarks, landmarks)["pose"] == pytest.approx(10, abs=0.1)

    def test_correlation(self):
        rows = [{"a": x, "b": 2 * x + 1, "c": -x, "d": 0.0} for x in (0.0, 1.0, 2.0, 5.0)]
        assert reenactment.correlation(rows, "a", "b", 0.1) == pytest.approx(1)
        assert reenactment.correlation(rows, "a", "c", 0.1) == pytest.approx(-1)
        assert reenactment.correlation(rows, "a", "d", 0.1) == 0
        assert np.isnan(reenactment.correlation(rows, "d", "a", 0.1))

    def test_baselines(self, reader, astronaut):
        baselines.register()
        clip = Clip("shift", [shifted(astronaut, 3.0 * k, 2.0 * k) for k in range(5)], 30.0)
        figures = {}
        for name in baselines.BASELINES:
            engine = load_engine(name, size=256)
            rows = reenactment.self_reenactment(engine, clip, 4, reader, None, lambda: None)
            figures[name] = rows.mean("akd")
            engine.close()
        assert figures["still"] == pytest.approx(np.hypot(3, 2) * 2.5, abs=0.4)
        assert figures["rigid"] < 0.5

    def test_a_lost_face_keeps_the_last_code(self, astronaut):
        engine = baselines.RigidEngine(size=256)
        engine.set_portrait(astronaut)
        blank = np.zeros_like(astronaut)
        codes = reenactment.codes_of(engine, Clip("c", [astronaut, blank, astronaut], 30.0), [0, 1, 2], None)
        assert codes[1] is codes[0]
        assert reenactment.codes_of(engine, Clip("c", [blank], 30.0), [0], None) == {0: None}
        engine.close()

    def test_framing_finds_how_an_engine_crops_its_portrait(self, reader, astronaut):
        assert reenactment.framing(astronaut, astronaut, reader) is None
        crop = to_size(astronaut[10:230, 20:240], 256)
        matrix = reenactment.framing(astronaut, crop, reader)
        assert matrix[:, :2] == pytest.approx(np.eye(2) * 256 / 220, abs=0.02)
        inner = (slice(20, -20), slice(20, -20))
        assert similarity.psnr(reenactment.framed(astronaut, matrix)[inner], crop[inner]) > 30


def test_the_worst_frames_are_named_with_their_pictures():
    def rows(errors: list[float]) -> Rows:
        made = Rows()
        for k, error in enumerate(errors):
            made.pictures.append((np.full((4, 4, 3), k, np.uint8), np.full((4, 4, 3), 100 + k, np.uint8)))
            made.rows.append({"missing": 0.0, "shown": float(k), "pose": error, "mouth_want": 0.1, "mouth_got": 0.1})
        return made

    result = Result("quality")
    _name_worst(result, "mesh", ["a by x", "b by y"], [rows([1.0] * 8 + [9.0]), rows([2.0, 30.0, 2.0])])
    assert result.pictures["worst.mesh"].shape == (WORST, 2, 4, 4, 3)
    assert result.pictures["worst.mesh"][0, :, 0, 0, 0].tolist() == [1, 101]
    assert result.pictures["worst.mesh"][1, :, 0, 0, 0].tolist() == [8, 108]
    assert result.notes[0].startswith("mesh, worst 1: b by y, look 2: badness 10.0 (pose 30")
    assert badness({"missing": 1.0}) > badness({"missing": 0.0, "pose": 10.0})
    assert badness({"missing": 0.0, "eye_want": 1.0, "eye_got": 0.5}) == pytest.approx(2.0)
