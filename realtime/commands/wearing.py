"""What a preset means for a run on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import get_args

import numpy as np

from realtime.engines import Engine
from realtime.engines.choose import BUILTIN, PortraitFile, read_portrait
from realtime.errors import BadFile, BadValue
from realtime.home import user_path
from realtime.media.backdrop import Backdrop, BadBackdrop, backdrop_of, clip_kind, decode_backdrop
from realtime.media.backgrounds import STRONGEST, Background, Behind
from realtime.media.pictures import read_picture
from realtime.motion.vocabulary import of_today
from realtime.presets.preset import Preset
from realtime.types import MotionCode

NONE = Preset("none")
"""Changes nothing."""
CLIP_SECONDS = 60.0
"""Of a clip behind the portrait: its first seconds go round."""
MOST_PIXELS = 24_000_000


def parse_behind(text: str) -> Behind:
    """What `--background` names. Raises BadValue, BadFile."""
    known: tuple[Background, ...] = get_args(Background)
    for name in known:
        if text == name:
            return Behind(name)
    if text.partition(":")[0] == "blur":
        with contextlib.suppress(ValueError):
            if 0.0 < (strength := float(text.partition(":")[2])) <= STRONGEST:
                return Behind("blur", strength)
        raise BadValue("--background", text, f"blur:S with a strength above 0, at most {STRONGEST:g}, as in blur:2")
    if not user_path(text).exists() and not Path(text).suffix:
        raise BadValue("--background", text, f"{', '.join(known)}, blur:2, or the file of a picture or a clip")
    return Behind("own", own=read_backdrop(text))


def read_backdrop(path: str | Path) -> Backdrop:
    """The picture, or the clip, in a file. Raises BadFile."""
    path = user_path(path)
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise BadFile(path, f"may not be read ({error.strerror})") from error
    if clip_kind(data) is None:
        return backdrop_of(read_picture(path, max_side=2048), data)
    try:
        return decode_backdrop(data, MOST_PIXELS, CLIP_SECONDS)
    except BadBackdrop as error:
        raise BadFile(path, error.reason) from error


def behind_of(preset: Preset) -> Behind:
    """What a preset wants behind the portrait. Raises BadBackdrop."""
    if preset.background == "own" and not preset.own_background:
        return Behind()
    if preset.background != "own":
        return Behind(preset.background, preset.blur if preset.background == "blur" else 1.0)
    return Behind("own", own=decode_backdrop(preset.own_background, MOST_PIXELS))


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
    if kept is None or kept.engine != engine.name:
        return None
    values = of_today(rest.kind, np.array(kept.neutral, np.float64))
    return rest.with_values(values) if values.size == rest.values.size else None
