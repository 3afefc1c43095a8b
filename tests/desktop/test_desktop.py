"""The companion's window, its icon in the tray, and what it wore last."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from realtime.desktop import last
from realtime.desktop.tray import COLOURS, Tray, picture_of, state_of
from realtime.desktop.window import Window, find_browser
from realtime.errors import BadValue, DeviceError, MissingExtra
from realtime.flow.metrics import RunStats
from realtime.media.backdrop import Backdrop
from realtime.media.backgrounds import Behind
from realtime.presets.preset import Preset, PresetPortrait
from realtime.session.control import Control
from realtime.session.shelf import Shelf
from realtime.settings import Live
from tests.support import FakeEngine


@pytest.fixture
def control() -> Control:
    engine = FakeEngine()
    control = Control(Live(), engine.directions, RunStats("fake", "cpu", 64), Shelf(engine))
    control.phase, control.face = "running", "tracked"
    return control


# The window


def test_the_first_browser_of_the_family_is_found():
    have = {"google-chrome": "/usr/bin/google-chrome", "brave-browser": "/usr/bin/brave"}
    assert find_browser("linux", have.get) == "/usr/bin/google-chrome"
    assert find_browser("linux", {}.get) is None


def test_a_browser_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadValue, match="a command of this system"):
        Window(tmp_path, "no-such-browser --flag")


@pytest.fixture
def fake_browser(tmp_path) -> Path:
    """Notes how it was called, and stays until it is ended."""
    path = tmp_path / "browser"
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nexec sleep 60\n')
    path.chmod(0o755)
    return path


def called(folder: Path, times: int) -> list[str]:
    for _ in range(200):
        lines = (folder / "called").read_text().splitlines() if (folder / "called").exists() else []
        if len(lines) >= times:
            return lines
        time.sleep(0.02)
    raise AssertionError(f"called {len(lines)} times")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_the_window_is_a_process_of_its_own_that_is_closed_and_opened_again(tmp_path, fake_browser):
    window = Window(tmp_path / "profile", f"{fake_browser} --dark")
    assert window.owned
    assert not window.open
    window.show("http://127.0.0.1:1/")
    window.show("http://127.0.0.1:1/")  # it is open: nothing happens
    (call,) = called(tmp_path, 1)
    assert call.startswith("--dark ")
    assert "--app=http://127.0.0.1:1/" in call
    assert f"--user-data-dir={tmp_path / 'profile'}" in call
    process = window._process
    window.close()
    window.close()
    assert process.poll() is not None
    assert not window.open
    window.show("http://127.0.0.1:1/")
    assert len(called(tmp_path, 2)) == 2
    window.close()


def test_without_such_a_browser_the_page_is_a_tab(tmp_path, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr("realtime.desktop.window.find_browser", lambda: None)
    monkeypatch.setattr("webbrowser.open", opened.append)
    window = Window(tmp_path)
    window.show("http://127.0.0.1:1/")
    assert opened == ["http://127.0.0.1:1/"]
    assert not window.owned
    assert not window.open


# The tray


def test_the_icon_says_what_the_session_does(control):
    assert state_of(control) == "live"
    control.face = "idle"
    assert state_of(control) == "no face"
    control.pause()
    assert state_of(control) == "paused"
    control.phase = "starting"
    assert state_of(control) == "starting"


def test_the_icons_differ():
    pictures = [np.array(picture_of(state)).tobytes() for state in ("live", "paused", "no face")]
    assert len(set(pictures)) == 3
    assert np.array(picture_of("live"))[32, 4, :3] == pytest.approx(COLOURS["live"], abs=3)


class FakeIcon:
    """pystray's icon, without a desktop."""

    def __init__(self, name, icon, title, menu) -> None:
        self.icon, self.title, self.menu, self.shown, self.updates = icon, title, menu, False, 0
        self.gone = threading.Event()

    def run(self) -> None:
        self.shown = True
        self.gone.wait(10)
        self.shown = False

    def update_menu(self) -> None:
        self.updates += 1

    def stop(self) -> None:
        self.gone.set()


@pytest.fixture
def pystray(monkeypatch):
    library = SimpleNamespace(
        Icon=FakeIcon,
        Menu=lambda *items: {item.text: item for item in items},
        MenuItem=lambda text, action, **more: SimpleNamespace(text=text, action=action, **more),
    )
    monkeypatch.setitem(sys.modules, "pystray", library)
    monkeypatch.setattr(sys, "platform", "linux")
    return library


def test_the_menu_opens_pauses_and_quits(control, pystray):
    shown: list[bool] = []
    tray = Tray(control, lambda: shown.append(True))
    tray.start()
    menu = tray.icon.menu
    menu["Open"].action()
    assert shown == [True]
    assert menu["Open"].default
    menu["Pause"].action()
    assert control.live.paused
    assert menu["Pause"].checked(None)
    assert (tray.state, tray.icon.title) == ("paused", "Realtime avatar: paused")
    menu["Pause"].action()
    assert not control.live.paused
    menu["Quit"].action()
    assert control.stopping
    tray.close()
    tray.close()
    assert not tray.icon.shown


def test_the_icon_keeps_up_by_itself(control, pystray, monkeypatch):
    monkeypatch.setattr("realtime.desktop.tray.LOOK_SECONDS", 0.01)
    tray = Tray(control, lambda: None)
    tray.start()
    control.face = "idle"
    for _ in range(200):
        if tray.icon.title.endswith("no face"):
            break
        time.sleep(0.01)
    assert tray.icon.title.endswith("no face")
    tray.close()


def test_without_the_library_or_a_tray_one_sentence_says_so(control, monkeypatch):
    monkeypatch.setitem(sys.modules, "pystray", None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(MissingExtra, match=r"\[app\]"):
        Tray(control, lambda: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="macOS"):
        Tray(control, lambda: None)


# What was worn last


def test_what_was_worn_is_worn_again(control, monkeypatch, tmp_path):
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path))
    assert last.worn_last() is None
    control.change(edits={"smile": 0.3}, amplitude={"head": 0.5}, mirror=False, hold_gaze=False)
    preset = last.as_preset(
        control, "fake", PresetPortrait("astronaut", title="Astronaut"), Behind("blur", 2.0), "16:9"
    )
    last.keep(preset)
    worn = last.worn_last()
    assert dict(worn.edits) == {"smile": 0.3}
    assert dict(worn.amplitude) == {"head": 0.5}
    assert (worn.portrait.id, worn.background, worn.calibration) == ("astronaut", "blur", None)
    assert (worn.blur, worn.shape) == (2.0, "16:9")
    clip = Backdrop((b"", b""), 1.0, b"\0\0\0\x20ftypisom")
    last.keep(last.as_preset(control, "fake", PresetPortrait("astronaut"), Behind("own", own=clip), ""))
    assert last.worn_last().own_background == clip.source
    last.place().write_text("{ damaged")
    assert last.worn_last() is None


@pytest.mark.parametrize(("portrait", "clip", "left"), [(2, 8, (True, False)), (10, 0, (False, False))])
def test_what_is_too_large_to_be_worn_again_is_left_out(portrait, clip, left, monkeypatch, tmp_path):
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path))
    picture = PresetPortrait(picture=bytes(portrait * 2**20))
    last.keep(Preset("last", picture, mirror=True, own_background=bytes(clip * 2**20)))
    worn = last.worn_last()
    assert worn.mirror
    assert (worn.portrait is not None, worn.own_background != b"") == left


# The whole program, on a screen in memory


@pytest.mark.browser
@pytest.mark.timeout(180)
@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("chromium")), reason="no Xvfb or no Chromium here")
def test_the_companion_opens_its_window_and_ends_whole(tmp_path):
    if importlib.util.find_spec("pystray") is None:
        pytest.skip("pystray is not installed: pip install 'realtime-avatar[app]'")
    number = 300 + os.getpid() % 200
    screen = subprocess.Popen(["Xvfb", f":{number}", "-screen", "0", "1280x960x24", "-nolisten", "tcp"])
    environment = {**os.environ, "DISPLAY": f":{number}", "AVATAR_HOME": str(tmp_path), "PYSTRAY_BACKEND": "xorg"}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "realtime", "app", "--source", "motion:builtin", "--size", "256", "--port", "0"]
    browser = "chromium --no-sandbox --disable-gpu --remote-debugging-port=0"
    app = None
    try:
        app = subprocess.Popen(
            [*command, "--browser", browser], cwd=root, env=environment, stderr=subprocess.PIPE, text=True
        )
        port = tmp_path / "app" / "window" / "DevToolsActivePort"
        for _ in range(900):
            if port.exists() or app.poll() is not None:
                break
            time.sleep(0.1)
        assert port.exists(), app.stderr.read()
        time.sleep(1.0)
        app.terminate()
        _, said = app.communicate(timeout=60)
    finally:
        for process in (app, screen):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)
    assert app.returncode == 0, said
    assert "Traceback" not in said
    left = subprocess.run(
        ["pgrep", "-f", str(tmp_path / "app" / "window")], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""
    assert (tmp_path / "app" / "last.json").exists()
