"""The engine of another checkout: the same codes, pictures and errors as one that is loaded here."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import quality
from benchmarks.checkout import EngineElsewhere
from benchmarks.report.result import Result
from realtime import load_engine
from realtime.errors import BadFile, BadPortrait
from realtime.media.pictures import write_picture
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


def test_processor_times_of_both_survive_what_cannot_be_measured(tmp_path):
    """A refused portrait is named, and a clip without faces drives nobody."""
    clip = tmp_path / "grey.mp4"
    with av.open(str(clip), "w") as film:
        stream = film.add_stream("mpeg4", 30, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(quality.WARM + 2):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), "rgb24")))
        film.mux(stream.encode(None))
    for name, picture in (("a", builtin_portrait()), ("b", np.full((64, 64, 3), 90, np.uint8))):
        write_picture(tmp_path / f"{name}.png", picture)
    options = Namespace(
        clips=[clip], portraits=[tmp_path / "a.png", tmp_path / "b.png"], engine=["mesh"], before=str(HERE),
        engine_option=[], size=64, frames=2, lead=None, quick=True, skip=["self", "cross", "jitter", "baselines"],
    )  # fmt: skip
    result: Result = quality.run(options)
    assert any("b.png" in note for note in result.notes)
    for name in (quality.BEFORE, "mesh"):
        assert len(result.get(f"cost.{name}.render").samples) == 2
        assert result.get(f"cost.{name}.prepare").value > 0
    assert re.fullmatch(r"([0-9a-f]{12}(\+changes)?)?", result.settings["before"])
