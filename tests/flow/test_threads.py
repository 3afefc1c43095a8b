"""How much of the machine a session may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.flow.threads import cores
from realtime.server.common.limits import suitable_sessions


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("100000 100000", 1), ("250000 100000", 2), ("9 100", 1), ("640 100", 3), ("max 100000", 3), ("", 3)],
)
def test_a_containers_quota_counts_as_cores(tmp_path, monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert cores(file) == expected


def test_without_linux_the_machines_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores(Path("no such file")) == 6


@pytest.mark.parametrize(("count", "sessions"), [(1, 2), (2, 4), (3, 6), (4, 8), (64, 8)])
def test_two_sessions_for_each_core_unless_told_otherwise(count, sessions):
    assert suitable_sessions(count) == sessions


def test_the_end_of_the_program_waits_for_what_is_done_aside():
    """Python kills a daemon thread as it leaves a native library, which ends the process with SIGABRT."""
    code = (
        "import time; from realtime.flow.threads import aside; aside(lambda: (time.sleep(0.5), print('done')), 'x')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "done\n"
