"""Our segments against the library's own loop, bit for bit, and the ways to load it: with tiny random weights."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.film.segments import segments_of
from realtime.film.wan.maker import PROMPT
from realtime.film.wan.plans import PLANS, Plan
from realtime.film.wan.prepared import About, Prepared

pytestmark = [pytest.mark.xdist_group("wan"), pytest.mark.usefixtures("one_thread")]

FRAMES, LENGTH, STEPS, SEED = 22, 17, 2, 5
CPU = PLANS[-1]


def made_up(folder, mode: str = "replace", frames: int = FRAMES) -> Prepared:
    """A prepared film of noise, 48 x 32."""
    about = About("wan", mode, 48, 32, 25.0, frames, "none.mp4", "", "", None, ("pose", "face", "background", "mask"))
    prepared = Prepared(folder, about)
    noise = np.random.default_rng(0)
    from realtime.media.pictures import write_picture

    write_picture(folder / "portrait.png", noise.integers(0, 255, (40, 50, 3), np.uint8))
    for n in range(frames):
        for kind, side in (("pose", (32, 48)), ("face", (16, 16)), ("background", (32, 48))):
            prepared.write(kind, n, noise.integers(0, 255, (*side, 3), np.uint8))
        mask = np.zeros((32, 48), np.uint8)
        mask[8:, 8:24] = 255
        prepared.write("mask", n, mask)
    prepared.finish()
    return prepared


def ours(folder, prepared: Prepared, overlap: int = 1, plan: Plan = CPU, loras=(), steps: int = STEPS) -> np.ndarray:
    from realtime.film.wan import loading
    from realtime.film.wan.network import Network

    pipe = loading.load(loading.Parts(folder, loras=loras), plan, "cpu")
    network = Network(pipe, loading.embedding(folder, PROMPT), steps, LENGTH, overlap)
    made: list[np.ndarray] = []
    segments = segments_of(prepared.about.frames, LENGTH, overlap)
    network.make(prepared, segments, None, SEED, lambda segment, frames, state: made.append(frames), lambda *_: None)
    return np.concatenate(made)


@pytest.mark.parametrize(("mode", "overlap"), [("animate", 1), ("animate", 5), ("replace", 1), ("replace", 5)])
def test_segments_are_those_of_the_librarys_loop_in_every_bit(tiny, tmp_path, mode, overlap):
    import torch
    from diffusers import WanAnimatePipeline
    from PIL import Image

    prepared = made_up(tmp_path, mode)
    stock = WanAnimatePipeline.from_pretrained(tiny, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    videos = {
        f"{k}_video": [Image.fromarray(prepared.picture(k, n)) for n in range(FRAMES)] for k in ("pose", "face")
    }
    if mode == "replace":
        for kind in ("background", "mask"):
            videos[f"{kind}_video"] = [Image.fromarray(prepared.picture(kind, n)) for n in range(FRAMES)]
    want = stock(
        image=Image.fromarray(prepared.portrait()), prompt=PROMPT, mode=mode, height=32, width=48, guidance_scale=1.0,
        segment_frame_length=LENGTH, prev_segment_conditioning_frames=overlap, num_inference_steps=STEPS,
        generator=torch.Generator("cpu").manual_seed(SEED), output_type="np", **videos,
    ).frames[0]  # fmt: skip
    got = ours(tiny, prepared, overlap)
    assert got.shape == want.shape == (FRAMES, 32, 48, 3)
    assert np.array_equal(got, (want * 255).round().astype(np.uint8))
    assert got.std() > 3


def test_a_film_that_goes_on_after_a_segment_is_the_same_in_every_bit(tiny, tmp_path):
    from realtime.film.wan import loading
    from realtime.film.wan.network import Network

    prepared, whole, states = made_up(tmp_path, frames=40), [], []
    segments = segments_of(40, LENGTH, 1)

    def network() -> Network:
        return Network(
            loading.load(loading.Parts(tiny), CPU, "cpu"), loading.embedding(tiny, PROMPT), STEPS, LENGTH, 1
        )

    def keep(segment, frames, state):
        whole.append(frames)
        states.append(state)

    network().make(prepared, segments, None, SEED, keep, lambda *_: None)
    again: list[np.ndarray] = []
    network().make(
        prepared, segments[1:], states[0], SEED, lambda s, frames, state: again.append(frames), lambda *_: None
    )
    assert all(np.array_equal(a, b) for a, b in zip(whole[1:], again, strict=True))
    assert not np.array_equal(whole[1][:8], whole[0][1:9])


def test_steps_are_told_one_by_one(tiny, tmp_path):
    from realtime.film.wan import loading
    from realtime.film.wan.network import Network

    told: list[tuple[int, int]] = []
    pipe = loading.load(loading.Parts(tiny), CPU, "cpu")
    network = Network(pipe, loading.embedding(tiny, PROMPT), 3, LENGTH, 1)
    prepared = made_up(tmp_path)
    segments = segments_of(FRAMES, LENGTH, 1)
    network.make(prepared, segments, None, SEED, lambda *_: None, lambda *step: told.append(step))
    assert told == [(k, done) for k in range(len(segments)) for done in (1, 2, 3)]


def test_the_prompt_is_read_once_and_kept(tiny, home, monkeypatch):
    import torch
    from diffusers import WanAnimatePipeline

    from realtime.film.wan import loading

    stock = WanAnimatePipeline.from_pretrained(tiny, dtype=torch.float32)
    want, _ = stock.encode_prompt(PROMPT, do_classifier_free_guidance=False, max_sequence_length=512)
    first = loading.embedding(tiny, PROMPT)
    assert torch.allclose(first, want, atol=1e-5)
    assert float(want.detach().std()) > 0.05
    monkeypatch.setattr(WanAnimatePipeline, "from_pretrained", None)
    assert torch.equal(loading.embedding(tiny, PROMPT), first)
    (kept,) = (home / "models" / "prompts").iterdir()
    monkeypatch.undo()
    monkeypatch.setenv("AVATAR_HOME", str(home))
    kept.write_bytes(b"half")
    assert torch.equal(loading.embedding(tiny, PROMPT), first)
    assert not torch.equal(loading.embedding(tiny, "人在做"), first)


@pytest.mark.parametrize(
    "plan", [plan for plan in PLANS if plan.placing in ("by blocks", "by layers")], ids=lambda p: p.name
)
def test_offloading_changes_where_numbers_lie_and_not_the_film(tiny, tmp_path, plan):
    """On a CPU, in the CPU's precision: that the hooks are put on, and that the film does not change."""
    from dataclasses import replace

    prepared = made_up(tmp_path, "animate", frames=LENGTH)
    assert np.array_equal(ours(tiny, prepared, plan=replace(plan, precision="float32")), ours(tiny, prepared))


def test_weights_held_as_8_bit_floats_make_nearly_the_same_film(tiny, tmp_path):
    import torch

    from realtime.film.wan import loading

    plan = Plan("24 GB", 22, "fp8", "cpu", 48, "")
    pipe = loading.load(loading.Parts(tiny), plan, "cpu")
    held = {p.dtype for name, p in pipe.transformer.named_parameters() if "attn1.to_q.weight" in name}
    assert held == {torch.float8_e4m3fn}


def test_a_lora_changes_the_film_by_its_strength(tiny, tmp_path):
    pytest.importorskip("peft", reason="the extra wan is not installed (peft): make test-wan")
    import torch
    from safetensors.torch import save_file

    from realtime.film.wan import loading
    from realtime.film.wan.loading import Lora

    torch.manual_seed(1)
    state = {}
    for block in range(2):
        for layer in ("attn1.to_q", "attn1.to_v"):
            name = f"transformer.blocks.{block}.{layer}"
            state[f"{name}.lora_A.weight"], state[f"{name}.lora_B.weight"] = torch.randn(4, 24), torch.randn(24, 4)
    path = tmp_path / "distilled.safetensors"
    save_file(state, path)
    prepared = made_up(tmp_path, "animate", frames=LENGTH)
    plain, off, full = (ours(tiny, prepared, loras=loras) for loras in ((), (Lora(path, 0.0),), (Lora(path, 1.0),)))
    assert np.array_equal(plain, off)
    assert not np.array_equal(plain, full)
    save_file({"some.other.lora_A.weight": torch.zeros(4, 24)}, path)
    with pytest.raises(loading.BadFile, match=r"distilled.safetensors: (is no LoRA|changes nothing)"):
        loading.load(loading.Parts(tiny, loras=(Lora(path),)), CPU, "cpu")


def test_our_face_encoder_gives_the_librarys_numbers():
    """`realtime.engines.latent.wan_face` and diffusers' motion encoder: same weights, same motion vector."""
    pytest.importorskip("diffusers", reason="the extra wan is not installed (diffusers): make test-wan")
    import torch
    from diffusers.models.transformers.transformer_wan_animate import WanAnimateMotionEncoder

    from realtime.engines.latent.wan_face import WanFaceEncoder
    from realtime.engines.weights import recipe

    ours = WanFaceEncoder(size=512)
    recipe.fill(ours, 1)
    theirs = WanAnimateMotionEncoder(size=512)
    theirs.load_state_dict(renamed(ours.state_dict()))
    faces = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        got, want = ours.eval().motion(faces), theirs.eval()(faces)
    assert got.shape == want.shape == (1, 512)
    assert float(want.std()) > 1e-3
    assert float((got - want).abs().max()) < 3e-5 * float(want.abs().max())


def renamed(state):
    """Parameters of our encoder under the library's names."""
    named = {}
    blocks = sum(key.endswith(".skip.1.weight") for key in state)
    for key, value in state.items():
        part, _, rest = key.removeprefix("enc.").partition(".")
        if key == "dec.direction.weight":
            named["motion_synthesis_weight"] = value
        elif part == "fc":
            named[f"motion_network.{rest}"] = value
        elif "kernel" not in key:
            index, _, layer = rest.removeprefix("convs.").partition(".")
            home = (
                "conv_in" if index == "0" else "conv_out" if int(index) > blocks else f"res_blocks.{int(index) - 1}"
            )
            inner = layer.split(".")[0]
            inner = {"skip": ".conv_skip"}.get(inner, f".{inner}") if inner in ("conv1", "conv2", "skip") else ""
            leaf = "act_fn.bias" if key.endswith("bias") else "weight"
            named[f"{home}{inner}.{leaf}"] = value.flatten() if key.endswith("bias") else value
    return named
