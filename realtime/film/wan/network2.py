"""Wan-Animate-2 as diffusers has it, made to begin in the middle of a film.

It is driven by the clip itself: no skeleton, no face crop, no mask. The library's own blocks do the work, but for
three that are other here: the prompts' embeddings come from a cache, the loop over segments can begin at any of
them, and hands over each as it is finished, and nothing joins them at the end. The numbers are the library's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanAnimate2Blocks, WanAnimate2Transformer3DModel
from diffusers.modular_pipelines.wan_animate_2 import denoise
from diffusers.modular_pipelines.wan_animate_2.denoise import WanAnimate2DenoiseStep
from diffusers.modular_pipelines.wan_animate_2.encoders import WanAnimate2TextEncoderStep
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel

from realtime.film.segments import OnStep, Segment, State, reflected
from realtime.film.wan.network import to_bytes
from realtime.film.wan.prepared import DRIVING, Prepared

WORDS = ("prompt_embeds", "negative_prompt_embeds", "prompt_ref_embeds")


class _KnownWords(WanAnimate2TextEncoderStep):  # type: ignore[misc]
    """Gives embeddings that were computed before. words: by the names in `WORDS`, each (1, L, C)."""

    words: dict[str, Tensor]

    @property
    def expected_components(self) -> list[Any]:
        return []

    @property
    def inputs(self) -> list[Any]:
        return []

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        block_state = self.get_block_state(state)
        for name in WORDS:
            setattr(block_state, name, self.words[name].to(components._execution_device))
        self.set_block_state(state, block_state)
        return components, state


class _Segments(WanAnimate2DenoiseStep):  # type: ignore[misc]
    """Makes the segments from `first` on. before: the last frames of the one before, (1, 3, overlap, H, W). finished
    is told each with its new frames, (1, 3, T, H, W), and where in them the portrait's picture lies."""

    first = 0
    before: Tensor | None = None
    finished: Callable[[int, Tensor, tuple[slice, slice]], None]

    @torch.no_grad()
    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        block_state = self.get_block_state(state)
        top, left, height, width = state.get("crop_region")
        block_state.segment_frames = []
        block_state.out_frames = None if self.before is None else self.before.to(components._execution_device)
        for k in range(self.first, block_state.num_segments):
            components, block_state = self.loop_step(components, block_state, k=k)
            within = slice(top, top + height), slice(left, left + width)
            self.finished(k, block_state.segment_frames.pop(), within)
        self.set_block_state(state, block_state)
        return components, state


class _Counted:
    """Stands in for the library's bar: tells each step."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._done = tell, 0

    def __call__(self, **_: Any) -> _Counted:
        return _Counted(self._tell)

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, steps: int = 1) -> None:
        self._done += steps
        self._tell(self._done)


class Network2:
    """The blocks with their networks. words: what `embeddings` gave."""

    def __init__(self, pipe: Any, steps: int, length: int, overlap: int) -> None:
        self._pipe, self._steps, self._length, self._overlap = pipe, steps, length, overlap

    def make(
        self,
        prepared: Prepared,
        segments: Sequence[Segment],
        state: State | None,
        seed: int,
        on_segment: Callable[[Segment, np.ndarray, State], None],
        on_step: OnStep,
    ) -> None:
        """As `realtime.film.wan.network.Network.make`."""
        about, last = prepared.about, segments[-1]
        generator = torch.Generator("cpu").manual_seed(seed)
        if state is not None:
            generator.set_state(torch.from_numpy(state.random.copy()))
        loop = self._pipe._blocks.sub_blocks["denoise"].sub_blocks["denoise"]
        now = segments[0].index

        def finished(k: int, frames: Tensor, within: tuple[slice, slice]) -> None:
            nonlocal now
            segment = segments[k - segments[0].index]
            tail = State(frames[:, :, -self._overlap :].float().cpu().numpy(), generator.get_state().numpy())
            count = min(segment.stop, about.frames) - segment.start - segment.overlap
            on_segment(segment, to_bytes(frames[..., within[0], within[1]])[:count], tail)
            now = k + 1

        loop.first, loop.finished = segments[0].index, finished
        loop.before = None if state is None else torch.from_numpy(state.tail)
        bar, denoise.tqdm = denoise.tqdm, _Counted(lambda done: on_step(now, done))
        try:
            self._pipe(
                image=Image.fromarray(prepared.portrait()),
                driving_video=[
                    Image.fromarray(prepared.picture(DRIVING, reflected(n, about.frames))) for n in range(last.stop)
                ],
                height=about.height,
                width=about.width,
                segment_frame_length=self._length,
                prev_segment_conditioning_frames=self._overlap,
                num_inference_steps=self._steps,
                generator=generator,
            )
        finally:
            denoise.tqdm = bar


def load(folder: Path, dtype: torch.dtype, words: dict[str, Tensor]) -> Any:
    """The blocks with the networks in `folder`, without the text encoder, on the CPU. words: see `WORDS`."""
    blocks = WanAnimate2Blocks()
    known = _KnownWords()
    known.words = words
    blocks.sub_blocks["text_encoder"] = known
    blocks.sub_blocks["denoise"].sub_blocks["denoise"] = _Segments()
    del blocks.sub_blocks["decode"]
    pipe = blocks.init_pipeline()
    options = {"dtype": dtype, "local_files_only": True}
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    pipe.update_components(
        transformer=WanAnimate2Transformer3DModel.from_pretrained(folder, subfolder="transformer", **options),
        vae=AutoencoderKLWan.from_pretrained(folder, subfolder="vae", **options),
        image_encoder=CLIPVisionModel.from_pretrained(folder, subfolder="image_encoder", **options),
        scheduler=getattr(diffusers, config["_class_name"]).from_pretrained(folder, subfolder="scheduler"),
    )
    return pipe
