"""Fit the numbers of the face model and of the expression dictionary from driving clips.

    python -m realtime.training.fits.face_model CLIPS... -o realtime/data

Generalised Procrustes analysis over the clips' calm frames gives the mean face, an assignment against its own mirror
image the mirror permutation; how far each upper-face landmark strays from a rigid fit within a clip its pose weight.
The triangles are MediaPipe's own (its tesselation lists edges three by three). The dictionary is fitted by
`fit_expressions`; its error on people it has not seen is printed.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from realtime.face import face_model as fm
from realtime.face.pose import fit_pose, rotation_vector_matrix
from realtime.outputs import replacing

FRAMES_PER_CLIP = 60

# fmt: off
UPPER_FACE = (
    10, 151, 9, 8, 168, 6, 197, 195, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 234, 454, 116, 345, 117,
    346, 133, 362, 33, 263, 122, 351, 193, 417, 244, 464, 109, 338, 69, 299, 104, 333, 68, 298, 71, 301, 139, 368, 34,
    264, 143, 372,
)
"""Landmarks over bone: forehead, temples, bridge of the nose, cheek bones, corners of the eyes."""
# fmt: on


def landmarks_of(clip: Path, report: Callable[[float], None]) -> np.ndarray:
    """Landmarks of every frame with a face: float64 (N, 478, 3), pixels."""
    import av

    from realtime.face.landmarks import FaceTracker

    found = []
    with av.open(str(clip)) as container, FaceTracker() as tracker:
        stream = container.streams.video[0]
        for n, frame in enumerate(container.decode(stream)):
            landmarks = tracker.track(frame.to_ndarray(format="rgb24"))
            if landmarks is not None:
                found.append(landmarks)
            report((n + 1) / max(stream.frames, n + 1))
    return np.array(found, np.float64).reshape(-1, fm.LANDMARKS, 3)


def tesselation() -> np.ndarray:
    """(852, 3) triangles: consecutive triples of edges in the source of MediaPipe's tesselation."""
    from mediapipe.python.solutions import face_mesh_connections

    source = inspect.getsource(face_mesh_connections)
    listed = source[source.index("FACEMESH_TESSELATION") :]
    pairs = re.findall(r"\((\d+),\s*(\d+)\)", listed[: listed.index("])")])
    edges = np.array(pairs, np.int32).reshape(-1, 3, 2)
    if not (edges[:, :, 1] == np.roll(edges[:, :, 0], -1, axis=1)).all():
        raise ValueError("the edges of MediaPipe's tesselation do not close to triangles three by three")
    return edges[:, :, 0]


def similarity(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """`a` (N, 3) moved, turned and scaled to lie nearest to `b` (Umeyama 1991), weights `w` (N,) of sum 1."""
    mean_a, mean_b = w @ a, w @ b
    x, y = a - mean_a, b - mean_b
    u, d, vt = np.linalg.svd((y * w[:, None]).T @ x)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (d * sign).sum() / (w @ (x * x).sum(1))
    return scale * x @ ((u * sign) @ vt).T + mean_b


def face_height(face: np.ndarray) -> np.ndarray:
    """Distance of forehead and chin, (...,)."""
    return np.linalg.norm(face[..., fm.FOREHEAD, :] - face[..., fm.CHIN, :], axis=-1)


def calm_frames(track: np.ndarray, count: int = FRAMES_PER_CLIP) -> np.ndarray:
    """The frames with the mouth most nearly closed among those with open eyes, at most `count`, spread in time."""
    height = face_height(track)
    mouth = np.linalg.norm(track[:, 13] - track[:, 14], axis=-1) / height
    lids = sum(np.linalg.norm(track[:, up] - track[:, low], axis=-1) for up, low in ((159, 145), (386, 374))) / height
    awake = np.flatnonzero(lids >= 0.85 * np.percentile(lids, 75))
    calm = awake[mouth[awake] <= max(0.02, np.percentile(mouth[awake], 35))]
    return track[calm[np.linspace(0, len(calm) - 1, min(count, len(calm))).astype(int)]]


def mirror_pairs(face: np.ndarray) -> np.ndarray:
    """The permutation that takes a nearly symmetric face to its own mirror image."""
    reflected = face * (-1.0, 1.0, 1.0)
    cost = ((face[:, None] - reflected[None]) ** 2).sum(-1)
    return linear_sum_assignment(cost)[1]


def fit_mean(tracks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean neutral face (478, 3) in the face frame and the mirror permutation (478,)."""
    calm = [calm_frames(t) for t in tracks]
    faces = np.concatenate(calm)
    clip = np.repeat(np.arange(len(calm)), [len(c) for c in calm])
    trust = np.zeros(fm.LANDMARKS)
    trust[: fm.SKIN] = 1 / fm.SKIN
    mean = faces[0] / face_height(faces[0])
    for _ in range(12):
        aligned = np.array([similarity(f, mean, trust) for f in faces])
        # One person, one vote: the mean of the clips' medians.
        mean = np.mean([np.median(aligned[clip == c], axis=0) for c in np.unique(clip)], axis=0)
        spread = np.sqrt(np.mean([aligned[clip == c].var(axis=0).sum(-1) for c in np.unique(clip)], axis=0))
        trust = 1 / (spread**2 + 0.05 * np.median(spread) ** 2)
        trust[fm.SKIN :] = 0
        trust /= trust.sum()
        mean /= face_height(mean)
    for _ in range(20):  # Turn and move it until its mirror image lies on itself.
        mean = mean - trust @ mean
        mirror = mirror_pairs(mean)
        image = similarity((mean * (-1.0, 1.0, 1.0))[mirror], mean, trust)
        mean = (mean + image) / 2
        right, left = mean[list(fm.EARS)]
        x, y, z = left - right
        mean = mean @ rotation_vector_matrix(0, np.arctan2(z, x), -np.arctan2(y, x)).T
    if not (mirror[mirror] == np.arange(fm.LANDMARKS)).all():
        raise ValueError("the mirror pairs do not fit: the clips hold no symmetric mean face")
    mean = (mean + (mean * (-1.0, 1.0, 1.0))[mirror]) / 2
    down = mean[fm.CHIN] - mean[fm.FOREHEAD]  # Forehead and chin one below the other.
    mean = mean @ rotation_vector_matrix(np.arctan2(-down[2], down[1]), 0, 0).T
    mean /= face_height(mean)
    mean -= mean[list(fm.EARS)].mean(axis=0)
    return mean, mirror


def fit_pose_weights(tracks: Sequence[np.ndarray], mean: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Trust in each upper-face landmark: the inverse variance about a rigid fit within a clip. Sum 1."""
    upper = np.zeros(fm.LANDMARKS)
    upper[list(UPPER_FACE)] = 1 / len(UPPER_FACE)
    variance = []
    for track in tracks:
        track = track[np.linspace(0, len(track) - 1, min(150, len(track))).astype(int)]
        shape = mean
        for _ in range(3):
            faces = np.array([fit_pose(shape, f, weights=upper).to_face(f) for f in track])
            shape = np.median(faces, axis=0)
        variance.append(np.median(((faces - shape)[..., :2] ** 2).sum(-1), axis=0))
    spread = np.mean(variance, axis=0)
    weights = upper / (spread + np.median(spread[list(UPPER_FACE)]))
    weights = weights + weights[mirror]
    return weights / weights.sum()


def main() -> None:
    from rich.progress import Progress

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path, help="driving clips, one person each")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for face_model.npz and expressions.npz"
    )
    options = parser.parse_args()
    tracks = []
    with Progress() as progress:
        bar = progress.add_task("landmarks", total=len(options.clips))

        def advance(before: int, done: float) -> None:
            progress.update(bar, completed=before + done)

        for n, clip in enumerate(options.clips):
            tracks.append(landmarks_of(clip, partial(advance, n)))
    tracks = [t for t in tracks if len(t)]
    mean, mirror = fit_mean(tracks)
    weights = fit_pose_weights(tracks, mean, mirror)
    with replacing(options.output / "face_model.npz") as at:
        np.savez_compressed(
            at,
            mean=mean.astype(np.float32),
            mirror=mirror.astype(np.int16),
            triangles=tesselation().astype(np.int16),
            pose_weights=weights.astype(np.float32),
        )
    fm.load_face_model.cache_clear()
    from realtime.training.fits import (
        expressions as fit_expressions,  # Its measurements need the mirror pairs just written.
    )

    moves = [fit_expressions.displacements(track, mean, weights) for track in tracks]
    with replacing(options.output / "expressions.npz") as at:
        np.savez_compressed(at, **fit_expressions.fit_dictionary(moves, mirror))
    for region, error in fit_expressions.held_out_error(moves, mirror).items():
        print(f"held-out error, {region}: {error:.2f} px at a face height of 110 px")


if __name__ == "__main__":
    main()
