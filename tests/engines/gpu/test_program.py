"""LIA as a frame program on the CPU: the whole frame against its steps, and what is read per frame."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.gpu.graph import FrameGraph, Immediate  # noqa: E402
from realtime.engines.gpu.program import AnimatorProgram  # noqa: E402
from realtime.engines.latent.fused import fuse  # noqa: E402
from realtime.engines.latent.lia import FastLia, Lia  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402

FRAME = (96, 120)
ZEROS = np.zeros(20, np.float32)


@pytest.fixture(scope="module")
def net():
    lia = Lia(size=16)
    recipe.fill(lia, 1)
    return fuse(FastLia(lia, Placement(torch.device("cpu"))))


def graph_of(net, part="frame", batches=(1,)):
    program = AnimatorProgram(net, part=part, frame=FRAME, dtype=torch.float32, device="cpu")
    return FrameGraph(program, Immediate(), batches=batches, eager="on the CPU")


def camera(seed):
    return np.random.default_rng(seed).integers(0, 256, (*FRAME, 3), dtype=np.uint8)


def values(seed, **changed):
    box = np.array([10, 5, 100, 95], np.float32)
    return {"frame": camera(seed), "box": box, "reference": ZEROS, "edits": ZEROS} | changed


def portrait(net, seed):
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_whole_frame_is_its_steps_one_after_the_other(net):
    whole, encode, render = (graph_of(net, part) for part in ("frame", "encode", "render"))
    for graph in (whole, render):
        graph.set_state(0, **graph.program.portrait(portrait(net, 1)))
    rng = np.random.default_rng(0)
    sliders = {"reference": rng.normal(size=20).astype(np.float32), "edits": rng.normal(size=20).astype(np.float32)}
    got = whole.submit({0: values(3, **sliders)}).results()[0]
    given = values(3)
    code = encode.submit({0: {"frame": given["frame"], "box": given["box"]}}).results()[0]["code"]
    np.testing.assert_allclose(got["code"], code, atol=1e-6)
    picture = render.submit({0: {"code": code, **sliders}}).results()[0]["picture"]
    assert np.abs(picture.astype(int) - got["picture"]).max() <= 1
    assert picture.std() > 10


def test_sliders_reference_and_portrait_take_effect_without_a_new_program(net):
    graph = graph_of(net, "render")
    graph.set_state(0, **graph.program.portrait(portrait(net, 1)))

    def shown(**changed):
        given = {"code": ZEROS, "reference": ZEROS, "edits": ZEROS} | changed
        return graph.submit({0: given}).results()[0]["picture"]

    half = np.full(20, 0.5, np.float32)
    still, edited = shown(), shown(edits=half)
    assert np.abs(still.astype(int) - edited).mean() > 1
    np.testing.assert_array_equal(shown(code=half), edited)  # an edit adds to the code
    np.testing.assert_array_equal(shown(code=half, reference=half), still)  # the reference takes it away
    graph.set_state(0, **graph.program.portrait(portrait(net, 2)))
    assert np.abs(still.astype(int) - shown()).mean() > 1


def test_absolute_motion_is_a_reference_equal_to_the_portraits_code(net):
    graph = graph_of(net, "render")
    state = graph.program.portrait(portrait(net, 1))
    graph.set_state(0, **state)
    source, code = state["source"][0].numpy(), np.full(20, 0.4, np.float32)
    got = graph.submit({0: {"code": code, "reference": source, "edits": ZEROS}}).results()[0]["picture"]
    z, feats = net.encode(portrait(net, 1))
    want = net.decode(z + net.move(torch.from_numpy(code)[None]), net.features(feats))[0]
    want = (want.permute(1, 2, 0) * 127.5 + 127.5).round().clamp(0, 255).byte().numpy()
    assert np.abs(want.astype(int) - got).max() <= 1


def test_two_sessions_keep_their_portraits_and_crops(net):
    both, one = graph_of(net, batches=(1, 2)), graph_of(net)
    for row in range(2):
        both.set_state(row, **both.program.portrait(portrait(net, row)))
    box = np.array([0, 0, 60, 60], np.float32)
    got = both.submit({0: values(5), 1: values(6, box=box)}).results()
    one.set_state(0, **one.program.portrait(portrait(net, 1)))
    want = one.submit({0: values(6, box=box)}).results()[0]
    np.testing.assert_allclose(got[1]["code"], want["code"], atol=1e-5)
    assert np.quantile(np.abs(got[1]["picture"].astype(int) - want["picture"]), 0.99) <= 1


def test_the_crop_and_the_frame_are_scaled_like_the_engine_does(net):
    graph = graph_of(net, "encode")
    frame = camera(9)
    code = graph.submit({0: {"frame": frame, "box": np.array([16, 16, 32, 32], np.float32)}}).results()[0]["code"]
    x = torch.from_numpy(frame[16:32, 16:32]).permute(2, 0, 1)[None].float() / 127.5 - 1
    np.testing.assert_allclose(code, net.alpha(net.latent(x))[0].numpy(), atol=1e-4)
