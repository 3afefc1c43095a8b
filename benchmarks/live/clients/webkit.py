"""WebKitGTK's MiniBrowser, driven over WebDriver; on a screen in memory where there is none.

Debian builds it without WebRTC: our page then shows pictures that come over HTTP.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.live.clients.screen import screen
from benchmarks.live.clients.seen import Absent
from benchmarks.live.loopback import free_port
from realtime.errors import ConnectionLost

PACKAGES = ("webkit2gtk-driver", "xvfb")


class Page:
    """Its one tab."""

    def __init__(self, address: str, browser: str) -> None:
        self._address = address
        options = {"binary": browser, "args": ["--automation"]}
        asked = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        self._session = self._ask("POST", "/session", asked)["sessionId"]
        self._ask("POST", f"/session/{self._session}/timeouts", {"script": 900_000})

    def goto(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._ask("POST", f"/session/{self._session}/url", {"url": url})

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, waited for where it is a promise. Raises ConnectionLost with what it threw."""
        script = (
            f"const done = arguments[0]; (async () => ({expression}))().then(done, e => done({{thrown: `${{e}}`}}));"
        )
        said = self._ask("POST", f"/session/{self._session}/execute/async", {"script": script, "args": []})
        if isinstance(said, dict) and "thrown" in said:
            raise ConnectionLost("WebKit", said["thrown"])
        return said

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", f"/session/{self._session}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._address + path, data, {"content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=900) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise ConnectionLost("WebKit", json.load(error)["value"]["message"]) from error


@contextlib.contextmanager
def webkit() -> Iterator[Page]:
    """A MiniBrowser. Raises Absent."""
    driver = shutil.which("WebKitWebDriver")
    browser = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)
    if driver is None or browser is None:
        raise Absent("WebKit", "is not installed", f"On Debian: apt-get install {' '.join(PACKAGES)}")
    port = free_port()
    with contextlib.ExitStack() as stack:
        shown = os.environ.get("DISPLAY") or stack.enter_context(screen())
        process = stack.enter_context(
            subprocess.Popen(
                [driver, f"--port={port}"],
                env={**os.environ, "DISPLAY": shown},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(process.terminate)
        page = _begun(f"http://127.0.0.1:{port}", str(browser))
        stack.callback(page.close)
        yield page


def _begun(address: str, browser: str) -> Page:
    until = time.monotonic() + 20
    while True:
        try:
            return Page(address, browser)
        except urllib.error.URLError as error:
            if time.monotonic() > until:
                raise Absent("WebKit", "does not start") from error
            time.sleep(0.2)
