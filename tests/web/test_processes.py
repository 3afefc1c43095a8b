"""The page on a server of several processes: the one that has its session dies, and it goes on by itself. In a real
Chromium."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import until
from tests.support.page import frames_decoded, live
from tests.support.processes import processes
from tests.support.server import running

pytestmark = [pytest.mark.browser, pytest.mark.hostile, pytest.mark.timeout(300)]


def test_when_its_process_dies_the_page_goes_on_in_another(chrome):
    place = processes()
    with running(place) as server:
        page = chrome.new_context().new_page()
        page.goto(server.url)  # at once: the page is there before the first worker is
        live(page, 120_000)
        until(lambda: all(worker.ready for worker in place._workers), 120)

        def owner() -> str:
            nodes = place._desk.directory.nodes
            return next((name for name, node in nodes.items() if node.sessions), "")

        old = owner()
        process = place._workers[int(old) - 1].process
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: owner() not in {"", old}, 60, "it did not offer again")
        live(page, 60_000)
        before = frames_decoded(page)
        until(lambda: frames_decoded(page) > before + 5, 60, "no pictures")
        page.context.close()
