"""Loading Wan-Animate as a memory plan says, with LoRA files, and the prompt's embedding, which is computed once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from realtime.engines.weights.registry import files_in, models_folder
from realtime.errors import AvatarError, BadFile, EngineError, MissingExtra, first_line, lacks_memory
from realtime.film.wan.plans import Plan
from realtime.film.wan.prepared import make_folder
from realtime.outputs import replacing

REFERENCE = "人物动作的参考视频"
"""Wan-Animate-2's fixed words for the driving clip: "a reference video of a person's motion"."""
_WORDS = 512
"""Length of a prompt's embedding; what is beyond the prompt is zero."""


@dataclass(frozen=True)
class Lora:
    """A LoRA file and how strongly it acts."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True)
class Parts:
    """What is loaded. folder: the weights. transformer: a GGUF file in its place."""

    folder: Path
    transformer: Path | None = None
    loras: tuple[Lora, ...] = ()


def load(parts: Parts, plan: Plan, device: str) -> Any:
    """A `network.ContinuingPipeline` as the plan says, ready to run. Raises BadFile, EngineError, MissingExtra."""
    with library():
        from realtime.film.wan import network

        dtype = torch.float32 if plan.precision == "float32" else torch.bfloat16
        given = {} if parts.transformer is None else {"transformer": _gguf(parts, dtype)}
        pipe = network.load(parts.folder, dtype, **given)
        _add_loras(pipe, parts.loras)
        place(pipe, plan, device)
        return pipe


def place(pipe: Any, plan: Plan, device: str) -> None:
    """Put the parts of a pipeline where the plan wants them."""
    if plan.precision == "fp8":
        pipe.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    if plan.placing in ("whole", "cpu"):
        pipe.to(device)
    elif plan.placing == "by turns":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_group_offload(
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            use_stream=torch.device(device).type == "cuda",
            **_groups(plan),
        )
    if plan.placing not in ("whole", "cpu"):
        pipe.vae.enable_tiling()


def load2(folder: Path, plan: Plan, device: str, words: Sequence[Tensor]) -> Any:
    """Wan-Animate-2's blocks as the plan says, ready to run. words: embeddings of the prompt, of what it is to avoid,
    and of `REFERENCE`. Raises BadFile, EngineError, MissingExtra."""
    with library():
        from diffusers.hooks import apply_group_offloading

        from realtime.film.wan import network2

        dtype = torch.float32 if plan.precision == "float32" else torch.bfloat16
        pipe = network2.load(folder, dtype, dict(zip(network2.WORDS, words, strict=True)))
        if plan.precision == "fp8":
            pipe.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
        if plan.placing in ("whole", "cpu"):
            pipe.to(device)
            return pipe
        for part in (pipe.vae, pipe.image_encoder):
            part.to(device)
        apply_group_offloading(
            pipe.transformer,
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            use_stream=torch.device(device).type == "cuda",
            **_groups(plan),
        )
        return pipe


def _groups(plan: Plan) -> dict[str, Any]:
    """What is brought to the GPU at a time."""
    if plan.placing == "by layers":
        return {"offload_type": "leaf_level"}
    return {"offload_type": "block_level", "num_blocks_per_group": 1}


def _gguf(parts: Parts, dtype: torch.dtype) -> Any:
    from diffusers import GGUFQuantizationConfig, WanAnimateTransformer3DModel

    assert parts.transformer is not None
    try:
        return WanAnimateTransformer3DModel.from_single_file(
            str(parts.transformer),
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            config=str(parts.folder),
            subfolder="transformer",
            dtype=dtype,
            local_files_only=True,
        )
    except ImportError as error:
        raise MissingExtra("a GGUF file", "gguf", "wan") from error
    except Exception as error:
        if isinstance(error, AvatarError) or lacks_memory(error):
            raise
        raise BadFile(parts.transformer, f"is no Wan-Animate in GGUF ({first_line(error)})") from error


def _add_loras(pipe: Any, loras: Sequence[Lora]) -> None:
    names = []
    for n, lora in enumerate(loras):
        try:
            pipe.load_lora_weights(str(lora.path.parent), weight_name=lora.path.name, adapter_name=f"lora{n}")
        except ImportError as error:
            raise MissingExtra("--lora", "peft", "wan") from error
        except Exception as error:
            if isinstance(error, AvatarError) or lacks_memory(error):
                raise
            raise BadFile(lora.path, f"is no LoRA for Wan-Animate ({first_line(error)})") from error
        if f"lora{n}" not in pipe.get_list_adapters().get("transformer", ()):
            raise BadFile(lora.path, "changes nothing in Wan-Animate: is it a LoRA for another network?")
        names.append(f"lora{n}")
    if names:
        pipe.set_adapters(names, [lora.strength for lora in loras])


def embedding(folder: Path, prompt: str) -> Tensor:
    """The prompt as the text encoder of `folder` reads it: (1, 512, C). It is kept in AVATAR_HOME, so that this large
    network is loaded once for each prompt. Raises BadFile, EngineError, NotWritten."""
    from safetensors.torch import load_file, save_file

    path = models_folder() / "prompts" / f"{_key(folder, prompt)}.safetensors"
    if path.is_file():
        with contextlib.suppress(Exception):  # a damaged one is made again
            return load_file(path)["prompt"]
    with library():
        from diffusers import WanAnimatePipeline
        from transformers import AutoTokenizer, UMT5EncoderModel

        reader = UMT5EncoderModel.from_pretrained(
            folder, subfolder="text_encoder", dtype=_stored(folder), local_files_only=True
        )
        splitter = AutoTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True)
        others = dict.fromkeys(("transformer", "vae", "image_encoder", "image_processor", "scheduler"))
        pipe: Any = WanAnimatePipeline(text_encoder=reader, tokenizer=splitter, **others)
        with torch.inference_mode():
            made, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=_WORDS)
    make_folder(path.parent)
    made = made.clone().contiguous()
    with replacing(path) as at:
        save_file({"prompt": made}, at)
    return made


def _stored(folder: Path) -> torch.dtype:
    """The precision in which the text encoder was published."""
    try:
        config = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(
            folder / "text_encoder", "has no config.json that can be read: pull the weights again"
        ) from error
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def _key(folder: Path, prompt: str) -> str:
    """What a prompt's embedding depends on, in hex: the prompt, and what reads it."""
    digest = hashlib.sha256(prompt.encode())
    for part in ("text_encoder", "tokenizer"):
        digest.update(fingerprint(folder / part).encode())
    return digest.hexdigest()[:32]


def fingerprint(folder: Path) -> str:
    """Tells folders of weights apart without reading all of them: names, sizes and beginnings of their files, in hex.
    Raises BadFile."""
    digest = hashlib.sha256()
    for path in files_in(folder):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} ".encode())
        try:
            with path.open("rb") as file:
                digest.update(file.read(1 << 16))
        except OSError as error:
            raise BadFile(path, f"may not be read ({error.strerror})") from error
    return digest.hexdigest()


@contextlib.contextmanager
def library() -> Iterator[None]:
    """Keeps the library's bars and remarks to itself, and turns what it raises into one sentence.

    Raises MissingExtra, EngineError."""
    try:
        import accelerate  # noqa: F401
        import diffusers
        import ftfy  # noqa: F401
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtra("avatar animate", error.name or "diffusers", "wan") from error
    for remarks in (diffusers.utils.logging, transformers.utils.logging):
        remarks.set_verbosity_error()
        remarks.disable_progress_bar()
    try:
        yield
    except AvatarError:
        raise
    except torch.OutOfMemoryError as error:
        cure = "a plan for less memory (--memory), a smaller --size, or fewer frames at a time (--segment)"
        raise EngineError("wan", f"the GPU's memory is full: take {cure}") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        if lacks_memory(error):
            raise
        raise EngineError("wan", first_line(error) or type(error).__name__) from error
