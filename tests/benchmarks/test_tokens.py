"""Runs of motion tokens side by side."""

import json

import pytest

pytest.importorskip("torch")

from benchmarks.__main__ import main
from realtime.training.run import Run
from tests.support.training import CPU, micro_tokens, one_thread  # noqa: F401 (fixtures)


def test_runs_are_judged_by_one_reader(tmp_path, capsys):
    for seed in (0, 1):
        Run(micro_tokens(steps=1, seed=seed), tmp_path / f"run{seed}", None, CPU, say=lambda text: None).go()
    named = [f"--run=a={tmp_path / 'run0'}", f"--run=b={tmp_path / 'run1'}"]
    file, page = tmp_path / "r.json", tmp_path / "sheet.png"
    assert main(["tokens", *named, "--scenes", "2", "--steps", "1", "--json", str(file), "--plot", str(page)]) == 0
    figures = {figure["name"]: figure for figure in json.loads(file.read_text())["figures"]}
    assert figures["a.cross.keypoints"]["target"] == 4.5
    assert figures["b.ratio.l1"]["value"] > 0
    assert figures["b.retrieval.reference"]["better"] == "higher"
    assert page.is_file()


def test_without_runs_it_says_what_to_name(capsys):
    assert main(["tokens"]) == 2
    assert "--run all=runs/all" in capsys.readouterr().err
