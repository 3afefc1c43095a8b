"""Whole-frame capture with a fake device: buffers, batches, portrait swaps, overlap, fallback."""

from __future__ import annotations

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.gpu.batching import Batcher  # noqa: E402
from realtime.engines.gpu.graph import FrameGraph, Immediate, Layout, Rows, Spec, batch_for  # noqa: E402
from realtime.engines.gpu.thread import GpuThread  # noqa: E402
from realtime.errors import DeviceError  # noqa: E402


class OutOfMemoryError(RuntimeError):
    pass


class Affine:
    """A program: result = frame * gain + portrait, and the sum of the frame."""

    def __init__(self):
        self.inputs = {"frame": Spec((2, 3), torch.uint8), "gain": Spec((), torch.float32)}
        self.state = {"portrait": Spec((2, 3), torch.float32), "map": Spec((8, 2, 3), torch.float16, True)}
        self.outputs = {"result": Spec((2, 3), torch.float32), "sum": Spec((1,), torch.float32)}
        self.runs = []

    def run(self, inputs, state, outputs):
        self.runs.append(inputs["frame"].shape[0])
        frame = inputs["frame"].float()
        assert state["map"].is_contiguous(memory_format=torch.channels_last)
        outputs["result"].copy_(frame * inputs["gain"][:, None, None] + state["portrait"])
        outputs["sum"].copy_(frame.sum((1, 2))[:, None])


class Lazy:
    """A device on which nothing happens before it must: each wait runs what was enqueued up to that frame.

    log: what ran, in order. captures: how often something was captured. room: bytes before memory runs out.
    """

    def __init__(self, fail: str = "", room: int = 1 << 30):
        self.fail, self.room = fail, room
        self.queue, self.log, self.captures, self.replays = [], [], 0, 0
        self.allocated = 0

    def zeros(self, count, *, pinned=False):
        self.allocated += count
        if not pinned:
            self.room -= count
            if self.room < 0:
                raise OutOfMemoryError("full")
        return torch.zeros(count, dtype=torch.uint8)

    def warm_up(self, work, times):
        for _ in range(times):
            work()

    def capture(self, work):
        if self.fail:
            raise RuntimeError(self.fail)
        self.captures += 1

        def replay():
            self.replays += 1
            work()

        return replay

    def run(self, upload, work, download):
        self.queue += [("upload", upload), ("work", work), ("download", download)]
        return Frame(self, len(self.queue) + len(self.log))

    def ordered(self, work):
        self.queue.append(("state", work))

    def advance(self, until):
        while len(self.log) < until:
            name, step = self.queue.pop(0)
            step()
            self.log.append(name)


class Frame:
    def __init__(self, device, end):
        self.device, self.end = device, end

    def wait(self):
        self.device.advance(self.end)


def frame(value, gain=1.0):
    return {"frame": np.full((2, 3), value, np.uint8), "gain": np.float32(gain)}


def graph_of(device, **options):
    return FrameGraph(Affine(), device, out_of_memory=lambda e: isinstance(e, OutOfMemoryError), **options)


def test_buffers_lie_apart_and_aligned():
    specs = {
        "a": Spec((3,), torch.uint8),
        "b": Spec((5, 2), torch.float32),
        "c": Spec((8, 2, 3), torch.float16, True),
    }
    layout = Layout.plan(specs, 4)
    block = torch.zeros(layout.size, dtype=torch.uint8)
    views = layout.views(block)
    for k, (name, view) in enumerate(views.items()):
        assert view.shape == (4, *specs[name].shape)
        assert layout.offsets[name] % 256 == 0
        view.fill_(k + 1)
    for k, view in enumerate(views.values()):
        assert (view == k + 1).all()
    assert views["c"].is_contiguous(memory_format=torch.channels_last)


def test_the_smallest_batch_that_fits_is_taken():
    assert [batch_for(n, (1, 2, 4, 8)) for n in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    for wrong in (0, 9):
        with pytest.raises(ValueError, match="do not fit"):
            batch_for(wrong, (1, 2, 4, 8))


def test_rows_in_use_stay_together():
    rows = Rows(3)
    assert [rows.take(s) for s in "abc"] == [0, 1, 2]
    with pytest.raises(ValueError, match="all 3 rows"):
        rows.take("d")
    assert rows.give_back("a") == (2, 0)
    assert rows.row("c") == 0
    assert rows.give_back("b") is None
    assert len(rows) == 1


def test_a_frame_gives_what_the_program_defines():
    for device in (Lazy(), Immediate()):
        graph = graph_of(device)
        graph.set_state(0, portrait=torch.arange(6.0).reshape(2, 3))
        got = graph.submit({0: frame(7, 2.0)}).results()[0]
        np.testing.assert_array_equal(got["result"], 14 + np.arange(6.0).reshape(2, 3))
        assert got["sum"].tolist() == [42.0]


def test_a_new_portrait_and_sliders_need_no_new_capture_and_no_memory():
    device = Lazy()
    graph = graph_of(device)
    graph.submit({0: frame(1)}).results()
    captures, allocated = device.captures, device.allocated
    assert captures == 2  # one per slot
    for k in range(5):
        graph.set_state(0, portrait=torch.full((1, 2, 3), float(k)))
        got = graph.submit({0: frame(1, gain=k)}).results()[0]
        assert got["result"][0, 0] == 2 * k
    assert (device.captures, device.allocated) == (captures, allocated)
    assert device.replays == 6
    assert graph.path == "graph"
    assert "batch 1" in graph.describe()


def test_a_portrait_swap_is_ordered_with_the_frames_around_it():
    device = Lazy()
    graph = graph_of(device)
    before = graph.submit({0: frame(1)})
    graph.set_state(0, portrait=torch.full((2, 3), 50.0))
    after = graph.submit({0: frame(1)})
    assert after.results()[0]["result"][0, 0] == 51
    assert before.results()[0]["result"][0, 0] == 1


def test_upload_of_the_next_frame_does_not_disturb_the_one_under_way():
    device = Lazy()
    graph = graph_of(device)
    graph.prepare(1)
    pending = [graph.submit({0: frame(k)}) for k in (1, 2)]
    assert device.log == []  # two frames under way, none has begun
    third = graph.submit({0: frame(3)})  # waits for the first only
    assert device.log == ["upload", "work", "download"]
    assert [p.results()[0]["result"][0, 0] for p in (*pending, third)] == [1, 2, 3]
    assert [p.results()[0]["result"][0, 0] for p in (*pending, third)] == [1, 2, 3]


def test_results_are_copies():
    graph = graph_of(Immediate())
    first = graph.submit({0: frame(1)}).results()[0]["result"]
    for _ in range(3):
        graph.submit({0: frame(9)}).results()
    assert first[0, 0] == 1


def test_sessions_share_a_batch_and_keep_their_own_portraits():
    device = Lazy()
    graph = graph_of(device, batches=(1, 2, 4))
    for row in range(3):
        graph.set_state(row, portrait=torch.full((2, 3), 100.0 * row))
    got = graph.submit({0: frame(1), 2: frame(3)}).results()
    assert {row: r["result"][0, 0] for row, r in got.items()} == {0: 1.0, 2: 203.0}
    assert graph.program.runs[-1] == 4
    got = graph.submit({0: frame(5)}).results()
    assert got[0]["result"][0, 0] == 5
    assert graph.program.runs[-1] == 1
    graph.move_state(2, 1)
    assert graph.submit({1: frame(0)}).results()[1]["result"][0, 0] == 200


def test_capture_that_fails_falls_back_and_says_why():
    device = Lazy(fail="operation not permitted when stream is capturing")
    graph = graph_of(device)
    assert graph.submit({0: frame(4)}).results()[0]["result"][0, 0] == 4
    assert graph.path == "eager"
    assert graph.reason == "capture failed: operation not permitted when stream is capturing"
    assert graph.reason in graph.describe()
    assert graph.submit({0: frame(5)}).results()[0]["result"][0, 0] == 5


def test_eager_can_be_asked_for():
    device = Lazy()
    graph = graph_of(device, eager="asked for")
    graph.submit({0: frame(4)}).results()
    assert device.captures == 0
    assert graph.describe() == "eager, one launch per kernel: asked for"


def test_an_error_of_the_program_is_not_taken_for_a_failed_capture():
    class Broken(Affine):
        def run(self, inputs, state, outputs):
            raise KeyError("portrait")

    with pytest.raises(KeyError):
        FrameGraph(Broken(), Lazy()).submit({0: frame(1)})


def test_a_batch_that_does_not_fit_into_memory_is_left_out():
    probe = Lazy()
    graph_of(probe, batches=(1, 2, 4, 8)).prepare(2)
    device = Lazy(room=(1 << 30) - probe.room + 600)
    graph = graph_of(device, batches=(1, 2, 4, 8))
    assert graph.prepare(2) == 2
    assert graph.prepare(8) == 2
    assert graph.batches == [1, 2]
    assert "a batch of 8 does not fit" in graph.describe()
    assert graph.submit({1: frame(4)}).results()[1]["result"][0, 0] == 4
    with pytest.raises(ValueError, match="do not fit"):
        graph.submit({3: frame(4)})
    with pytest.raises(OutOfMemoryError):
        graph_of(Lazy(room=900)).prepare(1)


def test_wrong_values_are_named():
    graph = graph_of(Immediate())
    with pytest.raises(ValueError, match="row 0 lacks gain"):
        graph.submit({0: {"frame": np.zeros((2, 3), np.uint8)}})
    with pytest.raises(ValueError, match="state portrait of one row is"):
        graph.set_state(0, portrait=torch.zeros(5))
    with pytest.raises(ValueError, match="broadcast"):
        graph.submit({0: {"frame": np.zeros((4, 4), np.uint8), "gain": np.float32(1)}})


# --- several sessions on one thread ------------------------------------------------------------------------------


@pytest.fixture
def gpu():
    with GpuThread() as thread:
        yield thread


def test_waiting_frames_of_several_sessions_ride_in_one_batch(gpu):
    graph = graph_of(Immediate(), batches=(1, 2, 4))
    batcher = Batcher(graph, gpu)
    seats = [batcher.join(name).result(5) for name in "abc"]
    for k, seat in enumerate(seats):
        seat.set_state(portrait=torch.full((2, 3), 10.0 * k)).result(5)
    for seat in seats:
        seat.submit(frame(0)).result(5)
    gate = threading.Event()
    gpu.submit(gate.wait)
    first = [seat.submit(frame(k + 1)) for k, seat in enumerate(seats)]
    gate.set()
    assert [f.result(5)["result"][0, 0] for f in first] == [1, 12, 23]
    assert graph.program.runs[-1] == 4


def test_only_the_newest_waiting_frame_is_drawn(gpu):
    batcher = Batcher(graph_of(Immediate()), gpu)
    seat = batcher.join("a").result(5)
    gate = threading.Event()
    gpu.submit(gate.wait)
    stale, fresh = seat.submit(frame(1)), seat.submit(frame(2))
    gate.set()
    assert fresh.result(5)["result"][0, 0] == 2
    assert stale.cancelled()


def test_a_session_that_leaves_makes_room_and_the_others_keep_their_portraits(gpu):
    batcher = Batcher(graph_of(Immediate(), batches=(1, 2)), gpu)
    a, b = batcher.join("a").result(5), batcher.join("b").result(5)
    b.set_state(portrait=torch.full((2, 3), 70.0)).result(5)
    with pytest.raises(DeviceError, match="no room for the session c"):
        batcher.join("c").result(5)
    a.leave()
    a.leave()
    assert b.submit(frame(1)).result(5)["result"][0, 0] == 71
    c = batcher.join("c").result(5)
    c.set_state(portrait=torch.zeros(2, 3)).result(5)
    assert c.submit(frame(1)).result(5)["result"][0, 0] == 1


def test_a_failing_frame_reaches_its_session_and_no_other(gpu):
    batcher = Batcher(graph_of(Immediate()), gpu)
    seat = batcher.join("a").result(5)
    with pytest.raises(ValueError, match="lacks"):
        seat.submit({}).result(5)
    assert seat.submit(frame(3)).result(5)["result"][0, 0] == 3


def test_memory_running_out_in_a_frame_sheds_the_newest_session_only(gpu):
    class Full(Affine):
        limit = 9

        def run(self, inputs, state, outputs):
            if inputs["frame"].shape[0] > self.limit:
                raise OutOfMemoryError("full")
            super().run(inputs, state, outputs)

    program = Full()
    batcher = Batcher(FrameGraph(program, Immediate(), batches=(1, 2, 4), eager="CPU"), gpu)
    a, b, c = (batcher.join(name).result(5) for name in "abc")
    for seat in (a, b, c):
        seat.submit(frame(1)).result(5)
    program.limit = 2
    for value in (5, 6):
        gate = threading.Event()
        gpu.submit(gate.wait)
        futures = [seat.submit(frame(value)) for seat in (a, b, c)]
        gate.set()
        assert [f.result(5)["result"][0, 0] for f in futures[:2]] == [value, value]
        with pytest.raises(DeviceError, match="session c, the newest"):
            futures[2].result(5)
    program.limit = 0
    with pytest.raises(DeviceError, match="session a"):
        a.submit(frame(1)).result(5)


def test_frames_go_on_when_the_oldest_session_leaves(gpu):
    batcher = Batcher(graph_of(Immediate(), batches=(1, 2)), gpu)
    a, b = (batcher.join(name).result(5) for name in "ab")
    gate = threading.Event()
    gpu.submit(gate.wait)
    waits = b.submit(frame(4))
    threading.Timer(0.05, gate.set).start()
    a.leave()
    assert waits.result(5)["result"][0, 0] == 4
    with pytest.raises(DeviceError, match="session a is closed"):
        a.submit(frame(1)).result(5)


def test_frames_fail_once_the_thread_has_ended():
    gpu = GpuThread()
    seat = Batcher(graph_of(Immediate()), gpu).join("a").result(5)
    gpu.close()
    with pytest.raises(DeviceError, match="ended"):
        seat.submit(frame(1)).result(5)
