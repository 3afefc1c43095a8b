"""What is made of faults, and that the attack really attacks."""

from __future__ import annotations

import asyncio
import os
import random
import time

import httpx
import pytest
from rich.console import Console

from benchmarks.live import attack, chaos, faults
from benchmarks.live.caller import Second
from benchmarks.live.fault_attack import delay, fps
from benchmarks.live.faults import Outcome
from benchmarks.report.result import Result
from realtime.errors import BadValue, DeviceError
from realtime.server.http.security import Policy
from tests.support.server import make_studio, running


def test_a_gap_is_noticed_and_steady_pictures_are_recovery():
    steady = [k / 30 for k in range(300)]
    assert faults.noticed_after(steady, 2.0) is None
    cut = [t for t in steady if not 3.0 < t < 6.0]
    assert faults.noticed_after(cut, 2.9) == pytest.approx(0.1 + faults.GAP_S, abs=0.05)
    assert faults.noticed_after(cut[:60], 1.9) is None
    assert faults.recovered_after([*cut[:90], 4.0, 5.0, *cut[90:]], 3.5) == pytest.approx(2.5, abs=0.05)
    assert faults.recovered_after(cut, 9.9) is None


def test_rates_and_delays_of_a_stretch():
    seconds = [Second(float(k), 30, 0.05 + k / 1000, 1) for k in range(11)]
    assert fps(seconds) == 30
    assert delay(seconds) == pytest.approx(55)
    assert fps([]) == 0


def result_of(**outcomes: Outcome) -> Result:
    result = Result("chaos")
    for name, outcome in outcomes.items():
        chaos.add(result, name, outcome)
    return result


def test_each_fault_is_a_row_and_what_is_not_held_fails(capsys):
    fine = Outcome("a stall", noticed=0.5, recovered=0.2, recovers_within=2.0)
    absent = Outcome("a clock", skipped="libfaketime is not installed")
    slow = Outcome("a cut", recovered=5.0, recovers_within=2.0)
    weak = Outcome("an attack", figures={"fps during": (12.0, "fps", 20.0)})
    lost = Outcome("a stop", lost="the session", held=False)
    assert chaos.passed(result_of(fine=fine, absent=absent))
    for bad in (slow, weak, lost):
        assert not chaos.passed(result_of(fine=fine, bad=bad))
    chaos.show(result_of(fine=fine, absent=absent, slow=slow, weak=weak, lost=lost), Console(width=160))
    said = capsys.readouterr().out
    assert "libfaketime is not installed" in said
    assert said.count("not held") == 2
    assert "too few" in said


def test_a_fault_that_ends_the_server_is_a_row():
    def kills() -> Outcome:
        raise DeviceError("avatar serve", "ended with exit code 1")

    assert not chaos.passed(result_of(killed=chaos.tried(kills)))


def test_an_unknown_fault_is_wrong_usage():
    from benchmarks.__main__ import parser_for

    with pytest.raises(BadValue, match="attack"):
        chaos.run(parser_for("chaos", chaos).parse_args(["--only", "flood"]))


def test_a_picture_that_is_not_drawn_is_not_promised(capsys, monkeypatch):
    from benchmarks.__main__ import main

    monkeypatch.setattr(chaos, "run", lambda options: pytest.fail("it ran"))
    assert main(["chaos", "--plot", "chaos.svg"]) == 2
    assert "chaos draws no picture" in capsys.readouterr().err


def test_datagrams_are_of_every_kind():
    draw = random.Random(1)
    made = [attack.garbage(draw) for _ in range(500)]
    assert b"" in made
    assert {made[k][:1] for k in range(500)} >= {b"\x00", b"\x01", b"\x16", b"\x80"}


@pytest.mark.hostile
async def test_the_attack_attacks_and_the_server_stays(monkeypatch):
    token = "a-token-of-the-test"
    monkeypatch.setattr(attack, "CONNECTIONS", 40)
    with running(make_studio(), Policy(token=token)) as server:
        under_way = attack.Attack(server.url, os.getpid(), token)
        running_it = asyncio.create_task(under_way.run())
        answers = {"wrong tokens": (401, 429), "uploads": (413,), "silent offers": (201, 503)}
        wanted = [f"{what} answered {status}" for what, statuses in answers.items() for status in statuses]
        wanted += ["silent connections", "malformed packets", "datagrams"]
        until = time.monotonic() + 60
        while not all(under_way.counts[what] for what in wanted) and time.monotonic() < until:
            await asyncio.sleep(0.1)
            assert not running_it.done()
        running_it.cancel()
        await asyncio.gather(running_it, return_exceptions=True)
        assert [what for what in wanted if not under_way.counts[what]] == []
        async with httpx.AsyncClient(base_url=server.url) as honest:
            assert (await honest.get("/api/health")).json()["status"] == "ok"
            opened = await honest.post("/api/sessions", json={}, headers={"authorization": f"Bearer {token}"})
            assert opened.status_code == 201
