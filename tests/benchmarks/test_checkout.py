"""The engine of another checkout: the same codes, pictures and errors as one that is loaded here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.checkout import EngineElsewhere
from realtime import load_engine
from realtime.errors import BadFile, BadPortrait
from realtime.media.portraits import builtin_portrait
from realtime.types import Frame

HERE = Path(__file__).resolve().parents[2]


def test_what_is_no_checkout_is_told(tmp_path):
    with pytest.raises(BadFile, match="no checkout"):
        EngineElsewhere(tmp_path, "mesh")


def test_it_is_the_engine_that_lies_there():
    near, far = load_engine("mesh", size=64), EngineElsewhere(HERE, "mesh", size=64)
    portrait = builtin_portrait()
    try:
        shown = []
        for engine in (near, far):
            engine.set_portrait(portrait)
            engine.reference = engine.encode(Frame(portrait, captured=0.0))
            shown.append((engine.portrait_code, engine.reference, engine.render(engine.portrait_code)))
        for own, other in zip(*shown[0:2], strict=True):
            np.testing.assert_array_equal(getattr(own, "values", own), getattr(other, "values", other))
        assert far.seconds > 0.0
        with pytest.raises(BadPortrait):
            far.set_portrait(np.full((64, 64, 3), 90, np.uint8))
        with pytest.raises(BadFile, match="mesh"):
            far._ask("load", ("mesh", {"weights": "none"}))
    finally:
        near.close()
        far.close()
    with pytest.raises((BadFile, ValueError)):
        far.reset()
