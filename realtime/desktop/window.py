"""The page as a window: a browser without tabs and address bar (`--app=`), where one that can is installed."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterable
from pathlib import Path

from realtime.errors import BadValue

NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge",
    "microsoft-edge-stable", "brave-browser", "vivaldi",
)  # fmt: skip
_WINDOWS = (
    r"Google\Chrome\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
    r"Chromium\Application\chrome.exe",
)
_MACOS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
SIZE = (1180, 860)
PATIENCE_S = 5.0
"""Seconds that a browser gets to close by itself."""


def find_browser(platform: str = sys.platform, which: Callable[[str], str | None] = shutil.which) -> str | None:
    """A browser that can show a page as a window; None where there is none."""
    if platform == "win32":
        roots = (os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"))
        return _first(Path(root) / path for path in _WINDOWS for root in roots if root)
    if platform == "darwin":
        return _first(Path(path) for path in _MACOS)
    return next((found for name in NAMES if (found := which(name))), None)


def _first(paths: Iterable[Path]) -> str | None:
    return next((str(path) for path in paths if path.exists()), None)


class Window:
    """Shows one page. browser: command line of a browser of the Chromium family, "" for the first one found. folder:
    where it keeps its own profile, so that it is a process of its own and ends with its window.

    Raises BadValue where `browser` names none.
    """

    def __init__(self, folder: Path, browser: str = "") -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        command = shlex.split(browser, posix=os.name != "nt")
        if command and shutil.which(command[0]) is None:
            raise BadValue("--browser", browser, "a command of this system, as in chromium")
        found = None if command else find_browser()
        self._command = command or ([found] if found else [])

    @property
    def owned(self) -> bool:
        """It opens a window of its own, whose end is noticed; otherwise the page is a tab of the user's browser."""
        return bool(self._command)

    @property
    def open(self) -> bool:
        """Its window is there."""
        return self._process is not None and self._process.poll() is None

    def show(self, address: str) -> None:
        """Open the page, unless its window is open."""
        if not self.owned:
            webbrowser.open(address)
            return
        if self.open:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = [f"--user-data-dir={self._folder}", "--no-first-run", "--no-default-browser-check"]
        options += [f"--window-size={SIZE[0]},{SIZE[1]}", f"--app={address}"]
        self._process = subprocess.Popen(
            [*self._command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the session, which closes the window itself
        )

    def close(self) -> None:
        """Close its window. Safe to call twice."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
