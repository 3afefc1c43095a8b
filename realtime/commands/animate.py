"""`avatar animate`."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.terminal import progress, say
from realtime.engines.choose import read_portrait
from realtime.errors import BadFile, BadValue, Interrupted
from realtime.film import MAKERS, Job, Maker, Progress, open_maker
from realtime.home import user_path
from realtime.media.credentials import check_signing, sign
from realtime.sinks import SinkOptions, open_sink

_SAID_EVERY = 30.0
"""Seconds between lines of progress where stderr is no terminal."""


def command(
    portrait: Annotated[
        str, typer.Argument(help="Picture of the person who is to move: best a whole body, as in the clip; builtin.")
    ],
    driving: Annotated[Path, typer.Option(help="Clip of the person whose motion is taken: one person, filmed.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Video to write: .mp4, .mov or .mkv.")] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="animate: the portrait moves, where it stands. replace: it takes the driver's place in the clip."
        ),
    ] = "animate",
    engine: Annotated[str, typer.Option(help=f"What makes the film: {', '.join(MAKERS)}.")] = next(iter(MAKERS)),
    size: Annotated[
        str,
        typer.Option(
            help="480p or 720p: so many pixels in the portrait's shape (replace: the clip's); or WxH, by 16."
        ),
    ] = "480p",
    fps: Annotated[
        float | None, typer.Option(help="Frames a second. Without it the clip's own, thinned to 30.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Only the first seconds of the clip.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps, 20 without it; a distillation LoRA needs 4 to 10.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another number, another film.")] = 0,
    prompt: Annotated[
        str | None, typer.Option(help="Words for the network; without it those it was trained with.")
    ] = None,
    segment: Annotated[int | None, typer.Option(help="Frames made at a time: 77; fewer take less memory.")] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Frames that a segment takes over from the one before: 1 or 5.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Folder of weights, or a name that avatar models lists.")
    ] = None,
    transformer: Annotated[
        Path | None, typer.Option(help="GGUF file in place of the folder's transformer: for GPUs of 16 GB.")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[=STRENGTH]", help="LoRA: distillation, relighting. Repeats: --lora a.safetensors=0.8"
        ),
    ] = None,
    memory: Annotated[
        float | None, typer.Option(help="GB of GPU memory to plan for. Without it what the GPU has.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be done, how, and how long it may take; stop.")
    ] = False,
    prepare_only: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Prepare into this folder, with a contact sheet; stop.")
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Make the film of what was prepared in this folder."),
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Go on also where the clip is found unfit.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Make finished segments anew.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the pictures that the film was made of.")] = False,
    mark: o.Mark = True,
    c2pa: Annotated[bool, typer.Option("--c2pa", help="Add C2PA content credentials: a program made this.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Make a film in which a whole person moves as the person of a clip does: body, hands and face (Wan-Animate).

    Offline, and slow: minutes of GPU time for each second. It needs weights of 82 GB (avatar models pull
    wan-animate), the extra wan, and an NVIDIA GPU of 6 GB or more; --plan says what to expect here.

    First the clip is read: skeleton, face and place of the person, with a contact sheet to look at. Then the film is
    made in segments. Each finished one is kept: after a stop the same command goes on, and the film comes out as it
    would have without. The clip's sound is kept.

    --engine unimotion draws small characters, not people, on any CPU, with weights of avatar train unimotion: the
    clip's motion becomes tokens (work/tokens.motion), which can stand in its place for another character.

    [b]Examples[/b]

      avatar animate me.jpg --driving dance.mp4 --plan

      avatar animate me.jpg --driving dance.mp4 --prepare-only work      (then look at work/sheet.png)

      avatar animate me.jpg --driving dance.mp4 --from work -o out.mp4

      avatar animate me.jpg --driving street.mp4 --mode replace --size 720p -o out.mp4

      avatar animate me.jpg --driving dance.mp4 --lora distilled.safetensors --steps 6 -o quick.mp4

      avatar animate me.jpg --driving dance.mp4 --engine wan-2 -o out.mp4      (Wan-Animate-2: the clip itself drives)

      avatar animate body/example/character.png --driving body/example/driver.mp4 --engine unimotion
      --weights body/weights.safetensors -o out.mp4
    """
    maker = open_maker(engine)
    if mode not in maker.modes:
        raise BadValue("--mode", mode, " or ".join(maker.modes))
    if from_ is not None and prepare_only is not None:
        raise BadValue("--from", from_, "prepare with --prepare-only, or make a film with --from, not both at once")
    o.check_duration(duration)
    job = Job(
        read_portrait(portrait).image, user_path(driving), mode, size, fps, duration, anyway, seed, steps, segment,
        overlap, prompt, weights, transformer, _loras(lora or ()), memory, device, restart,
    )  # fmt: skip
    if plan:
        for name, words in maker.plan(job):
            print(f"{name:9} {words}")
        return
    if prepare_only is not None:
        with _told(quiet) as on:
            findings = maker.prepare(job, user_path(prepare_only), on)
        _warn(findings)
        if not quiet:
            print(f"{prepare_only}: prepared; look at {prepare_only / 'sheet.png'}, then: --from {prepare_only}")
        return
    if output is None:
        raise BadValue("--output", None, "say where the film goes, as in -o out.mp4")
    o.refuse_overwriting([output], [str(driving), portrait])
    open_sink(f"file:{output}", SinkOptions(live=False))
    if c2pa:
        check_signing(output)
    maker.check(job)
    _make(maker, job, output, user_path(from_) if from_ else None, mark, c2pa, keep, quiet)


def _make(
    maker: Maker, job: Job, output: Path, prepared: Path | None, mark: bool, c2pa: bool, keep: bool, quiet: bool
) -> None:
    from realtime.film.output import write_film

    work = user_path(output).with_suffix(".film")
    try:
        with _told(quiet) as on:
            if prepared is None:
                _warn(maker.prepare(job, work / "prepared", on))
            film = maker.make(job, prepared or work / "prepared", work / "made", on)
            frames = write_film(film, output, mark, on, lambda text: say(f"! {text}"))
    except KeyboardInterrupt:
        raise Interrupted(f"what is finished is kept in {work}; the same command goes on") from None
    if c2pa:
        sign(user_path(output), trained=True)
    if not keep:
        for ours in ("prepared", "made"):
            shutil.rmtree(work / ours, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else's files are in it too
            work.rmdir()
    if not quiet:
        print(f"{output}: {frames} frames, {film.fps:.4g} a second")


def _warn(findings: tuple[str, ...]) -> None:
    for finding in findings:
        say(f"! {finding}")


@contextlib.contextmanager
def _told(quiet: bool) -> Iterator[Progress]:
    """A bar with the time left in a terminal, a line now and then elsewhere."""
    with progress(quiet) as bar:
        task = bar.add_task("", total=None, speed="")
        lines = _Lines(quiet or sys.stderr.isatty())

        def on(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)
            lines.tell(what, done, total, time.monotonic())

        yield on


class _Lines:
    """Progress in lines, where there is no bar: when something else begins, and every half minute."""

    def __init__(self, silent: bool) -> None:
        self._silent, self._what, self._due = silent, "", 0.0
        self._began: tuple[float, int] = (0.0, 0)

    def tell(self, what: str, done: int, total: int, now: float) -> None:
        kind = what.split()[0]
        if kind != self._what.split(" ")[0]:
            self._began = (now, done)
        if self._silent or (what == self._what and now < self._due):
            return
        began, first = self._began
        left = ""
        if done > first and total > done:
            left = f", {(now - began) / (done - first) * (total - done):.0f} s left"
        say(f"{what}: {done} of {total}{left}")
        self._what, self._due = what, now + _SAID_EVERY


def _loras(texts: list[str] | tuple[str, ...]) -> tuple[tuple[Path, float], ...]:
    """`FILE` or `FILE=STRENGTH`, several. Raises BadValue, BadFile."""
    found = []
    for text in texts:
        name, equals, strength = text.rpartition("=")
        path = Path(text) if not equals or Path(text).exists() else Path(name)
        try:
            value = 1.0 if str(path) == text else float(strength)
        except ValueError as error:
            raise BadValue("--lora", text, "FILE or FILE=STRENGTH, as in distilled.safetensors=0.8") from error
        if not user_path(path).is_file():
            raise BadFile(path, "no such LoRA file")
        found.append((path, value))
    return tuple(found)
