"""Training: data, losses, steps, resuming, surviving bad data, the command."""

import io
import json
import math
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.cli import run as avatar  # noqa: E402
from realtime.engines.animator import load_animator  # noqa: E402
from realtime.engines.crop import MARGIN, square_around  # noqa: E402
from realtime.engines.part_motion import PartMotion, coordinate_grid  # noqa: E402
from realtime.errors import BadFile, BadValue  # noqa: E402
from realtime.training import losses  # noqa: E402
from realtime.training.clips import (  # noqa: E402
    Index,
    ShardWriter,
    build_index,
    crop,
    cut,
    find_videos,
    read_index,
)
from realtime.training.config import PRESETS, SYSTEMS, DataConfig, TrainConfig, WarpConfig, preset  # noqa: E402
from realtime.training.features import GradientFeatures, Vgg19, load_vgg, make_features  # noqa: E402
from realtime.training.pairs import PairSet, StepSampler, StreamedPairs, augment, expand, trained_frames  # noqa: E402
from realtime.training.run import Run  # noqa: E402
from realtime.training.run_folder import RunFolder  # noqa: E402
from realtime.training.systems import make_system  # noqa: E402
from realtime.training.trainer import Diverged, Place, Trainer  # noqa: E402

CPU = Place(torch.device("cpu"))


def micro(system="motrans", **settings):
    """The smallest run there is: pictures of 32 pixels, two parts."""
    base = preset(system, "tiny")
    small = {
        "size": 32, "steps": 4, "batch": 2, "log_every": 1, "check_every": 2, "sample_every": 4, "save_every": 2,
        "optimiser.warmup": 0, "tensorboard": "false", "losses.scales": "[1.0]", "data.hold_out": 0.25,
    } | settings  # fmt: skip
    if system in ("motrans", "fomm", "mraa"):
        small = {
            "animator.parts": 2, "animator.transformer.dim": 16, "animator.transformer.layers": 1,
            "animator.transformer.ffn": 16, "animator.heat.base": 8, "animator.heat.blocks": 2,
            "animator.generator.base": 8, "animator.generator.bottleneck": 1, "animator.generator.mask.base": 8,
            "animator.generator.mask.blocks": 2,
        } | small  # fmt: skip
    ordered = sorted(small.items(), key=lambda item: item[0] == "size")  # the size last, when the networks are small
    return base.with_settings([f"{name}={value}" for name, value in ordered])


def moving_spot(frames, size=32, seed=0):
    """Pictures of a bright spot that wanders over a patterned ground: JPEG files."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(30, 120, (4, 4, 3)).astype(np.uint8)
    ground = cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC)
    out = []
    for n in range(frames):
        image = ground.copy()
        at = (int(size * (0.5 + 0.25 * math.sin(n / 2))), int(size * (0.5 + 0.25 * math.cos(n / 3))))
        cv2.circle(image, at, size // 6, (220, 200, 60), -1)
        image[:8, :8] = 12 * n  # no two frames are equal
        out.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with two indexed clips."""
    folder = tmp_path_factory.mktemp("data")
    index = Index(32, 2.2)
    with ShardWriter(folder, index) as writer:
        writer.add("spot-0000", "spot.mp4", moving_spot(16))
        writer.add("spot-0001", "spot.mp4", moving_spot(12, seed=1))
    return folder


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_printable_and_reads_back(system, name):
    config = preset(system, name) if (system, name) != ("lia-x", "tiny") else preset("lia-x", "small")
    assert config.system == system
    assert TrainConfig.from_dict(json.loads(config.to_json())) == config


def test_settings_reach_nested_fields_and_wrong_ones_are_named():
    config = preset("motrans", "tiny").with_settings(["optimiser.rate=1e-5", "losses.features=vgg19", "batch=3"])
    assert (config.optimiser.rate, config.losses.features, config.batch) == (1e-5, "vgg19", 3)
    for bad, named in (
        ("optimiser.speed=1", "optimiser.speed"),
        ("batch=many", "batch"),
        ("losses.features=resnet", "features"),
        ("batch", "NAME=VALUE"),
        ("batch=0", "batch"),
        ("size=50", "multiple of"),
        ("data.hold_out=1", "hold_out"),
    ):
        with pytest.raises(BadValue, match=named):
            config.with_settings([bad])


def test_rate_drops_tenfold_at_the_papers_epochs():
    config = preset("motrans", "paper")
    total = config.total_steps(clips=20047, processes=8)
    assert total == 100 * 75 * 20047 // 40
    rates = [config.rate_at(int(total * share), total) for share in (0, 0.59, 0.61, 0.89, 0.91)]
    np.testing.assert_allclose(rates, [2e-4, 2e-4, 2e-5, 2e-5, 2e-6])


# Clips and pairs -----------------------------------------------------------------------------------------------


def test_a_clip_is_cut_where_the_face_is_lost_or_wanders_off():
    here, there = np.array([100.0, 100, 50]), np.array([190.0, 100, 50])
    boxes = [here] * 6 + [None] + [here] * 5 + [there] * 5
    pieces = cut(boxes, 5, 85, margin=2.0, width=250, height=200)
    assert [(p.first, p.last) for p in pieces] == [(0, 29), (35, 59), (60, 84)]
    lift = round(50 / 16)
    assert pieces[0].square == (50, 50 - lift, 100)
    assert pieces[2].square == (140, 50 - lift, 100)


def test_short_pieces_and_growing_faces_are_left_out():
    assert cut([np.array([50.0, 50, 40])] * 3, 5, 15, 2.0, 100, 100) == []
    growing = [np.array([50.0, 50, 40.0 + 4 * n]) for n in range(12)]
    assert len(cut(growing, 5, 60, 2.0, 300, 300)) == 2


def test_the_square_stays_inside_the_frame():
    near_the_corner = [np.array([10.0, 90, 40])] * 5
    assert cut(near_the_corner, 5, 25, 2.0, 200, 100)[0].square == (0, 20, 80)
    middle = [np.array([100.0, 70, 40])] * 5
    engine = square_around((85.0, 50.0, 115.0, 90.0))
    piece = cut(middle, 5, 25, MARGIN, 200, 160)[0]
    assert piece.square == (round(engine.left), round(engine.top), round(engine.side))
    assert cut(near_the_corner, 5, 25, 9.0, 200, 100)[0].square == (0, 0, 100)


def test_crop_is_the_square_at_the_wanted_size():
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    np.testing.assert_array_equal(crop(image, (4, 2, 8), 8), image[2:10, 4:12])
    flat = np.full((16, 16, 3), 77, np.uint8)
    for size in (4, 32):
        np.testing.assert_array_equal(crop(flat, (0, 0, 16), size), np.full((size, size, 3), 77))


def test_shards_are_web_dataset_tars_and_the_index_points_into_them(data):
    index = read_index(data)
    assert [len(c.frames) for c in index.clips] == [16, 12]
    with tarfile.open(data / index.clips[0].shard) as tar:
        names = tar.getnames()
        assert names[0] == "spot-0000.0000.jpg"
        assert names[16] == "spot-0001.0000.jpg"
        for clip, start in ((index.clips[0], 0), (index.clips[1], 16)):
            for n, (offset, length) in enumerate(clip.frames):
                with open(data / clip.shard, "rb") as file:
                    file.seek(offset)
                    assert file.read(length) == tar.extractfile(names[start + n]).read()


def test_pairs_follow_from_seed_and_number_alone(data):
    index = read_index(data)
    config = DataConfig(hold_out=0.25)
    pairs, again = (PairSet(data, index, config, 32, seed=5) for _ in range(2))
    assert pairs[7].shape == (2, 3, 32, 32)
    assert 0 <= float(pairs[7].min()) <= float(pairs[7].max()) <= 1
    again[3]
    assert torch.equal(pairs[7], again[7])
    assert not torch.equal(pairs[7], pairs[8])
    assert not torch.equal(pairs[7], PairSet(data, index, config, 32, seed=6)[7])


def test_processes_see_different_pairs_and_a_resumed_run_the_same():
    whole = list(StepSampler(2, 0, 4, 0, 2)) + list(StepSampler(2, 0, 4, 1, 2))
    numbers = [n for step in whole for n in step]
    assert sorted(numbers) == list(range(16))
    assert list(StepSampler(2, 2, 4, 1, 2)) == list(StepSampler(2, 0, 4, 1, 2))[2:]


def test_held_out_frames_are_never_trained_on(data):
    index = read_index(data)
    plain = DataConfig(hold_out=0.25, flip=False, jitter=0)
    pairs = PairSet(data, index, plain, 32, seed=0)
    held = {pairs.picture(c, n).tobytes() for c, n in pairs.held_out()}
    assert len(held) == 4 + 3
    assert trained_frames(index.clips[0], 0.25) == 12
    seen = set()
    for n in range(200):
        seen |= {(p.permute(1, 2, 0) * 255).round().byte().numpy().tobytes() for p in pairs[n]}
    assert not seen & held
    assert len(seen) > 15


def test_both_pictures_of_a_pair_change_alike():
    rng = np.random.default_rng(0)
    picture = rng.integers(40, 200, (16, 16, 3)).astype(np.uint8)
    changed = augment(np.stack([picture, picture]), DataConfig(flip=True, jitter=0.3), np.random.default_rng(1))
    np.testing.assert_array_equal(changed[0], changed[1])
    assert np.abs(changed[0].astype(int) - picture).mean() > 2
    same = augment(np.stack([picture, picture]), DataConfig(flip=False, jitter=0), rng)
    np.testing.assert_array_equal(same[0], picture)


def test_a_broken_picture_is_replaced_and_counted(tmp_path):
    index = Index(32, 2.2)
    with ShardWriter(tmp_path, index) as writer:
        files = moving_spot(8)
        files[3] = files[3][:40]  # breaks off
        files[5] = b"no picture"
        writer.add("a-0000", "a.mp4", files)
    pairs = PairSet(tmp_path, read_index(tmp_path), DataConfig(), 32, 0)
    for n in range(40):
        assert torch.isfinite(pairs[n]).all()
    assert pairs.broken > 0


def test_a_shard_without_any_readable_picture_is_an_error_not_a_hang(tmp_path):
    index = Index(32, 2.2)
    with ShardWriter(tmp_path, index) as writer:
        writer.add("a-0000", "a.mp4", [b"x"] * 20)
    with pytest.raises(BadFile, match="a-0000"):
        PairSet(tmp_path, read_index(tmp_path), DataConfig(), 32, 0)[0]


def test_streaming_reads_shards_and_survives_one_that_breaks_off(data, tmp_path):
    whole = next(data.glob("shard-*.tar")).read_bytes()
    (tmp_path / "s-0.tar").write_bytes(whole)
    (tmp_path / "s-1.tar").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "s-2.tar").write_bytes(b"nothing of the kind")
    stream = StreamedPairs([str(tmp_path / "s-{0..3}.tar")], DataConfig(shuffle=2), 32, seed=0)
    found = [pair for _, pair in zip(range(12), stream, strict=False)]
    assert len(found) == 12
    assert stream.broken >= 3
    with pytest.raises(BadFile, match="no shard"):
        next(iter(StreamedPairs([str(tmp_path / "s-2.tar")], DataConfig(), 32, seed=0)))


def test_shard_patterns():
    assert expand("h/s-{08..11}.tar") == ["h/s-08.tar", "h/s-09.tar", "h/s-10.tar", "h/s-11.tar"]
    assert expand("one.tar") == ["one.tar"]


def test_videos_without_a_face_are_named_and_left_out(tmp_path):
    import av

    video = tmp_path / "noise.mp4"
    with av.open(str(video), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for _ in range(20):
            image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        out.mux(stream.encode())
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(BadFile, match="no video gave anything"):
        build_index(find_videos(tmp_path), tmp_path / "data", 32, 2.2)
    with pytest.raises(BadFile, match="no videos"):
        find_videos(tmp_path / "data")


def test_a_real_clip_is_indexed_once(tmp_path):
    from tests.support import test_data

    clip = test_data() / "clips" / "a01_smile_greenscreen.mp4"
    seen = []
    index = build_index([clip], tmp_path, 64, 2.0, lambda done, total, name: seen.append(name))
    assert index.frames >= 70
    assert seen[0] == clip.name
    pairs = PairSet(tmp_path, index, DataConfig(), 64, 0)
    centre = pairs.picture(index.clips[0], 10)[24:40, 24:40].reshape(-1, 3).mean(0)
    assert centre[0] > centre[2]  # skin, not the green screen
    assert centre[0] > centre[1]
    seen.clear()
    again = build_index([clip], tmp_path, 64, 2.0, lambda done, total, name: seen.append(name))
    assert seen == []
    assert again.frames == index.frames
    with pytest.raises(BadFile, match="size 64"):
        build_index([clip], tmp_path, 32, 2.0)


# Losses, against float64 computations with loops ----------------------------------------------------------------


def test_equation_9_sums_every_map_at_every_scale():
    torch.manual_seed(0)
    made, true = torch.rand(2, 3, 8, 8, dtype=torch.float64), torch.rand(2, 3, 8, 8, dtype=torch.float64)

    class Two(torch.nn.Module):
        def forward(self, x):
            return [x, x[:, :, 1:] - x[:, :, :-1]]

    expected = 0.0
    for step in (1, 2):
        a, b = (x[:, :, ::1].unfold(2, step, step).unfold(3, step, step).mean((4, 5)).numpy() for x in (made, true))
        if step == 1:
            expected += np.abs(a - b).mean() + np.abs(np.diff(a, axis=2) - np.diff(b, axis=2)).mean()
    one = losses.perceptual(Two(), made, true, [1.0])
    assert float(one) == pytest.approx(expected, abs=1e-12)
    both = losses.perceptual(Two(), made, true, [1.0, 0.5])
    half = losses.perceptual(Two(), losses.at_scale(made, 0.5), losses.at_scale(true, 0.5), [1.0])
    assert float(both) == pytest.approx(expected + float(half), abs=1e-12)


def test_equation_10_and_the_thin_plate():
    torch.manual_seed(3)
    warp = losses.ThinPlate(2, WarpConfig(affine=0.1, bending=0.05), torch.zeros(1, dtype=torch.float64))
    points = (torch.rand(2, 5, 2, dtype=torch.float64) * 2 - 1).requires_grad_()
    moved = warp(points)
    theta, control, bend = (x.numpy() for x in (warp.affine, warp.control, warp.bend))
    for b in range(2):
        for n in range(5):
            p = points[b, n].detach().numpy()
            expected = theta[b, :, :2] @ p + theta[b, :, 2]
            for c, w in zip(control, bend[b], strict=True):
                r = np.abs(p - c).sum()
                expected = expected + w * r**2 * math.log(r + 1e-6)
            np.testing.assert_allclose(moved[b, n].detach().numpy(), expected, atol=1e-12)
    slopes = [torch.autograd.grad(moved[..., i].sum(), points, retain_graph=True)[0] for i in (0, 1)]
    derivative = torch.stack(slopes, 2)
    np.testing.assert_allclose(warp.jacobian(points.detach()).numpy(), derivative.numpy(), atol=1e-9)
    original = PartMotion(torch.rand(2, 5, 2, dtype=torch.float64), torch.zeros(2, 5, 2, 2))
    transformed = PartMotion(points.detach(), torch.zeros(2, 5, 2, 2))
    expected = np.abs(original.points.numpy() - moved.detach().numpy()).mean()
    assert float(losses.equivariance(warp, original, transformed)) == pytest.approx(expected, abs=1e-12)


def test_equivariance_vanishes_for_an_estimator_that_is_right():
    """A spot found in the transformed picture and brought back by T is the spot of the original."""
    torch.manual_seed(1)
    size = 129
    axis = torch.linspace(-1, 1, size, dtype=torch.float64)
    spot = torch.exp(-((axis[None] - 0.2).square() + (axis[:, None] + 0.3).square()) / 0.01)[None, None]
    warp = losses.ThinPlate(1, WarpConfig(), spot)
    turned = warp.picture(spot)[0, 0]
    turned = turned / turned.sum()
    found = torch.stack([(turned * axis[None]).sum(), (turned * axis[:, None]).sum()])[None, None]
    back = warp(found)[0, 0]
    np.testing.assert_allclose(back.numpy(), [0.2, -0.3], atol=5e-3)


def test_affine_equivariance_vanishes_where_matrices_turn_with_the_picture():
    torch.manual_seed(2)
    warp = losses.ThinPlate(2, WarpConfig(0.1, 0.02), torch.zeros(1, dtype=torch.float64))
    points = torch.rand(2, 3, 2, dtype=torch.float64)
    affine = torch.eye(2, dtype=torch.float64) + 0.2 * torch.rand(2, 3, 2, 2, dtype=torch.float64)
    turned = torch.linalg.solve(warp.jacobian(points), affine)
    exact = losses.equivariance_affine(warp, PartMotion(warp(points), affine), PartMotion(points, turned))
    assert float(exact) == pytest.approx(0, abs=1e-12)
    wrong = losses.equivariance_affine(warp, PartMotion(warp(points), affine), PartMotion(points, affine))
    assert float(wrong) > 0.01


def test_equations_11_and_12():
    rng = np.random.default_rng(5)
    masks = rng.dirichlet(np.ones(4), (2, 5, 6)).transpose(0, 3, 1, 2)
    expected_mask = np.abs(masks[:, 0] - 1).mean() + sum(np.abs(masks[:, k]).mean() for k in (1, 2, 3))
    expected_con = 0.0
    for b in range(2):
        for k in (1, 2, 3):
            total = masks[b, k].sum()
            at = {(y, x): np.array([2 * x / 5 - 1, 2 * y / 4 - 1]) for y in range(5) for x in range(6)}
            mean = sum(masks[b, k, y, x] * c for (y, x), c in at.items()) / total
            expected_con += sum(masks[b, k, y, x] * ((c - mean) ** 2).sum() for (y, x), c in at.items()) / total / 2
    tensor = torch.from_numpy(masks)
    assert float(losses.background_mask(tensor)) == pytest.approx(expected_mask, abs=1e-12)
    assert float(losses.concentration(tensor)) == pytest.approx(expected_con, abs=1e-12)


def test_adversarial_losses_pull_in_opposite_directions():
    scores = torch.tensor([[0.7], [-1.2]], dtype=torch.float64)
    expected = np.mean([math.log1p(math.exp(-0.7)), math.log1p(math.exp(1.2))])
    assert float(losses.generator_adversarial(scores)) == pytest.approx(expected)
    judged = losses.discriminator_adversarial(scores, -scores)
    assert float(judged) == pytest.approx(2 * expected)


# Perceptual features --------------------------------------------------------------------------------------------


def torchvision_vgg19():
    """The convolutional entries of torchvision's vgg19 file, and one of its classifier."""
    state, inputs = {}, 3
    for number, width in {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512,
                          23: 512, 25: 512, 28: 512, 30: 512, 32: 512, 34: 512}.items():  # fmt: skip
        state[f"features.{number}.weight"] = torch.rand(width, inputs, 3, 3) * 0.01
        state[f"features.{number}.bias"] = torch.rand(width)
        inputs = width
    return state | {"classifier.6.bias": torch.zeros(1000)}


def test_vgg19_loads_torchvisions_file_and_gives_five_maps(tmp_path):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(torchvision_vgg19(), path)
    maps = load_vgg(path)(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert all(float(m.min()) >= 0 for m in maps)
    assert not any(p.requires_grad for p in load_vgg(path).parameters())
    said = []
    features, name = make_features("auto", path, said.append)
    assert (type(features), name, said) == (Vgg19, "vgg19", [])
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(BadFile, match="VGG-19"):
        load_vgg(path)


def test_without_vgg19_the_fallback_is_said_and_never_silent(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said = []
    features, name = make_features("auto", None, said.append)
    assert (type(features), name) == (GradientFeatures, "gradients")
    assert len(said) == 1
    assert "--vgg" in said[0]
    with pytest.raises(BadFile, match="--download"):
        make_features("vgg19", None, said.append)


def test_gradient_features_see_edges_of_every_colour():
    picture = torch.zeros(1, 3, 6, 6)
    picture[:, 1, :, 3:] = 1
    colours, edges = GradientFeatures()(picture)
    assert torch.equal(colours, picture)
    assert edges.shape == (1, 9, 6, 6)
    assert float(edges[0, 3].abs().max()) == pytest.approx(1)  # across, of green
    assert float(edges[0, [0, 1, 2, 4, 6, 7, 8]].abs().max()) == 0


# Steps ---------------------------------------------------------------------------------------------------------


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


def test_lia_takes_a_step_with_its_own_losses():
    config = micro("lia", size=16, batch=1, **{"losses.adversarial": 1.0, "losses.sparsity": 0.1})
    trainer = trainer_of(config)
    before = everything(trainer)
    report = trainer.step(batch_of(16, 1))
    assert set(report.losses) == {"perceptual", "pixels", "adversarial", "sparsity", "discriminator", "total"}
    assert all(math.isfinite(v) for v in report.losses.values())
    after = everything(trainer)
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert "dec.direction.weight" in changed
    assert "enc.fc.0.weight" in changed


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
    from realtime.engines.dense_motion import part_flows

    grid = coordinate_grid(*flows.shape[2:4], driving.points)
    assert torch.equal(flows[:, 1:], part_flows(source, driving, grid))


# Runs ----------------------------------------------------------------------------------------------------------


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


def test_streamed_data_trains(data, tmp_path):
    shards = [str(p) for p in data.glob("shard-*.tar")]
    run = Run(micro(steps=2), tmp_path / "run", shards, CPU, say=lambda text: None)
    run.go()
    assert run.trainer.step_number == 2
    with pytest.raises(BadValue, match="steps"):
        Run(replace(micro(), steps=0), tmp_path / "other", shards, CPU, say=lambda text: None)


def test_two_processes_train_as_one(data, tmp_path):
    config = micro(steps=2, batch=1, **{"losses.adversarial": 0.1})
    path = tmp_path / "c.json"
    path.write_text(config.to_json())
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "realtime",
        "train", "-o", str(tmp_path / "run"), "--data", str(data), "--config", str(path), "--device", "cpu",
    ]  # fmt: skip
    root = Path(__file__).parents[1]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 x 2 pairs" in done.stderr
    assert len(losses_of(tmp_path / "run")) == 2
    assert RunFolder(tmp_path / "run").load()["step"] == 2


# The command ---------------------------------------------------------------------------------------------------


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
        ["train", "x", "-o", "run", "--preset", "tiny", "--system", "lia-x"],
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
