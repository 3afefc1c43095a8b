"""The user's own pictures beside a server that hangs, refuses and answers late: what the page keeps, asks and says.
The page's modules in a real Chromium; the server is made up, and so is the connection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.browser import browser
from tests.support.page import PATIENCE_MS, wait_js

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
WEB = Path(__file__).resolve().parents[2] / "clients" / "web"
SITE = "http://localhost"
PORTRAIT = {"id": "own-1", "title": "Me", "image": "", "uploaded": True, "views": []}
# One picture with two views is kept; the connection and the server's greeting are made up.
BEGIN = """async views => {
  const keep = await import('/app/keep.js'), { Portraits } = await import('/app/portraits.js');
  for (const { key } of await keep.kept()) await keep.forget(key);
  const canvas = document.createElement('canvas');
  const picture = await new Promise(resolve => canvas.toBlob(resolve));
  await keep.keep({key: 'kept-1', title: 'Me', picture, at: 1, views: views.map(key => ({key, picture}))});
  const wishes = {portrait: 'kept-1', set(change) { Object.assign(this, change); }};
  const connection = {session: '', send() {}};
  const portraits = new Portraits(document.querySelector('#gallery'), connection, wishes);
  window.hello = session => {
    connection.session = session;
    const state = {portrait: 'plain', preparing: false};
    return portraits.begin({session, views: 3, portraits: [], panel: false, state});
  };
  window.views = async () => (await keep.kept()).flatMap(({views}) => (views ?? []).map(({key}) => key));
  Object.assign(window, {keep, portraits, picture});
  for (const id of ['own-row', 'views']) document.getElementById(id).hidden = false;
}"""


class Api:
    """Answers requests as told, in order of the rules. log: what was asked."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.waiting: list = []
        self.rules: list[tuple[str, int | None, object]] = []

    def __call__(self, route) -> None:
        asked = f"{route.request.method} {route.request.url.removeprefix(SITE + '/api/sessions/').partition('?')[0]}"
        self.log.append(asked)
        for rule in self.rules:
            if rule[0] in asked:
                if rule[1] is None:
                    self.waiting.append(route)
                    return
                if rule[1] >= 400:
                    self.rules.remove(rule)
                self.answer(route, rule[1], rule[2])
                return
        views = sum(line.startswith("POST") and line.endswith("/views") for line in self.log)
        self.answer(route, 201, {**PORTRAIT, "views": [f"view-{i}" for i in range(views)]})

    def answer(self, route, status: int, body: object) -> None:
        headers = {"Retry-After": "1"} if status == 503 else {}
        route.fulfill(status=status, headers=headers, content_type="application/json", body=json.dumps(body))


@pytest.fixture(scope="module")
def chrome(driver):
    with browser(driver) as chrome:
        yield chrome


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def page(chrome, api):
    context = chrome.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.route(f"{SITE}/app/*", lambda route: route.fulfill(path=WEB / route.request.url.rpartition("/")[2]))
    page.route(f"{SITE}/app/main.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.route(f"{SITE}/api/**", api)
    page.route(f"{SITE}/", lambda route: route.fulfill(path=WEB / "index.html"))
    page.goto(SITE + "/")
    yield page
    context.close()


def message(text: str) -> str:
    return f"document.querySelector('#message').textContent.includes({json.dumps(text)})"


def test_a_portrait_that_was_deleted_does_not_come_back_with_its_view(page, api):
    page.evaluate(BEGIN, ["a"])
    page.evaluate("hello('one')")
    page.wait_for_selector("#views-list [aria-disabled='false']")
    api.rules.append(("DELETE one/portraits/own-1/views", None, None))
    page.click("[aria-label='Remove view 1']")
    wait_js(page, "document.querySelector('#views-list [aria-busy=true]') !== null")
    page.evaluate("portraits.remove()")
    assert page.evaluate("keep.kept().then(all => all.length)") == 0
    wait_js(page, message("is deleted, here and on the server"))
    with page.expect_event("requestfinished"):
        api.answer(api.waiting.pop(), 404, {"detail": "there is no own portrait called 'own-1'. Known:"})
    for _ in range(3):  # behind whatever the page does now with what it keeps
        assert page.evaluate("keep.kept().then(all => all.length)") == 0
    assert page.evaluate(message("is deleted, here and on the server"))


def test_what_is_changed_is_what_another_page_left(page):
    page.evaluate(BEGIN, ["a", "b"])
    change = "keep.update('kept-1', now => ({...now, views: now.views.filter(({key}) => key !== 'a')}))"
    both = "Promise.all([0, 1].map(i => keep.update('kept-1', now => ({...now, [i]: i}))))"
    assert page.evaluate(both) == ["done", "done"]
    assert page.evaluate(change) == "done"
    assert page.evaluate("keep.kept().then(([one]) => [one[0], one[1], one.views.length])") == [0, 1, 1]
    page.evaluate("keep.forget('kept-1')")
    assert page.evaluate(change) == "absent"
    assert page.evaluate("keep.kept()") == []


def test_what_the_browser_cannot_store_is_listed_once(page):
    page.evaluate(BEGIN, ["a"])
    refuse = "void (IDBObjectStore.prototype.NAME = () => { throw new DOMException('', 'QuotaExceededError'); })"
    for name in ("put", "delete"):
        page.evaluate(refuse.replace("NAME", name))
    assert page.evaluate("keep.update('kept-1', now => ({...now, views: []}))") == "page"
    assert page.evaluate("keep.kept().then(all => all.map(one => one.views.length))") == [0]
    assert page.evaluate("keep.forget('kept-1')") == "page"
    assert page.evaluate("keep.kept()") == []


def test_a_request_that_hangs_does_not_block_the_next_session(page, api):
    page.evaluate(BEGIN, [])
    api.rules.append(("POST one/", None, None))
    page.evaluate("void hello('one')")
    ask = "import('/app/uploads.js').then(({look}) => look('one', picture)).catch(error => error.status)"
    page.evaluate(f"void (window.second = {ask})")
    page.evaluate("hello('two')")
    assert [line for line in api.log if line.startswith("POST two/portraits")]
    assert page.evaluate("second") == 0, "what waited for the old session waits on"
    assert "POST one/look" not in api.log


def test_one_refused_view_does_not_stop_the_others_and_is_marked(page, api):
    page.evaluate(BEGIN, ["a", "b", "c", "d"])
    refusal = {"detail": "It cannot be a portrait: no human face was found"}
    api.rules += [("own-1/views", 400, refusal), ("own-1/views", 503, {"detail": "busy"})]
    page.evaluate("hello('one')")
    wait_js(page, "document.querySelectorAll('#views-list [data-lacking]').length === 2")
    wait_js(page, "!document.querySelector('#views-list [aria-busy=true]')")
    assert api.log.count("POST one/portraits/own-1/views") == 4, "one of them twice"
    marked = page.evaluate("[...document.querySelectorAll('#views-list .face')].map(each => each.title)")
    assert "no human face" in marked[0]
    assert marked[1:3] == ["", ""]
    assert "takes no more" in marked[3]
    assert page.get_attribute("#views-list img", "alt").startswith("View 1. Not on the server")
    assert page.is_hidden("#message"), "nobody did anything"


def test_what_the_server_did_not_delete_is_said(page, api):
    page.evaluate(BEGIN, [])
    page.evaluate("hello('one')")
    api.rules.append(("DELETE one/portraits/own-1", 503, {"detail": "Too much to do"}))
    page.evaluate("portraits.remove()")
    assert page.evaluate(message("is deleted here. The server did not: Too much to do. It forgets"))
    assert page.evaluate("keep.kept()") == []
