"""The page on a cluster: its machine dies, or is emptied, and it goes on elsewhere by itself. In a real Chromium."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import until
from tests.support.cluster import Cluster, whole
from tests.support.page import frames_decoded, live, studio, wait_js
from tests.support.server import running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def cluster():
    nodes = Cluster()
    for name in "ab":
        nodes.add(name, 4, studio=studio())
    with running(whole(nodes)) as server:
        nodes.server = server
        yield nodes


@pytest.fixture
def page(chrome, cluster):
    context = chrome.new_context(viewport={"width": 1280, "height": 860}, permissions=["camera"])
    page = context.new_page()
    page.goto(cluster.server.url)
    live(page)
    page.evaluate("""() => {
        const status = document.querySelector("#status");
        window.said = [];
        new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
    }""")
    yield page
    context.close()


def at(cluster) -> tuple[str, object]:
    return next((name, s) for name, host in cluster.hosts.items() for s in host.place.sessions.values())


def set_smile(page, cluster) -> float:
    page.focus("#direction-smile")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    smile = float(page.locator("#direction-smile").input_value())
    assert smile > 0
    until(lambda: at(cluster)[1].performer.live.edits.get("smile") == smile, what="the slider does not move")
    return smile


def goes_on(page, cluster, old: str, smile: float) -> None:
    until(lambda: old not in cluster.hosts or not cluster.hosts[old].place.sessions)
    until(lambda: any(host.place.sessions for host in cluster.hosts.values()), what="it did not offer again")
    assert at(cluster)[0] != old
    live(page)
    until(lambda: at(cluster)[1].performer.live.edits.get("smile") == smile, what="the slider was forgotten")
    assert set(page.evaluate("window.said")) == {"Connecting", "Live"}  # it neither waited nor asked for patience
    before = frames_decoded(page)
    until(lambda: frames_decoded(page) > before + 5, what="no pictures")


@pytest.mark.hostile
def test_when_its_machine_dies_the_page_goes_on_at_another_with_its_sliders(page, cluster):
    smile, old = set_smile(page, cluster), at(cluster)[0]
    asyncio.run_coroutine_threadsafe(cluster.kill(old), cluster.server.loop).result(20)
    goes_on(page, cluster, old, smile)


def test_when_its_machine_is_emptied_the_page_goes_on_at_another_and_waits_for_nothing(page, cluster):
    smile, old = set_smile(page, cluster), at(cluster)[0]
    cluster.server.call(cluster.desk.directory.drain, cluster.clock() + 100.0, old, 0.0)
    goes_on(page, cluster, old, smile)


def test_a_view_of_a_lost_session_comes_back_to_the_new_one(page, cluster, chrome):
    view = chrome.new_page()
    link = f"{cluster.server.url}/view/{at(cluster)[1].entry.keys.view}"
    view.goto(link)
    wait_js(view, "document.querySelector('#avatar').videoWidth > 0")
    old = at(cluster)[0]
    asyncio.run_coroutine_threadsafe(cluster.kill(old), cluster.server.loop).result(20)
    until(lambda: any(len(s.peers) == 2 for host in cluster.hosts.values() for s in host.place.sessions.values()))
    view.close()
