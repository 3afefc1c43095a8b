"""Settings that must be made before any library is loaded, and what a run says at its end about skipped tests."""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# Two threads that wait for each other on a busy machine burn five times the work of one; nothing here is large.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No generated test fails because the machine has something else to do.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What is skipped in a fresh clone on Linux with `tests/install_system.sh` done, no GPU and no real clips (README.md).
BARE_MACHINE = 85

SLOW_S = 1200
"""What a test marked `slow` may take, seconds; others have pytest's `timeout`."""


def pytest_collection_modifyitems(items):
    """Slow tests get their time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_S))


def pytest_terminal_summary(terminalreporter):
    """What passed only when it was run again; every reason for which tests were skipped, the commonest first."""
    if again := terminalreporter.stats.get("rerun", ()):
        terminalreporter.section("run again")
        for report in again:
            cause = getattr(report.longrepr, "reprcrash", None)
            terminalreporter.line(f"{report.nodeid}: {cause.message.splitlines()[0] if cause else report.when}")
    reports = terminalreporter.stats.get("skipped", ())
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if not reasons:
        return
    terminalreporter.section("skipped, and why")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5d}  {reason}")
    if reasons.total() > BARE_MACHINE:
        terminalreporter.line(
            f"More than the {BARE_MACHINE} that a machine without a GPU and real clips skips: something that the "
            "tests need is missing here (sh tests/install_system.sh).",
            yellow=True,
        )
