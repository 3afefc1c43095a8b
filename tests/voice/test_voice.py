"""A face driven by sound: what is heard, what lips make of it, and what head and eyes do by themselves."""

from __future__ import annotations

import ctypes
import wave
from pathlib import Path

import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.engines.mesh.motion.vocabulary import VOCABULARY
from realtime.errors import BadFile, BadValue
from realtime.voice.alive import Alive
from realtime.voice.hearing import HOP, RATE, WINDOW, Hearing
from realtime.voice.lips import DELAY, MOUTH, Lips
from realtime.voice.reading import SoundFile
from realtime.voice.speaker import Speaker

MESH = load_engine("mesh", size=64).directions


def tone(seconds: float, loud: float = 0.2, hertz: float = 220.0, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (loud * np.sign(np.sin(2 * np.pi * hertz * t)) * (1 + 0.3 * np.sin(8 * np.pi * t))).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE, channels: int = 1) -> Path:
    with wave.open(str(path), "w") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.repeat(samples, channels) * 32767).astype(np.int16).tobytes())
    return path


def said(text: str, voice: str = "en-us"):
    """Speech by espeak-ng, 16 kHz, and its sounds. Skips the test where it is not installed."""
    try:
        ctypes.CDLL("libespeak-ng.so.1")
    except OSError:
        pytest.skip("no espeak-ng here: sudo apt-get install espeak-ng")
    from realtime.training.fits.lips import at_rate
    from realtime.training.fits.spoken import espeak

    speech = espeak(text, voice)
    return at_rate(speech), speech.said


def mouths(samples: np.ndarray) -> dict[str, np.ndarray]:
    """What the lips do, by name, and when ("time")."""
    lips = Lips()
    found = lips.feed(np.concatenate([samples, np.zeros(round(2 * DELAY * RATE), np.float32)]))
    out = {name: found.shapes[:, k] for k, name in enumerate(MOUTH)}
    return out | {"time": np.array([Lips.moment(n) for n in range(len(found.shapes))])}


# Hearing


def test_what_is_heard_does_not_depend_on_how_it_is_cut():
    sound = tone(1.0) + 0.01 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    whole = Hearing().feed(sound)
    ear = Hearing()
    parts = [ear.feed(sound[begin : begin + 333]) for begin in range(0, RATE, 333)]
    assert len(whole) == (RATE - WINDOW) // HOP + 1
    assert np.allclose(np.concatenate([part.bands for part in parts]), whole.bands, atol=1e-4)
    assert np.allclose(np.concatenate([part.loud for part in parts]), whole.loud, atol=1e-4)


def test_a_quiet_speaker_is_heard_as_a_loud_one_before_long():
    loud, quiet = Hearing().feed(tone(6.0, 0.5)), Hearing().feed(tone(6.0, 0.01))
    assert np.abs(loud.bands[-50:] - quiet.bands[-50:]).max() < 0.5  # 5 of the 34 decibels between them
    hiss = Hearing().feed((1e-4 * np.random.default_rng(1).normal(size=20 * RATE)).astype(np.float32))
    assert hiss.loud[-1] < -10  # noise is not made loud, however long it is alone


def test_broken_samples_harm_nothing():
    heard = Hearing().feed(np.array([np.nan, np.inf, -np.inf] * 400, np.float32))
    assert np.isfinite(heard.bands).all()


# Lips


def test_lips_do_not_depend_on_how_sound_is_cut():
    sound = tone(0.5)
    whole = Lips().feed(sound)
    lips = Lips()
    parts = [lips.feed(sound[begin : begin + 171]) for begin in range(0, len(sound), 171)]
    assert np.allclose(np.concatenate([part.shapes for part in parts]), whole.shapes, atol=1e-3)
    assert next(part.first for part in parts if len(part.shapes)) == whole.first == 0


def test_a_mouth_is_known_no_later_than_promised():
    assert DELAY <= 0.060
    lips, told = Lips(), 0
    for n in range(100):
        told += len(lips.feed(np.zeros(HOP, np.float32)).shapes)
        heard = (n + 1) * HOP / RATE
        if told:
            assert Lips.moment(told) > heard - DELAY - 1e-9  # the next one is not due yet


def test_silence_and_noise_leave_the_mouth_at_rest():
    noise = np.random.default_rng(2).normal(size=5 * RATE).astype(np.float32)
    for loud in (0.0, 0.0003, 0.003, 0.03):
        mouth = mouths(loud * noise)
        assert np.percentile(mouth["open"][100:], 90) < 0.15, loud
        assert np.percentile(mouth["teeth"][100:], 90) < 0.3, loud


def test_lips_do_what_is_said():
    sound, sounds = said("Bob may buy a map from the farm. Papa saw a moose.")
    mouth = mouths(sound)
    for kind, name, least, share in (
        ("pbm", "shut", 0.5, 0.85),
        ("ah", "open", 0.5, 0.85),
        ("oo", "round", 0.4, 0.6),
    ):
        hits = []
        for one in sounds:
            if one.sound == kind:
                near = np.abs(mouth["time"] - (one.begin + one.end) / 2) <= 0.06
                hits.append(mouth[name][near].max() >= least)
        assert np.mean(hits) >= share, (kind, hits)


def test_lips_are_in_time_with_the_sound():
    sound, sounds = said("Mama. Baba. Papa. Mama. Baba. Papa.")
    mouth = mouths(sound)
    opened = np.zeros(len(mouth["time"]))
    for one in sounds:
        opened[(mouth["time"] >= one.begin) & (mouth["time"] < one.end) & (one.sound in ("ah", "eh"))] = 1.0
    lags = range(-15, 16)
    fits = [np.corrcoef(np.roll(opened, lag), mouth["open"])[0, 1] for lag in lags]
    assert abs(lags[int(np.argmax(fits))]) * HOP / RATE <= 0.04
    assert max(fits) > 0.6


# Head and eyes


def lived(seed: int, seconds: float, loud) -> list:
    alive = Alive(seed)
    return [alive.at(n / 30, loud(n / 30)) for n in range(round(30 * seconds))]


def blinks(life: list) -> int:
    shut = np.array([one.blink for one in life]) > 0.5
    return int(np.sum(shut[1:] & ~shut[:-1]))


def test_the_same_seed_lives_the_same_life():
    def talk(t: float) -> float:
        return 6 * np.sin(20 * t) - (30 if t % 5 > 3 else 0)

    assert lived(3, 30, talk) == lived(3, 30, talk)
    assert lived(3, 30, talk) != lived(4, 30, talk)


def test_people_blink_more_while_they_talk():
    rest = np.mean([blinks(lived(seed, 240, lambda t: -60)) for seed in range(5)]) / 4
    talk = np.mean([blinks(lived(seed, 240, lambda t: 3 * np.sin(9 * t))) for seed in range(5)]) / 4
    assert 12 < rest < 23  # a minute
    assert 20 < talk < 34


def test_the_head_moves_a_little_and_nods_with_stress():
    life = lived(1, 60, lambda t: 10.0 if t % 3 < 0.1 else -5.0 if t % 3 < 2 else -60.0)
    yaw, pitch = np.array([one.yaw for one in life]), np.array([one.pitch for one in life])
    assert 0.5 < np.abs(yaw).max() < 8
    assert np.abs(np.diff(yaw)).max() < 1.5  # degrees from picture to picture
    calm = np.array([one.pitch for one in lived(1, 60, lambda t: -60.0)])
    assert pitch.min() < calm.min() - 0.7
    gaze = np.array([(one.gaze_x, one.gaze_y) for one in life])
    assert np.mean(np.abs(gaze[:, 0]) < 0.03) > 0.5  # mostly on the listener
    assert np.abs(gaze).max() <= 0.125


# Speaker


def test_a_speaker_gives_codes_of_the_engine_with_lips_that_move():
    speaker = Speaker("mesh", MESH)
    rest = speaker.code(0.0).values
    assert rest.dtype == np.float32
    assert rest.shape == speaker.reference.values.shape == (VOCABULARY.length,)
    sound, sounds = said("Papa")
    speaker.feed(sound)
    vowel = next(one for one in sounds if one.sound == "ah")
    jaw = next(d.index for d in MESH if d.name == "jaw_open")
    assert speaker.code((vowel.begin + vowel.end) / 2).values[jaw] > rest[jaw] + 1.5


def test_codes_that_nobody_can_speak_with_are_refused():
    with pytest.raises(BadValue, match="mesh can"):
        Speaker("lia-x", ())


def test_the_mouth_of_a_shut_lip_is_shut_whatever_else_it_does():
    moves = VOCABULARY.speech.moves
    shut = VOCABULARY.speech.values(np.array([1.0, 0.0, 0.0, 0.0, 1.0]))
    assert np.allclose(shut, moves["shut"])


# Files


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_a_recording_is_read_at_one_rate(tmp_path, rate, channels):
    path = write_wav(tmp_path / "a.wav", tone(0.7, rate=rate), rate, channels)
    file = SoundFile(path)
    assert file.seconds == pytest.approx(0.7, abs=0.01)
    samples = np.concatenate(list(file.samples()))
    file.close()
    assert len(samples) == pytest.approx(0.7 * RATE, abs=40)
    assert 0.1 < np.abs(samples).mean() < 0.3


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF nonsense")
    for path, why in (
        (tmp_path / "a.wav", "can be read"),
        (tmp_path / "b.wav", "no such"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(BadFile, match=why):
            list(SoundFile(path).samples())
