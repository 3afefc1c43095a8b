"""What the benchmark of motion tokens refuses."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import tokens
from realtime.errors import BadValue


def test_a_reader_that_was_not_trained_judges_nobody(tmp_path):
    pytest.importorskip("torch")
    from realtime.training.config import preset

    config = preset("unimotion", "tiny").with_settings(["losses.reading=0"])
    (tmp_path / "config.json").write_text(config.to_json())
    options = argparse.Namespace(run=[f"bare={tmp_path}"], scenes=2, steps=1, quick=True)
    with pytest.raises(BadValue, match="a run first that has"):
        tokens.run(options)
