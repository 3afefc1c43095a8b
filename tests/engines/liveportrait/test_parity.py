"""LivePortrait's networks against outputs of the published implementation, with weights from the recipe."""

from __future__ import annotations

import copy
import gc
import json
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from realtime.engines.liveportrait import keypoints as kp  # noqa: E402
from realtime.engines.liveportrait import recipe  # noqa: E402
from realtime.engines.liveportrait.networks import Networks  # noqa: E402
from realtime.engines.liveportrait.prepared import FastLivePortrait  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402
from tests.support.golden import reference  # noqa: E402
from tests.support.shares import Shares, field, picture  # noqa: E402

MOTION, F, W, G, CHAIN = 5e-5, 1e-4, 3e-4, 2e-4, 2e-3
"""Shares of an array's rms; float32 alone leaves a tenth of them or less."""
SMALL, WHOLE = "vectors_size128_seed1.npz", "vectors_seed1.npz"


def vectors(name: str):
    return np.load(reference("liveportrait", name))


def test_names_shapes_and_recipe_are_those_of_the_published_files(nets) -> None:
    manifest = json.loads(reference("liveportrait", "manifest.json").read_text())
    state = nets.parts.state_dict()
    listed = {f"{n}.{e['key']}": e for n, net in manifest["networks"].items() for e in net["entries"]}
    assert {k: tuple(e["shape"]) for k, e in listed.items()} == {k: tuple(v.shape) for k, v in state.items()}
    for key, e in listed.items():
        if e["kind"] == "normal":
            assert recipe.scale_and_offset(key, tuple(e["shape"])) == (e["scale"], e.get("offset", 0.0)), key
    for key, first in manifest["recipe_check_seed1_first3"].items():
        assert state[key].flatten()[:3].tolist() == first
    for name, sigma in manifest["recipe_check_seed1_sigma"].items():
        conv = nets.parts["spade_generator"].get_submodule(name)
        assert (conv.weight_orig / conv.weight()).flatten()[0].item() == pytest.approx(sigma, rel=1e-5)


def test_all_networks_give_the_published_outputs_at_128_pixels(nets) -> None:
    check = Shares(vectors(SMALL))
    for tag in ("source", "drive"):
        for name, value in nets.motion(picture(check.vectors, tag)).items():
            check.exact(f"motion.{tag}.{name}", value, MOTION)
    volume = nets.appearance(picture(check.vectors, "source"))
    check.map("feat.source.out", volume, F)
    check.exact("feat.source.out.sub", volume[0, ::4, ::5, ::8, ::8], F)
    source, driving = (torch.from_numpy(check.vectors[f"in.kp_{k}"])[None] for k in ("source", "driving"))
    trace: dict = {}
    nets.parts["warping_module"](field("volume", 32, 32, 1), source, driving, trace)
    check.warp("warp", trace, W)
    trace = {}
    image = nets.parts["spade_generator"](field("map", 256, 32, 1), trace)
    for name, value in trace.items():
        if f"gen.{name}.mean" in check.vectors:
            check.map(f"gen.{name}", value, G)
    check.image("gen", image, G)
    trace = {}
    features = nets.parts["warping_module"](volume, source, driving, trace)
    check.warp("e2e.apart", {k: v for k, v in trace.items() if f"e2e.apart.{k}.mean" in check.vectors}, CHAIN)
    for key in ("mask_logit", "occlusion"):
        check.warp("e2e.apart", {key: trace[key]}, CHAIN)
    check.image("e2e.apart", nets.generate(features), CHAIN)
    assert check.unchecked() == set()


def test_the_prepared_form_gives_them_as_well(nets) -> None:
    check = Shares(vectors(SMALL))
    fast = FastLivePortrait(nets, Placement(torch.device("cpu")), 256)
    source, driving = (torch.from_numpy(check.vectors[f"in.kp_{k}"])[None] for k in ("source", "driving"))
    made = fast.source(picture(check.vectors, "source"))
    check.map("feat.source.out", made.volume, F)
    features = fast.warp(made.volume, made.thin, source, driving)
    check.map("e2e.apart.out", features, CHAIN)
    check.image("e2e.apart", fast.generate(features), CHAIN)
    inner = field("volume", 32, 32, 1)
    inner = inner.contiguous(memory_format=torch.channels_last_3d)
    check.map("warp.out", fast.warp(inner, fast.warp.thin(inner), source, driving), W)
    check.image("gen", fast.generate(field("map", 256, 32, 1)), G)
    flow = fast.warp.flow(fast.warp.thin(inner), source, driving)
    line = torch.linspace(-1, 1, 32)
    want = torch.from_numpy(check.vectors["warp.deformation.mean"]).mean(0)[:2]  # the grid itself has mean 0
    torch.testing.assert_close(flow[0].mean((1, 2)) + line.mean(), want, rtol=0, atol=1e-4)


def test_the_prepared_form_does_not_keep_the_networks_it_is_made_of(nets) -> None:
    copies = Networks(nn.ModuleDict({name: copy.deepcopy(part) for name, part in nets.parts.items()}))
    seen = weakref.ref(copies.parts["warping_module"])
    fast = FastLivePortrait(copies, Placement(torch.device("cpu")), 256)
    del copies
    gc.collect()
    assert seen() is None
    assert fast.motion(torch.zeros(1, 3, 128, 128))[0].isfinite().all()


@pytest.mark.slow
def test_all_networks_at_the_published_size(nets) -> None:
    check = Shares(vectors(WHOLE))
    out = {}
    for tag in ("source", "start", "drive", "face"):
        trace: dict = {}
        out[tag] = nets.parts["motion_extractor"](picture(check.vectors, tag), trace)
        check.exact(f"motion.{tag}.norm", trace.pop("norm"), MOTION)
        for name, value in out[tag].items():
            check.exact(f"motion.{tag}.{name}", value, MOTION)
        for name, value in trace.items():
            check.map(f"motion.{tag}.{name}", value, W)
    trace = {}
    volume = nets.parts["appearance_feature_extractor"](picture(check.vectors, "source"), trace)
    for name, value in {**trace, "out": volume}.items():
        check.map(f"feat.source.{name}", value, W)
    codes = {tag: kp.code_of(value) for tag, value in out.items()}
    canonical = out["source"]["kp"].unflatten(1, (21, 3))
    home = kp.Motion.of(codes["source"]).place(canonical)
    heads = kp.Heads(nets.stitch, nets.retarget_eye, nets.retarget_lip)
    driven = kp.drive(codes["drive"], codes["start"], codes["source"], canonical, heads, kp.Rules().tensor())
    fast = FastLivePortrait(nets, Placement(torch.device("cpu")))
    last = volume.contiguous(memory_format=torch.channels_last_3d)
    for moved, picture_of in (
        (nets.warp(volume, home, driven), nets.generate),
        (fast.warp(last, fast.warp.thin(last), home, driven), fast.generate),
    ):
        check.map("e2e.rel.out", moved, CHAIN)
        check.image("e2e.rel", picture_of(moved), CHAIN)
