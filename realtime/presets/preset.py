"""A preset: portrait, sliders and all else that a user sets, under a name, as one file.

The file is JSON, UTF-8, version 1; `docs/pages/presets.md` describes each field. A portrait is the name of one that
the program has, or a picture that the file carries. Nothing here reads or writes: see `folder`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args

from realtime.errors import BadFile, BadValue
from realtime.media.backdrop import clip_kind
from realtime.media.backgrounds import STRONGEST, Chosen
from realtime.settings import SHAPES, Live

FORMAT, VERSION = "avatar-preset", 1
MOST_BYTES = 12 * 1024 * 1024
"""Of a whole file."""
MOST_OWN = 8 * 1024 * 1024
"""Of a background's file in it."""
MOST_NAME = 40
_NAME = re.compile(rf"[^\W_][\w .()+-]{{0,{MOST_NAME - 1}}}")
_PICTURE = re.compile(r"data:image/[a-z]+;base64,")
_BACKDROP = re.compile(r"data:(?:(?:image|video)/[a-z0-9.+-]+|application/octet-stream);base64,")
_MOST_ENTRIES = 1024


@dataclass(frozen=True)
class PresetPortrait:
    """id: of a portrait that the program, or the server that the preset was made on, has; "" where the preset brings
    its own picture. picture: an image file's bytes. title: what people call it."""

    id: str = ""
    picture: bytes = field(default=b"", repr=False)
    title: str = ""


@dataclass(frozen=True)
class Calibration:
    """A driver's neutral face. engine: whose codes `neutral` is one of. It goes with the preset's `mirror`."""

    engine: str
    neutral: tuple[float, ...]


@dataclass(frozen=True)
class Preset:
    """What is set, under a name."""

    name: str
    portrait: PresetPortrait | None = None
    edits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    amplitude: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    hold_gaze: bool = False
    smoothing: float = 0.0
    mirror: bool = False
    background: Chosen = "original"
    blur: float = 1.0
    """How strong the blur is, where that is the background."""
    own_background: bytes = field(default=b"", repr=False)
    """The file of a picture or a clip, where that is the background; none where it is elsewhere."""
    shape: str = ""
    """Of the picture: one of `SHAPES`, "" where nothing is said of it."""
    calibration: Calibration | None = None

    def over(self, live: Live) -> Live:
        """`live` as given on a command line, over what the preset says: what was said there wins."""
        return Live(
            edits={**self.edits, **live.edits},
            amplitude={**self.amplitude, **live.amplitude},
            smoothing=live.smoothing or self.smoothing,
            hold_gaze=self.hold_gaze or live.hold_gaze,
            mirror=self.mirror or live.mirror,
            absolute=live.absolute,
            paused=live.paused,
        )


def check_name(name: object) -> str:
    """A preset's name, without the space around it: letters, digits, space and ._+-(), at most 40, a letter or digit
    first. Raises BadValue."""
    if isinstance(name, str) and _NAME.fullmatch(text := " ".join(name.split())):
        return text
    shown = name[:60] if isinstance(name, str) else name
    raise BadValue(
        "name of a preset",
        shown,
        f"letters, digits, spaces and . _ + - ( ), at most {MOST_NAME} of them, and a letter or digit first",
    )


def parse(text: str | bytes, where: object = "the preset") -> Preset:
    """The preset in a file's content. where: what messages call the file. Raises BadFile, which says what is wrong
    with which field."""
    if len(text) > MOST_BYTES:
        raise BadFile(where, f"is larger than a preset may be ({MOST_BYTES // 2**20} MiB)")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        at = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadFile(where, f"is not JSON{at}; a preset is the file that the page's Export writes") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BadFile(where, f'is no preset: it does not say "format": "{FORMAT}"')
    version = data.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        cure = ": update this program" if newer else ""
        raise BadFile(where, f"is a preset of version {version!r:.20}; this program reads version {VERSION}{cure}")
    fields = _Fields(where, data)
    return fields.preset()


def dump(preset: Preset) -> str:
    """The preset as its file's content."""
    portrait, calibration = preset.portrait, preset.calibration
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION, "name": preset.name}
    if portrait is not None:
        data["portrait"] = {"id": portrait.id} if portrait.id else {"picture": _address(portrait.picture)}
        if portrait.title:
            data["portrait"]["title"] = portrait.title
    data |= {
        "edits": dict(preset.edits),
        "amplitude": dict(preset.amplitude),
        "hold_gaze": preset.hold_gaze,
        "smoothing": preset.smoothing,
        "mirror": preset.mirror,
        "background": preset.background,
        "blur": preset.blur,
        "shape": preset.shape,
    }
    if preset.own_background:
        data["own_background"] = _address(preset.own_background)
    if calibration is not None:
        data["calibration"] = {"engine": calibration.engine, "neutral": list(calibration.neutral)}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def fits(text: str) -> bool:
    """Is a file with this content one that `parse` takes, by its size?"""
    return len(text.encode()) <= MOST_BYTES


class _Fields:
    """Takes the fields of a file's object, one after another; what is left over is no field of a preset."""

    def __init__(self, where: object, data: dict[str, Any]) -> None:
        self._where, self._data = where, dict(data)
        for known in ("format", "version"):
            del self._data[known]

    def preset(self) -> Preset:
        made = Preset(
            name=self._take("name", self._name, required=True),
            portrait=self._take("portrait", self._portrait),
            edits=self._take("edits", self._amounts, {}),
            amplitude=self._take("amplitude", self._amounts, {}),
            hold_gaze=self._take("hold_gaze", self._flag, False),
            smoothing=self._take("smoothing", self._share, 0.0),
            mirror=self._take("mirror", self._flag, False),
            background=self._take("background", self._background, "original"),
            blur=self._take("blur", self._strength, 1.0),
            own_background=self._take("own_background", self._backdrop, b""),
            shape=self._take("shape", self._shape, ""),
            calibration=self._take("calibration", self._calibration),
        )
        self._nothing_left(self._data, "")
        return made

    def _take(self, name: str, read: Callable[[str, Any], Any], default: Any = None, required: bool = False) -> Any:
        if name in self._data:
            value = self._data.pop(name)
            return default if value is None and not required else read(name, value)
        if required:
            raise self._bad(name, "is missing")
        return default

    def _bad(self, name: str, reason: str) -> BadFile:
        return BadFile(self._where, f"{name} {reason}")

    def _nothing_left(self, data: Iterable[str], within: str) -> None:
        for name in data:
            raise self._bad(f"{within}{name[:40]}", f"is no field of a preset of version {VERSION}")

    def _name(self, name: str, value: Any) -> str:
        try:
            return check_name(value)
        except BadValue as error:
            raise self._bad(name, f"takes {error.expected}") from None

    def _flag(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._bad(name, "is true or false")
        return value

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1000:
            raise self._bad(name, "is a number from -1000 to 1000")
        return float(value)

    def _share(self, name: str, value: Any) -> float:
        if not 0.0 <= self._number(name, value) <= 1.0:
            raise self._bad(name, "is a number from 0 to 1")
        return float(value)

    def _text(self, name: str, value: Any, most: int = 64) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self._bad(name, f"is a text of 1 to {most} characters")
        return value

    def _object(self, name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > _MOST_ENTRIES:
            raise self._bad(name, "is an object")
        return dict(value)

    def _amounts(self, name: str, value: Any) -> dict[str, float]:
        return {key: self._number(f"{name}.{key[:40]}", amount) for key, amount in self._object(name, value).items()}

    def _background(self, name: str, value: Any) -> Chosen:
        if value not in get_args(Chosen):
            raise self._bad(name, f"is one of {', '.join(get_args(Chosen))}")
        background: Chosen = value
        return background

    def _strength(self, name: str, value: Any) -> float:
        if not 0.0 < self._number(name, value) <= STRONGEST:
            raise self._bad(name, f"is a number above 0, at most {STRONGEST:g}")
        return float(value)

    def _shape(self, name: str, value: Any) -> str:
        if value not in ("", *SHAPES):
            raise self._bad(name, f"is one of {', '.join(SHAPES)}")
        return str(value)

    def _backdrop(self, name: str, value: Any) -> bytes:
        return self._bytes(
            name, value, _BACKDROP, "a picture or a clip as a data: address, data:video/mp4;base64,..."
        )

    def _portrait(self, name: str, value: Any) -> PresetPortrait:
        data = self._object(name, value)
        title = self._text(f"{name}.title", data.pop("title"), 60) if "title" in data else ""
        if len(data.keys() & {"id", "picture"}) != 1:
            raise self._bad(name, "has an id or a picture")
        if "id" in data:
            made = PresetPortrait(self._text(f"{name}.id", data.pop("id")), title=title)
        else:
            made = PresetPortrait(picture=self._bytes(f"{name}.picture", data.pop("picture")), title=title)
        self._nothing_left(data, f"{name}.")
        return made

    def _bytes(
        self,
        name: str,
        value: Any,
        kind: re.Pattern[str] = _PICTURE,
        about: str = "a picture as a data: address, data:image/jpeg;base64,...",
    ) -> bytes:
        head = kind.match(value) if isinstance(value, str) else None
        if head is None:
            raise self._bad(name, f"is {about}")
        try:
            return base64.b64decode(value[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise self._bad(name, "is cut off or damaged: it is not base64") from None

    def _calibration(self, name: str, value: Any) -> Calibration:
        data = self._object(name, value)
        engine = self._text(f"{name}.engine", data.pop("engine", None))
        neutral = data.pop("neutral", None)
        if not isinstance(neutral, list) or not 0 < len(neutral) <= _MOST_ENTRIES:
            raise self._bad(f"{name}.neutral", f"is a list of 1 to {_MOST_ENTRIES} numbers")
        self._nothing_left(data, f"{name}.")
        numbers = [self._number(f"{name}.neutral[{n}]", entry) for n, entry in enumerate(neutral)]
        return Calibration(engine, tuple(numbers))


def _address(file: bytes) -> str:
    kind = "image/png" if file.startswith(b"\x89PNG") else "image/jpeg"
    if (clip := clip_kind(file)) is not None:
        kind = f"video/{clip}"
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"
