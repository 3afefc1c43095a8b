"""What a preset means for a run on this machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from realtime.engines import Engine
from realtime.engines.choose import BUILTIN, PortraitFile, read_portrait
from realtime.errors import BadValue
from realtime.home import user_path
from realtime.media.backgrounds import Background, with_background
from realtime.media.pictures import read_picture
from realtime.presets.preset import Preset
from realtime.types import MotionCode

NONE = Preset("none")
"""Changes nothing."""
STRONGEST = 4.0
"""Of a blur."""


@dataclass(frozen=True)
class Behind:
    """What `--background` names. strength: of a blur. picture: one that fills the portrait, uint8 (H, W, 3) RGB."""

    name: Background = "original"
    strength: float = 1.0
    picture: np.ndarray | None = None

    @classmethod
    def parse(cls, text: str) -> Behind:
        """Raises BadValue, BadFile."""
        known: tuple[Background, ...] = get_args(Background)
        for name in known:
            if text == name:
                return cls(name)
        if text.partition(":")[0] == "blur":
            with contextlib.suppress(ValueError):
                if 0.0 < (strength := float(text.partition(":")[2])) <= STRONGEST:
                    return cls("blur", strength)
            raise BadValue(
                "--background", text, f"blur:S with a strength above 0, at most {STRONGEST:g}, as in blur:2"
            )
        if not user_path(text).exists() and not Path(text).suffix:
            raise BadValue("--background", text, f"{', '.join(known)}, blur:2, or a picture's file")
        return cls(picture=read_picture(text, max_side=2048))

    @property
    def plain(self) -> bool:
        """The page makes the same of a portrait, by its name alone."""
        return self.picture is None and self.strength == 1.0

    @property
    def told(self) -> Background:
        """What the page is told: "original" where the portrait that it is given holds the background already."""
        return self.name if self.plain else "original"

    def of(self, portrait: np.ndarray) -> np.ndarray:
        """The portrait, uint8 (H, W, 3), before it."""
        return with_background(portrait, self.name if self.picture is None else self.picture, self.strength)


MOST_PIXELS = 24_000_000


def portrait_of(preset: Preset) -> PortraitFile:
    """Its portrait; the built-in one where it has none. Raises BadValue, BadPortrait."""
    from realtime.media.portraits import builtin_portraits
    from realtime.media.uploads import decode_portrait

    portrait = preset.portrait
    if portrait is None:
        return read_portrait(BUILTIN)
    if not portrait.id:
        return PortraitFile(decode_portrait(portrait.picture, MOST_PIXELS), portrait.title or preset.name)
    if portrait.id not in builtin_portraits():
        raise BadValue("--preset", preset.name, f"its portrait {portrait.id!r} is on a server alone; give --portrait")
    return read_portrait(f"{BUILTIN}:{portrait.id}")


def neutral_of(preset: Preset, engine: Engine) -> MotionCode | None:
    """The neutral face that it keeps, None where it has none for this engine."""
    kept, rest = preset.calibration, engine.portrait_code
    if kept is None or kept.engine != engine.name or len(kept.neutral) != rest.values.size:
        return None
    return rest.with_values(np.array(kept.neutral))
