"""Do lips that only hear do what is said? Speech by synthesisers, by voices and of texts that were not fitted on.

    apt-get install espeak-ng flite
    python -m benchmarks lips --json lips.json

Which sound is said at which sample is the synthesiser's own word. Lips are those of the mesh engine's face, in the
pictures of 30 a second that the source gives: the gap of the inner lips, as it is drawn. A closure (p, b, m) is hit
where the lips touch in a picture within 60 ms of its middle, an open vowel where they are wide open in one. `wrong`
is how many other sounds have touching lips at their middle, which they should not. Beside it the same lips moved in
time, so that only chance hits (mean of twenty moves), and lips that know loudness alone: the same gaps again, the
widest where the sound is loudest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.report.result import Result
from benchmarks.report.show import show_notes
from realtime import builtin_portrait
from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.motion.retarget import PortraitGeometry, Retargeter
from realtime.face import face_model as fm
from realtime.sources import SourceOptions
from realtime.training.fits.lips import WITHHELD, at_rate, noise_like
from realtime.training.fits.spoken import Speech, espeak, flite
from realtime.voice.hearing import RATE
from realtime.voice.lips import DELAY
from realtime.voice.speaker import Speaker

NEAR = 0.060
"""Seconds around a sound's middle within which a picture has to show it."""
CLOSED, OPEN = 0.4, 3.5
"""Gap of the inner lips, hundredths of the face height: up to the first they touch, from the second on they are open.
Of a face that is 250 pixels high that is one pixel, and nine; a long "ah" opens to 7."""
FPS = SourceOptions().fps
OPEN_VOWELS = "a\u0251\u0252\u00e6"
"""First letters of open and near-open vowels in IPA, and of what Flite calls them. None of the schwa-like ones."""
MOVES = 20
LEAST_MOVE = 0.4
"""Seconds by which lips are moved, at least."""

TEXTS = {
    "en": (
        "Bob bought a small apple pie from the market and put it in the back of his car.",
        "Maybe Pamela can come by train, but Mark would rather travel by boat at night.",
        "The farmer's daughter found five empty bottles behind the old barn.",
        "Why are you laughing? I have not even started to explain the problem.",
    ),
    "de": (
        "Am Abend bringt der Vater Papier, Äpfel und Brot mit nach Hause.",
        "Meine Mama backt am Samstag immer einen Pflaumenkuchen für die Nachbarn.",
        "Haben Sie schon einmal am Bahnhof auf den Bus gewartet?",
    ),
    "ro": (
        "Mama pune pe masă pâine, brânză și mere pentru toată lumea.",
        "Băiatul a plecat acasă pe bicicletă după ce a plouat.",
    ),
    "cs": ("Babička má malou zahradu plnou barevných květin.", "Proč pan doktor nepřijel včera na nádraží?"),
    "fi": ("Äiti ostaa kaupasta maitoa, leipää ja mansikoita.", "Poika pelaa pihalla palloa ja laulaa."),
    "es": ("Mi amigo Pablo compra pan y manzanas en la plaza mayor.", "¿Por qué no bajamos a la playa mañana?"),
}
"""None of them is in `training.fits.lips`."""


@dataclass(frozen=True)
class Case:
    """A sentence by one voice. gaps: (n,), of the lips in the pictures, hundredths of the face height. loud: (n,),
    decibels of the sound at each."""

    voice: str
    speech: Speech
    gaps: np.ndarray
    loud: np.ndarray

    def hit(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which closures are hit, which open vowels, and which other sounds have lips that touch: bool each."""
        said = self.speech.said
        times = np.arange(len(self.gaps)) / FPS
        closed, opened, wrong = [], [], []
        for before, one, after in zip((None, *said[:-1]), said, (*said[1:], None), strict=True):
            middle = (one.begin + one.end) / 2
            near = self.gaps[np.abs(times - middle) <= NEAR]
            if one.sound == "pbm" and near.size:
                closed.append(near.min() <= CLOSED)
            elif one.sound == "ah" and one.name[:1] in OPEN_VOWELS and near.size:
                opened.append(near.max() >= OPEN)
            elif one.sound and "pbm" not in (before and before.sound, after and after.sound):
                wrong.append(self.gaps[np.abs(times - middle).argmin()] <= CLOSED)
        return np.array(closed, bool), np.array(opened, bool), np.array(wrong, bool)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `lips`."""


def voices() -> Iterator[tuple[str, str]]:
    """Voice and language of all that speak."""
    for voice in WITHHELD:
        yield voice, voice.partition("+")[0].partition("-")[0]
    yield "flite slt", "en"


def run(options: argparse.Namespace) -> Result:
    """The measurement."""
    result = Result("lips", settings={"near_s": NEAR, "closed": CLOSED, "open": OPEN, "delay_s": DELAY, "fps": FPS})
    for noise in (None, 20.0, 10.0):
        cases = list(spoken(noise, options.quick))
        condition = "quiet" if noise is None else f"{noise:g} dB"
        for voice in dict.fromkeys(case.voice for case in cases):
            add(result, f"{condition}.{voice}", [case for case in cases if case.voice == voice])
        espeaks = [case for case in cases if not case.voice.startswith("flite")]
        add(result, f"{condition}.all of espeak-ng", espeaks, target=0.9)
        add(result, f"{condition}.moved in time", moved(espeaks))
        add(result, f"{condition}.loudness alone", by_loudness(espeaks))
    return result


def spoken(noise: float | None, quick: bool) -> Iterator[Case]:
    """All that is said; noise: decibels that the speech is above it, None for none."""
    engine = MeshEngine(size=256)
    engine.set_portrait(builtin_portrait())
    chance = np.random.default_rng(7)
    for voice, language in voices():
        for text in TEXTS[language][: 1 if quick else None]:
            speech = flite(text, "slt") if voice.startswith("flite") else espeak(text, voice)
            sound = at_rate(speech)
            if noise is not None:
                loud = float(np.sqrt(np.mean(sound**2)))
                sound = sound + (loud * 10 ** (-noise / 20) * noise_like(len(sound), chance)).astype(np.float32)
            yield Case(voice, speech, *drawn(engine, sound))
    engine.close()


def drawn(engine: MeshEngine, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gaps of the lips in the pictures of a sound, and how loud it is at each."""
    portrait = engine.portrait
    retargeter = Retargeter(PortraitGeometry(portrait.shape, portrait.pose, portrait.values))
    speaker = Speaker(engine.kind, engine.directions)
    speaker.feed(np.concatenate([sound, np.zeros(round(2 * DELAY * RATE), np.float32)]))
    gaps, loud = [], []
    upper, lower = (lip[len(lip) // 2] for lip in (fm.UPPER_INNER_LIP, fm.LOWER_INNER_LIP))
    for n in range(round(len(sound) / RATE * FPS)):
        face = retargeter.target(speaker.code(n / FPS).values, speaker.reference.values).face
        gaps.append(100 * float(face[lower, 1] - face[upper, 1]))
        around = sound[max(0, round((n / FPS - 0.02) * RATE)) : round((n / FPS + 0.02) * RATE)]
        loud.append(10 * np.log10(float(np.mean(around**2)) + 1e-8))
    return np.array(gaps), np.array(loud)


def moved(cases: list[Case]) -> list[Case]:
    """The same lips at other times."""
    chance = np.random.default_rng(11)
    least = round(LEAST_MOVE * FPS)
    return [
        replace(case, gaps=np.roll(case.gaps, int(chance.integers(least, len(case.gaps) - least))))
        for case in cases
        for _ in range(MOVES)
    ]


def by_loudness(cases: list[Case]) -> list[Case]:
    """Lips with the same gaps, the widest at the loudest."""
    return [replace(case, gaps=np.sort(case.gaps)[case.loud.argsort().argsort()]) for case in cases]


def add(result: Result, name: str, cases: list[Case], target: float | None = None) -> None:
    """The figures of these cases."""
    hits = [case.hit() for case in cases]
    for k, (what, better) in enumerate((("closures", "higher"), ("open vowels", "higher"), ("wrong", "lower"))):
        all_of = np.concatenate([hit[k] for hit in hits])
        share = float(all_of.mean()) if all_of.size else None
        aim = target if better == "higher" else None
        each = [float(hit[k].mean()) for hit in hits if hit[k].size]
        result.add(f"{name}.{what}", share, better=better, target=aim, samples=each, about=f"of {all_of.size}")


def show(result: Result, console: Console) -> None:
    """A row for each voice."""
    names = dict.fromkeys(figure.name.rpartition(".")[0] for figure in result.figures)
    table = Table("speech", "who", "closures hit", "open vowels hit", "others closed, wrongly", title="lips by ear")
    for name in names:
        condition, _, who = name.partition(".")
        cells = [result.get(f"{name}.{what}") for what in ("closures", "open vowels", "wrong")]
        table.add_row(
            condition, who, *(f"{100 * c.value:.1f} % {c.about}" if c.value is not None else "" for c in cells)
        )
    console.print(table)
    show_notes(result, console)
