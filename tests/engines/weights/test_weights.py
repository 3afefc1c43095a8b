"""Weight files: what is taken, what is refused, and in which words."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from realtime import load_engine  # noqa: E402
from realtime.engines.latent import weights  # noqa: E402
from realtime.engines.latent.lia import Lia  # noqa: E402
from realtime.engines.latent.lia_x import LiaX  # noqa: E402
from realtime.engines.latent.wan_face import WanFaceEncoder  # noqa: E402
from realtime.engines.weights import recipe, registry  # noqa: E402
from realtime.errors import BadFile, UnknownName  # noqa: E402


def small() -> dict[str, torch.Tensor]:
    """A state dict for LIA at 8 pixels, the smallest that there is."""
    return recipe.state_dict(Lia(size=8), 1)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return small()


def write(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapped", [True, False], ids=["in gen", "bare"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before zip"])
def test_a_published_pt_file_loads(state, tmp_path: Path, wrapped: bool, legacy: bool) -> None:
    path = tmp_path / "vox.pt"
    content = {"gen": state} if wrapped else state
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    net, found = weights.load_network(path, "lia")
    assert found.about == "LIA, 8 px, 20 directions"
    assert isinstance(net, Lia)
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_safetensors_file_loads_and_drives(state, tmp_path: Path) -> None:
    path = tmp_path / "lia.safetensors"
    safetensors.save_file(state, path)
    engine = load_engine("lia", weights=path, crop="none", device="cpu")
    assert engine.size == 8
    assert engine.device == "cpu"
    engine.set_portrait(torch.randint(0, 255, (16, 16, 3), dtype=torch.uint8).numpy())
    assert engine.render(engine.portrait_code).shape == (8, 8, 3)


def test_the_motion_encoder_is_taken_out_of_a_wan_animate_file(tmp_path: Path) -> None:
    state = {weights.WAN_PREFIX + k: v for k, v in recipe.state_dict(WanFaceEncoder(size=8), 1).items()}
    state["face_encoder.out_proj.bias"] = torch.zeros(3)
    path = write(tmp_path / "wan.pt", state)
    net, found = weights.load_network(path, "wan-face")
    assert isinstance(net, WanFaceEncoder)
    assert "Wan-Animate" in found.about


def test_lia_x_is_recognised_by_its_scale() -> None:
    with torch.device("meta"):
        state = LiaX(scale=3).state_dict()
    found = weights.recognise("x.pt", state)
    assert (found.family, found.about) == ("lia-x", "LIA-X, 512 px, scale 3, 40 directions")


@pytest.mark.parametrize(("size", "width"), [(8, 32), (64, 96), (256, 128)])
def test_a_smaller_lia_x_is_recognised_and_computes(size: int, width: int, tmp_path: Path) -> None:
    with torch.device("meta"):
        state = LiaX(1, 7, size=size, width=width).state_dict()
    found = weights.recognise("x.pt", state)
    assert (found.family, found.about) == ("lia-x", f"LIA-X, {size} px, width {width}, 7 directions")
    with torch.device("meta"):
        assert {k: v.shape for k, v in found.build().state_dict().items()} == {k: v.shape for k, v in state.items()}
        net = LiaX(1, 7, size=size, width=width)
        z, feats = net.encode(torch.empty(2, 3, size, size))
        assert [f.shape[-1] for f in feats] == [8 << k for k in range(len(feats))]
        assert net.decode(z, feats).shape == (2, 3, size, size)


@pytest.mark.parametrize("make", [lambda: Lia(64), lambda: LiaX(4), lambda: WanFaceEncoder()])
def test_shapes_can_be_asked_without_memory(make) -> None:
    with torch.device("meta"):
        net = make()
        z, feats = net.encode(torch.empty(2, 3, net.size, net.size))
        assert z.shape == (2, net.dim)
        assert [f.shape[-1] for f in feats] == [8 << k for k in range(len(feats))]
        assert net.directions().shape == (net.dim, net.motion_dim)
        assert net.navigate(z[:1], target=net.alpha(z)).shape == (2, net.dim)


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.encode(torch.zeros(1, 3, 16, 16)),
        lambda net: net.encode(torch.zeros(1, 3, 8, 16)),
        lambda net: net.encode(torch.zeros(1, 1, 8, 8)),
        lambda net: net.encode(torch.zeros(3, 8, 8)),
        lambda net: net.navigate(torch.zeros(1, 512), target=torch.zeros(1, 5)),
        lambda net: net.navigate(torch.zeros(1, 512), target=torch.zeros(1, 20), start=torch.zeros(1, 20)),
    ],
)
@pytest.mark.parametrize("make", [lambda: Lia(8), lambda: LiaX(1, 20, size=8), lambda: WanFaceEncoder(8)])
def test_wrong_shapes_are_told_clearly(make, call) -> None:
    with pytest.raises(ValueError, match=r"must be|needs both"):
        call(make())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lia(100),
        lambda: Lia(4),
        lambda: Lia(8, 513),
        lambda: WanFaceEncoder(100),
        lambda: WanFaceEncoder(8, 0),
        lambda: LiaX(5),
        lambda: LiaX(1, size=100),
    ],
)
def test_networks_that_do_not_exist(make) -> None:
    with pytest.raises(ValueError, match=r"works on|1 to 512|scales"):
        make()


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("dec.direction.weight", (512, 0)),
        ("dec.direction.weight", (512, 513)),
        ("dec.direction.weight", (512,)),
        ("enc.fc.4.weight", (20, 9)),
        ("enc.enc_2r.block1.0.weight", ()),
        ("enc.enc_2r.block1.0.weight", (48, 3, 1, 1)),
        ("enc.enc_2r.block1.0.weight", (0, 3, 1, 1)),
    ],
)
def test_odd_shapes_are_one_sentence(tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    state = recipe.state_dict(Lia(8), 1) | {key: torch.zeros(shape)}
    assert _refused(write(tmp_path / "odd.pt", state))


def test_a_file_that_one_engine_uses_is_still_refused_by_another(tmp_path: Path) -> None:
    path = write(tmp_path / "lia.pt", {"gen": recipe.state_dict(Lia(8), 1)})
    first = load_engine("lia", weights=path, crop="none", device="cpu")
    assert first.name == "lia"
    with pytest.raises(BadFile, match="not weights for lia-x"):
        load_engine("lia-x", weights=path, crop="none", device="cpu")


def _refused(path: Path, family: str = "lia") -> str:
    with pytest.raises(BadFile) as caught:
        weights.load_network(path, family)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


class Evil:
    """Its pickle runs a command when it is opened without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.system, (f"touch {self.target}",))


@pytest.mark.parametrize("form", ["zip", "before zip", "bare pickle"])
def test_a_file_that_asks_for_code_is_refused_and_not_obeyed(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "evil.pt", tmp_path / "obeyed"
    if form == "bare pickle":
        path.write_bytes(pickle.dumps({"gen": Evil(trace)}))
    else:
        torch.save({"gen": Evil(trace)}, path, _use_new_zipfile_serialization=form == "zip")
    assert "run code" in _refused(path)
    assert not trace.exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["enc.fc.2.bias", "dec.convs.1.conv.weight"])
def test_a_number_that_is_none_is_refused_by_the_name_of_its_tensor(state, tmp_path, bad: float, key: str) -> None:
    broken = dict(state)
    broken[key] = state[key].clone()
    broken[key].view(-1)[-1] = bad
    sentence = _refused(write(tmp_path / "w.pt", {"gen": broken}))
    assert repr(key) in sentence
    assert ("NaN" if bad != bad else "infinity") in sentence


def test_files_that_are_no_weights(state, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.pt", {"gen": state}).read_bytes()
    as_safetensors = tmp_path / "whole.safetensors"
    safetensors.save_file(state, as_safetensors)
    cases = {
        "cut.pt": (whole[: len(whole) // 2], "cut off"),
        "cut.safetensors": (as_safetensors.read_bytes()[:-100], "cut off"),
        "page.pt": (b"<!DOCTYPE html><html>Virus scan warning</html>", "web page"),
        "empty.pt": (b"", "empty"),
        "photo.pt": (b"\x89PNG\r\n\x1a\n" + bytes(50), "neither"),
        "pickle.pt": (pickle.dumps({"gen": 3}, 2)[:-3], "damaged"),
    }
    for name, (content, word) in cases.items():
        (tmp_path / name).write_bytes(content)
        assert word in _refused(tmp_path / name), name
    assert "no such file" in _refused(tmp_path / "none.pt")
    (tmp_path / "dir.pt").mkdir()
    assert "folder" in _refused(tmp_path / "dir.pt")
    assert "named tensors" in _refused(write(tmp_path / "mixed.pt", {"gen": {"a": 1, "b": torch.zeros(1)}}))
    assert "no network weights" in _refused(write(tmp_path / "list.pt", [torch.zeros(1)]))


def test_weights_of_another_network(state, tmp_path: Path) -> None:
    path = write(tmp_path / "lia.pt", {"gen": state})
    assert "LIA, 8 px, 20 directions, not weights for lia-x" in _refused(path, "lia-x")
    assert "not known here" in _refused(write(tmp_path / "resnet.pt", {"conv1.weight": torch.zeros(3, 3)}))


def test_a_tensor_missing_too_many_or_of_another_shape(state, tmp_path: Path) -> None:
    lacking = {k: v for k, v in state.items() if k != "dec.to_rgbs.0.bias"}
    assert "lacks 1 of 50 tensors, as 'dec.to_rgbs.0.bias'" in _refused(write(tmp_path / "a.pt", lacking))
    assert "'extra'" in _refused(write(tmp_path / "b.pt", {**state, "extra": torch.zeros(2)}))
    bent = {**state, "enc.fc.0.weight": torch.zeros(512, 500)}
    assert "'enc.fc.0.weight' has the shape (512, 500), not (512, 512)" in _refused(write(tmp_path / "c.pt", bent))
    whole = {**state, "enc.fc.0.bias": torch.zeros(512, dtype=torch.int64)}
    assert "int64" in _refused(write(tmp_path / "d.pt", whole))


def test_weights_in_half_precision_are_taken(state, tmp_path: Path) -> None:
    path = write(tmp_path / "half.pt", {k: v.half() for k, v in state.items()})
    engine = load_engine("lia", weights=path, crop="none", device="cpu")
    engine.set_portrait(torch.randint(0, 255, (16, 16, 3), dtype=torch.uint8).numpy())
    assert engine.render(engine.portrait_code).shape == (8, 8, 3)


def test_registered_weights_are_found_by_name_and_by_engine(state, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    with pytest.raises(BadFile, match="avatar models add lia PATH"):
        load_engine("lia")
    with pytest.raises(BadFile, match="avatar models pull lia-x"):
        load_engine("lia-x")
    path = write(tmp_path / "vox.pt", {"gen": state})
    record = registry.Record("mine", "lia", "LIA", str(path), registry.sha256_of(path), path.stat().st_size)
    registry.write(record)
    assert registry.records() == [record]
    assert load_engine("lia", crop="none").size == 8
    assert load_engine("lia", weights="mine", crop="none").size == 8
    with pytest.raises(UnknownName, match="Did you mean 'mine'"):
        load_engine("lia", weights="mime")
    path.unlink()
    with pytest.raises(BadFile, match="no longer there"):
        load_engine("lia")


MEASURE = """
import re, sys, torch
from realtime import load_engine
from realtime.engines.latent import lia_x, weights
from realtime.engines.neural import engine as neural

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

torch.set_num_threads(1)
before = peak()
engine = load_engine("lia-x", weights=sys.argv[1], device="cpu", dtype="fp32", crop="none")
print(before, peak())
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_the_large_network_loads_without_a_second_copy(tmp_path: Path, suffix: str) -> None:
    """LIA-X at scale 2 as an engine on the CPU: the peak is within 1.15 of its weights."""
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc")
    state, path = recipe.state_dict(LiaX(scale=2), 1), tmp_path / f"lia-x.{suffix}"
    total = sum(v.numel() * 4 for v in state.values())
    if suffix == "pt":
        torch.save(state, path)
    else:
        safetensors.save_file(state, path)
    del state
    out = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True).stdout
    before, after = map(int, out.split())
    print(f"weights {total / 1e9:.2f} GB, peak {after / 1e9:.2f} GB, of which {before / 1e9:.2f} GB before loading")
    assert after - before < 1.1 * total
    assert after < 1.15 * total
