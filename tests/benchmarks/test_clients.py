"""The table of other people's clients: what is made of what they saw and heard."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.live.clients.seen import Line, Seen
from benchmarks.live.clients.table import cells, markdown, remark
from benchmarks.report.result import Result


def watched(late: float, seconds: int = 6) -> Seen:
    """Pictures of 30 fps with a flash of 0.4 s each second, and beeps that come later by so much."""
    rest, flash = np.zeros((24, 32, 1), np.int16), np.full((24, 32, 1), 90, np.int16)
    seen = [(100 + n / 30, flash if n % 30 < 12 else rest) for n in range(30 * seconds)]
    return Seen(0.25, seen, [100 + n + late for n in range(seconds)])


@pytest.mark.parametrize("late", [-0.04, 0.0, 0.2])
def test_sound_is_compared_with_the_flash_next_to_it(late):
    line = watched(late).line()
    assert line.sound_late == pytest.approx(1000 * late, abs=1)
    assert line.rate == pytest.approx(30)
    assert line.held == pytest.approx(6, abs=0.1)
    assert line.first == 0.25


def test_what_came_before_counts_for_holding_alone():
    seen = watched(0.1)
    seen.heard = [at if at > 103 else at - 0.3 for at in seen.heard]
    line = seen.line(since=102.5)
    assert line.sound_late == pytest.approx(100, abs=1)
    assert line.held == pytest.approx(6, abs=0.1)


def test_a_browsers_own_account_stands_beside_what_was_measured():
    seen = watched(0.2)
    seen.believed = [150.0, 190.0, 900.0]
    assert seen.line().believed == 190
    assert watched(0.2).line().believed is None


def test_without_sound_or_pictures_nothing_is_made_up():
    silent = watched(0.0)
    silent.heard = []
    assert silent.line().sound_late is None
    assert Seen().line() == Line(why="no picture came")


def test_a_table_says_why_a_line_is_empty():
    result = Result("clients", settings={
        "seconds": 5.0, "clients": ["one", "two"], "skipped": {"two": "is not installed"}, "failed": {},
        "load average": [0.1], "load average after": [0.2],
    })  # fmt: skip
    result.add("one.first picture", 0.25, "s")
    result.add("one.sound late", -12.4, "ms")
    assert cells(result, "one") == ["0.2", "-", "-", "-12", "-"]
    assert remark(result, "one") == ""
    assert "| two | - | - | - | - | - | skipped: is not installed |" in markdown(result)


def test_an_unknown_client_is_refused_before_a_server_starts(capsys):
    assert command.main(["clients", "--only", "Netscape"]) == 2
    assert "Netscape" in capsys.readouterr().err
