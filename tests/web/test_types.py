"""The page's modules hold together: types, and what they say about the server's messages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from realtime.motion.edits import AMPLITUDE_GROUPS
from realtime.server.common import messages

WEB = Path(__file__).resolve().parents[2] / "clients" / "web"
COMPILER = Path(__file__).parent / "node_modules" / "typescript" / "bin" / "tsc"


@pytest.fixture(scope="module")
def tsc() -> list[str]:
    """The TypeScript compiler, the version that `package-lock.json` beside this file names."""
    if not COMPILER.exists() or not shutil.which("node"):
        pytest.skip("no TypeScript here, the page's types are not checked: sh tests/install_system.sh (it needs npm)")
    return ["node", str(COMPILER)]


def test_the_modules_pass_the_type_checker(tsc):
    done = subprocess.run([*tsc, "-p", str(WEB)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_the_type_checker_would_notice(tsc, tmp_path):
    for file in filter(Path.is_file, WEB.iterdir()):
        shutil.copy(file, tmp_path / file.name)
    main = tmp_path / "main.js"
    main.write_text(main.read_text().replace('{ type: "calibrate" }', '{ type: "calibrat" }'))
    done = subprocess.run([*tsc, "-p", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert "calibrat" in done.stdout


def test_the_page_knows_every_message_and_its_fields():
    """types.d.ts is written by hand; the server's schema is the truth."""
    types = (WEB / "types.d.ts").read_text()
    schema = messages.schema()
    names = json.dumps(schema["commands"]["discriminator"]["mapping"]) + json.dumps(
        schema["events"]["discriminator"]["mapping"]
    )
    for name in re.findall(r'"(\w+)": "#', names):
        assert f'type: "{name}"' in types, name
    for model in (messages.Hello, messages.State, messages.Stats, messages.DirectionInfo, messages.PortraitInfo):
        for field in model.model_fields:
            assert re.search(rf"\b{field}: ", types), f"{model.__name__}.{field}"


def test_the_page_has_a_slider_for_how_far_each_part_moves():
    said = re.search(r"export const PARTS = (\[.*\]);", (WEB / "wishes.js").read_text())
    assert said is not None
    assert json.loads(said[1]) == list(AMPLITUDE_GROUPS)


def test_nothing_comes_from_elsewhere():
    for file in WEB.iterdir():
        if file.suffix in {".html", ".css", ".js"}:
            text = file.read_text()
            assert not re.search(r"(?:src|href|from|import|url)\s*[=(]?\s*[\"'(]\s*(?:https?:)?//", text), file.name
            assert "onclick=" not in text
            assert not re.search(r"<script(?![^>]*src=)", text), file.name
