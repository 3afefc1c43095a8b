"""The networks against outputs of the published implementations, with weights from the recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.latent.layers import LatentAnimator  # noqa: E402
from realtime.engines.latent.lia import Lia  # noqa: E402
from realtime.engines.latent.lia_x import LiaX  # noqa: E402
from realtime.engines.latent.wan_face import WanFaceEncoder  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402
from tests.support.golden import Comparison, manifest, picture, reference  # noqa: E402


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def _check_encoder(net: LatentAnimator, check: Comparison, tight: float, maps: float) -> dict[str, tuple]:
    """Latents, codes and the portrait's features; returns what was encoded, by tag."""
    out = {}
    for tag in ("source", "start", "drive"):
        z, feats = net.encode(picture(check.vectors, tag))
        check.exact(f"enc.z_{tag}", z, tight)
        check.exact(f"alpha.{tag}", net.alpha(z), tight)
        out[tag] = (z, net.alpha(z), feats)
        if tag == "source":
            for k, feature in enumerate(feats):
                check.map(f"enc.feat{k}_{feature.shape[-1]}", feature, maps, maps)
    check.exact("Q", net.directions(), tight)
    check.exact("dir.drive", out["drive"][1] @ net.directions().T, tight)
    return out


def _check_mode(net, check: Comparison, mode: str, z, feats, pools: float, crops: float) -> None:
    trace: dict = {}
    image = net.decode(z, feats, trace=trace)
    check.exact(f"{mode}.latent", z, crops / 10)
    for name, value in trace.items():
        check.map(f"{mode}.{name}", value, pools, crops)
    check.image(mode, image, pools, crops)


def _lia(vectors: Path, size: int) -> None:
    check = Comparison(np.load(vectors))
    net = Lia(size=size, motion_dim=20)
    recipe.fill(net, int(check.vectors["meta.seed"]))
    coded = _check_encoder(net, check, 2e-5, 3e-4)
    (z, source, feats), (_, start, _), (_, drive, _) = (coded[t] for t in ("source", "start", "drive"))
    edit = torch.from_numpy(check.vectors["in.edit"])
    latents = {
        "abs": net.navigate(z, target=drive),
        "rel": net.navigate(z, target=drive, start=start, source=source),
        "edit": net.navigate(z, target=source + edit),
        "none": z,
    }
    for mode, latent in latents.items():
        _check_mode(net, check, mode, latent, feats, 3e-4, 1e-3)
    assert check.unchecked() == set()


def test_lia_at_64_pixels_gives_the_published_outputs() -> None:
    _lia(reference("lia", "vectors_size64_seed1.npz"), 64)


def test_lia_at_256_pixels_gives_the_published_outputs() -> None:
    _lia(reference("lia", "vectors_seed1.npz"), 256)


def _lia_x(vectors: Path, scale: int, modes: set[str]) -> set[str]:
    check = Comparison(np.load(vectors))
    net = LiaX(scale=scale, motion_dim=40)
    recipe.fill(net, int(check.vectors["meta.seed"]))
    coded = _check_encoder(net, check, 3e-5, 5e-4)
    (z, source, feats), (z0, start, feats0), (_, drive, _) = (coded[t] for t in ("source", "start", "drive"))
    e = torch.zeros(1, 40)
    e[0, torch.from_numpy(check.vectors["in.edit_ids"]).long()] = torch.from_numpy(check.vectors["in.edit_values"])
    todo = {
        "abs": (net.navigate(z, target=drive), feats),
        "rel": (net.navigate(z, target=drive, start=start, source=source), feats),
        "edit_img": (net.navigate(z, target=source + e), feats),
        "animate_edit": (net.navigate(z, target=drive, start=start, source=source + e), feats),
        "edit_vid": (net.navigate(z0, target=drive + e), feats0),
    }
    for mode in todo:
        if mode in modes:
            _check_mode(net, check, mode, *todo[mode], 5e-4, 2e-3)
        else:
            check.exact(f"{mode}.latent", todo[mode][0], 2e-4)
    return {key.split(".")[0] for key in check.unchecked()}


@pytest.mark.slow
def test_lia_x_at_scale_1_gives_the_published_outputs() -> None:
    """Relative motion here, with every intermediate map; the latents of all modes. One decoding is 1.5 TFLOP."""
    left = _lia_x(reference("lia_x", "vectors_scale1_seed1.npz"), 1, {"rel"})
    assert left == {"abs", "edit_img", "animate_edit", "edit_vid"}


ALL_MODES = {"abs", "rel", "edit_img", "animate_edit", "edit_vid"}


@pytest.mark.slow
def test_lia_x_at_scale_1_in_all_modes() -> None:
    assert _lia_x(reference("lia_x", "vectors_scale1_seed1.npz"), 1, ALL_MODES) == set()


@pytest.mark.slow
def test_lia_x_at_scale_2_gives_the_published_outputs() -> None:
    assert _lia_x(reference("lia_x", "vectors_seed1.npz"), 2, {"rel"}) == set()


def test_wan_face_encoder_gives_the_published_motion_vectors() -> None:
    check = Comparison(np.load(reference("wan_face", "vectors_seed1.npz")))
    net = WanFaceEncoder()
    recipe.fill(net, int(check.vectors["meta.seed"]))
    for tag in ("drive", "start"):
        x = picture(check.vectors, tag, made_as=f"wan:{tag}")
        z, feats = net.encode(x)
        check.exact(f"h.{tag}", z, 2e-5)
        check.exact(f"alpha.{tag}", net.alpha(z), 3e-5)
        check.exact(f"motion.{tag}", net.motion(x), 3e-5)
        for k, feature in enumerate(feats):
            check.map(f"feat.{tag}.{k}_{feature.shape[-1]}", feature, 3e-4, 3e-4)
    check.exact("Q", net.directions(), 2e-6)
    assert check.unchecked() == set()


def test_recipe_numbers_are_those_of_the_golden_sets() -> None:
    entries = json.loads(reference("lia", "manifest_size64.json").read_text())["entries"]
    for e in entries:
        if e["kind"] == "param":
            assert recipe.scale_of(e["key"]) == e["scale"], e["key"]
    first = recipe.recipe_tensor("dec.direction.weight", (512, 20), 1).flatten()[:3]
    assert first.tolist() == [1.589534044265747, 0.3245004713535309, -0.747626543045044]


def test_names_and_shapes_of_the_small_published_form() -> None:
    assert _shapes(Lia(size=64, motion_dim=20)) == manifest(reference("lia", "manifest_size64.json"))


@pytest.mark.parametrize(
    ("make", "path", "prefix"),
    [
        (lambda: Lia(), ("lia", "manifest.json"), ""),
        (lambda: LiaX(scale=1), ("lia_x", "manifest_scale1.json"), ""),
        (lambda: LiaX(scale=2), ("lia_x", "manifest.json"), ""),
        (lambda: WanFaceEncoder(), ("wan_face", "manifest.json"), "motion_encoder."),
    ],
    ids=["lia", "lia-x scale 1", "lia-x scale 2", "wan face"],
)
def test_names_and_shapes_are_those_of_the_published_files(make, path, prefix) -> None:
    assert _shapes(make()) == manifest(reference(*path), prefix)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: Lia(size=512), 45239560),
        (lambda: Lia(size=1024), 45286851),
        (lambda: LiaX(scale=3), 2048529703),
        (lambda: LiaX(scale=4), 3641602407),
    ],
    ids=["lia 512", "lia 1024", "lia-x scale 3", "lia-x scale 4"],
)
def test_other_sizes_have_the_published_number_of_parameters(make, parameters: int) -> None:
    assert sum(p.numel() for p in make().parameters()) == parameters


def _shapes(net) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}
