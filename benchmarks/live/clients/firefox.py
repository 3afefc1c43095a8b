"""Firefox without a window, driven over WebDriver BiDi, which it speaks itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.live.clients.screen import screen
from benchmarks.live.clients.seen import Absent
from realtime.errors import ConnectionLost

PREFERENCES = {
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "webgl.force-enabled": True,
    "network.dns.disabled": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.auto": False,
}
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Page:
    """Its one tab."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._sent = socket, 0
        self._ask("session.new", capabilities={})
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def goto(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, waited for where it is a promise. Raises ConnectionLost with what it threw."""
        script = f"(async () => JSON.stringify(await ({expression}) ?? null))()"
        target = {"context": self._tab}
        said = self._ask("script.evaluate", expression=script, target=target, awaitPromise=True)
        if said["type"] == "exception":
            raise ConnectionLost("Firefox", said["exceptionDetails"]["text"])
        return json.loads(said["result"]["value"])

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while (said := json.loads(self._socket.recv(timeout=60))).get("id") != self._sent:
            pass  # an event
        if said["type"] == "error":
            raise ConnectionLost("Firefox", said["message"])
        return said["result"]


@contextlib.contextmanager
def firefox(window: bool = False) -> Iterator[Page]:
    """A Firefox with a made-up camera. window: it has one, on a screen in memory: WebGL wants that. Raises Absent."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        raise Absent("Firefox", "is not installed", "On Debian: apt-get install firefox-esr")
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        screen() if window else contextlib.nullcontext("") as shown,
    ):
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines), encoding="utf-8")
        log = Path(profile) / "said"
        command = [path, "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        command += [] if window else ["--headless"]
        seen = {**os.environ, "DISPLAY": shown, "LIBGL_ALWAYS_SOFTWARE": "1"} if window else None
        with (
            log.open("w") as out,
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=out, env=seen) as process,
        ):
            try:
                with connect(_address(process, log), max_size=None) as socket:
                    yield Page(socket)
            except WebSocketException as error:
                raise ConnectionLost("Firefox", str(error)) from error
            finally:
                process.terminate()


def _address(process: subprocess.Popen, log: Path) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if found := LISTENING.search(log.read_text(encoding="utf-8", errors="replace")):
            return found[1] + "/session"
        time.sleep(0.1)
    raise Absent("Firefox", "does not start, or knows no WebDriver BiDi")
