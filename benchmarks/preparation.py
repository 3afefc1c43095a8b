"""How well a portrait is taken apart: mattes of people whose outline is known, fills of backgrounds that are known.

People before a plain wall are cut out by their difference from it and laid over other pictures: there the matte is
known, hair and all. Then holes of their shape are cut into those pictures and filled: there the background is known.

  python -m benchmarks preparation
  python -m benchmarks preparation --people me_before_a_wall.png
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.recordings import test_data_folder
from benchmarks.report.result import Result
from realtime.engines.mesh.inpaint import fill_smooth, fill_textured
from realtime.engines.mesh.layers import split_layers
from realtime.errors import BadFile
from realtime.face.face_model import load_face_model
from realtime.face.landmarks import find_faces
from realtime.face.pose import fit_pose
from realtime.media.matte import fine_matte, quick_matte
from realtime.media.pictures import read_picture

SIDE = 512
PLAIN = ("p03_photo_curly_glasses.png", "p04_photo_hand_on_face.png", "p08_cartoon_3d.png")
"""Of the test data: people before a plain wall."""
OTHERS = ("motorcycle_left.png", "coffee.png", "brick.png", "rocket.jpg", "grass.png")
"""Of scikit-image: what they are laid over."""
GRAIN, DIFFERS = 7.0, 32.0
"""Off the wall by less is wall, by more is person (0 to 255)."""
REACH = 100.0
"""Of the fills, pixels; errors count this far in."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", nargs="+", type=Path, metavar="PICTURE", help="portraits before a plain wall")


def run(options: argparse.Namespace) -> Result:
    folder = test_data_folder()
    if not options.people and folder is None:
        raise BadFile("--people", "no test data here (AVATAR_TEST_DATA): name portraits before a plain wall")
    people = options.people or [folder / "portraits" / name for name in PLAIN]
    result = Result("preparation", settings={"people": [path.name for path in people], "over": list(OTHERS)})
    others = _others()[:2] if options.quick else _others()
    cut = [_cut_out(_square(read_picture(path))) for path in people]
    for name, find in (("quick", quick_matte), ("fine", fine_matte)):
        _measure_mattes(result, name, find, cut, others)
    fills: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "textured": lambda image, known: fill_textured(image, known, REACH),
        "smooth": lambda image, known: fill_smooth(image, known.astype(np.float32)),
    }
    for name, fill in fills.items():
        _measure_fills(result, name, fill, [matte for matte, _ in cut], others)
    return result


def _measure_mattes(
    result: Result,
    name: str,
    find: Callable[[np.ndarray], np.ndarray],
    cut: list[tuple[np.ndarray, np.ndarray]],
    others: list[np.ndarray],
) -> None:
    sad, mse, gradient, seconds = [], [], [], []
    for truth, person in cut:
        for other in others:
            image = np.clip(person + (1.0 - truth)[..., None] * other + 0.5, 0, 255).astype(np.uint8)
            faces = find_faces(image)
            if not faces:
                continue
            scale = fit_pose(load_face_model().mean, faces[0].astype(np.float64)).scale
            begun = time.process_time()
            mask = find(image)
            seconds.append(time.process_time() - begun)
            matte = split_layers(image, mask, np.zeros_like(mask), scale).matte
            sad.append(np.abs(matte - truth).sum() / 1000.0)
            mse.append(1000.0 * np.square(matte - truth).mean())
            gradient.append(np.square(_gradient(matte) - _gradient(truth)).sum() / 1000.0)
    result.add(f"matte.{name}.sad", None, "thousand pixels", samples=sad, better="lower")
    result.add(f"matte.{name}.mse", None, "/1000", samples=mse, better="lower")
    result.add(f"matte.{name}.gradient", None, "", samples=gradient, better="lower")
    result.add(f"matte.{name}.time", float(np.median(seconds)), "s", samples=seconds, better="lower")


def _measure_fills(
    result: Result,
    name: str,
    fill: Callable[[np.ndarray, np.ndarray], np.ndarray],
    mattes: list[np.ndarray],
    others: list[np.ndarray],
) -> None:
    from skimage.metrics import structural_similarity

    errors, alike = [], []
    for matte in mattes:
        hole = cv2.dilate((matte > 0.02).astype(np.uint8), np.ones((9, 9), np.uint8))
        near = (hole > 0) & (cv2.distanceTransform(hole, cv2.DIST_L2, 3) < REACH * 0.6)
        for other in others:
            filled = fill(other, hole == 0)
            _, map_ = structural_similarity(other, filled, channel_axis=2, data_range=255, full=True)
            errors.append(np.abs(filled - other)[near].mean())
            alike.append(map_[near].mean())
    result.add(f"fill.{name}.l1", None, "of 255", samples=errors, better="lower", about="beside the outline")
    result.add(f"fill.{name}.ssim", None, "", samples=alike, better="higher", about="beside the outline")


def _cut_out(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matte, float32 (S, S), of a person before a plain wall, and the person times the matte."""
    picture = image.astype(np.float32)
    body = (quick_matte(image) > 0.6).astype(np.uint8)
    away = cv2.dilate(body, np.ones((61, 61), np.uint8)) == 0
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    wall = terms @ np.linalg.lstsq(terms[away], picture[away], rcond=None)[0]
    matte = np.clip((np.abs(picture - wall).max(axis=-1) - GRAIN) / (DIFFERS - GRAIN), 0.0, 1.0)
    matte[cv2.dilate(body, np.ones((45, 45), np.uint8)) == 0] = 0.0
    matte[cv2.erode(body, np.ones((13, 13), np.uint8)) > 0] = 1.0
    return matte.astype(np.float32), np.clip(picture - (1.0 - matte)[..., None] * wall, 0, 255)


def _others() -> list[np.ndarray]:
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [_square(read_picture(folder / name)).astype(np.float32) for name in OTHERS]


def _square(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _gradient(matte: np.ndarray) -> np.ndarray:
    return np.hypot(cv2.Sobel(matte, cv2.CV_32F, 1, 0), cv2.Sobel(matte, cv2.CV_32F, 0, 1))
