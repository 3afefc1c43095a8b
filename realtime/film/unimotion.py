"""`avatar animate --engine unimotion`: a drawn character moves as another one does, by motion tokens.

What is prepared is the reference picture and a motion track of the tokens, which is a file of its own worth: it says
nothing of who moved, and can be given as the clip for another reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from realtime.engines.weights.registry import find_weights, sha256_of
from realtime.errors import BadFile, BadValue, MissingExtra, NoDevice
from realtime.film import Film, Job, Progress
from realtime.film.clip import images, look_at
from realtime.film.segments import Kept, Segment, State
from realtime.home import user_path
from realtime.media.pictures import read_picture, write_picture
from realtime.motion.track import MotionTrack
from realtime.outputs import not_written, write_whole
from realtime.sheets.contact import contact_row

if TYPE_CHECKING:
    import torch

    from realtime.engines.unimotion.network import UniMotion

FAMILY = "unimotion"
TRACK, REFERENCE, ABOUT, SHEET = "tokens.motion", "reference.png", "film.json", "sheet.png"
STEPS = 8
"""Of the sampler."""
AT_ONCE = 16
"""Frames that are drawn together, and kept together."""
SHOWN, CELL = 8, 128
"""Pictures of the contact sheet, and their side."""
AGAIN = "there its numbers mean something else; make it again from the clip, with these"
"""What to do with what other weights read."""
SIDES = {"480p": 480, "720p": 720}


class UniMotionMaker:
    """See `realtime.film.Maker`. The film is a square: the networks' pictures, made larger."""

    modes: tuple[str, ...] = ("animate",)

    def check(self, job: Job) -> None:
        self._settle(job)
        _length(job)
        _load(job)

    def plan(self, job: Job) -> list[tuple[str, str]]:
        side, steps = self._settle(job)
        frames, fps = _length(job)
        try:
            weights = str(find_weights(FAMILY, job.weights))
        except BadFile as error:
            weights = f"not here yet. {error}"
        return [
            ("film", f"{side} x {side}, {fps:.4g} fps, {frames} frames: small pictures, made larger"),
            ("steps", f"{steps} for each frame, {AT_ONCE} frames at a time"),
            ("for", "drawn characters as those it is trained on; people in films are strange to it"),
            ("weights", weights),
        ]

    def prepare(self, job: Job, folder: Path, progress: Progress) -> tuple[str, ...]:
        self._settle(job)
        wanted = self._about(job)
        if _about(folder) == wanted:
            return ()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ABOUT).unlink(missing_ok=True)
        except OSError as error:
            raise not_written(folder, error) from error
        write_picture(folder / REFERENCE, job.portrait)
        track, shown = self._track(job, str(wanted["weights_sha256"]), progress)
        track.save(folder / TRACK)
        if shown:
            from realtime.engines.unimotion.driving import square

            cells = [square(p, CELL) for p in (job.portrait, *shown)]
            write_picture(folder / SHEET, contact_row(cells, "the reference, and frames whose tokens drive it"))
        write_whole(folder / ABOUT, json.dumps(wanted, indent=1) + "\n")
        return ()

    def make(self, job: Job, folder: Path, work: Path, progress: Progress) -> Film:
        side, steps = self._settle(job)
        about = _about(folder)
        if about is None:
            raise BadFile(folder, "holds no film prepared for --engine unimotion; --prepare-only FOLDER makes one")
        track, reference = MotionTrack.load(folder / TRACK), read_picture(folder / REFERENCE)
        network = _load(job)
        weights = sha256_of(find_weights(FAMILY, job.weights))
        _fitting(track, network, folder / TRACK, weights)
        if about.get("weights_sha256") != weights:
            raise BadFile(folder, f"was prepared with other weights: {AGAIN}")
        settings = {
            "prepared film": [sha256_of(folder / TRACK), sha256_of(folder / REFERENCE)],
            "seed": job.seed, "steps": steps, "side": side, "weights": weights,
        }  # fmt: skip
        count = len(track)
        segments = [
            Segment(k, start, min(start + AT_ONCE, count), 0) for k, start in enumerate(range(0, count, AT_ONCE))
        ]
        kept = Kept(work, settings, segments, count)
        finished = kept.open(job.restart)
        driving = Path(str(about["driving"]))
        film = Film(kept, track.fps, None if driving.suffix == ".motion" else driving)
        for segment in segments[finished:]:
            progress("drawing", segment.start, count)
            pictures = _drawn(network, reference, track.values[segment.start : segment.stop], job.seed, steps)
            large = [cv2.resize(p, (side, side), interpolation=cv2.INTER_CUBIC) for p in pictures]
            kept.keep(segment, np.stack(large), State(np.zeros(0, np.float32), np.zeros(0, np.uint8)))
        return film

    def _about(self, job: Job) -> dict[str, object]:
        from realtime.film.wan.prepared import picture_digest

        driving = user_path(job.driving)
        return {
            "engine": FAMILY, "driving": str(driving.resolve()), "driving_sha256": sha256_of(driving),
            "portrait_sha256": picture_digest(job.portrait), "fps": job.fps, "duration": job.duration,
            "weights_sha256": sha256_of(find_weights(FAMILY, job.weights)),
        }  # fmt: skip

    def _track(self, job: Job, weights: str, progress: Progress) -> tuple[MotionTrack, list[np.ndarray]]:
        """The tokens of the clip, and some of its frames; a clip that is a track is taken as it is. weights: their
        SHA-256."""
        if job.driving.suffix == ".motion":
            track = MotionTrack.load(user_path(job.driving))
            _fitting(track, _load(job), job.driving, weights)
            return track, []
        from realtime.engines.unimotion.driving import code_of, directions, read_frames, square, tensor

        network, (count, fps) = _load(job), _length(job)
        codes, shown = [], []
        for n, image in enumerate(images(job.driving, fps, job.duration)):
            frame = square(image, 2 * network.config.size)
            tokens, _, _ = read_frames(network, tensor(frame[None]).to(_device(job)))
            codes.append(code_of(tokens, n / fps, n))
            if n % max(1, count // SHOWN) == 0:
                shown.append(frame)
            progress("reading motion", n + 1, max(count, n + 1))
        track = MotionTrack.of_codes(codes, fps, directions(network))
        return replace(track, weights=weights), shown

    def _settle(self, job: Job) -> tuple[int, int]:
        """Side of the film and steps. Raises BadValue where anything in the job cannot be."""
        others = {
            "--transformer": job.transformer, "--lora": job.loras, "--segment": job.length,
            "--overlap": job.overlap, "--prompt": job.prompt, "--memory": job.memory,
        }  # fmt: skip
        for option, given in others.items():
            if given:
                raise BadValue(option, given, "only with --engine wan")
        if job.mode not in self.modes:
            raise BadValue("--mode", job.mode, " or ".join(self.modes))
        steps = STEPS if job.steps is None else job.steps
        if not 1 <= steps <= 200:
            raise BadValue("--steps", steps, f"from 1 to 200; {STEPS} without it")
        return _side(job.size), steps


def _side(size: str) -> int:
    """Raises BadValue."""
    if size in SIDES:
        return SIDES[size]
    width, _, height = size.lower().partition("x")
    if not (width.isdigit() and width == height and 32 <= int(width) <= 2048 and int(width) % 2 == 0):
        raise BadValue("--size", size, f"{', '.join(SIDES)} or a square of 32 to 2048 pixels by 2, as in 256x256")
    return int(width)


def _length(job: Job) -> tuple[int, float]:
    """About how many frames the film has, and how many a second. Raises BadFile, BadValue."""
    if job.driving.suffix == ".motion":
        for option, given in (("--fps", job.fps), ("--duration", job.duration)):
            if given is not None:
                raise BadValue(option, given, "a motion track is taken whole and at its own rate: not with one")
        track = MotionTrack.load(user_path(job.driving))
        return len(track), track.fps
    clip = look_at(job.driving, job.fps, job.duration)
    return clip.frames or 1, clip.fps


def _device(job: Job) -> torch.device:
    """Raises BadValue, MissingExtra, NoDevice."""
    if job.device not in ("auto", "cpu", "cuda"):
        raise BadValue("--device", job.device, "auto, cpu or cuda")
    if find_spec("torch") is None:
        raise MissingExtra("avatar animate --engine unimotion", "torch", "torch")
    import torch

    if job.device == "cuda" and not torch.cuda.is_available():
        raise NoDevice("cuda", "torch finds no NVIDIA GPU here", "avatar doctor says why; --device cpu works too")
    return torch.device("cuda" if job.device != "cpu" and torch.cuda.is_available() else "cpu")


def _load(job: Job) -> UniMotion:
    """Raises BadFile, BadValue, MissingExtra, NoDevice, UnknownName."""
    place = _device(job)
    from realtime.engines.unimotion.weights import load_unimotion

    return load_unimotion(find_weights(FAMILY, job.weights)).to(place)


def _fitting(track: MotionTrack, network: UniMotion, path: Path, weights: str) -> None:
    """Raises BadFile unless the track's codes are tokens of this network (weights: its file's SHA-256), as far as it
    says, one for every frame."""
    if track.kind != FAMILY or track.values.shape[1] != network.config.tokens:
        takes = f"these weights take {FAMILY}[{network.config.tokens}]"
        raise BadFile(path, f"holds {track.kind}[{track.values.shape[1]}]; {takes}")
    if track.weights and track.weights != weights:
        raise BadFile(path, f"holds tokens of other weights: {AGAIN}")
    if not len(track) or np.isnan(track.values).any():
        raise BadFile(path, "has frames without tokens")


def _drawn(
    network: UniMotion, reference: np.ndarray, values: np.ndarray, seed: int, steps: int
) -> Iterator[np.ndarray]:
    """The frames of these codes, uint8 (S, S, 3). All of a film begin with the same noise, so that it does not
    flicker."""
    import torch

    from realtime.engines.unimotion.driving import square, tensor, tokens_of

    size, place = network.config.size, next(network.parameters()).device
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
    here = tensor(square(reference, size)[None])
    count = len(values)
    made = network.draw(
        here.expand(count, -1, -1, -1).to(place), tokens_of(values, network),
        noise.expand(count, -1, -1, -1).to(place), steps,
    )  # fmt: skip
    return iter((made * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())


def _about(folder: Path) -> dict[str, object] | None:
    """What a folder was prepared for; None where it holds no such film."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = all((folder / name).is_file() for name in (TRACK, REFERENCE))
    return about if whole and isinstance(about, dict) and about.get("engine") == FAMILY else None
