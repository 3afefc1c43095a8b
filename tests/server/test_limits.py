"""The limits that SECURITY.md promises, and the tests that it names."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

from realtime.server.common.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()


def test_the_table_says_what_the_code_does():
    stated = dict(re.findall(r"(?m)^\| .*\(`(\w+)`\) \| ([\d.]+)", TEXT))
    limits = {field.name: getattr(Limits(), field.name) for field in dataclasses.fields(Limits)}
    assert stated.keys() == limits.keys()
    for name, value in limits.items():
        if name != "sessions":  # it goes by the machine's cores
            assert float(stated[name]) == value, name


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 20
    for file, name in named:
        functions = {n.name for n in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(n, "name")}
        assert name in functions, f"{file}::{name}"
    assert not re.findall(r"`::\w+`", TEXT)  # each with its file
