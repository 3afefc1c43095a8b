"""What got worse: percentiles, intervals, verdicts, and the page that shows them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.report import page, report, statistics
from benchmarks.report.compare import compare, judge, other_machine
from benchmarks.report.result import Figure, Result


def figure(samples, better="lower", name="total.p50", unit="ms") -> Figure:
    return Figure(name, float(np.mean(samples)), unit, better, samples=list(samples))


def result(*figures: Figure, benchmark: str = "latency") -> Result:
    return Result(benchmark, figures=list(figures))


def test_percentiles_and_slope():
    assert statistics.percentiles(range(101)) == {"p50": 50, "p95": 95, "p99": 99}
    assert statistics.percentiles([]) == {}
    t = np.arange(50.0)
    spiky = 3 * t
    spiky[::10] += 500
    assert statistics.slope(t, spiky) == pytest.approx(3)
    assert np.isnan(statistics.slope([1], [1]))


def test_interval_of_a_ratio():
    rng = np.random.default_rng(1)
    old, new = rng.normal(10, 1, 40), rng.normal(12, 1, 40)
    ratio, low, high = statistics.ratio_interval(old, new)
    assert low < ratio < high
    assert low > 1.1
    assert high < 1.3
    assert statistics.ratio_interval(old, new) == (ratio, low, high)  # the same each time
    assert all(np.isnan(statistics.ratio_interval([0.0], [1.0])))


@pytest.mark.parametrize(
    ("old", "new", "better", "verdict"),
    [
        ([10, 10.2, 9.9, 10.1], [12, 12.1, 11.9, 12.2], "lower", "worse"),
        ([10, 10.2, 9.9, 10.1], [12, 12.1, 11.9, 12.2], "higher", "better"),
        ([12, 12.1, 11.9, 12.2], [10, 10.2, 9.9, 10.1], "higher", "worse"),
        ([8, 14, 9, 12], [9, 15, 8, 12], "lower", "same"),  # noise is larger than the change
        ([10, 10.001, 10], [10.1, 10.1, 10.1], "lower", "same"),  # sure, but too small to matter
        ([10], [20], "lower", "not judged"),  # no repeats, so no noise is known
        ([0], [0], "lower", "same"),
        ([0], [3], "lower", "not judged"),
    ],
)
def test_verdict(old, new, better, verdict):
    assert judge(figure(old, better), figure(new, better))[3] == verdict


@pytest.mark.parametrize(("clips", "verdict"), [(["a", "b"], "worse"), (["a"], "not judged")])
def test_figures_of_other_clips_are_not_judged(clips, verdict):
    old, new = result(figure([10, 10.2, 9.9])), result(figure([12, 12.1, 11.9]))
    old.settings["clips"], new.settings["clips"] = ["a", "b"], clips
    assert [change.verdict for change in compare([old], [new])] == [verdict]


def test_worst_first_and_only_what_both_have():
    old = [result(figure([10, 10, 10]), figure([1, 1, 1.01], name="b"), figure([5, 5, 5], name="gone"))]
    new = [result(figure([10, 10, 10.1]), figure([2, 2, 2.01], name="b"), Figure("fact", 3.0)), result(benchmark="x")]
    found = compare(old, new)
    assert [(c.name, c.verdict) for c in found] == [("b", "worse"), ("total.p50", "same")]
    assert found[0].ratio == pytest.approx(2, rel=0.01)


def test_other_machines_are_named():
    old, new = result(), result()
    assert other_machine([old], [new]) == []
    new.machine = {**new.machine, "cpu": "another one"}
    new.quick = True
    assert len(other_machine([old], [new])) == 2
    old.machine["busy_before"] = 80.0
    assert "busy with other work then: latency" in other_machine([old], [new])[-1]


def test_names_become_tables():
    assert page.by_case("mesh 512.total.p50") == ("", "mesh 512", "total.p50")
    assert page.by_group("self.mesh.l1") == ("self", "mesh", "l1")
    shown = page.tables(result(figure([1, 2, 3], name="a.x"), figure([4], name="b.x")), page.by_case)
    assert shown.count("<tr>") == 2
    assert "1.00 to 3.00" in shown


def test_report_from_files_is_one_page_that_asks_for_nothing(tmp_path, capsys):
    goal = Figure("mesh 512.total.p50", 20.0, "ms", "lower", target=15.0)
    report.save_all([result(goal, figure([1, 1, 1], name="<b>.x"))], str(tmp_path / "a.json"))
    out = tmp_path / "report.html"
    assert main(["report", "--from", str(tmp_path / "a.json"), "-o", str(out)]) == 0
    text = out.read_text()
    assert "0 of 1 reached" in text
    assert "&lt;b&gt;" in text
    assert not any(mark in text for mark in ("<script", "http://", "https://", "<link"))


def test_report_ends_with_1_where_something_got_worse(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    report.save_all([result(figure([10, 10.1, 10.2, 9.9]))], str(old))
    report.save_all([result(figure([15, 15.1, 15.2, 14.9]))], str(new))
    out = str(tmp_path / "r.html")
    assert main(["report", "--from", str(new), "-o", out, "--against", str(old)]) == 1
    assert "worse: latency total.p50" in capsys.readouterr().out
    assert main(["report", "--from", str(old), "-o", out, "--against", str(new)]) == 0


def test_the_table_for_a_readme_holds_only_what_was_measured():
    stages = result(Figure("mesh 512.frame.cpu.p50", 8.4, "ms"), Figure("mesh 512.frame.cpu.p95", 9.7, "ms"))
    stages.benchmark = "stages"
    text = report.markdown([stages])
    assert "| One frame on one core, 512 px | 8.40 / 9.70 | ms (median / p95) |" in text
    assert text.count("\n|") == 2
    assert stages.machine["cpu"] in text


def test_what_could_not_be_measured_says_so_in_its_place():
    text = report.build([], {"glass": "there is no <Chromium>"}, [], [], "")
    assert "Not measured here: there is no &lt;Chromium&gt;" in text


@pytest.mark.parametrize("arguments", [["--from", "none.json"], ["--only", "nothing"], ["--against", "none.json"]])
def test_bad_input_is_one_sentence(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
