"""`avatar animate --engine wan`: what is checked, planned, prepared and made."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from realtime.engines.weights.registry import catalogue, files_in, find_weights, models_folder, record_of, sha256_of
from realtime.errors import BadFile, BadValue, MissingExtra, NoDevice
from realtime.film import Film, Job, Progress
from realtime.film.clip import look_at
from realtime.film.segments import Kept, segments_of
from realtime.film.wan import plans, published
from realtime.film.wan.plans import GB, Plan
from realtime.film.wan.prepare import MODES, Wish, prepare
from realtime.film.wan.prepared import Prepared, picture_digest
from realtime.film.wan.prepared import Progress as OnFrame
from realtime.film.wan.sizes import film_size
from realtime.home import user_path

if TYPE_CHECKING:
    from realtime.film.wan.network import Network
    from realtime.film.wan.network2 import Network2

PROMPT = "视频中的人在做动作"
"""What the network was trained with: "the person in the video is moving"."""
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "ftfy")
_FACE_BYTES, _PIXEL_BYTES = 350_000, 1.5
"""About how much a picture takes on the disk: of a face, and for each pixel of the film."""


class WanMaker:
    """See `realtime.film.Maker`. segment, overlap, steps: frames of a segment, those that it shares with the one
    before, and denoising steps, as the authors have them. rate: of the film, None for the clip's own."""

    modes: tuple[str, ...] = MODES
    engine = "wan"
    family = published.FIRST
    segment, overlap, steps = 77, 1, 20
    rate: float | None = None

    def check(self, job: Job) -> None:
        self._settle(job)
        plan = self._plan(job)
        for library in LIBRARIES:
            if find_spec(library) is None:
                raise MissingExtra("avatar animate", library, "wan")
        folder = self._weights(job)
        published.check(folder, self.family)
        need, have = min(plan.ram * GB, 1.2 * sum(path.stat().st_size for path in files_in(folder))), _ram()
        if have is not None and need > have:
            reason = f"this plan needs about {need / GB:.0f} GB of memory, and this machine has {have / GB:.0f}"
            raise BadValue("--memory", plan.name, f"{reason}; --transformer FILE.gguf needs {plans.GGUF.ram:.0f}")
        for path in (job.transformer, *(path for path, _ in job.loras)):
            if path is not None and not user_path(path).is_file():
                raise BadFile(path, "no such file")

    def plan(self, job: Job) -> list[tuple[str, str]]:
        steps, length, overlap = self._settle(job)
        clip = look_at(job.driving, self._fps(job), job.duration)
        height, width = film_size(job.size, *(job.portrait.shape[:2] if job.mode == "animate" else clip[:2]))
        frames = clip.frames or length
        segments = segments_of(frames, length, overlap)
        plan = plans.choose(self._memory(job), job.transformer is not None)
        seconds = plans.figure_for(plan, height * width, [length] * len(segments), steps)
        if seconds is None:
            time = "not measured by this project, and no figure of others is known for this plan"
        else:
            time = (
                f"about {plans.duration_words(seconds)} or more, not measured by this project: after {plan.source}, "
                "as if time grew with pixels, frames and steps"
            )
        have = _ram()
        ram = f"{plan.ram:.0f} GB of the machine's memory" + ("" if have is None else f" ({have / GB:.0f} here)")
        count = f"{len(segments)} of {length} frames" if len(segments) > 1 else f"1 of {length} frames"
        return [
            ("film", f"{width} x {height}, {clip.fps:.4g} fps, {frames} frames, {job.mode}"),
            ("segments", f"{count}, each begins with the last {overlap} of the one before; {steps} steps each"),
            ("GPU", f"{self._memory(job):.0f} GB" if self._memory(job) else "none is found"),
            ("plan", f"{plan.name}: {plan.about}"),
            ("memory", ram),
            ("time", time),
            ("disk", f"{_disk(job.mode, frames, height * width) / GB:.1f} GB for pictures, until the film is made"),
            ("weights", self._weights_in_words(job)),
        ]

    def prepare(self, job: Job, folder: Path, progress: Progress) -> tuple[str, ...]:
        self._settle(job)
        done = self._prepared_before(job, folder)
        if done is not None:
            return done.about.findings
        clip = look_at(job.driving, self._fps(job), job.duration)
        height, width = film_size(job.size, *(job.portrait.shape[:2] if job.mode == "animate" else clip[:2]))
        _check_room(folder, _disk(job.mode, clip.frames or 1, height * width))
        if (folder / "film.json").exists():
            (folder / "film.json").unlink()
        wish = Wish(job.driving, job.portrait, job.mode, job.size, self._fps(job), job.duration, job.anyway)
        return self._prepare(wish, folder, lambda done, total: progress("preparing", done, total)).about.findings

    def _prepare(self, wish: Wish, folder: Path, on_frame: OnFrame) -> Prepared:
        return prepare(wish, folder, on_frame)

    def _fps(self, job: Job) -> float | None:
        return self.rate if job.fps is None else job.fps

    def make(self, job: Job, folder: Path, work: Path, progress: Progress) -> Film:
        steps, length, overlap = self._settle(job)
        prepared = Prepared.read(folder)
        about = prepared.about
        if (about.engine, about.mode) != (self.engine, job.mode):
            made_for = f"--engine {about.engine} --mode {about.mode}"
            raise BadFile(folder, f"was prepared for {made_for}, not for --engine {self.engine} --mode {job.mode}")
        plan = self._plan(job)
        weights, prompt = self._weights(job), job.prompt or PROMPT
        segments = segments_of(prepared.about.frames, length, overlap)
        from realtime.film.wan import loading

        settings = {
            "prepared film": prepared.digest(),
            "seed": job.seed,
            "steps": steps,
            "segment": length,
            "overlap": overlap,
            "prompt": prompt,
            "weights": loading.fingerprint(weights),
            "transformer": "" if job.transformer is None else sha256_of(user_path(job.transformer)),
            "lora": [[sha256_of(user_path(path)), strength] for path, strength in job.loras],
            "precision": plan.precision,
        }
        kept = Kept(work, settings, segments, prepared.about.frames)
        finished = kept.open(job.restart)
        film = Film(kept, prepared.about.fps, Path(prepared.about.driving))
        if finished == len(segments):
            return film

        def on_step(segment: int, done: int) -> None:
            progress(f"segment {segment + 1} of {len(segments)}", segment * steps + done, len(segments) * steps)

        progress("loading", 0, 1)
        network = self._network(job, plan, weights, prompt, (steps, length, overlap))
        on_step(finished, 0)
        with loading.library():
            network.make(prepared, segments[finished:], kept.state(finished), job.seed, kept.keep, on_step)
        return film

    def _network(
        self, job: Job, plan: Plan, weights: Path, prompt: str, how: tuple[int, int, int]
    ) -> Network | Network2:
        """The loaded network. how: steps, segment length and overlap."""
        from realtime.film.wan import loading

        parts = loading.Parts(
            weights,
            None if job.transformer is None else user_path(job.transformer),
            tuple(loading.Lora(user_path(path).resolve(), strength) for path, strength in job.loras),
        )
        words = loading.embedding(weights, prompt)
        pipe = loading.load(parts, plan, self._device(job))
        with loading.library():
            from realtime.film.wan.network import Network

            return Network(pipe, words, *how)

    def _settle(self, job: Job) -> tuple[int, int, int]:
        """Steps, segment length and overlap. Raises BadValue where anything in the job cannot be."""
        if job.mode not in self.modes:
            raise BadValue("--mode", job.mode, " or ".join(self.modes))
        steps = self.steps if job.steps is None else job.steps
        length = self.segment if job.length is None else job.length
        overlap = self.overlap if job.overlap is None else job.overlap
        if job.device not in ("auto", "cpu", "cuda"):
            raise BadValue("--device", job.device, "auto, cpu or cuda")
        if not 1 <= steps <= 200:
            raise BadValue(
                "--steps", steps, f"from 1 to 200; {self.steps} is the authors', 4 to 10 go with a distillation LoRA"
            )
        if overlap not in (1, 5):
            raise BadValue("--overlap", overlap, "1 or 5 frames, as the network was trained")
        if length % 4 != 1 or not 2 * overlap < length <= 161:
            raise BadValue("--segment", length, f"4 n + 1 frames, more than {2 * overlap} and at most 161, as in 77")
        return steps, length, overlap

    def _prepared_before(self, job: Job, folder: Path) -> Prepared | None:
        """What is in the folder, where that is whole and of this job."""
        try:
            found = Prepared.read(folder)
        except BadFile:
            return None
        about, clip = found.about, look_at(job.driving, self._fps(job), job.duration)
        size = film_size(job.size, *(job.portrait.shape[:2] if job.mode == "animate" else clip[:2]))
        same = (about.engine, about.mode, about.height, about.width, about.fps, about.duration) == (
            self.engine, job.mode, *size, clip.fps, job.duration,
        )  # fmt: skip
        same = same and about.portrait_sha256 == picture_digest(job.portrait)
        return found if same and about.driving_sha256 == sha256_of(user_path(job.driving)) else None

    def _plan(self, job: Job) -> Plan:
        """How it is run here. Raises BadValue, NoDevice."""
        memory = 0.0 if find_spec("torch") is None or self._device(job) == "cpu" else self._memory(job)
        return plans.choose(memory, job.transformer is not None)

    def _memory(self, job: Job) -> float:
        """GB of the GPU that is planned for, 0 without one."""
        if job.memory is not None:
            return job.memory
        if job.device == "cpu" or find_spec("torch") is None:
            return 0.0
        import torch

        return torch.cuda.get_device_properties(0).total_memory / GB if torch.cuda.is_available() else 0.0

    def _device(self, job: Job) -> str:
        import torch

        if job.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if job.device == "cuda" and not torch.cuda.is_available():
            raise NoDevice(
                "cuda", "torch finds no NVIDIA GPU here", "avatar doctor says why; --device cpu tries without"
            )
        return job.device

    def _weights(self, job: Job) -> Path:
        """The folder of weights. Raises BadFile, UnknownName."""
        if job.weights is None and record_of(self.family) is None:
            raise BadFile(models_folder(), f"holds no {self.family}: {self._fetching()}; or --weights FOLDER")
        return find_weights(self.family, job.weights)

    def _weights_in_words(self, job: Job) -> str:
        try:
            folder = self._weights(job)
            return f"{folder}: {published.check(folder, self.family)}"
        except BadFile as error:
            return f"not here yet. {error}"

    def _fetching(self) -> str:
        """How the weights are fetched, how large they are and under which licence."""
        model = catalogue()[self.family]
        size = f"{model.size / GB:.1f} GB, " if model.size else ""
        free = shutil.disk_usage(_existing(models_folder())).free / GB
        about = f"{size}licence {model.licence}; {free:.0f} GB are free here"
        return f"avatar models pull {self.family} fetches it ({about})"


def _disk(mode: str, frames: int, pixels: int) -> float:
    """About how many bytes the pictures of a film take while it is made."""
    layers = 2.5 if mode == "animate" else 3.5
    return frames * (_FACE_BYTES + layers * 0.5 * _PIXEL_BYTES * pixels)


def _check_room(folder: Path, need: float) -> None:
    free = shutil.disk_usage(_existing(folder)).free
    if need > free:
        reason = f"the film's pictures take about {need / GB:.1f} GB, and {free / GB:.1f} GB are free here"
        raise BadFile(folder, f"{reason}: make room, or take a shorter --duration or a smaller --size")


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())


def _ram() -> float | None:
    """Bytes of the machine's memory; None where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None
