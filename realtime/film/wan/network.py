"""Wan-Animate as diffusers has it, made to begin in the middle of a film.

`WanAnimatePipeline` makes all segments in one call and forgets them when it is stopped. Here each call makes one
segment: it is told the frames before, which the library would have from its own loop. The numbers are the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanAnimatePipeline
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor

from realtime.film.segments import OnStep, Segment, State, reflected
from realtime.film.wan.prepared import BACKGROUND, FACE, MASK, POSE, Prepared


class _RawFrames(VideoProcessor):  # type: ignore[misc]
    """Gives decoded frames as the network made them, (B, 3, T, H, W) in about [-1, 1]."""

    def postprocess_video(self, video: Tensor, output_type: str = "np") -> Tensor:
        return video


class ContinuingPipeline(WanAnimatePipeline):  # type: ignore[misc]
    """Makes one segment. before: the last frames of the segment before, (1, 3, overlap, H, W) in about [-1, 1]."""

    before: Tensor | None = None

    def prepare_prev_segment_cond_latents(
        self, prev_segment_cond_video: Tensor | None = None, *, start_frame: int = 0, **rest: Any
    ) -> Tensor:
        if self.before is not None:
            prev_segment_cond_video, start_frame = self.before.to(self._execution_device), 1
        made: Tensor = super().prepare_prev_segment_cond_latents(
            prev_segment_cond_video, start_frame=start_frame, **rest
        )
        return made


class Network:
    """A loaded pipeline and how it is asked. prompt_embeds: (1, L, C), of the text."""

    def __init__(
        self, pipe: ContinuingPipeline, prompt_embeds: Tensor, steps: int, length: int, overlap: int
    ) -> None:
        self.pipe, self._prompt_embeds = pipe, prompt_embeds
        self._steps, self._length, self._overlap = steps, length, overlap
        pipe.video_processor = _RawFrames(vae_scale_factor=pipe.vae_scale_factor_spatial)
        pipe.set_progress_bar_config(disable=True)

    def make(
        self,
        prepared: Prepared,
        segments: Sequence[Segment],
        state: State | None,
        seed: int,
        on_segment: Callable[[Segment, np.ndarray, State], None],
        on_step: OnStep,
    ) -> None:
        """Make `segments`, which follow on what `state` was handed on by. on_segment is given each with its new
        frames, uint8 (N, H, W, 3), those beyond the film's end left out."""
        generator = torch.Generator("cpu").manual_seed(seed)
        if state is not None:
            generator.set_state(torch.from_numpy(state.random.copy()))
        portrait = Image.fromarray(prepared.portrait())
        for segment in segments:
            self.pipe.before = None if state is None else torch.from_numpy(state.tail)
            raw = self._segment(prepared, segment, portrait, generator, on_step)
            fresh = raw[:, :, segment.overlap :]
            tail = fresh[:, :, -self._overlap :].float().cpu().numpy()
            state = State(tail, generator.get_state().numpy())
            within = min(segment.stop, prepared.about.frames) - segment.start - segment.overlap
            on_segment(segment, to_bytes(fresh)[:within], state)

    def _segment(
        self, prepared: Prepared, segment: Segment, portrait: Image.Image, generator: torch.Generator, on_step: OnStep
    ) -> Tensor:
        about = prepared.about
        frames = [reflected(n, about.frames) for n in range(segment.start, segment.stop)]

        def pictures(kind: str) -> list[Image.Image]:
            known: dict[int, Image.Image] = {}
            for n in frames:
                known[n] = known.get(n) or Image.fromarray(prepared.picture(kind, n))
            return [known[n] for n in frames]

        def step(_pipe: object, done: int, _time: object, tensors: dict[str, Any]) -> dict[str, Any]:
            on_step(segment.index, done + 1)
            return tensors

        kinds = {"pose_video": POSE, "face_video": FACE}
        if about.mode == "replace":
            kinds |= {"background_video": BACKGROUND, "mask_video": MASK}
        made: Tensor = self.pipe(
            image=portrait,
            **{name: pictures(kind) for name, kind in kinds.items()},
            prompt_embeds=self._prompt_embeds,
            height=about.height,
            width=about.width,
            segment_frame_length=self._length,
            prev_segment_conditioning_frames=self._overlap,
            num_inference_steps=self._steps,
            guidance_scale=1.0,
            mode=about.mode,
            generator=generator,
            callback_on_step_end=step,
            callback_on_step_end_tensor_inputs=[],
            return_dict=False,
        )[0]
        return made


def to_bytes(frames: Tensor) -> np.ndarray:
    """(1, 3, T, H, W) in about [-1, 1] as uint8 (T, H, W, 3), rounded as the library rounds."""
    unit = (frames[0].float() * 0.5 + 0.5).clamp(0, 1)
    return (unit * 255).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


def load(folder: Path, dtype: torch.dtype, **parts: Any) -> ContinuingPipeline:
    """The pipeline in `folder` without its text encoder, on the CPU. parts: stand in for what is in the folder."""
    pipe: ContinuingPipeline = ContinuingPipeline.from_pretrained(
        folder, text_encoder=None, tokenizer=None, dtype=dtype, local_files_only=True, **parts
    )
    return pipe
