"""Makes the picture of the README: `python -m benchmarks.report.readme_picture -o realtime/data/readme.jpg`.

Left: two built-in portraits. Top row: moments of the built-in motion track, drawn as the face mesh that they
ask for. Below: the portraits in that motion, as the mesh engine renders them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.motion.retarget import PortraitGeometry, Retargeter
from realtime.engines.mesh.topology import face_triangles
from realtime.face import face_model
from realtime.media.pictures import write_picture
from realtime.media.portraits import builtin_portrait
from realtime.motion.track import builtin_track
from realtime.types import MotionCode

PORTRAITS = ("astronaut", "countess")
CELL = 232
GAP = 6
CLOSE = (slice(0, 390), slice(61, 451))
"""The part of the 512 x 512 picture that is shown: head and collar."""
INK, PAPER, IRIS = (96, 205, 255), (17, 24, 33), (255, 180, 90)
FINER = 4
"""Lines are drawn this much larger and scaled down."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, nargs="+", default=[72, 214, 266, 612, 384])
    arguments = parser.parse_args()
    write_picture(arguments.output, draw(arguments.frames))


def draw(frames: list[int]) -> np.ndarray:
    """The whole picture, uint8 (H, W, 3) RGB, with one column per frame of the built-in track."""
    track = builtin_track()
    reference = track.reference_code
    assert reference is not None
    codes = [code for code in (track.code(n) for n in frames) if code is not None]
    engine = MeshEngine(size=512)
    rows: list[list[np.ndarray]] = []
    for name in PORTRAITS:
        engine.set_portrait(builtin_portrait(name))
        engine.reference = engine.portrait_code
        row = [_small(engine.render(engine.portrait_code))]
        engine.reference = reference
        rows.append(row + [_small(engine.render(code)) for code in codes])
        if name == PORTRAITS[0]:
            motion = [_mesh(engine, code, reference) for code in codes]
    engine.close()
    return _grid([[_words(), *motion], *rows])


def _mesh(engine: MeshEngine, code: MotionCode, reference: MotionCode) -> np.ndarray:
    """The face mesh that a code asks of the portrait, as lines on a dark ground."""
    import cv2

    portrait = engine.portrait
    assert portrait is not None
    geometry = PortraitGeometry.from_landmarks(portrait.landmarks, portrait.width, portrait.height)
    points = Retargeter(geometry).target(code.values, reference.values).vertices()[:, :2]
    middle = portrait.landmarks[:, :2].mean(0)
    side = FINER * CELL
    points = (points - middle) * (0.74 * side / np.ptp(portrait.landmarks[:, 1])) + side / 2
    image = np.full((side, side, 3), PAPER, np.uint8)
    for corners in face_triangles():
        cv2.polylines(image, [np.round(points[corners]).astype(np.int32)], True, INK, 2, cv2.LINE_AA)
    for iris in face_model.IRISES:
        x, y = np.round(points[iris[0]]).astype(int)
        cv2.circle(image, (int(x), int(y)), 14, IRIS, -1, cv2.LINE_AA)
    return cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA)


def _words() -> np.ndarray:
    """The corner cell: what is to the right of it and what is below."""
    import cv2

    image = np.full((CELL, CELL, 3), 255, np.uint8)
    for text, where in (("motion  >", (96, 120)), ("portraits", (70, CELL - 36)), ("v", (110, CELL - 12))):
        cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.7, PAPER, 1, cv2.LINE_AA)
    return image


def _small(image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(image[CLOSE], (CELL, CELL), interpolation=cv2.INTER_AREA)


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
    across = np.full((CELL, GAP, 3), 255, np.uint8)
    lines = []
    for row in rows:
        parts = [row[0], np.full((CELL, 4 * GAP, 3), 255, np.uint8)]
        for cell in row[1:]:
            parts += [cell, across]
        lines.append(np.hstack(parts[:-1]))
    gap = np.full((GAP, lines[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for line in lines for part in (line, gap)][:-1])


if __name__ == "__main__":
    main()
