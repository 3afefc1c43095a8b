"""`avatar train`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realtime.commands.terminal import progress, say
from realtime.errors import BadFile, BadValue, MissingExtra
from realtime.families import trained

if TYPE_CHECKING:
    from realtime.training.config import TrainConfig
    from realtime.training.run import Run
    from realtime.training.trainer import StepReport


def command(
    videos: Annotated[
        list[str] | None,
        typer.Argument(help="A folder of videos, one video, or shards to stream: https://host/shard-{000..099}.tar"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run: configuration, weights, log, sheets.")
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(help=f"What to train: {', '.join(trained())}.", show_default="the Motion Transformer"),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="paper: as published. small: one GPU, an evening. tiny: minutes on a CPU, to try things out."
        ),
    ] = "paper",
    config: Annotated[Path | None, typer.Option(help="Start from this config.json instead of a preset.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a field, as in optimiser.rate=1e-4. Repeats."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps (default: what the preset says).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Where the cropped frames are kept (default: data in the output folder).")
    ] = None,
    index_only: Annotated[bool, typer.Option("--index-only", help="Crop and index the videos, then stop.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the configuration, then stop.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads (0: PyTorch's choice).")] = 0,
    vgg: Annotated[Path | None, typer.Option(help="VGG-19's weights (torchvision's file).")] = None,
    imagenet: Annotated[Path | None, typer.Option(help="HRNet's ImageNet weights (timm's safetensors).")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch VGG-19's and HRNet's weights if they are not here.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")] = False,
) -> None:
    """Train an engine's weights from videos of people talking; no labels are
    needed.

    Two frames of one clip make a pair: the network must turn the first into the
    second. First every face is found and cropped, and the frames are written
    into shards (once; videos added later are cropped on the next call). Then
    training starts. An interrupted run goes on with --resume, on a CPU to the
    bit as if it had not stopped; only streamed shards start anew, with other
    pairs. A batch that is broken or gives no finite loss is skipped, and said.

    [b]What is in the output folder[/b]

      config.json          the whole configuration; repeat with --config

      weights.safetensors  for avatar run --engine motrans --weights

      checkpoint.pt        avatar train --resume -o OUT

      log.jsonl, curve.png losses; held-out error beside the still portrait's

      samples/             sheets: portrait, driving frame, result, part masks

      tensorboard/         the same for TensorBoard

      example/             unimotion: an unseen character and a driver's clip

    [b]Examples[/b]

      avatar train clips/ -o runs/try --preset tiny

      avatar train clips/ -o runs/face --preset small --set precision=bf16

      avatar train clips/ -o runs/x --system lia-x --preset small

      avatar train clips/ -o runs/face --print-config

      torchrun --nproc-per-node 8 -m realtime train clips/ -o runs/face

      torchrun --nproc-per-node 8 -m realtime train clips/ -o runs/x --system lia-x --set shard=true

      avatar train "https://host/shard-{000..099}.tar" -o web --steps 200000

    [b]How long[/b]  The paper trains 100 epochs on 20,000 clips with eight
    GPUs. On one clip, "tiny" learns to follow the head in some minutes of CPU
    time. Several GPUs or machines: torchrun; `batch` is per process. Each
    process holds the whole network (DistributedDataParallel), or with shard=true
    a share of it (FSDP), for networks that one GPU cannot hold.

    [b]Losses[/b]  Weights are the fields of `losses`: perceptual (equation 9),
    equivariance (10), background (11 and 12, for clips whose background moves;
    add animator.background=true), pixels and adversarial (LIA).

    [b]unimotion[/b]  Motion tokens of whole bodies, in X-UniMotion's way: no videos,
    it draws the characters that it is trained on. "tiny": half an hour of
    one free CPU core; "small": half an hour of one GPU; "paper": a real run, on
    paper.

      avatar train unimotion -o runs/body --preset tiny --threads 1

    [b]LIA-X[/b]  "paper" is the published size (512 pixels, 0.91 B parameters: about
    18 GB before activations); "small" and "tiny" leave its finest levels away
    and are narrower (size, latent.width).
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra("avatar train", "torch", "train") from error

    from realtime.training.config import DRAWN, TrainConfig
    from realtime.training.config import preset as make_preset
    from realtime.training.run import Run, find_place
    from realtime.training.run_folder import RunFolder

    if threads:
        torch.set_num_threads(threads)
    tell = (lambda text: None) if quiet else say
    if videos and len(videos) == 1 and videos[0] in DRAWN and not Path(videos[0]).exists():
        system, videos = videos[0], None
    if resume:
        if output is None:
            raise BadValue("--output", "", "say which run to resume: avatar train --resume -o OUT")
        chosen = TrainConfig.read(RunFolder(output).config)
    else:
        chosen = TrainConfig.read(config) if config else make_preset(system or TrainConfig.system, preset)
    chosen = chosen.with_settings(set_ or [])
    if steps is not None:
        chosen = replace(chosen, steps=steps)
    if print_config:
        print(chosen.to_json())
        return
    if output is None:
        raise BadValue("--output", "", "say where the run is to be kept, with -o FOLDER")
    drawn = chosen.system in DRAWN
    if drawn and (videos or data is not None or index_only):
        given = videos[0] if videos else data or "--index-only"
        raise BadValue("VIDEOS", given, f"{chosen.system} takes none: it draws all it sees")
    if not drawn and not videos and not resume and data is None:
        raise BadValue("VIDEOS", "", "give a folder of videos, or --data with frames that are cropped already")
    streamed = [v for v in videos or [] if "://" in v or v.endswith(".tar")]
    if streamed and len(streamed) < len(videos or []):
        raise BadValue("VIDEOS", videos, "either videos or shards, not both")
    place = find_place(device)
    folder = data or RunFolder(output).data
    if download and place.first:
        _download(chosen, vgg, imagenet)
    _meet(place.processes)
    if not streamed and not drawn:
        if place.first:
            _index(videos or [], folder, chosen, tell, quiet)
        _meet(place.processes)
        if index_only:
            return
    source = None if drawn else streamed or folder
    run = Run(chosen, output, source, place, resume=resume, vgg=vgg, imagenet=imagenet, say=say)
    _train(run, tell, quiet)


def _meet(processes: int) -> None:
    """Wait until every process is here."""
    if processes > 1:
        import torch.distributed as dist

        dist.barrier()


def _index(videos: list[str], folder: Path, config: TrainConfig, tell: object, quiet: bool) -> None:
    from realtime.training.data.clips import build_index, find_videos, read_index

    assert callable(tell)
    if not videos:
        index = read_index(folder)
    else:
        found = [path for video in videos for path in find_videos(video)]
        names = [path.name for path in found]
        double = next((name for name in names if names.count(name) > 1), None)
        if double:
            raise BadFile(double, "is the name of two of the videos; give every video a name of its own")
        with progress(quiet) as bar:
            task = bar.add_task("cropping faces", total=None, speed="")

            def show(done: int, total: int, name: str) -> None:
                bar.update(task, completed=done, total=total, speed=name)
                if not quiet and not sys.stderr.isatty() and name:
                    say(f"cropping faces: {done + 1} of {total}, {name}")

            index = build_index(found, folder, config.size, config.data.margin, show)
    tell(f"{len(index.clips)} clips, {index.frames} frames in {folder}")
    for name, reason in index.skipped.items():
        say(f"! left out {name}: {reason}")


def _download(config: TrainConfig, vgg: Path | None, imagenet: Path | None) -> None:
    from realtime.training.features import HRNET_REPOSITORIES, cached, download

    wanted = []
    if vgg is None and config.losses.features != "gradients" and config.losses.perceptual:
        wanted.append("vgg19")
    if imagenet is None and config.backbone and config.imagenet:
        wanted.append(config.backbone)
    for name in wanted:
        if name != "vgg19" and name not in HRNET_REPOSITORIES:
            continue
        if cached(name) is None:  # type: ignore[arg-type]
            say(f"fetching the weights of {name}")
            try:
                download(name)  # type: ignore[arg-type]
            except (OSError, RuntimeError, ValueError) as error:
                raise BadFile(name, f"could not be fetched ({' '.join(str(error).split())[:120]})") from error


def _train(run: Run, tell: object, quiet: bool) -> None:
    from realtime.training import sharding

    assert callable(tell)
    trainer, where = run.trainer, run.folder.path
    parameters = sum(p.numel() for p in trainer.system.network.parameters())
    if run.place.first:
        share = ""
        if trainer.sharded:
            held = sum(sharding.local(p).numel() for p in trainer.system.network.parameters())
            share = f" ({held / 1e6:.2f} M in each process)"
        tell(
            f"{run.config.system}: {parameters / 1e6:.2f} M parameters{share}, {run.total} steps of "
            f"{run.config.batch} x {run.place.processes} pairs on {run.place.device}, into {where}"
        )
    with progress(quiet or not run.place.first) as bar:
        task = bar.add_task("training", total=run.total, completed=trainer.step_number, speed="")

        def show(report: StepReport, speed: float) -> None:
            loss = report.losses.get("total")
            text = f"loss {loss:.3f}  {speed:.1f} pairs/s" if loss is not None else "skipped"
            bar.update(task, completed=report.step + 1, speed=text)
            plain = not quiet and run.place.first and not sys.stderr.isatty()
            if plain and loss is not None and (report.step + 1) % max(1, run.total // 20) == 0:
                say(f"step {report.step + 1} of {run.total}  {text}")

        try:
            look = run.go(show)
        except KeyboardInterrupt:
            kept = " (from its last checkpoint)" if trainer.sharded else ""
            say(f"interrupted at step {trainer.step_number}; go on{kept} with: avatar train --resume -o {where}")
            raise
        finally:
            trainer.leave()
    if not run.place.first:
        return
    if trainer.skipped:
        say(f"! {trainer.skipped} steps were skipped; see {run.folder.log}")
    if look and not quiet:
        better = "below" if look["l1"] < look["still_l1"] else "not below"
        print(f"held-out L1 {look['l1']:.4f}, {better} the still portrait's {look['still_l1']:.4f}")
    if not quiet:
        print(os.path.join(where, "weights.safetensors"))
