"""`avatar models`: the official weights of the neural engines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from realtime.commands.terminal import say
from realtime.engines.weights import hub
from realtime.engines.weights.registry import Record, catalogue, record_of, records
from realtime.errors import BadValue

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Official weights: fetch, register, check.")


def _some(fetched: bool = False) -> str:
    """Published models for a line of help. fetched: those that `pull` can fetch."""
    return ", ".join(name for name, model in catalogue().items() if model.repository or not fetched)


@app.command("list")
def list_() -> None:
    """What is published, and what is here.

    [b]Examples[/b]

      avatar models list
    """
    published = catalogue()
    for model in published.values():
        record = record_of(model.name)
        how = f"avatar models pull {model.name}" if model.repository else f"avatar models add {model.name} PATH"
        print(f"{model.name:10} {model.about}")
        print(f"{'':10} licence {model.licence}; published at {model.where}")
        print(f"{'':10} {_state(record) if record else f'not here: {how}'}")
    for record in records():
        if record.name not in published:
            print(f"{record.name:10} {record.about}")
            print(f"{'':10} {_state(record)}")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help=f"A published model: {_some(fetched=True)}.")],
    accept: Annotated[bool, typer.Option("--accept-licence", help="Accept the licence without being asked.")] = False,
) -> None:
    """Fetch official weights from the hub; a transfer that was cut off goes on where it stopped.

    The authors' licence is shown and asked for. --accept-licence answers yes beforehand, for scripts and containers:
    read the licence first (avatar models list names it).

    [b]Examples[/b]

      avatar models pull liveportrait

      avatar models pull lia-x

      avatar models pull lia-x --accept-licence
    """
    model = hub.published(name)
    if not hub.licence_accepted(model):
        say(f"{model.about}\npublished at {model.where}")
        say(f"licence: {model.licence}{LICENCES.get(model.licence, '')}")
        if not accept:
            if not sys.stdin.isatty():
                raise BadValue("licence", model.licence, "it has to be accepted: add --accept-licence")
            if not typer.confirm("Do you accept this licence?", err=True):
                raise BadValue("licence", model.licence, "it was not accepted, so nothing was fetched")
        hub.accept_licence(model)
    _registered(hub.pull(model))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help=f"Name to register under: {_some()}, or one of your own.")],
    path: Annotated[
        Path,
        typer.Argument(
            help="The weight file (.pt, .pth, .safetensors), which stays where it is, or LivePortrait's folder."
        ),
    ],
) -> None:
    """Register a weight file that is already here.

    [b]Examples[/b]

      avatar models add lia ~/Downloads/vox.pt

      avatar models add lia-taichi ~/Downloads/taichi.pt
    """
    _registered(hub.add(name, path))


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A registered model; all of them without it.")] = None,
) -> None:
    """Read registered files again: the same checksum, every tensor there, every number finite.

    [b]Examples[/b]

      avatar models verify
    """
    names = [name] if name else [r.name for r in records()]
    if not names:
        print("no weights are registered: avatar models list")
    for each in names:
        record = hub.verify(each)
        print(f"{each}: {record.about}, sha256 {record.sha256[:16]}...: whole and unchanged")


LICENCES = {
    "CC BY-NC 4.0": (
        ": free to use and share with attribution, not for commercial use;"
        "\nthe text: https://creativecommons.org/licenses/by-nc/4.0/legalcode"
    )
}


def _state(record: Record) -> str:
    here = "here" if Path(record.path).is_file() else "registered, but no longer there"
    return f"{here}: {record.path} ({record.bytes / 1e6:.0f} MB, sha256 {record.sha256[:16]}...)"


def _registered(record: Record) -> None:
    print(f"{record.name}: {record.about}, {record.bytes / 1e6:.0f} MB, sha256 {record.sha256}")
