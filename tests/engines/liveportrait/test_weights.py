"""LivePortrait's weight files, with networks of a few numbers in the place of the real ones."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")

from torch import nn  # noqa: E402

from realtime import cli  # noqa: E402
from realtime.engines.liveportrait import networks, published, weights  # noqa: E402
from realtime.engines.weights import registry  # noqa: E402
from realtime.errors import BadFile, NotWritten  # noqa: E402
from tests.support.hub_server import HubServer  # noqa: E402


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, name in enumerate(networks.PARTS):
        monkeypatch.setitem(networks.PARTS, name, lambda k=k: nn.BatchNorm1d(2 + k))
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def state(name: str, value: float = 0.5) -> dict[str, torch.Tensor]:
    made = networks.PARTS[name]().state_dict()
    return {k: v + value if v.is_floating_point() else v for k, v in made.items()}


def release(folder: Path, base: str = "base_models", value: float = 0.5) -> Path:
    """The files as they are released: one network each, and the heads in one with other things beside them."""
    (folder / base).mkdir(parents=True)
    (folder / "retargeting_models").mkdir(exist_ok=True)
    for name in weights.BASE:
        torch.save(state(name, value), folder / base / f"{name}.pth")
    heads = {n: {f"module.{k}": v for k, v in state(n).items()} for n in networks.PARTS if n not in weights.BASE}
    torch.save({**heads, "optimizer": {"step": 3}}, folder / "retargeting_models" / weights.HEADS_FILE)
    return folder


def test_the_released_folder_one_of_its_files_and_our_file_hold_the_same(tmp_path: Path) -> None:
    folder = release(tmp_path / "liveportrait")
    one = tmp_path / "all.safetensors"
    weights.gather(folder, one)
    wanted = weights.load_networks(folder).parts.state_dict()
    assert len(wanted) == 5 * 7
    for path in (one, folder / "base_models" / "warping_module.pth"):
        found = weights.load_networks(path).parts.state_dict()
        assert wanted.keys() == found.keys()
        assert all(torch.equal(wanted[k], found[k]) for k in wanted)
    assert weights.is_ours(one)
    assert weights.check(one) == weights.ABOUT


def test_a_file_that_cannot_be_written_whole_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def fails(_state, path, **_more) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = release(tmp_path / "liveportrait")
    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(NotWritten, match="No space"):
        weights.gather(folder, tmp_path / "models" / "all.safetensors")
    assert list((tmp_path / "models").iterdir()) == []


def test_the_humans_files_are_taken_before_the_animals_and_the_later_version_before_the_first(tmp_path: Path) -> None:
    animals = release(tmp_path / "liveportrait_animals", "base_models", 1.0)
    release(animals, "base_models_v1.1", 2.0)
    key = "warping_module.weight"
    only = weights.load_networks(animals).parts.state_dict()
    assert only[key][0] == 3.0  # a weight of 1, and 2
    release(tmp_path / "liveportrait", "base_models", 0.25)
    assert weights.load_networks(tmp_path).parts.state_dict()[key][0] == 1.25


def test_animals_take_the_heads_of_the_humans_beside_them(tmp_path: Path) -> None:
    release(tmp_path / "liveportrait_animals")
    heads = tmp_path / "liveportrait" / "retargeting_models" / weights.HEADS_FILE
    heads.parent.mkdir(parents=True)
    (tmp_path / "liveportrait_animals" / "retargeting_models" / weights.HEADS_FILE).rename(heads)
    assert weights.released_files(tmp_path / "liveportrait_animals")[weights.HEADS_FILE] == heads


class Surprise:
    def __reduce__(self):
        return print, ("boo",)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "base_models" / "spade_generator.pth").unlink(), r"spade_generator\.pth: is missing"),
        (lambda f: (f / "retargeting_models" / weights.HEADS_FILE).unlink(), "is missing"),
        (lambda f: torch.save(state("warping_module"), f / "base_models" / "motion_extractor.pth"), "has the shape"),
        (lambda f: torch.save({"weight": torch.ones(4)}, f / "base_models" / "warping_module.pth"),
         "looks like LivePortrait's warping_module but lacks 4 of 5 tensors, as 'bias'"),
        (lambda f: torch.save(state("spade_generator", np.nan), f / "base_models" / "spade_generator.pth"),
         "holds NaN: the weights are broken"),
        (lambda f: torch.save({"a": {}}, f / "retargeting_models" / weights.HEADS_FILE), "no 'retarget_shoulder'"),
        (lambda f: (f / "base_models" / "spade_generator.pth").write_bytes(pickle.dumps(Surprise())),
         "refused"),
        (lambda f: torch.save({"x": Surprise()}, f / "retargeting_models" / weights.HEADS_FILE),
         "asks to run code when it is opened, which weights never need: refused"),
    ],
    ids=["file", "heads", "other", "half", "nan", "no heads", "pickle", "code"],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_one_sentence(tmp_path: Path, spoil, says: str, capfd) -> None:
    folder = release(tmp_path / "liveportrait")
    spoil(folder)
    with pytest.raises(BadFile, match=says):
        weights.load_networks(folder)
    assert "boo" not in capfd.readouterr().out


def test_other_files_and_folders_are_refused(tmp_path: Path) -> None:
    torch.save({"dec.direction.weight": torch.ones(4, 2)}, tmp_path / "vox.pt")
    with pytest.raises(BadFile, match="holds no LivePortrait"):
        weights.load_networks(tmp_path / "vox.pt")
    with pytest.raises(BadFile, match="is a folder without appearance_feature_extractor"):
        weights.load_networks(tmp_path)


def test_half_a_file_of_ours_is_told_by_the_keys_that_it_lacks(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    one = tmp_path / "all.safetensors"
    weights.gather(release(tmp_path / "liveportrait"), one)
    whole = load_file(one)
    save_file({k: v for k, v in whole.items() if k != "retarget_eye.bias"}, one)
    with pytest.raises(BadFile, match=r"lacks 1 of 35 tensors, as 'retarget_eye\.bias'"):
        weights.load_networks(one)
    (tmp_path / "cut.safetensors").write_bytes(one.read_bytes()[:-40])
    with pytest.raises(BadFile, match=r"cut\.safetensors"):
        weights.load_networks(tmp_path / "cut.safetensors")


def test_pull_fetches_the_five_files_and_no_other_and_makes_one(tmp_path: Path, monkeypatch) -> None:
    release(tmp_path / "hub" / "liveportrait")
    (tmp_path / "hub" / "insightface").mkdir()
    (tmp_path / "hub" / "insightface" / "det_10g.onnx").write_bytes(b"not for business")
    root = tmp_path / "hub"
    files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    with HubServer("KwaiVGI/LivePortrait", files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        assert cli.run(["models", "pull", "liveportrait", "--accept-licence"]) == 0
        asked = {path.rsplit("/", 1)[-1] for _, path, _ in server.log}
    assert asked == {name.rsplit("/", 1)[-1] for name in published.FILES.published[0].filenames}
    record = registry.record_of("liveportrait")
    assert record is not None
    assert Path(record.path).name == "liveportrait.safetensors"
    assert record.accepted.startswith("MIT")
    assert cli.run(["models", "verify", "liveportrait"]) == 0
    assert not list((tmp_path / "home").rglob("*.pth"))  # what was fetched is in the one file
    assert registry.find_weights("liveportrait", None) == Path(record.path)


def test_a_folder_is_added_as_one_file(tmp_path: Path, capsys) -> None:
    folder = release(tmp_path / "mine")
    assert cli.run(["models", "add", "my-portraits", str(folder)]) == 0
    record = registry.record_of("my-portraits")
    assert record is not None
    assert (record.family, Path(record.path).name) == ("liveportrait", "my-portraits.safetensors")
    assert cli.run(["models", "add", "lia", str(folder)]) == 2
    assert "is a folder, not a weight file" in capsys.readouterr().err
