"""`avatar doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from realtime.checks.machine import Check, examine


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """What works on this machine, what does not, and the one command that mends it.

    [b]Examples[/b]

      avatar doctor

      avatar doctor --json
    """
    checks = examine()
    if as_json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2))
        return
    _print(checks)


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    style = {"ok": "green", "warn": "yellow", "missing": "red"}
    table = Table("", "", "", "mend it with", box=None, pad_edge=False)
    for check in checks:
        table.add_row(Text(check.status, style[check.status]), check.name, Text(check.detail), Text(check.cure))
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)
    missing = [check.name for check in checks if check.status == "missing"]
    print(f"\nMissing: {', '.join(missing)}." if missing else "\nAll that the avatar needs is here.")
