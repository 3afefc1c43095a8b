"""Training motion tokens of whole bodies: steps, resuming, looking, measuring, the commands."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402
from torch.utils.data import default_collate  # noqa: E402

from realtime.cli import run as avatar  # noqa: E402
from realtime.engines.unimotion import METADATA  # noqa: E402
from realtime.engines.unimotion.decoder import PARENTS, STRAIGHT, TURNED, feet  # noqa: E402
from realtime.engines.unimotion.moved import BONES, JOINTS, Moved  # noqa: E402
from realtime.engines.unimotion.network import FIXED, UniMotion  # noqa: E402
from realtime.engines.unimotion.weights import load_unimotion, save_unimotion  # noqa: E402
from realtime.errors import BadFile, BadValue  # noqa: E402
from realtime.training.config import TrainConfig, preset  # noqa: E402
from realtime.training.data import puppets  # noqa: E402
from realtime.training.data.puppets import draw_character, draw_place, draw_pose, render  # noqa: E402
from realtime.training.data.scenes import SceneSet, picture_tensor  # noqa: E402
from realtime.training.evaluate_scenes import _apart, _elsewhere, _mean_pose, _retrieval, measure_run  # noqa: E402
from realtime.training.run import Run  # noqa: E402
from realtime.training.scene_watch import EXAMPLE, unseen_scenes  # noqa: E402
from realtime.training.systems import make_system  # noqa: E402
from realtime.training.trainer import Trainer  # noqa: E402
from tests.support.training import CPU, micro_tokens, one_thread  # noqa: E402, F401 (fixtures)


def silent(text):
    pass


def scenes_of(config, count=4):
    scenes = SceneSet(config.puppets, config.size, config.unimotion.crop, config.seed)
    return default_collate([scenes[n] for n in range(count)])


def trainer_of(config, total=40):
    return Trainer(config, make_system(config, torch.nn.Identity()), CPU, total)


def losses_of(folder):
    return [
        line["losses"]
        for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        if "losses" in line
    ]


def test_a_step_reports_every_loss_and_repeated_ones_lower_them():
    config = micro_tokens(**{"optimiser.rate": 3e-3, "puppets.shown": 1.0})
    trainer, batch = trainer_of(config), scenes_of(config)
    reports = [trainer.step(batch) for _ in range(25)]
    assert set(reports[0].losses) == {"flow", "joints", "seen", "normals", "reading", "total"}
    assert all(math.isfinite(v) for v in reports[-1].losses.values())
    for name in ("joints", "normals", "reading"):
        assert reports[-1].losses[name] < 0.9 * reports[0].losses[name], name
    flows = [report.losses["flow"] for report in reports]  # each step has noise of its own
    assert np.mean(flows[-8:]) < 0.9 * np.mean(flows[:8])


def test_without_auxiliary_heads_their_losses_are_gone_and_the_heads_stay_as_they_were():
    config = micro_tokens(**{"losses.joints": 0.0, "losses.seen": 0.0, "losses.normals": 0.0, "losses.reading": 0.0})
    trainer, batch = trainer_of(config), scenes_of(config)
    network = trainer.system.network
    before = [p.clone() for p in network.joint_head.parameters()]
    body = network.body.token[0].weight.clone()
    for _ in range(2):
        assert set(trainer.step(batch).losses) == {"flow", "total"}
    assert all(torch.equal(a, b) for a, b in zip(before, network.joint_head.parameters(), strict=True))
    assert not torch.equal(body, network.body.token[0].weight)


@pytest.mark.parametrize("without", ["none", "joints", "normals", "reading", "seen"])
def test_a_system_knows_whether_every_parameter_gets_a_gradient(without):
    config = micro_tokens(**({} if without == "none" else {f"losses.{without}": 0.0}))
    system = make_system(config, torch.nn.Identity())
    torch.stack(list(system(*scenes_of(config, 2))[0].values())).sum().backward()
    assert system.needs_every_parameter == all(p.grad is not None for p in system.network.parameters())


def test_the_reader_teaches_the_other_networks_nothing():
    config = micro_tokens()
    system = make_system(config, torch.nn.Identity())
    terms, _ = system(*scenes_of(config))
    terms["reading"].backward()
    taught = {name.partition(".")[0] for name, p in system.network.named_parameters() if p.grad is not None}
    assert taught == {"reader"}


def test_half_precision_leaves_joints_and_the_moved_picture_whole():
    config = micro_tokens(precision="bf16")
    trainer, kinds = trainer_of(config), []
    trainer.system.network.moved.register_forward_hook(
        lambda _, parts, maps: kinds.append((parts[1].dtype, maps.dtype))
    )
    assert not trainer.step(scenes_of(config)).skipped
    assert kinds == [(torch.float32, torch.float32)]


def test_a_broken_scene_changes_nothing():
    config = micro_tokens()
    trainer = trainer_of(config)
    scene = scenes_of(config)
    before = {k: v.clone() for k, v in trainer.system.network.state_dict().items()}
    scene.normals[0, 0, 0, 0] = float("nan")
    assert trainer.step(scene).skipped
    assert all(torch.equal(before[k], v) for k, v in trainer.system.network.state_dict().items())


def test_a_run_resumes_to_the_bit(tmp_path):
    config = micro_tokens(steps=6, check_every=99, save_every=99)
    Run(config, tmp_path / "whole", None, CPU, say=silent).go()
    Run(replace(config, steps=3), tmp_path / "parts", None, CPU, say=silent).go()
    Run(config, tmp_path / "parts", None, CPU, resume=True, say=silent).go()
    assert len(losses_of(tmp_path / "whole")) == 6
    assert losses_of(tmp_path / "parts") == losses_of(tmp_path / "whole")
    one, other = (load_unimotion(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def test_the_command_trains_without_videos(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text(micro_tokens(steps=2).to_json())
    out = tmp_path / "run"
    assert avatar(["train", "unimotion", "-o", str(out), "--config", str(file), "--device", "cpu"]) == 0
    assert "still portrait's" in capsys.readouterr().out
    assert (out / "samples" / "step-0000002.png").is_file()
    look = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()][-1]
    assert set(look["held_out"]) == {"l1", "still_l1", "joints_px"}
    assert load_unimotion(out / "weights.safetensors").config == TrainConfig.read(out / "config.json").unimotion


def test_what_cannot_be_trained_is_said(tmp_path, capsys):
    assert avatar(["train", "clips/", "-o", str(tmp_path / "run"), "--system", "unimotion", "--preset", "tiny"]) == 2
    assert "draws all it sees" in capsys.readouterr().err
    with pytest.raises(BadValue, match="how many steps"):
        Run(micro_tokens(steps=0), tmp_path / "run", None, CPU, say=silent)
    with pytest.raises(BadValue, match="2 or more"):
        make_system(micro_tokens(batch=1), torch.nn.Identity())
    with pytest.raises(BadValue, match="multiple of 4"):
        make_system(micro_tokens(**{"unimotion.patch": 6}), torch.nn.Identity())


@pytest.mark.parametrize("name", FIXED)
def test_what_the_drawn_characters_fix_cannot_be_set(name):
    drawn = {"joints": puppets.JOINTS, "hand_numbers": puppets.HAND, "face_numbers": puppets.FACE}
    number = len(drawn[name])
    with pytest.raises(BadValue, match=rf"unimotion\.{name} cannot be {number + 1}: it is always {number}"):
        micro_tokens(**{f"unimotion.{name}": number + 1})
    with pytest.raises(ValueError, match=f"{name}={number + 1}: there must be {number}"):
        UniMotion(replace(micro_tokens().unimotion, **{name: number + 1}))


@pytest.mark.parametrize("name", ["paper", "small", "tiny"])
def test_presets_can_be_built(name):
    config = preset("unimotion", name)
    assert config.unimotion.size == config.size
    with torch.device("meta"):
        network = make_system(config, torch.nn.Identity()).network
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert {"tiny": 1, "small": 10, "paper": 500}[name] < millions < {"tiny": 5, "small": 100, "paper": 2000}[name]


@pytest.fixture
def run(tmp_path):
    """A run of two steps."""
    Run(micro_tokens(steps=2), tmp_path / "run", None, CPU, say=silent).go()
    return tmp_path / "run"


def test_a_run_is_measured_on_unseen_characters(run, tmp_path, capsys):
    page, file = tmp_path / "sheet.png", tmp_path / "tables.json"
    line = ["evaluate", "--run", str(run), "--frames", "4", "--json", str(file), "--sheet", str(page), "-q"]
    assert avatar(line) == 0
    body, details, whose = json.loads(file.read_text())
    rows = {row["name"]: row for row in body["rows"]}
    assert {"self", "cross", "self, elsewhere", "cross, crops found", "still reference"} < set(rows)
    assert rows["the true pictures"]["l1"] == 0
    assert rows["the true pictures"]["keypoints"] > 0  # the reader's own error
    assert rows["the mean pose"]["l1"] is None
    assert 0 < rows["copying the driver's joints"]["keypoints"] < 10
    assert rows["cross"]["d_joints"] > 0
    assert len(details["rows"]) == 2 * 5 + 6
    assert page.is_file()
    assert 0 <= whose["rows"][0]["reference"] <= 1


def test_what_was_not_trained_measures_nothing(tmp_path):
    config = micro_tokens(**{"losses.reading": 0.0, "losses.joints": 0.0, "steps": 2})
    Run(config, tmp_path / "run", None, CPU, say=silent).go()
    (body, details, whose), _ = measure_run(tmp_path / "run", 2, lambda: None, steps=1)
    cross = body.figures("cross")
    assert {name for name, value in cross.items() if math.isnan(value)} == {
        "keypoints",
        "d_joints",
        "hands_r",
        "face_r",
    }
    assert all(math.isnan(value) for _, _, row in details.rows for value in row.values())
    assert body.figures("the mean pose")["keypoints"] > 0  # of no reader
    assert 0 <= whose.figures("cross")["reference"] <= 1
    assert sum("losses." in note for note in body.notes) == 2
    reader = load_unimotion(tmp_path / "run" / "weights.safetensors")
    (judged, _, _), _ = measure_run(tmp_path / "run", 2, lambda: None, reader, steps=1)
    assert judged.figures("cross")["keypoints"] > 0
    assert sum("losses." in note for note in judged.notes) == 1


def test_the_measure_finds_the_reference_in_a_perfect_picture_and_the_driver_in_a_leaking_one():
    config = micro_tokens()
    casts = SceneSet(replace(config.puppets, cross=1.0), 32, 16, config.seed, unseen=True)
    scene = unseen_scenes(config, 5, cross=True)
    figures = _retrieval(scene.target, casts, lambda: None).figures("cross")
    assert (figures["reference"], figures["driver"]) == (1.0, 0.0)
    leaking = [render(c.driver, c.pose, c.place, 32).picture for c in map(casts.cast, range(5))]
    figures = _retrieval(torch.stack([picture_tensor(p) for p in leaking]), casts, lambda: None).figures("cross")
    assert (figures["reference"], figures["driver"]) == (0.0, 1.0)


def test_baselines_are_what_they_say():
    config = micro_tokens()
    casts = SceneSet(replace(config.puppets, cross=1.0), 64, 16, 0, unseen=True)
    scene = unseen_scenes(replace(config, size=64), 60, cross=True)
    copying = _apart(scene.driver_joints, scene.joints, 64)
    mean = _apart(_mean_pose(casts, 60), scene.joints, 64)
    assert 3.5 < copying < 5.5  # a driver of another build, at another place
    assert copying < mean < 8
    standing = scene.driver_joints - feet(scene.driver_joints) + feet(scene.reference_joints)
    assert 2.5 < _apart(standing, scene.joints, 64) < copying  # what is left is the build
    own = unseen_scenes(replace(config, size=64), 4, cross=False)
    assert _apart(own.driver_joints, own.joints, 64) == 0


def test_a_character_may_drive_itself_from_elsewhere():
    config = micro_tokens()
    casts = SceneSet(replace(config.puppets, cross=1.0), 32, 16, config.seed, unseen=True)
    cross, away = unseen_scenes(config, 3, cross=True), _elsewhere(casts, 3)
    assert torch.equal(away.target, cross.target)
    assert torch.equal(away.reference, cross.reference)
    assert not torch.equal(away.driver, cross.driver)
    assert not torch.equal(away.driver_joints, away.joints)


def test_a_run_brings_an_example_that_can_be_animated(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    character, driver = (run / "example" / name for name in EXAMPLE)
    how = ["--engine", "unimotion", "--weights", str(run / "weights.safetensors"), "--size", "64x64", "--steps", "1"]
    film = ["--device", "cpu", "-o", str(tmp_path / "out.mp4")]
    assert avatar(["animate", str(character), "--driving", str(driver), *how, *film]) == 0
    assert "36 frames, 12 a second" in capsys.readouterr().out


def moved_by(who, rest, pose, place, size=64):
    """The reference, what should come of it, and `Moved` on the true joints with tokens of nought."""
    reference, target = (render(who, p, place, size) for p in (rest, pose))
    moved = Moved(4, 4, 2).eval()
    at, to = (torch.from_numpy(drawn.joints)[None] for drawn in (reference, target))
    token = torch.zeros(1, 4)
    picture = picture_tensor(reference.picture)[None] * 2 - 1
    with torch.no_grad():
        maps = moved(picture, at, to, token, token, token)
    return picture, picture_tensor(target.picture)[None] * 2 - 1, maps


def test_bones_carry_the_reference_to_the_pose():
    rng = np.random.default_rng(5)
    still, carried = [], []
    for _ in range(6):
        who, rest, pose, place = draw_character(rng), draw_pose(rng), draw_pose(rng), draw_place(rng)
        before, after, maps = moved_by(who, rest, pose, place)
        body = maps[:, 3 : 3 + len(BONES)].amax(1, keepdim=True)  # where it says that some bone is
        still.append(float(((before - after).abs() * body).sum() / body.sum()))
        carried.append(float(((maps[:, :3] - after).abs() * body).sum() / body.sum()))
    assert np.mean(carried) < 0.5 * np.mean(still)


def test_bones_that_stay_leave_the_picture_as_it_is():
    rng = np.random.default_rng(6)
    pose = draw_pose(rng)
    picture, _, maps = moved_by(draw_character(rng), pose, pose, draw_place(rng))
    assert torch.allclose(maps[:, :3], picture, atol=1e-4)


def test_hands_tokens_lie_at_their_hands_the_left_ones_mirrored():
    torch.manual_seed(0)
    moved = Moved(4, 4, 2)
    joints = torch.rand(1, JOINTS, 2) * 0.5 + 0.25
    sides = [(n, n + 4) for n in range(2, 6)] + [(n, n + 3) for n in range(10, 13)]
    for right, left in sides:
        joints[:, left] = joints[:, right] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    picture, none = torch.zeros(1, 3, 32, 32), torch.zeros(1, 4)

    def marks(right, left):
        maps = moved(picture, joints, joints, right, left, none) - moved(picture, joints, joints, none, none, none)
        return maps[:, 3 + len(BONES) + 2 :]

    token = torch.ones(1, 4)
    right, left = marks(token, none), marks(none, token)
    assert right.abs().max() > 0.01
    assert torch.allclose(right.flip(3), left, atol=1e-4)


def test_pictures_are_drawn_at_the_true_joints_where_joints_are_taught():
    for taught in (True, False):
        config = micro_tokens(**({} if taught else {"losses.joints": 0.0}))
        system, seen = make_system(config, torch.nn.Identity()), []
        system.network.moved.register_forward_pre_hook(lambda _, parts, seen=seen: seen.append(parts[2]))
        scene = scenes_of(config)
        system(*scene)
        assert torch.equal(seen[0], scene.joints[: len(seen[0])]) is taught


def test_bones_keep_the_length_and_the_feet_the_place_of_the_reference():
    config = micro_tokens()
    scene, decoder = scenes_of(config), make_system(config, torch.nn.Identity()).network.decoder
    at = torch.cat([scene.reference_joints, torch.rand(4, config.unimotion.free, 2)], 1)
    with torch.no_grad():
        made = decoder.place(at, torch.randn(4, config.unimotion.body))
        there = decoder.place(at + 0.1, torch.zeros(4, config.unimotion.body))

    def lengths(joints):
        return (joints - joints[:, PARENTS]).norm(dim=2)

    assert torch.allclose(lengths(made), lengths(scene.reference_joints), atol=1e-5)
    assert (feet(made) - feet(scene.reference_joints)).abs().max() < 0.1  # the layers' own
    assert (feet(there) - feet(scene.reference_joints) - 0.1).abs().max() < 0.1
    assert (made - scene.reference_joints).abs().max() > 0.1


def test_weights_of_before_put_their_joints_as_they_did(run):
    network = load_unimotion(run / "weights.safetensors")
    old = UniMotion(replace(network.config, placing=STRAIGHT)).eval()
    old.load_state_dict(network.state_dict())
    save_unimotion(old, run / "old.safetensors")
    tensors, sizes = load_file(run / "old.safetensors"), asdict(old.config)
    del sizes["placing"]
    save_file(tensors, run / "old.safetensors", {METADATA: json.dumps(sizes)})
    read = load_unimotion(run / "old.safetensors")
    at, body = torch.rand(2, 24, 2), torch.randn(2, network.config.body)
    assert torch.equal(read.decoder.place(at, body), old.decoder.place(at, body))
    assert not torch.allclose(read.decoder.place(at, body), network.decoder.place(at, body))


def resumed(folder):
    return Run(TrainConfig.read(folder / "config.json"), folder, None, CPU, resume=True, say=silent)


def rewrite(folder, *without, **drawn):
    """Take fields out of a run's stored tables, as if it were older, and put others."""
    values = json.loads((folder / "config.json").read_text())
    for name in without:
        table, _, field = name.partition(".")
        del values[table][field]
    values["puppets"] |= drawn
    (folder / "config.json").write_text(json.dumps(values))


def test_a_run_of_before_goes_on_with_the_network_that_it_had(run):
    assert resumed(run).trainer.system.network.decoder.way == TURNED
    rewrite(run, "unimotion.placing")
    assert resumed(run).trainer.system.network.decoder.way == STRAIGHT


def test_a_run_of_other_scenes_does_not_go_on(run, tmp_path, capsys):
    rewrite(run, "puppets.drawing")
    resumed(run)  # the placing was named by runs that drew as now, before drawings were numbered
    rewrite(run, "puppets.drawing", "unimotion.placing")
    before = (run / "config.json").read_text()
    with pytest.raises(BadFile, match=r"config\.json: .*version 1, .*\(version 2\): .*train anew"):
        resumed(run)
    assert avatar(["train", "--resume", "-o", str(run), "--steps", "3", "--device", "cpu"]) == 2
    assert "version 1" in capsys.readouterr().err
    assert (run / "config.json").read_text() == before
    with pytest.raises(BadValue, match=r"--set puppets\.drawing=2"):
        Run(TrainConfig.read(run / "config.json"), tmp_path / "again", None, CPU, say=silent)


def test_a_run_of_other_scenes_is_measured_and_says_so(run):
    def notes():
        (body, _, _), _ = measure_run(run, 2, lambda: None, steps=1)
        return [note for note in body.notes if "version" in note]

    assert not notes()
    rewrite(run, drawing=1)
    assert ["drawn by version 1" in note for note in notes()] == [True]


def test_feet_of_tensors_are_those_of_the_drawing():
    joints = np.random.default_rng(3).random((4, JOINTS, 2))
    np.testing.assert_array_equal(feet(torch.from_numpy(joints)).numpy(), puppets.feet(joints))


def test_joints_come_first_then_pictures():
    config = micro_tokens(**{"puppets.shown": 1.0, "puppets.joints_first": 0.5})
    trainer, batch, shown = trainer_of(config, total=4), scenes_of(config), []
    trainer.system.network.dit.register_forward_pre_hook(lambda _, parts: shown.append(len(parts[0])))
    for _ in range(4):
        trainer.step(batch)
    assert shown == [1, 1, 4, 4]


def test_tokens_of_crops_differ_from_the_first_step_on():
    config = micro_tokens()
    network, scene = make_system(config, torch.nn.Identity()).network, scenes_of(config, 16)
    for token in network.encode(network.look(scene.driver), scene.crops)[1:]:
        assert token.std(0).min() > 0.3
