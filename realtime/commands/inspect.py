"""`avatar inspect`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from realtime.commands import options as o
from realtime.engines import load_engine
from realtime.engines.weights.registry import weight_files
from realtime.errors import BadFile, BadPortrait, BadValue
from realtime.families import FAMILIES, target
from realtime.home import user_path
from realtime.media.pictures import check_picture_target, read_picture, write_picture


def command(
    frame: Annotated[Path, typer.Argument(help="Driving frame: a picture, or a video (its middle frame).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write.")] = Path("inspect.png"),
    weights: o.Weights = None,
    portrait: Annotated[Path | None, typer.Option(help="Portrait to move (default: the frame itself).")] = None,
    tokens: Annotated[str, typer.Option(help="Motion tokens to show, as in 0,3,7; or all.")] = "all",
    layers: Annotated[str, typer.Option(help="Transformer layers to show, from 1; or all.")] = "all",
    crop: Annotated[
        str, typer.Option(help="auto, face, centre or none: which part of the pictures is seen.")
    ] = "auto",
    device: o.Device = "auto",
    side: Annotated[int, typer.Option(min=48, max=1024, help="Side of each small picture.")] = 160,
) -> None:
    """Look into the Motion Transformer (or FOMM, MRAA): what each motion token
    attends to, and what follows; or into a whole body's motion tokens.

    One page: keypoints and affine ellipses on the driving frame and on the
    portrait, the result, the flow (hue: where a pixel comes from; saturation:
    how far), part masks, occlusion; then for each motion token its mask and its
    attention over the frame in every layer, as in Figure 3 of the paper.

    With weights of avatar train unimotion: what is seen of the frame, where
    joints and hands are put on the portrait's body, and what is drawn.

    [b]Examples[/b]

      avatar inspect frame.png --weights runs/face/weights.safetensors -o look.png

      avatar inspect talk.mp4 --portrait me.jpg --weights vox-cpk.pth.tar --tokens 0,1,2

      avatar inspect dance.mp4 --portrait character.png --weights runs/body/weights.safetensors
    """
    check_picture_target(output)
    image = _frame(frame)
    whole = None if weights is None else _view_of(weights)
    if whole is not None:
        shown_page, words = target(whole)(
            user_path(str(weights)), read_picture(portrait) if portrait else image, image, device, side
        )
        write_picture(output, shown_page)
        print(f"{output}: {words}")
        return
    name, family = next((name, family) for name, family in FAMILIES.items() if family.page)
    if crop not in ("auto", "face", "centre", "none"):
        raise BadValue("--crop", crop, "it may be auto, face, centre or none")
    engine: Any = load_engine(name, device=device, weights=weights, crop=crop)
    page = target(family.page)
    try:
        try:
            engine.set_portrait(read_picture(portrait) if portrait else image)
        except BadPortrait as error:
            raise BadPortrait(error.reason, portrait or frame) from error
        try:
            views = engine.look(image)
        except BadPortrait as error:
            raise BadFile(frame, error.reason) from error
        parts = _numbers("--tokens", tokens, len(views.points), 0)
        depth = 0 if views.attention is None else len(views.attention)
        shown = _numbers("--layers", layers, depth, 1) if depth else []
        write_picture(output, page(views, parts, [n - 1 for n in shown], side))
    finally:
        engine.close()
    note = "" if engine.trained else " (no trained weights)"
    print(f"{output}: {len(parts)} motion tokens{note}")


def _view_of(weights: str) -> str | None:
    """What makes a page of these weights, where their networks are no engine. Raises BadFile."""
    path = user_path(weights)
    for name, family in FAMILIES.items():
        if family.view and path.is_file():
            with contextlib.suppress(ModuleNotFoundError):
                if any(files.family_of(path) == name for files in weight_files(name)):
                    return family.view
    return None


def _frame(path: Path) -> np.ndarray:
    """A picture, or the middle frame of a video. Raises BadFile."""
    from realtime.training.data.clips import VIDEO_SUFFIXES, decoded

    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return read_picture(path)
    if not path.is_file():
        raise BadFile(path, "no such file")
    frames = list(decoded(path))
    if not frames:
        raise BadFile(path, "holds no frames")
    return frames[len(frames) // 2]


def _numbers(option: str, text: str, count: int, first: int) -> list[int]:
    """ "all" or "0,3,7" as numbers from `first` on. Raises BadValue."""
    if text == "all":
        return list(range(first, first + count))
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(first <= n < first + count for n in numbers):
        raise BadValue(option, text, f"numbers from {first} to {first + count - 1} with commas, or all")
    return numbers
