"""Weight files of the networks of parts: our own, FOMM's published ones, ImageNet's, and bad ones."""

import pytest

torch = pytest.importorskip("torch")


from realtime.engines.parts.animator import Animator, AnimatorConfig, config_from  # noqa: E402
from realtime.engines.parts.dense_motion import BackgroundPredictor  # noqa: E402
from realtime.engines.parts.hrnet import HighResolutionNet, load_imagenet, make_backbone  # noqa: E402
from realtime.engines.parts.weights import FOMM_VOX, load_animator, save_animator  # noqa: E402
from realtime.errors import BadFile  # noqa: E402
from tests.support.networks import TINY  # noqa: E402


def fomm_keys():
    """Entries of vox-cpk.pth.tar, from its published configuration: 10 keypoints, one Jacobian map each, hourglasses
    of 5 blocks with 32 (detector) and 64 (mask predictor) channels, generator 64 to 256 with 6 bottleneck blocks."""

    def conv(name, outputs, inputs, size):
        yield f"{name}.weight", (outputs, inputs, size, size)
        yield f"{name}.bias", (outputs,)

    def norm(name, channels):
        for entry in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{entry}", (channels,)

    def block(name, outputs, inputs, size=3):
        yield from conv(f"{name}.conv", outputs, inputs, size)
        yield from norm(f"{name}.norm", outputs)

    def hourglass(name, inputs, base):
        down = [inputs, *(min(1024, base * 2 ** (i + 1)) for i in range(5))]
        for i in range(5):
            yield from block(f"{name}.encoder.down_blocks.{i}", down[i + 1], down[i])
        for i in range(5):
            out = min(1024, base * 2 ** (4 - i))
            wide = min(1024, base * 2 ** (5 - i)) * (1 if i == 0 else 2)
            yield from block(f"{name}.decoder.up_blocks.{i}", out, wide)

    detector = dict(hourglass("predictor", 3, 32))
    detector |= dict(conv("kp", 10, 35, 7)) | dict(conv("jacobian", 40, 35, 7)) | {"down.weight": (3, 1, 13, 13)}
    dense = dict(hourglass("dense_motion_network.hourglass", 44, 64))
    dense |= dict(conv("dense_motion_network.mask", 11, 108, 7))
    dense |= dict(conv("dense_motion_network.occlusion", 1, 108, 7))
    dense |= {"dense_motion_network.down.weight": (3, 1, 13, 13)}
    generator = dense | dict(block("first", 64, 3, 7)) | dict(conv("final", 3, 64, 7))
    generator |= dict(block("down_blocks.0", 128, 64)) | dict(block("down_blocks.1", 256, 128))
    generator |= dict(block("up_blocks.0", 128, 256)) | dict(block("up_blocks.1", 64, 128))
    for i in range(6):
        for j in (1, 2):
            generator |= dict(conv(f"bottleneck.r{i}.conv{j}", 256, 256, 3))
            generator |= dict(norm(f"bottleneck.r{i}.norm{j}", 256))
    return detector, generator


def test_fomm_checkpoint_keys_and_shapes():
    with torch.device("meta"):
        network = Animator(FOMM_VOX)
    for module, keys in zip((network.estimator, network.generator), fomm_keys(), strict=True):
        state = module.state_dict()
        ours = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
        assert ours == keys


def test_a_file_with_fomm_keys_loads_and_runs(tmp_path):
    generator = torch.Generator().manual_seed(0)
    detector, decoder = (
        {k: torch.rand(s, generator=generator) * 0.02 for k, s in keys.items()} for keys in fomm_keys()
    )
    path = tmp_path / "vox-cpk.pth.tar"
    torch.save(
        {"generator": decoder, "kp_detector": detector, "discriminator": {}, "epoch": 97, "optimizer_generator": {}},
        path,
    )
    network = load_animator(path)
    assert torch.equal(network.estimator.kp.weight, detector["kp.weight"])
    assert torch.equal(network.generator.final.bias, decoder["final.bias"])
    assert not network.training
    with torch.no_grad():
        assert network.estimator(torch.rand(1, 3, 256, 256)).points.shape == (1, 10, 2)


def test_own_weight_files_hold_their_configuration(tmp_path):
    torch.manual_seed(0)
    network = Animator(TINY).eval()
    save_animator(network, tmp_path / "a.safetensors", {"step": "7"})
    again = load_animator(tmp_path / "a.safetensors")
    assert again.config == TINY
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(picture, picture)[0], again(picture, picture)[0])


class Trap:
    def __reduce__(self):
        return print, ("a weight file ran code",)


@pytest.mark.parametrize("kind", ["absent", "text", "cut", "code", "other", "unmarked"])
def test_bad_weight_files_are_said_in_one_sentence(tmp_path, capsys, kind):
    path = tmp_path / "w.pth.tar"
    if kind == "text":
        path.write_text("no weights here")
    elif kind == "cut":
        path = tmp_path / "w.safetensors"
        save_animator(Animator(TINY), path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "code":
        torch.save({"generator": Trap(), "kp_detector": {}}, path)
    elif kind == "other":
        torch.save({"generator": {"a": torch.zeros(1)}, "kp_detector": {}}, path)
    elif kind == "unmarked":
        from safetensors.torch import save_file

        path = tmp_path / "w.safetensors"
        save_file({"a": torch.zeros(1)}, str(path))
    with pytest.raises(BadFile) as caught:
        load_animator(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert "ran code" not in capsys.readouterr().out


def test_imagenet_weights_load_by_timm_names():
    torch.manual_seed(0)
    published = HighResolutionNet(8).state_dict()
    published = {k: torch.rand_like(v.float()) for k, v in published.items()}
    extra = {"stage4.0.branches.0.0.conv1.weight": torch.zeros(1), "classifier.weight": torch.zeros(2, 2)}
    network = HighResolutionNet(8)
    load_imagenet(network, {**published, **extra})
    assert torch.equal(network.stage3[3].branches[2][3].bn2.weight, published["stage3.3.branches.2.3.bn2.weight"])
    for key in ("transition1.1.0.0.weight", "transition2.2.0.1.bias", "stage3.0.fuse_layers.2.0.1.0.weight"):
        assert key in published
    with pytest.raises(KeyError, match="conv1"):
        load_imagenet(network, extra)


def test_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="hr-w32"):
        make_backbone("resnet")


def test_background_predictor_starts_at_rest():
    network = BackgroundPredictor(base=8, blocks=2, limit=32)
    affine = network(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert torch.equal(affine, torch.eye(2, 3).expand(2, 2, 3))


def test_configuration_of_the_wrong_type_is_refused():
    with pytest.raises(ValueError, match="parts"):
        config_from(AnimatorConfig, {"parts": "ten"})
    with pytest.raises(ValueError, match="estimator"):
        config_from(AnimatorConfig, {"estimator": "lia"})
    with pytest.raises(ValueError, match="depth"):
        config_from(AnimatorConfig, {"transformer": {"depth": 3}})


def test_weights_that_are_not_finite_are_refused(tmp_path):
    network = Animator(TINY)
    with torch.no_grad():
        network.generator.final.bias[1] = float("nan")
    save_animator(network, tmp_path / "w.safetensors")
    with pytest.raises(BadFile, match=r"generator\.final\.bias"):
        load_animator(tmp_path / "w.safetensors")


def test_weights_can_be_registered(tmp_path, monkeypatch, capsys):
    from realtime.cli import run as avatar

    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    path = tmp_path / "mine.safetensors"
    save_animator(Animator(TINY), path)
    assert avatar(["models", "add", "mine", str(path)]) == 0
    assert "Motion Transformer, 64 px, 4 motion tokens" in capsys.readouterr().out
    assert avatar(["models", "verify"]) == 0
    from realtime.engines.weights.registry import find_weights

    assert find_weights("motrans", None) == path
