"""Fit the expression dictionary (see `realtime/engines/mesh/motion/dictionary.py`) from tracked faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.engines.mesh.motion.dictionary import MEASUREMENTS, encoder
from realtime.face import face_model as fm
from realtime.face.pose import fit_pose

FRAMES_PER_CLIP = 300
RIDGE = 0.02
"""Noise of a measurement, as a share of its standard deviation."""
LEAST_RANGE = 2.0
"""A range reaches at least this far to either side, so that each name shows when it is edited."""


def displacements(track: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How the face of one clip (N, 478, 3) differs from its own median face, pose removed; face heights."""
    track = track[np.linspace(0, len(track) - 1, min(FRAMES_PER_CLIP, len(track))).astype(int)]
    shape = mean
    for _ in range(3):
        faces = []
        pose = None
        for landmarks in track:
            pose = fit_pose(shape, landmarks, pose, weights)
            faces.append(pose.to_face(landmarks))
        shape = np.median(faces, axis=0)
    return np.array(faces) - shape


def fit_dictionary(moves: Sequence[np.ndarray], mirror: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of expressions.npz from displacements (N, 478, 3), one array per clip."""
    both = np.concatenate([m for move in moves for m in (move, (move * (-1.0, 1.0, 1.0))[:, mirror])])
    both[:, fm.SKIN :] = 0.0
    functionals = np.array([m.vector().reshape(-1) for m in MEASUREMENTS])
    flat = both.reshape(len(both), -1)
    measured = flat @ functionals.T
    noise = np.diag((RIDGE * measured.std(axis=0)) ** 2 * len(measured))
    decode = np.linalg.solve(measured.T @ measured + noise, measured.T @ flat)
    follow = followers(np.cov((flat @ encoder(decode)).T)).astype(np.float32)
    decode = (follow @ decode).astype(np.float16)
    values = flat @ encoder(decode.astype(np.float64))
    return {
        "names": np.array([m.name for m in MEASUREMENTS]),
        "decode": decode,
        "follow": follow,
        "covariance": np.cov(values.T).astype(np.float32),
        "lo": np.minimum(np.percentile(values, 0.2, axis=0), -LEAST_RANGE).astype(np.float32),
        "hi": np.maximum(np.percentile(values, 99.8, axis=0), LEAST_RANGE).astype(np.float32),
    }


def followers(covariance: np.ndarray) -> np.ndarray:
    """How the measurements follow those of lower levels, of their group and side: (K, K), unit triangular by level.

    Row k says what all measurements do when the value k grows by one and the other values stay.
    """

    def side(k: int) -> str:
        end = MEASUREMENTS[k].name.rpartition("_")[2]
        return end if end in ("right", "left") else ""

    count = len(MEASUREMENTS)
    slopes = np.zeros((count, count))  # [leader, follower]
    for k, m in enumerate(MEASUREMENTS):
        leaders = [
            n
            for n, other in enumerate(MEASUREMENTS)
            if other.group == m.group and other.level < m.level and (not side(k) or side(n) in ("", side(k)))
        ]
        if leaders:
            own = covariance[np.ix_(leaders, leaders)]
            own = own + 0.02 * np.diag(np.diag(own))
            slopes[leaders, k] = np.linalg.solve(own, covariance[leaders, k])
    # A value counts what its measurement does beyond its leaders, and they beyond theirs.
    return np.linalg.inv(np.eye(count) - slopes)


REGIONS = {
    "lips": fm.LIPS_INNER + fm.LIPS_OUTER,
    "eyes": fm.RIGHT_EYE + fm.LEFT_EYE,
    "brows": fm.RIGHT_BROW + fm.LEFT_BROW,
    "face": tuple(range(fm.SKIN)),
}


def held_out_error(moves: Sequence[np.ndarray], mirror: np.ndarray) -> dict[str, float]:
    """Mean distance of the decoded from the true landmarks of people the dictionary never saw (each clip left out
    in turn), by region, in pixels of a face 110 pixels high."""
    errors: dict[str, list[float]] = {region: [] for region in REGIONS}
    for n, move in enumerate(moves):
        decode = fit_dictionary([m for k, m in enumerate(moves) if k != n], mirror)["decode"].astype(np.float64)
        flat = move.reshape(len(move), -1)
        rest = (flat - flat @ encoder(decode) @ decode).reshape(move.shape)
        for region, index in REGIONS.items():
            errors[region].append(110 * float(np.linalg.norm(rest[:, list(index), :2], axis=-1).mean()))
    return {region: float(np.mean(e)) for region, e in errors.items()}
