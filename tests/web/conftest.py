"""A server, a camera and a Chromium for the tests of the page; one of each per module, and the camera's film once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import made_up_frames
from tests.support.browser import browser, playwright, write_camera
from tests.support.page import open_page, studio
from tests.support.server import running


@pytest.fixture(scope="module")
def server():
    with running(studio()) as server:
        yield server


@pytest.fixture(scope="session")
def camera(tmp_path_factory) -> Path:
    """A camera's film."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    return write_camera(made_up_frames(), path)


@pytest.fixture(scope="module")
def driver():
    with playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def chrome(driver, camera):
    with browser(driver, camera) as chrome:
        yield chrome


@pytest.fixture
def page(chrome, server):
    context = chrome.new_context(viewport={"width": 1280, "height": 860}, permissions=["camera"])
    page = open_page(context, server)
    yield page
    context.close()
    assert page.troubles == []
