"""What a preset means for a run on this machine."""

from __future__ import annotations

import numpy as np

from realtime.engines import Engine
from realtime.engines.choose import BUILTIN, PortraitFile, read_portrait
from realtime.errors import BadValue
from realtime.session.preset import Preset
from realtime.types import MotionCode

NONE = Preset("none")
"""Changes nothing."""
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
