"""Speech whose sounds and times are known: from espeak-ng, and from Flite, which was made of people's recordings.

    apt-get install espeak-ng flite

Sounds are told apart by what the lips do, see `realtime.voice.lips.SOUNDS`. espeak-ng is called as a library, for its
phoneme events (IPA) say at which sample each begins; `flite -psdur` prints where each of its phones ends.
"""

# ruff: noqa: RUF001 - these are phonetic letters

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import AvatarError, BadFile, UnknownName

IPA = {
    "pbm": "pbmɓ",
    "fv": "fvɱʋβ",
    "ah": "aɑæɒʌɐä",
    "eh": "eɛəɜɘɤɚɝ",
    "ee": "iɪjɨᵻ",
    "oh": "oɔɵœø",
    "oo": "uʊwyʉɥʏɯ",
    "s": "szɕʑθð",
    "sh": "ʃʒʂʐ",
    "t": "tdnlɾɗɖʈɳɭɫɟcɲʎʝç",
    "k": "kɡgŋxɣhɦqʔχħʕ",
    "r": "rɹʁɻʀɽ",
}
"""Sounds by the letters of the International Phonetic Alphabet that they stand for."""

AFFRICATES = {
    "tʃ": "sh",
    "dʒ": "sh",
    "ts": "s",
    "dz": "s",
    "tɕ": "sh",
    "dʑ": "sh",
    "pf": "fv",
    "tʂ": "sh",
    "dʐ": "sh",
}
ARPABET = {
    "pbm": "p b m em", "fv": "f v", "ah": "aa ae ah ao1", "eh": "eh ax er axr ih0", "ee": "iy ih y", "oh": "ao",
    "oo": "uw uh w", "s": "s z th dh", "sh": "sh zh ch jh", "t": "t d n l el en dx nx", "k": "k g ng hh hv", "r": "r",
}  # fmt: skip
GLIDES = {"ay": ("ah", "ee"), "aw": ("ah", "oo"), "ey": ("eh", "ee"), "ow": ("oh", "oo"), "oy": ("oh", "ee")}
LONGER = 0.6
"""Share of a diphthong that its first vowel takes."""

_BY_LETTER = {letter: sound for sound, letters in IPA.items() for letter in letters}
_BY_PHONE = {phone: sound for sound, phones in ARPABET.items() for phone in phones.split()}
_MARKS = "ˈˌːˑ̩̥̬̪̝̞̯̃͡ʰʲʷˠˤʼ‿.‍-'̟̠̊̈"


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sound. begin, end: seconds. name: as the synthesiser calls it. sound: a name of `IPA`; "" for silence."""

    begin: float
    end: float
    name: str
    sound: str


@dataclass(frozen=True)
class Speech:
    """Sound, float32 (N,) from -1 to 1, with `rate` samples a second, and what is said in it."""

    samples: np.ndarray
    rate: int
    said: tuple[Spoken, ...]


def sounds_of(ipa: str) -> tuple[str, ...]:
    """The sound of an IPA phoneme, two of a diphthong, none for silence: "aɪ" is ("ah", "ee")."""
    bare = "".join(letter for letter in ipa if letter not in _MARKS)
    if bare[:2] in AFFRICATES:
        return (AFFRICATES[bare[:2]],)
    known = [_BY_LETTER[letter] for letter in bare if letter in _BY_LETTER]
    vowels = [sound for sound in known if sound in ("ah", "eh", "ee", "oh", "oo")]
    return tuple(vowels[:2]) if len(vowels) > 1 and len(vowels) == len(known) else tuple(known[:1])


def _spread(begin: float, end: float, name: str, sounds: tuple[str, ...]) -> list[Spoken]:
    if len(sounds) < 2:
        return [Spoken(begin, end, name, sounds[0] if sounds else "")]
    turn = begin + LONGER * (end - begin)
    return [Spoken(begin, turn, name, sounds[0]), Spoken(turn, end, name, sounds[1])]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng/speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_ms", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", _Id),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_IN_THIS_THREAD, _EVENTS_IN_IPA, _UTF8 = 2, 3, 1
_PHONEME, _RATE, _PITCH = 7, 1, 3


class _Espeak:
    """The library, once a process."""

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise AvatarError("espeak-ng is not installed: sudo apt-get install espeak-ng") from error
        self.rate: int = self._library.espeak_Initialize(_IN_THIS_THREAD, 0, None, _EVENTS_IN_IPA)
        if self.rate <= 0:
            raise AvatarError("espeak-ng does not start: its data are missing")
        self._heard: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _CALLBACK(self._take)  # kept, for the library keeps its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        n = 0
        while events[n].type:
            if events[n].type == _PHONEME:
                text = ctypes.string_at(ctypes.addressof(events[n].id), 8).split(b"\0")[0]
                self._events.append((events[n].sample, text.decode("utf-8", "replace")))
            n += 1
        return 0

    def say(self, text: str, voice: str, words_a_minute: int, pitch: int) -> Speech:
        library = self._library
        self._heard.clear()
        self._events.clear()
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UnknownName("voice of espeak-ng", voice, ["en-us", "en-us+f2"])
        library.espeak_SetParameter(_RATE, words_a_minute, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        spoken = text.encode()
        library.espeak_Synth(spoken, len(spoken) + 1, 0, 1, 0, _UTF8, None, None)
        samples = np.concatenate([*self._heard, np.zeros(0, np.int16)]).astype(np.float32) / 32768
        said: list[Spoken] = []
        ends = [sample for sample, _ in self._events[1:]] + [len(samples)]
        for (begin, name), end in zip(self._events, ends, strict=True):
            if end > begin and not name.startswith("("):  # "(en)": a word of another language
                said += _spread(begin / self.rate, end / self.rate, name, sounds_of(name))
        return Speech(samples, self.rate, tuple(said))


@lru_cache(maxsize=1)
def _espeak() -> _Espeak:
    return _Espeak()


def espeak(text: str, voice: str = "en-us", words_a_minute: int = 160, pitch: int = 50) -> Speech:
    """`text` by a voice of espeak-ng ("de+f2": German, second female variant). pitch: 0 to 99. Raises AvatarError."""
    return _espeak().say(text, voice, words_a_minute, pitch)


def flite(text: str, voice: str = "slt") -> Speech:
    """`text` in English by a voice of Flite. Raises AvatarError, BadFile."""
    if shutil.which("flite") is None:
        raise AvatarError("Flite is not installed: sudo apt-get install flite")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = ["flite", "-voice", voice, "-t", text, "-psdur", "-o", str(path)]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if not path.exists():
            raise BadFile(voice, "Flite has no such voice, or cannot speak")
        with wave.open(str(path)) as file:
            rate = file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    said: list[Spoken] = []
    begin = 0.0
    for phone, _, until in (item.rpartition(":") for item in told.split()):
        end = float(until)
        if end < begin:
            begin = 0.0
        sounds = GLIDES.get(phone) or ((_BY_PHONE[phone],) if phone in _BY_PHONE else ())
        said += _spread(begin, end, phone, sounds)
        begin = end
    return Speech(samples, rate, tuple(said))


_ONSETS = "p b m f v w t d n l s z sh ch k g r h y j th pl br fr st sp sm tr bl pr"
_NUCLEI = "a e i o u aa ee oo ai ou"
_CODAS = ["", "", "", "", "n", "m", "s", "p", "b", "t", "l", "f", "r", "k"]


def babble(seed: int, words: int = 7) -> str:
    """A sentence of made-up words, of letters that most languages pronounce."""
    chance = random.Random(seed)

    onsets, nuclei = _ONSETS.split(), _NUCLEI.split()

    def word() -> str:
        syllables = chance.choice((1, 2, 2, 3))
        return "".join(chance.choice(onsets) + chance.choice(nuclei) for _ in range(syllables)) + chance.choice(
            _CODAS
        )

    said = [word() for _ in range(words)]
    if words > 4 and chance.random() < 0.5:
        said[words // 2] += ","
    return " ".join(said) + chance.choice((".", ".", "?"))
