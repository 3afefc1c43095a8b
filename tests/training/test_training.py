"""Training steps and runs: resuming, surviving bad data, several processes, the command."""

# ruff: noqa: F811 (fixtures are imported by name)

import contextlib
import io
import json
import math
import os
import re
import resource
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402

from realtime import load_engine  # noqa: E402
from realtime.cli import run as avatar  # noqa: E402
from realtime.engines.latent.weights import load_network  # noqa: E402
from realtime.engines.parts.hrnet import HighResolutionNet  # noqa: E402
from realtime.engines.parts.motion import coordinate_grid  # noqa: E402
from realtime.engines.parts.weights import load_animator  # noqa: E402
from realtime.errors import BadFile, BadValue, NotWritten  # noqa: E402
from realtime.training import sharding  # noqa: E402
from realtime.training.config import DataConfig, TrainConfig  # noqa: E402
from realtime.training.data.clips import (  # noqa: E402
    Index,
    ShardWriter,
    read_index,
)
from realtime.training.data.pairs import PairSet  # noqa: E402
from realtime.training.features import GradientFeatures  # noqa: E402
from realtime.training.run import Run  # noqa: E402
from realtime.training.run_folder import RunFolder  # noqa: E402
from realtime.training.systems import make_system  # noqa: E402
from realtime.training.trainer import Diverged, Place, Trainer  # noqa: E402
from tests.support.training import CPU, data, micro, moving_spot, one_thread  # noqa: E402, F401 (fixtures)


def trainer_of(config, total=4):
    return Trainer(config, make_system(config, GradientFeatures()), CPU, total)


def batch_of(size=32, count=2, seed=0):
    return torch.rand(count, 2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def everything(trainer):
    return {k: v.clone() for k, v in trainer.system.network.state_dict().items()}


@pytest.mark.parametrize("system", ["motrans", "fomm", "mraa"])
def test_repeated_steps_on_one_batch_lower_the_loss(system, data):
    trainer = trainer_of(micro(system, steps=30, **{"optimiser.rate": 2e-3}), 30)
    pairs = PairSet(data, read_index(data), DataConfig(), 32, 0)
    batch = torch.stack([pairs[0], pairs[1]])
    values = [trainer.step(batch).losses["perceptual"] for _ in range(10)]
    assert min(values[-3:]) < 0.7 * values[0]


LATENT = {
    "lia": ("LIA, 16 px, 20 directions", "enc.fc.0.weight", {}),
    "lia-x": ("LIA-X, 16 px, width 64, 40 directions", "enc.enc_r2t.0.weight", {"latent.width": 64}),
}


@pytest.mark.parametrize("system", LATENT)
def test_lia_takes_a_step_with_its_own_losses_and_its_engine_takes_the_weights(system, tmp_path):
    about, head, small = LATENT[system]
    config = micro(system, size=16, batch=1, **{"losses.adversarial": 1.0, "losses.sparsity": 0.1}, **small)
    trainer = trainer_of(config)
    before = everything(trainer)
    report = trainer.step(batch_of(16, 1))
    assert set(report.losses) == {"perceptual", "pixels", "adversarial", "sparsity", "discriminator", "total"}
    assert all(math.isfinite(v) for v in report.losses.values())
    after = everything(trainer)
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert "dec.direction.weight" in changed
    assert head in changed
    trainer.system.save(trainer.averaged, tmp_path / "weights.safetensors", {})
    network, found = load_network(tmp_path / "weights.safetensors", system)
    assert found.about == about
    assert torch.equal(network.dec.direction.weight, trainer.averaged.dec.direction.weight)
    engine = load_engine(system, weights=tmp_path / "weights.safetensors", crop="none", device="cpu")
    engine.set_portrait(torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy())
    assert engine.render(engine.portrait_code).shape == (16, 16, 3)


def test_lia_x_learns_and_resumes_to_the_bit(data, tmp_path):
    config = micro(
        "lia-x", size=16, steps=8, check_every=9, save_every=9, **{"latent.width": 64, "losses.adversarial": 0.1}
    )
    run = Run(config, tmp_path / "whole", data, CPU, say=lambda text: None)
    run.go()
    whole = losses_of(tmp_path / "whole")
    assert min(line["pixels"] for line in whole[4:]) < 0.5 * whole[0]["pixels"]
    Run(replace(config, steps=3), tmp_path / "parts", data, CPU, say=lambda text: None).go()
    Run(config, tmp_path / "parts", data, CPU, resume=True, say=lambda text: None).go()
    assert losses_of(tmp_path / "parts") == whole


def test_every_loss_of_equation_13_is_reported():
    config = micro(**{"losses.background": 0.1, "losses.equivariance_affine": 1.0, "animator.background": "true"})
    report = trainer_of(config).step(batch_of())
    assert set(report.losses) == {
        "perceptual", "equivariance", "equivariance_affine", "mask", "concentration", "total",
    }  # fmt: skip
    assert report.losses["total"] == pytest.approx(sum(v for k, v in report.losses.items() if k != "total"), rel=1e-5)


@pytest.mark.parametrize("poison", ["pictures", "loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(poison):
    trainer = trainer_of(micro())
    trainer.step(batch_of())
    before, averaged = everything(trainer), {k: v.clone() for k, v in trainer.averaged.state_dict().items()}
    batch = batch_of(seed=1)
    if poison == "pictures":
        batch[0, 0, 0, 5, 5] = float("nan")
    elif poison == "loss":
        hook = trainer.system.network.generator.final.register_forward_hook(lambda m, i, out: out * float("nan"))
    else:
        hook = trainer.system.network.generator.final.weight.register_hook(lambda g: g * float("nan"))
    report = trainer.step(batch)
    assert report.skipped
    assert poison in report.reason
    assert all(torch.equal(before[k], v) for k, v in everything(trainer).items())
    assert all(torch.equal(averaged[k], v) for k, v in trainer.averaged.state_dict().items())
    if poison != "pictures":
        hook.remove()
    assert not trainer.step(batch_of(seed=2)).skipped
    assert trainer.skipped == 1


def test_a_run_that_never_gives_a_finite_loss_gives_up():
    trainer = trainer_of(micro(patience=3))
    bad = batch_of() * float("nan")
    trainer.step(bad)
    trainer.step(bad)
    with pytest.raises(Diverged, match="smaller"):
        trainer.step(bad)


def test_gradients_are_clipped():
    config = micro(**{"optimiser.clip": 1e-4, "optimiser.rate": 1e-3})
    trainer = trainer_of(config)
    report = trainer.step(batch_of())
    assert report.norm > 1e-2
    size = math.sqrt(sum(float(p.grad.square().sum()) for p in trainer.system.network.parameters()))
    assert size == pytest.approx(1e-4, rel=1e-3)


def test_averaged_weights_follow():
    trainer = trainer_of(micro())
    start = {k: v.clone() for k, v in trainer.averaged.named_parameters()}
    trainer.step(batch_of())
    decay = min(0.99, 1 / 10)
    name = "estimator.head.weight"
    now = dict(trainer.system.network.named_parameters())[name].detach()
    expected = decay * start[name] + (1 - decay) * now
    assert torch.allclose(dict(trainer.averaged.named_parameters())[name], expected, atol=1e-7)


@pytest.mark.parametrize("system", ["motrans", "fomm", "mraa"])
def test_mixed_precision_keeps_weights_and_geometry_in_float32(system):
    trainer = trainer_of(micro(system, precision="bf16"))
    batch = batch_of()
    assert not trainer.step(batch).skipped
    network = trainer.system.network.eval()
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made, motion, source, driving = network(*batch.unbind(1))
        assert made.dtype == torch.bfloat16  # the generator did run in half precision
        rough = driving.points.bfloat16().float()
        assert not torch.equal(driving.points, rough)  # and the keypoints have more digits than that
        flows = motion.part_flows
    from realtime.engines.parts.dense_motion import part_flows

    grid = coordinate_grid(*flows.shape[2:4], driving.points)
    assert torch.equal(flows[:, 1:], part_flows(source, driving, grid))


def losses_of(folder):
    return [line["losses"] for line in RunFolder(folder).lines() if "losses" in line]


def test_a_resumed_run_repeats_the_losses_to_the_bit(data, tmp_path):
    config = micro(steps=5, check_every=9, save_every=9, **{"losses.adversarial": 0.1})
    Run(config, tmp_path / "whole", data, CPU, say=lambda text: None).go()
    stopped = Run(config, tmp_path / "parts", data, CPU, say=lambda text: None)

    class Stop(Exception):
        pass

    def after_three(report, rate):
        if report.step == 2:
            raise Stop

    with pytest.raises(Stop):
        stopped.go(after_three)
    resumed = Run(TrainConfig.read(tmp_path / "parts/config.json"), tmp_path / "parts", data, CPU, resume=True,
                  say=lambda text: None)  # fmt: skip
    assert resumed.trainer.step_number == 3
    resumed.go()
    whole, parts = losses_of(tmp_path / "whole"), losses_of(tmp_path / "parts")
    assert len(whole) == 5
    assert whole == parts
    a, b = (load_animator(tmp_path / n / "weights.safetensors").state_dict() for n in ("whole", "parts"))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_the_folder_of_a_run(data, tmp_path):
    config = micro(steps=5)
    look = Run(config, tmp_path / "run", data, CPU, say=lambda text: None).go()
    assert look["still_l1"] > 0
    folder = RunFolder(tmp_path / "run")
    assert TrainConfig.read(folder.config) == config
    assert sum("held_out" in line for line in folder.lines()) == 3  # after steps 2, 4 and the last
    sheet = cv2.imread(str(folder.samples / "step-0000005.png"))
    assert sheet.shape[0] == 4 * 34 - 2  # portrait, driving frame, result, masks
    assert (folder.path / "curve.png").stat().st_size > 1000
    assert len(list(folder.path.glob("weights-*.safetensors"))) == 3
    assert load_animator(folder.weights).config == config.animator
    with pytest.raises(BadFile, match="--resume"):
        Run(config, tmp_path / "run", data, CPU, say=lambda text: None)


def test_a_checkpoint_that_broke_off_leaves_the_one_before(data, tmp_path):
    Run(micro(steps=4), tmp_path / "run", data, CPU, say=lambda text: None).go()
    folder = RunFolder(tmp_path / "run")
    assert folder.load()["step"] == 4
    folder.last.write_bytes(folder.last.read_bytes()[:1000])
    assert folder.load()["step"] == 2
    folder.previous.unlink()
    with pytest.raises(BadFile, match="checkpoint"):
        folder.load()


def test_a_run_whose_machine_died_goes_on_from_the_last_checkpoint(data, tmp_path):
    """Steps after the checkpoint are taken again, with the same losses, and stand in the log once."""
    config = micro(steps=4, check_every=9)
    Run(config, tmp_path / "run", data, CPU, say=lambda text: None).go()
    folder = RunFolder(tmp_path / "run")
    before = list(folder.lines())
    folder.last.unlink()  # as if the machine had died before step 4 was saved
    with folder.log.open("a") as log:
        log.write('{"step": 5, "los')  # and in the middle of a line
    resumed = Run(config, tmp_path / "run", data, CPU, resume=True, say=lambda text: None)
    assert resumed.trainer.step_number == 2
    resumed.go()
    after = list(folder.lines())
    assert [(x["step"], x.get("losses")) for x in after] == [(x["step"], x.get("losses")) for x in before]


def test_a_checkpoint_of_another_network_is_refused(data, tmp_path):
    Run(micro(steps=2), tmp_path / "run", data, CPU, say=lambda text: None).go()
    other = micro(steps=4, **{"animator.parts": 3})
    with pytest.raises(BadFile, match="does not fit"):
        Run(other, tmp_path / "run", data, CPU, resume=True, say=lambda text: None)


def test_a_poisoned_shard_does_not_end_a_run(tmp_path):
    """A clip that breaks off in the middle: its readable pictures are used, the run goes to its end."""
    index = Index(32, 2.2)
    with ShardWriter(tmp_path / "data", index) as writer:
        writer.add("a-0000", "a.mp4", moving_spot(10))
        writer.add("b-0000", "b.mp4", [f[: len(f) // 5] for f in moving_spot(6)])
    shard = tmp_path / "data" / index.clips[0].shard
    os.truncate(shard, index.clips[0].frames[8][0] + 10)
    run = Run(micro(steps=5), tmp_path / "run", tmp_path / "data", CPU, say=lambda text: None)
    run.go()
    assert run.trainer.step_number == 5
    assert run.trainer.skipped == 0
    assert run.pairs.broken > 0


def test_the_backbone_starts_from_imagenet_weights_where_they_are(data, tmp_path):
    from safetensors.torch import save_file

    published = {k: torch.rand_like(v.float()) for k, v in HighResolutionNet(32).state_dict().items()}
    save_file(published, str(tmp_path / "model.safetensors"))
    said = []
    run = Run(micro(steps=1), tmp_path / "run", data, CPU, imagenet=tmp_path / "model.safetensors", say=said.append)
    backbone = run.trainer.system.network.estimator.backbone
    assert torch.equal(backbone.layer1[2].conv2.weight, published["layer1.2.conv2.weight"])
    assert any("model.safetensors" in line for line in said)
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(BadFile, match="timm"):
        Run(micro(steps=1), tmp_path / "other", data, CPU, imagenet=tmp_path / "model.safetensors", say=said.append)


def test_streamed_data_trains(data, tmp_path):
    shards = [str(p) for p in data.glob("shard-*.tar")]
    run = Run(micro(steps=2), tmp_path / "run", shards, CPU, say=lambda text: None)
    run.go()
    assert run.trainer.step_number == 2
    with pytest.raises(BadValue, match="steps"):
        Run(replace(micro(), steps=0), tmp_path / "other", shards, CPU, say=lambda text: None)


def two_processes(data, folder, config=None):
    """A run under torchrun, new or resumed: what it said, and its losses."""
    more = ["--resume", "--steps", "5"]
    if config is not None:
        folder.with_suffix(".json").write_text(config.to_json())
        more = ["--config", str(folder.with_suffix(".json"))]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "realtime",
        "train", "-o", str(folder), "--data", str(data), "--device", "cpu", *more,
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr, losses_of(folder)


def test_wrappers_go_before_the_process_group(tmp_path, monkeypatch):
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    config = micro(steps=2, batch=1, **{"losses.adversarial": 0.1})
    trainer = Trainer(config, make_system(config, GradientFeatures()), Place(CPU.device, 0, 2), 2)
    trainer.step(batch_of(count=1))
    wrappers = [weakref.ref(trainer.model), weakref.ref(trainer.judge)]
    destroy, held = dist.destroy_process_group, []

    def destroyed():
        held.extend(wrapper() for wrapper in wrappers)
        destroy()

    monkeypatch.setattr(dist, "destroy_process_group", destroyed)
    trainer.leave()
    assert held == [None, None]
    assert not dist.is_initialized()


def test_two_processes_train_as_one(data, tmp_path):
    config = micro(steps=2, batch=1, **{"losses.adversarial": 0.1})
    said, losses = two_processes(data, tmp_path / "run", config)
    assert "1 x 2 pairs" in said
    assert len(losses) == 2
    assert RunFolder(tmp_path / "run").load()["step"] == 2


@pytest.mark.parametrize("system", ["motrans", pytest.param("lia-x", marks=pytest.mark.slow)])
def test_a_sharded_run_is_the_same_run(system, data, tmp_path):
    size = {"size": 64} if system == "lia-x" else {"losses.adversarial": 0.1}
    config = micro(system, steps=2, batch=1, **size)
    _, plain = two_processes(data, tmp_path / "plain", config)
    said, sharded = two_processes(data, tmp_path / "sharded", replace(config, shard=True))
    whole, share = re.search(r"([0-9.]+) M parameters \(([0-9.]+) M in each process", said).groups()
    assert 0.45 * float(whole) < float(share) < 0.6 * float(whole)
    assert "view tensor" not in said
    assert [line["total"] for line in sharded] == pytest.approx([line["total"] for line in plain], rel=1e-3)
    weights = [load_file(tmp_path / run / "weights.safetensors") for run in ("plain", "sharded")]
    assert {k: v.shape for k, v in weights[0].items()} == {k: v.shape for k, v in weights[1].items()}


@pytest.mark.slow
def test_a_sharded_run_goes_on_in_one_process_and_in_two(data, tmp_path):
    said, losses = two_processes(data, tmp_path / "run", replace(micro(steps=2, batch=1), shard=True))
    assert len(losses) == 2
    assert avatar(["train", "--resume", "-o", str(tmp_path / "run"), "--data", str(data), "--steps", "4", "-q"]) == 0
    assert len(losses_of(tmp_path / "run")) == 4
    said, losses = two_processes(data, tmp_path / "run")
    assert "resumed at step 4" in said
    assert len(losses) == 5


def test_sharding_fetches_layer_by_layer():
    network = make_system(micro("lia-x", size=64), GradientFeatures()).network
    chosen = sharding.blocks(network, 2000)
    held = [{id(p) for p in block.parameters()} for block in chosen]
    assert len(chosen) > 50
    assert all(len(inner & outer) in (0, len(inner)) for n, inner in enumerate(held) for outer in held[n + 1 :])


def test_sharding_is_not_for_fp16():
    with pytest.raises(BadValue, match="bf16"):
        micro(shard="true", precision="fp16")


@pytest.mark.parametrize(
    ("system", "setting"),
    [
        ("lia-x", "size=100"),
        ("lia-x", "latent.width=32"),
        ("lia-x", "latent.scale=5"),
        ("lia", "size=100"),
        ("lia", "latent.directions=0"),
    ],
)
def test_sizes_that_lia_cannot_have_are_one_sentence(system, setting, data, tmp_path, capsys):
    command = ["train", "--data", str(data), "-o", str(tmp_path / "run"), "--preset", "tiny", "--device", "cpu"]
    assert avatar([*command, "--system", system, "--set", setting]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("avatar: size cannot be ")
    assert not (tmp_path / "run").exists()


def test_print_config_shows_the_whole_object(capsys):
    assert avatar(["train", "--print-config", "--preset", "tiny", "--set", "optimiser.rate=0.5", "--steps", "9"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["optimiser"]["rate"] == 0.5
    assert values["steps"] == 9


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "nowhere", "-o", "run"],
        ["train"],
        ["train", "clips"],
        ["train", "--resume"],
        ["train", "--resume", "-o", "nowhere"],
        ["train", "x", "-o", "run", "--preset", "huge"],
        ["train", "x", "-o", "run", "--system", "gan"],
        ["train", "x", "-o", "run", "--set", "batch=none"],
        ["train", "x", "-o", "run", "--device", "cuda:99"],
        ["train", "x", "-o", "run", "--config", "nowhere.json"],
    ],
)
def test_wrong_usage_is_one_sentence(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert avatar(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("avatar: ")
    assert "\n" not in said


def test_training_from_the_command_line_and_going_on(data, tmp_path, capsys):
    path = tmp_path / "c.json"
    path.write_text(micro(steps=2).to_json())
    out = str(tmp_path / "run")
    assert avatar(["train", "--data", str(data), "-o", out, "--config", str(path), "--device", "cpu"]) == 0
    assert "held-out L1" in capsys.readouterr().out
    assert avatar(["train", "--resume", "-o", out, "--data", str(data), "--steps", "3", "--device", "cpu"]) == 0
    assert "resumed at step 2 of 3" in capsys.readouterr().err
    assert [line["step"] for line in RunFolder(out).lines() if "losses" in line] == [1, 2, 3]


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    folder = RunFolder(tmp_path)
    buffer = io.BytesIO()
    torch.save({"format": 1, "step": Trap()}, buffer)
    folder.last.write_bytes(buffer.getvalue())
    with pytest.raises(BadFile):
        folder.load()


@contextlib.contextmanager
def full_disk(size):
    """No file grows beyond `size` bytes: as on a full disk, with another errno."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.hostile
def test_a_full_disk_leaves_the_earlier_checkpoint_and_weights(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (1, 2):
        folder.save({"step": step, "some": torch.zeros(10)})
    trainer = trainer_of(micro("fomm"))
    system, network = trainer.system, trainer.averaged_network()
    system.save(network, folder.weights, {"step": "2"})
    folder.log.write_text(json.dumps({"step": 2}) + "\n")
    earlier = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(4000):
        with pytest.raises(NotWritten, match=r"checkpoint\.pt.*cannot be written"):
            folder.save({"step": 3, "some": torch.zeros(100_000)})
        with pytest.raises(NotWritten, match=r"weights\.safetensors.*File too large"):
            system.save(network, folder.weights, {"step": "3"})
        with pytest.raises(NotWritten, match=r"log\.jsonl.*File too large"):
            folder.write({"step": 3, "much": "x" * 9000})
    assert folder.load()["step"] == 2
    assert [line["step"] for line in folder.lines()] == [2]
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept["log.jsonl"] = kept["log.jsonl"][: len(earlier["log.jsonl"])]  # a line that broke off is left out
    assert kept == earlier
