"""What was worn last: kept as a session of the companion ends, worn when the next begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from realtime.errors import AvatarError
from realtime.home import home
from realtime.media.backgrounds import Behind
from realtime.outputs import not_written, write_whole
from realtime.presets.folder import read
from realtime.presets.preset import MOST_OWN, Calibration, Preset, PresetPortrait, dump, fits
from realtime.session.control import Control

NAME = "last"


def place() -> Path:
    """Where it is kept: `app/last.json` in `home()`, a preset's file."""
    return home() / "app" / f"{NAME}.json"


def worn_last() -> Preset | None:
    """None where nothing was kept, or what was cannot be read any more."""
    path = place()
    try:
        return read(path) if path.exists() else None
    except AvatarError:
        return None


def as_preset(control: Control, engine: str, portrait: PresetPortrait, behind: Behind, shape: str) -> Preset:
    """What a session wears now."""
    live, neutral = control.live, control.neutral
    known = None if neutral is None else Calibration(engine, tuple(round(float(v), 4) for v in neutral.values))
    return Preset(
        NAME,
        portrait,
        edits=live.edits,
        amplitude=live.amplitude,
        hold_gaze=live.hold_gaze,
        smoothing=live.smoothing,
        mirror=live.mirror,
        background=behind.name,
        blur=behind.strength,
        own_background=behind.own.source if behind.own is not None and len(behind.own.source) <= MOST_OWN else b"",
        shape=shape,
        calibration=known,
    )


def keep(preset: Preset) -> None:
    """Wear it next time; what is too large for a preset is left out, the background first. Raises BadFile,
    NotWritten."""
    if not fits(dump(preset)):
        preset = replace(preset, own_background=b"")
    if not fits(dump(preset)):
        preset = replace(preset, portrait=None)
    path = place()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise not_written(path.parent, error) from error
    write_whole(path, dump(preset))
