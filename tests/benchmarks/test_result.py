"""Results on file, and the command line of the benchmarks."""

from __future__ import annotations

import json

import pytest

import benchmarks
from benchmarks.__main__ import main
from benchmarks.report.result import Figure, Result
from realtime.errors import BadFile


def test_a_result_comes_back_from_its_file(tmp_path):
    result = Result("latency", settings={"fps": 30}, notes=["a note"], series={"total": {"t": [0, 1], "ms": [5, 6]}})
    result.add("total.p50", None, "ms", samples=[4.0, 6.0], better="lower", target=15)
    result.add("nothing", float("nan"))
    result.save(tmp_path / "r.json")
    again = Result.load(tmp_path / "r.json")
    assert again.to_dict() == result.to_dict()
    assert again.get("total.p50").value == 5
    assert again.get("nothing").value is None
    assert again.get("absent") is None


def test_targets_know_which_way_is_good():
    assert Figure("a", 3.0, better="lower", target=4).met is True
    assert Figure("a", 3.0, better="higher", target=4).met is False
    assert Figure("a", 3.0, better="lower").met is None
    assert Figure("a", None, better="lower", target=4).met is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"figures": [{"nope": 1}]}'])
def test_a_file_that_is_no_result_is_refused(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(BadFile, match="not the JSON result"):
        Result.load(path)


def test_facts_of_the_machine_go_into_the_file(tmp_path):
    Result("x").save(tmp_path / "r.json")
    facts = json.loads((tmp_path / "r.json").read_text())["machine"]
    assert facts["cores"] >= 1
    assert facts["packages"]["numpy"]
    assert {"cpu", "memory_gib", "system", "python", "commit"} <= facts.keys()


def test_unknown_benchmark_is_one_sentence_and_exit_code_2(capsys):
    assert main(["latencyy"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "latencyy" in err


def test_every_benchmark_is_listed(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in benchmarks.BENCHMARKS)


def test_missing_clip_is_one_sentence_and_exit_code_2(capsys, tmp_path):
    absent = str(tmp_path / "none.mp4")
    assert main(["quality", "--engine", "still", "--clips", absent, "--portraits", absent]) == 2
    assert capsys.readouterr().err.startswith(f"error: {absent}")
