"""The expression dictionary: named measurements of the face and how the whole face follows each of them.

A measurement is a linear functional of the face's displacement E = R^T (L - t) / s - X_reference (see `pose`): how
far a few landmarks moved along an axis, in hundredths of the face height. The dictionary D (K, 478, 3) says how the
whole face moves with each: the ridge regression D = (M^T M + lambda)^-1 M^T E of displacements on their own
measurements M = E A^T over driving clips. A face is encoded by weighted least squares,
c = (D W^2 D^T)^-1 D W^2 E, and decoded as E = c D. Every name has its mirror image, so the dictionary knows no
preferred side. The irises are no part of it: where they look is measured apart (see `mesh_code`).

A lone measurement would pull a spike out of the face, so they come in levels: what usually follows a measurement of a
lower level is part of its row, and only the rest is counted under the name of a higher level. "jaw_open" takes the
lower lip along; "lower_lip_down" is what the lip does beyond that. Rows change by a unit triangular matrix only, so
the dictionary spans the same faces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from realtime.face import face_model as fm
from realtime.types import Group

HUNDREDTHS = 0.01
"""Face heights per unit of an expression value."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One named functional.

    terms: (landmark, axis, factor); the value is sum factor * displacement, in hundredths of the face height.
    level: measurements of higher levels, of the same group and side, follow it.
    """

    name: str
    group: Group
    about: str
    terms: tuple[tuple[int, str, float], ...]
    level: int

    def vector(self) -> np.ndarray:
        """The functional as float64 (478, 3), for displacements in face heights."""
        functional = np.zeros((fm.LANDMARKS, 3))
        for landmark, axis, factor in self.terms:
            functional[landmark, "xyz".index(axis)] += factor / HUNDREDTHS
        return functional


_MIDDLE: tuple[tuple[str, Group, str, tuple[tuple[int, str, float], ...], int], ...] = (
    ("jaw_open", "mouth", "the chin drops", ((152, "y", 1),), 0),
    ("jaw_side", "mouth", "the chin moves to the right of the picture", ((152, "x", 1),), 0),
    ("jaw_forward", "mouth", "the chin moves forward", ((152, "z", -1),), 0),
    ("upper_lip_up", "mouth", "the upper lip's inner edge rises", ((13, "y", -1),), 1),
    ("lower_lip_down", "mouth", "the lower lip's inner edge drops", ((14, "y", 1),), 1),
    ("upper_lip_edge_up", "mouth", "the upper lip's outer edge rises", ((0, "y", -1),), 2),
    ("lower_lip_edge_down", "mouth", "the lower lip's outer edge drops", ((17, "y", 1),), 2),
    ("upper_lip_forward", "mouth", "the upper lip is pushed out", ((0, "z", -1),), 1),
    ("lower_lip_forward", "mouth", "the lower lip is pushed out", ((17, "z", -1),), 1),
    ("upper_lip_side", "mouth", "the upper lip moves to the right of the picture", ((13, "x", 1),), 1),
    ("lower_lip_side", "mouth", "the lower lip moves to the right of the picture", ((14, "x", 1),), 1),
    ("forehead_up", "brows", "the hairline rises", ((10, "y", -1),), 1),
)

# For the person's right side; the left one is its mirror image.
_PAIRED: tuple[tuple[str, Group, str, tuple[tuple[int, str, float], ...], int], ...] = (
    ("corner_out", "mouth", "the corner of the mouth moves outwards", ((61, "x", -1),), 0),
    ("corner_up", "mouth", "the corner of the mouth rises", ((61, "y", -1),), 0),
    ("corner_back", "mouth", "the corner of the mouth moves back", ((61, "z", 1),), 0),
    ("upper_lip_up_side", "mouth", "the upper lip's inner edge rises beside the middle", ((81, "y", -1),), 2),
    ("lower_lip_down_side", "mouth", "the lower lip's inner edge drops beside the middle", ((178, "y", 1),), 2),
    ("upper_lip_up_corner", "mouth", "the upper lip's inner edge rises near the corner", ((80, "y", -1),), 3),
    ("lower_lip_down_corner", "mouth", "the lower lip's inner edge drops near the corner", ((88, "y", 1),), 3),
    ("upper_lip_edge_up_side", "mouth", "the upper lip's outer edge rises beside the middle", ((37, "y", -1),), 3),
    ("lower_lip_edge_down_side", "mouth", "the lower lip's outer edge drops beside the middle", ((84, "y", 1),), 3),
    ("upper_lip_edge_up_corner", "mouth", "the upper lip's outer edge rises near the corner", ((40, "y", -1),), 3),
    ("lower_lip_edge_down_corner", "mouth", "the lower lip's outer edge drops near the corner", ((91, "y", 1),), 3),
    ("brow_inner_up", "brows", "the inner end of the brow rises", ((55, "y", -0.5), (107, "y", -0.5)), 1),
    ("brow_middle_up", "brows", "the middle of the brow rises", ((52, "y", -0.5), (105, "y", -0.5)), 0),
    ("brow_outer_up", "brows", "the outer end of the brow rises", ((46, "y", -0.5), (70, "y", -0.5)), 1),
    ("brow_in", "brows", "the brow is drawn towards the nose", ((55, "x", 0.5), (107, "x", 0.5)), 1),
    ("upper_lid_up", "eyes", "the upper lid rises", ((159, "y", -0.5), (158, "y", -0.25), (160, "y", -0.25)), 0),
    ("lower_lid_down", "eyes", "the lower lid drops", ((145, "y", 0.5), (153, "y", 0.25), (144, "y", 0.25)), 0),
    ("upper_lid_up_inner", "eyes", "the upper lid rises near the nose", ((157, "y", -1),), 1),
    ("upper_lid_up_outer", "eyes", "the upper lid rises near the temple", ((161, "y", -1),), 1),
    ("cheek_up", "cheeks", "the cheek rises", ((50, "y", -0.5), (205, "y", -0.5)), 0),
    ("cheek_forward", "cheeks", "the cheek fills out", ((205, "z", -1),), 1),
    ("nostril_up", "cheeks", "the side of the nose rises", ((129, "y", -1),), 0),
    ("nostril_out", "cheeks", "the nostril widens", ((129, "x", -1),), 1),
)


def _measurements() -> tuple[Measurement, ...]:
    mirror = fm.load_face_model().mirror
    listed = [Measurement(*entry) for entry in _MIDDLE]
    for name, group, about, terms, level in _PAIRED:
        other = tuple((int(mirror[i]), axis, -f if axis == "x" else f) for i, axis, f in terms)
        listed.append(Measurement(f"{name}_right", group, f"{about}, on the person's right", terms, level))
        listed.append(Measurement(f"{name}_left", group, f"{about}, on the person's left", other, level))
    return tuple(listed)


MEASUREMENTS = _measurements()
"""The K = 58 measurements, in the order of the dictionary's rows."""


@dataclass(frozen=True, slots=True)
class ExpressionDictionary:
    """The fitted dictionary. Arrays are read-only.

    decode: float64 (K, 1434), displacement of the whole face in face heights per unit of each value.
    encode: float64 (1434, K), values per displacement.
    follow: float64 (K, K), the measurements that go along with each value; its diagonal is 1.
    covariance: float64 (K, K), how values vary together in the clips it was fitted from.
    lo, hi: float64 (K,), the range of values seen there (offset from the person's median face), at least -2 and 2.
    """

    decode: np.ndarray
    encode: np.ndarray
    follow: np.ndarray
    covariance: np.ndarray
    lo: np.ndarray
    hi: np.ndarray

    def values(self, displacement: np.ndarray) -> np.ndarray:
        """Values (K,) of a displacement (478, 3) of the face, in face heights."""
        return displacement.reshape(-1) @ self.encode

    def displacement(self, values: np.ndarray) -> np.ndarray:
        """Displacement (478, 3) of the face, in face heights, for values (K,)."""
        return (values @ self.decode).reshape(fm.LANDMARKS, 3)

    def complete(self, wanted: dict[str, float], groups: Iterable[Group] | None = None) -> np.ndarray:
        """The likeliest values (K,) among those by which the wanted measurements come out: the mean of the fitted
        Gaussian given them.

        wanted: measurements in hundredths of the face height. groups: those of the measurements that may go along;
        None: all.
        """
        measured = self.follow.T @ self.covariance @ self.follow
        index = [INDEX[name] for name in wanted]
        sigma = measured[np.ix_(index, index)]
        sigma = sigma + 1e-3 * np.diag(np.diag(sigma))
        amounts = measured[:, index] @ np.linalg.solve(sigma, np.array(list(wanted.values())))
        if groups is not None:
            allowed = set(groups)
            amounts[[k for k, m in enumerate(MEASUREMENTS) if m.group not in allowed]] = 0.0
        amounts[index] = list(wanted.values())
        return np.linalg.solve(self.follow.T, amounts)


INDEX = {m.name: k for k, m in enumerate(MEASUREMENTS)}
"""Row of each measurement by name."""


def importance() -> np.ndarray:
    """How much each coordinate counts when a face is encoded: (478, 3). Lips and lids count more, depth less."""
    weights = np.ones((fm.LANDMARKS, 3))
    weights[list(fm.LIPS_INNER + fm.LIPS_OUTER)] = 1.5
    weights[list(fm.RIGHT_EYE + fm.LEFT_EYE)] = 2.0
    weights[fm.SKIN :] = 0.0
    weights[:, 2] *= 0.5
    return weights


def encoder(decode: np.ndarray) -> np.ndarray:
    """The least-squares encoder (1434, K) of a dictionary (K, 1434)."""
    weights = importance().reshape(-1)
    weighted = decode * weights
    gram = weighted @ weighted.T
    gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
    return (np.linalg.solve(gram, weighted) * weights).T


@lru_cache(maxsize=1)
def load_dictionary() -> ExpressionDictionary:
    """The fitted dictionary that comes with the package (read once)."""
    with resources.files("realtime.data").joinpath("expressions.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        if stored["names"].tolist() != [m.name for m in MEASUREMENTS]:
            raise ValueError("expressions.npz belongs to another list of measurements: fit it again")
        decode = stored["decode"].astype(np.float64)
        arrays = [
            decode,
            encoder(decode),
            *(stored[key].astype(np.float64) for key in ("follow", "covariance", "lo", "hi")),
        ]
    for array in arrays:
        array.setflags(write=False)
    return ExpressionDictionary(*arrays)
