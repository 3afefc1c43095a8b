"""Author the built-in motion track, `realtime/data/demo.motion`: nobody was recorded for it.

    python -m realtime.training.fits.author_demo -o realtime/data/demo.motion

A score of head moves, glances, blinks, expressions and spoken sentences becomes motion codes of the mesh engine. Head
and glances follow minimum-jerk curves (Flash and Hogan 1985), saccades last as long as their size asks, speech blends
the sounds' mouth shapes by dominance functions (Cohen and Massaro 1993), and what a mouth shape asks of a few
measurements is completed by the fitted dictionary. The track begins and ends in neutral, so it loops.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.composites import COMPOSITES, both_sides, composite_tables
from realtime.engines.mesh.motion.dictionary import INDEX, MEASUREMENTS, load_dictionary
from realtime.motion.curves import blink, breath, minimum_jerk
from realtime.motion.track import MotionTrack, names_of

FPS = 30
SECONDS = 26.0
BREATHS = 6
"""So often the performer breathes."""
NEUTRAL_EYES = 0.215
NEUTRAL_GAZE = (0.0, -0.065)


@dataclass(frozen=True)
class Sound:
    """Mouth shape of a speech sound: wanted measurements in hundredths of the face height; how strongly it insists
    on them; how long it lasts beside an average sound."""

    shape: dict[str, float]
    dominance: float = 1.0
    length: float = 1.0


def _sound(
    jaw: float, lower: float, upper: float, width: float = 0.0, forward: float = 0.0, dominance: float = 1.0,
    length: float = 1.0,
) -> Sound:  # fmt: skip
    shape = {
        "jaw_open": jaw, "lower_lip_down": lower, "upper_lip_up": upper, "corner_out": width,
        "upper_lip_forward": forward, "lower_lip_forward": forward,
    }  # fmt: skip
    return Sound(shape, dominance, length)


SOUNDS = {
    "aa": _sound(5.6, 6.2, 0.6, -0.2, 0.0, 1.0, 1.35),
    "ah": _sound(4.0, 4.6, 0.5, 0.0, 0.0, 0.9, 1.0),
    "eh": _sound(3.8, 4.6, 0.8, 1.0, -0.2, 1.0, 1.15),
    "ee": _sound(1.4, 2.4, 0.9, 2.3, -0.4, 1.1, 1.25),
    "oh": _sound(3.8, 3.9, 0.9, -2.6, 1.3, 1.2, 1.35),
    "oo": _sound(1.4, 1.5, 0.5, -3.6, 1.9, 1.3, 1.25),
    "w": _sound(0.9, 0.9, 0.3, -3.7, 2.0, 1.4, 0.8),
    "m": _sound(0.3, -0.7, -0.3, 0.0, 0.1, 4.0, 0.95),
    "f": _sound(0.5, 0.5, 0.9, 0.2, -0.5, 2.6, 0.9),
    "l": _sound(2.0, 2.5, 0.7, 0.5, 0.0, 0.6, 0.8),
    "t": _sound(1.2, 1.8, 0.6, 0.5, 0.0, 0.7, 0.7),
    "s": _sound(0.6, 1.6, 0.8, 0.9, 0.0, 0.9, 0.95),
    "sh": _sound(0.9, 1.7, 1.0, -1.6, 1.5, 1.2, 1.0),
    "r": _sound(1.5, 1.9, 0.5, -1.5, 0.9, 0.8, 0.85),
    "k": _sound(2.0, 2.7, 0.5, 0.3, 0.0, 0.5, 0.75),
    "-": _sound(0.0, 0.0, 0.0, 0.0, 0.0, 0.8, 1.0),
}
"""By the sound that English spelling would suggest; "m" stands for m, b and p, "-" for silence."""

# When a sentence starts, seconds per average sound, its sounds, and which of them are stressed.
SPEECH: tuple[tuple[float, float, str, tuple[int, ...]], ...] = (
    (0.85, 0.092, "k eh l oh - t eh r", (1, 3, 6)),  # hello there
    (2.45, 0.084, "aa ee m l oo r m oh r t r eh t", (0, 7)),  # I'm your portrait
    (3.75, 0.082, "ah t aa ee m oo f w eh t l oo m oo f", (4, 12)),  # and I move when you move
    (8.15, 0.088, "l oo k - ah r aa oo t", (1, 6)),  # look around
    (14.30, 0.085, "sh ah s t m ee l oh r s eh l f", (5, 10)),  # just be yourself
    (17.05, 0.082, "t ah - k ah m r ah - s ee s ee t f aa ee l", (4, 10, 15)),  # no camera sees a file
    (22.45, 0.100, "l eh s", (1,)),  # yes
)

# Slider amounts: name, start, seconds to rise, amount, seconds held, seconds to fall.
EXPRESSIONS: tuple[tuple[str, float, float, float, float, float], ...] = (
    ("smile", 0.45, 0.55, 0.32, 1.3, 0.8),
    ("brows", 0.80, 0.22, 0.45, 0.25, 0.5),
    ("brows", 3.05, 0.20, 0.30, 0.15, 0.4),
    ("brows", 4.05, 0.20, 0.28, 0.20, 0.5),
    ("smile", 5.15, 0.70, 0.85, 1.5, 0.9),
    ("cheeks", 5.30, 0.70, 0.30, 1.3, 0.9),
    ("brows", 7.90, 0.25, 0.30, 0.50, 0.6),
    ("brows", 10.25, 0.16, 0.95, 0.85, 0.6),
    ("o_mouth", 10.33, 0.18, 0.75, 0.55, 0.45),
    ("blink", 10.25, 0.16, -0.28, 0.75, 0.5),
    ("smile", 11.45, 0.50, 0.35, 0.30, 0.5),
    ("frown", 12.35, 0.45, 0.75, 0.95, 0.5),
    ("mouth_side", 12.45, 0.45, 0.65, 0.85, 0.45),
    ("pout", 12.60, 0.45, 0.35, 0.60, 0.45),
    ("squint", 12.45, 0.40, 0.35, 0.85, 0.45),
    ("brows", 14.50, 0.20, 0.30, 0.25, 0.45),
    ("smile", 15.50, 0.50, 0.60, 0.95, 0.7),
    ("wink_left", 15.98, 0.13, 1.00, 0.17, 0.24),
    ("worry", 17.00, 0.30, 0.45, 0.90, 0.6),
    ("smile", 19.00, 0.45, 1.00, 1.90, 1.0),
    ("mouth_open", 19.15, 0.30, 0.30, 1.45, 0.5),
    ("squint", 19.15, 0.35, 0.40, 1.60, 0.6),
    ("cheeks", 19.10, 0.40, 0.40, 1.70, 0.8),
    ("smile", 22.20, 0.50, 0.40, 1.30, 1.0),
)

# Head: when it arrives, seconds the move takes, yaw, pitch, roll (degrees), x, y (face heights), zoom.
HEAD: tuple[tuple[float, float, float, float, float, float, float, float], ...] = (
    (1.05, 0.45, 2.0, -2.5, 1.5, 0.00, 0.01, 0.015),
    (1.75, 0.60, -2.0, 1.0, -2.0, -0.01, 0.00, 0.0),
    (3.10, 0.70, 4.0, -1.5, 2.5, 0.01, 0.00, 0.02),
    (4.70, 0.90, -4.0, 0.5, -2.5, -0.02, 0.00, 0.0),
    (5.90, 0.80, -1.0, 2.0, 3.5, 0.00, 0.00, 0.01),
    (7.35, 0.75, 21.0, -1.0, 1.0, 0.03, 0.00, 0.0),
    (8.90, 0.95, -22.0, 1.5, -2.0, -0.03, 0.00, 0.0),
    (10.05, 0.75, -1.0, 0.0, 0.0, 0.00, 0.00, 0.0),
    (10.50, 0.30, 0.0, 5.0, -1.0, 0.00, -0.015, -0.045),
    (11.60, 0.70, 2.0, -1.0, 1.0, 0.00, 0.00, 0.0),
    (12.90, 0.70, 8.0, 5.5, 6.5, 0.01, 0.00, 0.0),
    (14.20, 0.65, -2.0, -1.0, -1.5, 0.00, 0.00, 0.01),
    (15.10, 0.50, 3.0, -3.0, 1.5, 0.00, 0.01, 0.02),
    (16.05, 0.45, 2.0, -3.5, -7.5, 0.01, 0.01, 0.01),
    (17.00, 0.60, -3.0, 0.0, 1.0, 0.00, 0.00, 0.0),
    (18.20, 0.60, 3.5, -1.0, -2.0, 0.01, 0.00, 0.01),
    (19.55, 0.50, -3.0, 8.5, 4.0, -0.01, -0.01, -0.02),
    (20.55, 0.60, -6.0, 5.0, 6.0, -0.01, 0.00, -0.01),
    (21.60, 0.80, 1.0, -1.5, 0.0, 0.00, 0.00, 0.01),
    (22.75, 0.22, 1.0, -7.0, 0.0, 0.00, 0.02, 0.01),
    (23.03, 0.24, 1.0, 1.0, 0.0, 0.00, 0.00, 0.01),
    (23.32, 0.24, 1.0, -5.5, 0.0, 0.00, 0.015, 0.01),
    (23.70, 0.34, 0.5, 0.5, 0.5, 0.00, 0.00, 0.01),
    (25.30, 0.90, 0.0, 0.0, 0.0, 0.00, 0.00, 0.0),
)

# Glances: when, x, y in eye widths from straight ahead. Positive: to the right, down.
GLANCES: tuple[tuple[float, float, float], ...] = (
    (2.05, -0.07, 0.03), (2.42, 0.0, 0.0), (4.50, 0.05, 0.02), (4.85, 0.02, 0.0), (6.55, 0.19, 0.0),
    (7.30, 0.06, 0.01), (7.95, -0.20, 0.0), (8.75, -0.07, 0.0), (9.25, 0.13, 0.0), (10.0, 0.0, 0.0),
    (12.30, 0.13, -0.07), (13.15, 0.09, -0.08), (13.75, -0.02, 0.0), (16.65, -0.06, 0.05), (17.05, 0.02, 0.0),
    (19.40, 0.03, 0.03), (20.30, -0.05, 0.02), (21.30, 0.0, 0.0), (24.10, 0.05, 0.01), (24.55, 0.0, 0.0),
)  # fmt: skip

BLINKS = (0.45, 2.05, 3.60, 5.00, 6.60, 7.97, 9.30, 11.30, 13.72, 15.30, 17.02, 18.60, 21.25, 22.15, 24.12, 25.00)


def speech(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expression values (N, K) of the spoken sentences, and the loudness of their stresses (N,)."""
    dictionary = load_dictionary()
    shapes = {name: dictionary.complete(both_sides(s.shape, set(INDEX))) for name, s in SOUNDS.items()}
    values, stress = np.zeros((len(times), len(MEASUREMENTS))), np.zeros(len(times))
    for start, pace, text, stressed in SPEECH:
        at, blend, total = start, np.zeros_like(values), np.full(len(times), 0.02)
        for n, name in enumerate(text.split()):
            sound = SOUNDS[name]
            length = pace * sound.length * (1.25 if n in stressed else 1.0)
            middle = at + length / 2
            reach = 0.62 * length + 0.012
            weight = sound.dominance * np.exp(-(np.abs((times - middle) / reach) ** 1.7))
            loud = 1.2 if n in stressed else 0.92
            blend += weight[:, None] * shapes[name] * (loud if name not in "mf" else 1.0)
            total += weight
            if n in stressed:
                stress += np.exp(-(((times - middle) / 0.11) ** 2))
            at += length
        values += blend / total[:, None]
    return _smooth(values, 0.018), stress


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing in time, `sigma` seconds: lips have mass."""
    reach = max(1, int(np.ceil(3 * sigma * FPS)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (sigma * FPS)) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)


def composites(times: np.ndarray) -> np.ndarray:
    """Amount of each composite over time: (N, 14)."""
    amounts = np.zeros((len(times), len(COMPOSITES)))
    place = {c.name: k for k, c in enumerate(COMPOSITES)}
    for name, start, rise, amount, hold, fall in EXPRESSIONS:
        up = [minimum_jerk((t - start) / rise) for t in times]
        down = [minimum_jerk((t - start - rise - hold) / fall) for t in times]
        amounts[:, place[name]] += amount * (np.array(up) - np.array(down))
    laugh = np.exp(-(((times - 20.0) / 0.55) ** 4)) * 0.5 * (1 - np.cos(2 * np.pi * 4.6 * (times - 19.3)))
    amounts[:, place["mouth_open"]] += 0.13 * laugh
    for start in BLINKS:
        lids = np.array([blink(t - start) if t >= start else 0.0 for t in times])
        amounts[:, place["blink"]] = np.maximum(amounts[:, place["blink"]], lids)
    return amounts


def head(times: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll, x, y, zoom over time: (N, 6)."""
    out, last = np.zeros((len(times), 6)), np.zeros(6)
    for arrival, length, *pose in HEAD:
        goal = np.array(pose)
        share = np.array([minimum_jerk((t - arrival + length) / length) for t in times])
        out += share[:, None] * (goal - last)
        last = goal
    out[:, 1] -= 1.8 * stress  # The head dips with each stressed sound.
    alive = np.minimum(1, np.minimum(times, SECONDS - times) / 0.8)  # Still at both ends.
    for entry, amount, periods in ((0, 0.5, (3.7, 1.9)), (1, 0.45, (2.9, 1.3)), (2, 0.4, (4.3, 2.3))):
        drift = sum(np.sin(2 * np.pi * times / p + 1.3 * entry + k) / (k + 1) for k, p in enumerate(periods))
        out[:, entry] += alive * amount * drift
    lungs = np.array([breath(t) - breath(0.0) for t in times])
    out[:, 4] -= alive * 0.0025 * lungs
    laugh = np.exp(-(((times - 20.0) / 0.55) ** 4)) * np.sin(2 * np.pi * 4.6 * (times - 19.35))
    out[:, 4] += 0.006 * laugh
    out[:, 1] += 0.7 * laugh
    return out


def gaze(times: np.ndarray) -> np.ndarray:
    """gaze_x, gaze_y from straight ahead over time: (N, 2)."""
    out, last = np.zeros((len(times), 2)), np.zeros(2)
    for start, *goal in GLANCES:
        jump = np.array(goal) - last
        degrees = float(np.hypot(*jump)) / 0.007
        length = 0.021 + 0.0022 * degrees  # The main sequence of saccades.
        out += np.array([minimum_jerk((t - start) / length) for t in times])[:, None] * jump
        last = np.array(goal)
    rng = np.random.default_rng(5)  # Eyes that fixate still make tiny saccades.
    for start in np.arange(0.9, SECONDS - 1.0, 0.57) + rng.uniform(
        -0.2, 0.2, len(np.arange(0.9, SECONDS - 1.0, 0.57))
    ):
        jump = rng.normal(0, (0.007, 0.004))
        away = (times >= start) & (times < start + rng.uniform(0.25, 0.5))
        out[away] += jump
    return out


def perform() -> MotionTrack:
    """The whole performance."""
    times = np.arange(round(SECONDS * FPS) + 1) / FPS
    mouth, stress = speech(times)
    amounts = composites(times)
    tables = composite_tables()
    look = gaze(times)
    neutral = np.zeros(mc.LENGTH)
    neutral[mc.GAZE_X : mc.GAZE_Y + 1] = NEUTRAL_GAZE
    neutral[mc.EYE_OPEN] = NEUTRAL_EYES
    values = np.tile(neutral, (len(times), 1))
    values[:, mc.YAW : mc.ZOOM + 1] += head(times, stress)
    values[:, mc.GAZE_X : mc.GAZE_Y + 1] += look
    values[:, mc.EXPRESSION] += mouth + tables.expression(amounts)
    # Upper lids follow the eyes down and up.
    opening = tables.opening(amounts)
    values[:, mc.EYE_OPEN] *= opening * (1 - 1.1 * look[:, 1:])
    values[:, mc.BREATH] = 0.5 - 0.5 * np.cos(2 * np.pi * BREATHS * times / times[-1])
    values[[0, -1]] = neutral
    # What half a float can tell is more than an eye can see, and packs to half the size.
    values = values.astype(np.float16).astype(np.float32)
    names = names_of(mc.DIRECTIONS, mc.LENGTH)
    reference = neutral.astype(np.float16).astype(np.float32)
    return MotionTrack(mc.KIND, float(FPS), names, times, values, reference, "realtime-avatar, authored")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
    perform().save(parser.parse_args(arguments).output)


if __name__ == "__main__":
    main()
