"""Training data: configuration, clips, shards, pairs, streams."""

# ruff: noqa: F811 (fixtures are imported by name)

import json
import tarfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.neural.crop import MARGIN, square_around  # noqa: E402
from realtime.errors import BadFile, BadValue  # noqa: E402
from realtime.families import trained  # noqa: E402
from realtime.training.config import PRESETS, DataConfig, TrainConfig, preset  # noqa: E402
from realtime.training.data.clips import (  # noqa: E402
    Index,
    ShardWriter,
    build_index,
    crop,
    cut,
    find_videos,
    read_index,
)
from realtime.training.data.pairs import PairSet, StepSampler, StreamedPairs, augment, expand, trained_frames  # noqa: E402
from tests.support import made_up_frames, write_clip  # noqa: E402
from tests.support.training import CPU, data, micro, moving_spot, one_thread  # noqa: E402, F401 (fixtures)


@pytest.mark.parametrize("system", trained())
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
        ("optimiser.cosine=true", "drops"),
    ):
        with pytest.raises(BadValue, match=named):
            config.with_settings([bad])


def test_rate_falls_along_half_a_cosine():
    config = TrainConfig().with_settings(["optimiser.rate=2.0", "optimiser.cosine=true", "optimiser.drops=[]"])
    rates = [config.rate_at(step, 100) for step in (0, 50, 100, 150)]
    assert rates == pytest.approx([2.0, 1.01, 0.02, 0.02])


def test_rate_drops_tenfold_at_the_papers_epochs():
    config = preset("motrans", "paper")
    total = config.total_steps(clips=20047, processes=8)
    assert total == 100 * 75 * 20047 // 40
    rates = [config.rate_at(int(total * share), total) for share in (0, 0.59, 0.61, 0.89, 0.91)]
    np.testing.assert_allclose(rates, [2e-4, 2e-4, 2e-5, 2e-5, 2e-6])


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


def test_a_clip_of_a_face_is_indexed_once(tmp_path):
    clip = write_clip(tmp_path / "talk.mp4", list(made_up_frames(3.0)))
    seen = []
    index = build_index([clip], tmp_path / "data", 64, 2.0, lambda done, total, name: seen.append(name))
    assert index.frames >= 70
    assert seen[0] == clip.name
    pairs = PairSet(tmp_path / "data", index, DataConfig(), 64, 0)
    centre = pairs.picture(index.clips[0], 10)[24:40, 24:40].reshape(-1, 3).mean(0)
    assert centre[0] > centre[2]  # skin, not what is behind
    assert centre[0] > centre[1]
    seen.clear()
    again = build_index([clip], tmp_path / "data", 64, 2.0, lambda done, total, name: seen.append(name))
    assert seen == []
    assert again.frames == index.frames
    with pytest.raises(BadFile, match="size 64"):
        build_index([clip], tmp_path / "data", 32, 2.0)
