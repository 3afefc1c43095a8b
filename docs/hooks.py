"""Pages that are made anew at every build, from what the project says elsewhere: README and its siblings, `--help`,
the HTTP interface. Nothing is written twice, and a link that leads nowhere fails `mkdocs build --strict`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/README.md",
    "training.md": "realtime/training/README.md",
}
"""Page of the site: the file that it is."""

PICTURES = ("realtime/data/readme.jpg", "docs/imports.svg")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {page: _linked((ROOT / file).read_text(encoding="utf-8"), file) for page, file in PAGES.items()}
    made["commands.md"] = commands()
    made["network.md"] = (ROOT / "docs" / "pages" / "network.md").read_text(encoding="utf-8") + routes()
    for page, text in made.items():
        existing = files.get_file_from_path(page)
        if existing is not None:
            files.remove(existing)
        files.append(File.generated(config, page, content=text))
    for picture in PICTURES:
        name = f"pictures/{Path(picture).name}"
        files.append(File.generated(config, name, abs_src_path=str(ROOT / picture)))
    return files


def _linked(text: str, file: str) -> str:
    """Links between the project's files, as links between the site's pages; others become plain text."""
    pages = {(ROOT / source).resolve(): page for page, source in PAGES.items()}
    pictures = {(ROOT / picture).resolve(): f"pictures/{Path(picture).name}" for picture in PICTURES}

    def one(match: re.Match[str]) -> str:
        bang, label, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match.group(0)
        path, _, anchor = target.partition("#")
        where = ((ROOT / file).parent / path).resolve()
        if where in pictures:
            return f"{bang}[{label}]({pictures[where]})"
        if where in pages:
            return f"{bang}[{label}]({pages[where]}{'#' + anchor if anchor else ''})"
        return label if label.startswith("`") else f"`{where.relative_to(ROOT)}`"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", one, text)


def commands() -> str:
    """Every command with what its `--help` says."""
    import typer.main

    from realtime.cli import build_app
    from realtime.commands import COMMANDS

    group: Any = typer.main.get_command(build_app())
    out = [
        "# Command line\n",
        "`avatar COMMAND --help` says the same. Exit codes: 0 well, 2 wrong usage or bad input,",
    ]
    out.append("1 failure while running.\n")
    for name in COMMANDS:
        out += _command(group.commands[name], f"avatar {name}", 2)
    return "\n".join(out)


def _command(command: Any, title: str, level: int) -> list[str]:
    out = [f"{'#' * level} {title}\n", _plain(command.help or ""), ""]
    if hasattr(command, "commands"):
        for name, part in command.commands.items():
            out += _command(part, f"{title} {name}", level + 1)
        return out
    rows = []
    for param in command.params:
        if getattr(param, "hidden", False) or param.name == "help":
            continue
        names = ", ".join(f"`{o}`" for o in (*param.opts, *param.secondary_opts)) if param.opts else f"`{param.name}`"
        if param.param_type_name == "argument":
            names = f"`{(param.metavar or param.name or '').upper()}`"
        about = _plain(getattr(param, "help", "") or "").replace("\n", " ").replace("|", r"\|")
        default = "" if param.default in (None, False, (), []) or callable(param.default) else f"`{param.default}`"
        rows.append(f"| {names} | {about} | {default} |")
    return [*out, "| | | default |", "| --- | --- | --- |", *rows, ""] if rows else out


def _plain(text: str) -> str:
    """A help text without the marks of the terminal; its examples as code."""
    text = re.sub(r"\[/?(?:b|i|dim|red|green)\]", "", text)
    lines = [f"    {line.strip()}" if line.strip().startswith("avatar ") else line for line in text.split("\n")]
    return "\n".join(lines).strip()


def routes() -> str:
    """The HTTP interface, from the description that the server itself gives."""
    from realtime import load_engine
    from realtime.server.http.app import create_app
    from realtime.server.places.here import Studio

    described = create_app(Studio(lambda: load_engine("mesh"), [])).openapi()
    out = ["", "## Routes\n", "| | | answers |", "| --- | --- | --- |"]
    for path, methods in described["paths"].items():
        for method, what in methods.items():
            about = " ".join((what.get("description") or what.get("summary") or "").split()).replace("|", r"\|")
            out.append(f"| `{method.upper()} {path}` | {about} | {', '.join(sorted(what['responses']))} |")
    return "\n".join(out) + "\n"
