"""The captured frame on a real GPU; skipped where there is none."""

from __future__ import annotations

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import kernels  # noqa: E402
from realtime.engines.gpu.graph import CudaDevice, FrameGraph  # noqa: E402
from realtime.engines.gpu.program import AnimatorProgram  # noqa: E402
from realtime.engines.latent.fused import fuse  # noqa: E402
from realtime.engines.latent.lia import FastLia, Lia  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not kernels.available(), reason=kernels.why_unavailable() or "a GPU is there"),
]
SIDE, ZEROS = 64, np.zeros(20, np.float32)


@pytest.fixture(scope="module")
def net():
    lia = Lia(size=SIDE)
    recipe.fill(lia, 1)
    with torch.inference_mode():
        return fuse(FastLia(lia, Placement(torch.device("cuda:0"), torch.float16)))


def graph_of(net, *, eager="", batches=(1,)):
    program = AnimatorProgram(net, frame=(96, 96), device="cuda:0")
    return FrameGraph(program, CudaDevice(torch.device("cuda:0")), batches=batches, eager=eager)


def portrait(seed):
    return (torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1).cuda()


def values(seed, **changed):
    frame = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return {"frame": frame, "box": np.array([0, 0, 96, 96], np.float32), "reference": ZEROS, "edits": ZEROS} | changed


def picture(graph, given):
    return graph.submit({0: given}).results()[0]["picture"].astype(int)


def test_a_captured_frame_is_the_eager_frame(net):
    captured, eager = graph_of(net), graph_of(net, eager="asked for")
    for graph in (captured, eager):
        graph.set_state(0, **graph.program.portrait(portrait(1)))
    for seed in range(5):
        assert np.abs(picture(captured, values(seed)) - picture(eager, values(seed))).max() <= 1
    assert captured.path == "graph", captured.reason


def test_portraits_and_sliders_change_without_capture_or_memory(net):
    graph = graph_of(net)
    states = [graph.program.portrait(portrait(seed)) for seed in (1, 2)]
    graph.set_state(0, **states[0])
    first = picture(graph, values(1))
    slots, taken = graph._slots[1], torch.cuda.memory_allocated()
    graph.set_state(0, **states[1])
    second = picture(graph, values(1))
    edited = picture(graph, values(1, edits=np.full(20, 0.5, np.float32)))
    graph.set_state(0, **states[0])
    assert (picture(graph, values(1)) == first).all()
    assert np.abs(first - second).mean() > 1
    assert np.abs(second - edited).mean() > 1
    assert graph._slots[1] is slots
    assert torch.cuda.memory_allocated() <= taken


def test_frames_under_way_do_not_mix(net):
    graph = graph_of(net)
    graph.set_state(0, **graph.program.portrait(portrait(1)))
    alone = [picture(graph, values(seed)) for seed in range(12)]
    pending = [graph.submit({0: values(seed)}) for seed in range(12)]
    for frame, want in zip(pending, alone, strict=True):
        assert (frame.results()[0]["picture"] == want).all()


def test_batches_draw_every_session(net):
    graph, one = graph_of(net, batches=(1, 2, 4, 8)), graph_of(net)
    for row in range(8):
        graph.set_state(row, **graph.program.portrait(portrait(row)))
    got = graph.submit({row: values(row) for row in range(8)}).results()
    for row in (0, 3, 7):
        one.set_state(0, **one.program.portrait(portrait(row)))
        apart = np.abs(got[row]["picture"].astype(int) - picture(one, values(row)))
        assert np.quantile(apart, 0.99) <= 3


def test_capture_while_another_thread_uses_the_device(net):
    stop, x = threading.Event(), torch.ones(1 << 20, device="cuda")

    def work():
        while not stop.is_set():
            x.mul_(1.0).sum().item()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        graph = graph_of(net)
        graph.prepare(1)
    finally:
        stop.set()
        thread.join()
    assert graph.path == "graph", graph.reason


def test_kernels_run_on_the_callers_stream():
    x = torch.zeros(1, 8, 512, 512, device="cuda").contiguous(memory_format=torch.channels_last)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        x.fill_(1)
        out = kernels.bias_act(x, gain=3.0)
    stream.synchronize()
    assert (out == 3).all()
