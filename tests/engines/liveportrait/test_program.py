"""LivePortrait's frame as the GPU runs it, with the CPU as the device."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.gpu.graph import FrameGraph, Immediate  # noqa: E402
from realtime.engines.liveportrait import code as c  # noqa: E402
from realtime.engines.liveportrait.keypoints import Rules  # noqa: E402
from realtime.engines.liveportrait.prepared import FastLivePortrait  # noqa: E402
from realtime.engines.liveportrait.program import PortraitProgram  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402

CPU = torch.device("cpu")
FRAME = (96, 120)


@pytest.fixture(scope="module")
def fast(nets) -> FastLivePortrait:
    return FastLivePortrait(nets, Placement(CPU), 256)


def graph_of(fast: FastLivePortrait, part, batches=(1,)) -> FrameGraph:
    return FrameGraph(PortraitProgram(fast, part, FRAME, CPU), Immediate(), batches=batches, eager="on the CPU")


def portrait(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_frame_is_encoded_as_the_network_reads_it(fast) -> None:
    inside = np.random.default_rng(1).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    frame = np.pad(inside, ((5, 1), (10, 20), (0, 0)), mode="edge")  # a crop's border takes in what lies beside it
    box = np.array([10, 5, 100, 95], np.float32)
    code = graph_of(fast, "encode").submit({0: {"frame": frame, "box": box}}).results()[0]["code"]
    x = torch.from_numpy(inside).permute(2, 0, 1)[None].float()
    x = torch.nn.functional.interpolate(x, (128, 128), mode="bilinear", antialias=True)
    np.testing.assert_allclose(code, fast.latent(x / 127.5 - 1)[0].numpy(), atol=2e-3)


def test_pictures_of_two_sessions_are_each_their_own(fast) -> None:
    """Two rows of a batch: other portraits, other codes, other choices; and edits add to the code."""
    graph = graph_of(fast, "render", batches=(2,))
    rng = np.random.default_rng(2)
    given, sources, rules = {}, {}, {0: Rules(), 1: Rules(stitch=False)}
    for row in range(2):
        x = portrait(row)
        sources[row] = fast.source((x + 1) / 2)
        state = graph.program.portrait(x) | {"rules": rules[row].tensor()}
        graph.set_state(row, **state)
        own = sources[row].code[0].numpy()
        code = own + rng.normal(size=c.LENGTH).astype(np.float32) * 0.05
        edits = np.zeros(c.LENGTH, np.float32)
        edits[c.INDEX["smile"]] = 0.3 * row
        given[row] = {"code": code, "reference": own + np.float32(0.01), "edits": edits}
    got = graph.submit(given).results()
    for row, values in given.items():
        pair = (torch.from_numpy(v)[None] for v in (values["code"] + values["edits"], values["reference"]))
        rgb = fast.draw(sources[row], *pair, rules[row].tensor())[0].permute(1, 2, 0)
        want = (rgb * 127.5 + 127.5).clamp(0, 255).round().byte().numpy()
        assert np.abs(got[row]["picture"].astype(int) - want).max() <= 2
        assert want.std() > 10
