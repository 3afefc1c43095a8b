"""The transparent view in Firefox, by its pixels: as in Chromium, see `test_view`."""

from __future__ import annotations

import pytest

from benchmarks.live.clients.firefox import firefox
from benchmarks.live.clients.seen import Absent
from realtime.media.backgrounds import GREEN
from tests.support.server import running
from tests.web.test_view import MIXED, check_rim

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def page():
    """A Firefox at a view of a link that nothing drives."""
    try:
        with running() as server, firefox(window=True) as page:
            page.goto(f"{server.url}/view/{'x' * 24}")
            yield page
    except Absent as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("own", [(30, 22, 18), (224, 184, 160), (128, 128, 128), (250, 250, 250)])
def test_a_transparent_view_has_no_rim_in_firefox(page, own):
    check_rim(own, *page.evaluate(f"({MIXED})({[list(own), list(GREEN)]})"))
