"""Fit the network that hears what lips do.

    apt-get install espeak-ng flite
    python -m realtime.training.fits.lips -o realtime/data/lips.npz

Voices of espeak-ng and Flite say made-up words and sentences; which sound is said at which moment is known. It is put
through what microphones and rooms do to it: loudness, another timbre, noise, echo, a slightly longer or shorter vocal
tract. The network learns the sounds, their borders softened so that beliefs move as lips do. What it gets right
is printed, on voices and words that it has not heard; `python -m benchmarks lips` measures the lips.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from torch import nn

from realtime.outputs import replacing
from realtime.training.fits.spoken import Speech, babble, espeak, flite
from realtime.voice.hearing import BANDS, FRAME_SECONDS, HOP, RATE, WINDOW, Hearing
from realtime.voice.lips import AHEAD, BEHIND, CONTEXT, SOUNDS, in_context

LANGUAGES = ("en-us", "en", "de", "fr", "es", "it", "pl", "pt", "nl", "sv", "tr", "hu")
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m6", "m8", "f1", "f2", "f3", "klatt", "klatt3", "klatt4", "Andy", "Annie",
    "Alicia", "Denis", "Hugo", "Michael", "Mario", "steph", "Tweaky", "Marco", "Gene",
)  # fmt: skip
FLITE = ("awb", "rms")
WITHHELD = ("ro+m7", "en-us+f5", "cs+f4", "en-us+klatt2", "fi+linda", "de+pedro", "es+Andrea")
"""Voices that the network has not heard, some of languages that it has not either."""

SENTENCES = (
    "My mother baked a big blue pie for the whole family on Monday.",
    "Please put both of the paper boxes below the window, not above it.",
    "Five very fine violins were found in a van behind the farm.",
    "She sells cheap shoes and fresh fish, he chose a red jacket.",
    "Who would have thought that the moon could look so huge and so close?",
    "I am happy to be home before the storm, but Pam must walk back.",
    "What time does the next train to the airport leave this evening?",
    "We always wonder why the weather is warmer in the western part.",
    "Nobody knows how many people will come to the garden party tomorrow.",
    "Open your mouth and say ah, then close your lips and hum a tune.",
)
DULL = 0.06
"""Seconds of silence inside a word up to which the synthesiser's word is not taken: it may be a stop's."""
SOFT = np.array((0.15, 0.2, 0.3, 0.2, 0.15))
"""How the border of two sounds is softened: the weights of frames around it."""


@dataclass(frozen=True)
class Lesson:
    """bands: (n, BANDS). sounds: (n, 13), what is said, sum 1; 0 where it is not known."""

    bands: np.ndarray
    sounds: np.ndarray


def at_rate(speech: Speech, stretch: float = 1.0) -> np.ndarray:
    """Its samples, `RATE` a second; played `stretch` times as fast, which makes the vocal tract shorter."""
    from scipy.signal import resample

    return resample(speech.samples, round(len(speech.samples) * RATE / speech.rate / stretch)).astype(np.float32)


def labels(speech: Speech, frames: int, stretch: float = 1.0) -> np.ndarray:
    """(frames, 13): what is said in each frame."""
    names = list(SOUNDS)
    hard = np.zeros((frames, len(names)))
    hard[:, 0] = 1.0
    middles = (np.arange(frames) * HOP + WINDOW / 2) / RATE * stretch
    for spoken in speech.said:
        inside = (middles >= spoken.begin) & (middles < spoken.end)
        hard[inside] = 0.0
        if spoken.sound or spoken.end - spoken.begin > DULL:
            hard[inside, names.index(spoken.sound)] = 1.0
    return np.stack([np.convolve(column, SOFT, "same") for column in hard.T], axis=1)


def noise_like(count: int, chance: np.random.Generator) -> np.ndarray:
    """Noise of a random colour, from a hiss to a rumble, mean square 1."""
    spectrum = np.fft.rfft(chance.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    noise = np.fft.irfft(spectrum * np.maximum(hertz, 60.0) ** -chance.uniform(0.0, 1.1), count)
    return noise / max(float(noise.std()), 1e-9)


def as_recorded(sound: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """What a microphone in a room makes of it."""
    from scipy.signal import fftconvolve, lfilter

    if chance.random() < 0.5:  # a room
        seconds = chance.uniform(0.05, 0.35)
        tail = chance.normal(size=int(seconds * RATE)) * np.exp(
            -6.9 * np.arange(int(seconds * RATE)) / (seconds * RATE)
        )
        tail *= chance.uniform(0.02, 0.12)
        tail[0] = 1.0
        sound = fftconvolve(sound, tail)[: len(sound)]
    sound = lfilter([1.0, -chance.uniform(-0.5, 0.9)], [1.0], sound)  # a dull or a sharp microphone
    sound = np.concatenate([np.zeros(chance.integers(0, RATE // 2)), sound, np.zeros(RATE // 4)])
    loud = float(np.sqrt(np.mean(sound**2))) + 1e-9
    if chance.random() < 0.75:
        sound = sound + loud * 10 ** (-chance.uniform(5, 40) / 20) * noise_like(len(sound), chance)
    wanted = 10 ** (chance.uniform(-48, -14) / 20)
    return np.clip(sound * (wanted / loud), -1, 1).astype(np.float32)


def lesson(speech: Speech, chance: np.random.Generator, plain: bool = False) -> Lesson:
    """One lesson of it. plain: as it comes from the synthesiser."""
    stretch = 1.0 if plain else chance.uniform(0.82, 1.22)
    sound = at_rate(speech, stretch)
    if not plain:
        recorded = as_recorded(sound, chance)
        begin = len(recorded) - len(sound) - RATE // 4
        sound, moved = recorded, begin / RATE * stretch
        said = tuple(type(s)(s.begin + moved, s.end + moved, s.name, s.sound) for s in speech.said)
        speech = Speech(speech.samples, speech.rate, said)
    bands = Hearing().feed(sound).bands
    return Lesson(bands, labels(speech, len(bands), stretch))


def noise_lesson(chance: np.random.Generator) -> Lesson:
    """Noise alone is silence."""
    noise = noise_like(4 * RATE, chance) * 10 ** (chance.uniform(-60, -15) / 20)
    noise *= np.interp(np.arange(len(noise)), np.linspace(0, len(noise), 9), chance.uniform(0.3, 1.0, 9))
    bands = Hearing().feed(noise.astype(np.float32)).bands
    sounds = np.zeros((len(bands), len(SOUNDS)))
    sounds[:, 0] = 1.0
    return Lesson(bands, sounds)


def lessons(count: int, seed: int) -> Iterator[Lesson]:
    """What the network is taught from."""
    chance = np.random.default_rng(seed)
    for n in range(count):
        kind = chance.random()
        text = SENTENCES[n % len(SENTENCES)] if chance.random() < 0.2 else babble(seed + n)
        if kind < 0.04:
            yield noise_lesson(chance)
        elif kind < 0.44:
            yield lesson(flite(text, str(chance.choice(FLITE))), chance)
        else:
            language, variant = chance.choice(LANGUAGES), chance.choice(VARIANTS)
            voice = f"{language}+{variant}" if variant else str(language)
            speed, pitch = int(chance.integers(120, 230)), int(chance.integers(25, 80))
            yield lesson(espeak(text, voice, speed, pitch), chance)


def taught(parts: list[Lesson]) -> tuple[np.ndarray, np.ndarray]:
    """(frames with neighbours, sounds) of all lessons."""
    seen = [in_context(np.pad(p.bands, ((BEHIND, AHEAD), (0, 0)), mode="edge")) for p in parts]
    return np.concatenate(seen).astype(np.float16), np.concatenate([p.sounds for p in parts]).astype(np.float32)


def network(widths: tuple[int, ...]) -> nn.Sequential:
    """The network with hidden layers of these widths."""
    layers: list[nn.Module] = []
    into = CONTEXT * BANDS
    for width in widths:
        layers += [nn.Linear(into, width), nn.ReLU(), nn.Dropout(0.1)]
        into = width
    return nn.Sequential(*layers, nn.Linear(into, len(SOUNDS)))


def fit(parts: list[Lesson], epochs: int, widths: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """The fitted network, over standardised bands."""
    torch.manual_seed(seed)
    seen, sounds = (torch.from_numpy(array) for array in taught(parts))
    model = network(widths)
    first = model[0]
    assert isinstance(first, nn.Linear)
    mean, spread = seen[::7].float().mean(0), seen[::7].float().std(0) + 0.1
    often = sounds.mean(0)
    weight = (often.mean() / often).sqrt().clamp(0.5, 2.5)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-4)
    batch = 1024
    steps = epochs * (len(seen) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1)
    for _ in track(range(epochs), description="fitting"):
        order = torch.randperm(len(seen))
        for chosen in order[: len(order) // batch * batch].split(batch):
            target = sounds[chosen] * weight
            given = model((seen[chosen].float() - mean) / spread)
            loss = -(target * given.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():  # the standardisation goes into the first layer
        first.bias.sub_(first.weight @ (mean / spread))
        first.weight.div_(spread)
    return model


def report(model: nn.Sequential, parts: list[Lesson], about: str) -> None:
    """Print how often the likeliest sound is the one that is said."""
    seen, sounds = taught(parts)
    with torch.no_grad():
        given = model(torch.from_numpy(seen).float()).argmax(1).numpy()
    said = sounds.argmax(1)
    known = sounds.max(1) > 0.5
    rates = [f"{name or 'silence'} {np.mean(given[known & (said == k)] == k):.2f}" for k, name in enumerate(SOUNDS)]
    print(f"{about}: {np.mean(given[known] == said[known]):.3f} right of {known.sum()}; {', '.join(rates)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="lips.npz")
    parser.add_argument("--utterances", type=int, default=2400, help="how much is taught; about 4 s each")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    parts = list(track(lessons(options.utterances, 1), description="speaking", total=options.utterances))
    print(f"{sum(len(p.bands) for p in parts) * FRAME_SECONDS / 60:.0f} minutes of speech")
    model = fit(parts, options.epochs, (192, 64))
    chance = np.random.default_rng(5)
    report(
        model,
        [lesson(espeak(babble(9000 + n), v), chance, plain=True) for n, v in enumerate(WITHHELD * 3)],
        "withheld",
    )
    report(model, [lesson(espeak(babble(9100 + n), v), chance) for n, v in enumerate(WITHHELD * 3)], "as recorded")
    report(model, [lesson(flite(babble(9200 + n), "slt"), chance) for n in range(10)], "Flite's slt")
    arrays: dict[str, np.ndarray] = {}
    for n, layer in enumerate(part for part in model if isinstance(part, nn.Linear)):
        arrays[f"w{n}"] = layer.weight.detach().numpy().T.astype(np.float16)
        arrays[f"b{n}"] = layer.bias.detach().numpy().astype(np.float32)
    with replacing(options.output) as path, open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    main()
