"""`device=mps` by construction: each operation of a frame has a kernel for Apple's GPUs in the installed PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from realtime.engines.liveportrait import keypoints as kp  # noqa: E402
from realtime.engines.liveportrait.prepared import FastLivePortrait  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402
from realtime.kernels import reference  # noqa: E402

COMPOSITE = ("CompositeExplicitAutograd", "CompositeImplicitAutograd", "CompositeExplicitAutogradNonFunctional")
OWN = frozenset(("MPS", *COMPOSITE))
"""Kernels that serve Apple's GPUs: their own, and those that are made of others."""


class Seen(TorchDispatchMode):
    """Operations and types of numbers that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations.add(str(func).removeprefix("aten.").removesuffix(".default"))
        self.types |= {x.dtype for x in (*args, out) if isinstance(x, torch.Tensor)}
        return out


def lacking(operations: set[str]) -> list[str]:
    """Those without a kernel for Apple's GPUs, by PyTorch's own list of kernels."""
    torchgen = pytest.importorskip("torchgen")
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    listed = {entry["func"].split("(")[0]: entry for entry in yaml.safe_load(path.read_text())}

    def has(name: str) -> bool:
        entry = listed.get(name)
        if entry is None:
            return False
        if "structured_delegate" in entry:
            return has(entry["structured_delegate"])
        keys = ",".join(entry.get("dispatch", ("CompositeImplicitAutograd",)))
        return not OWN.isdisjoint(key.strip() for key in keys.split(","))

    return sorted(name for name in operations if not has(name))


def test_the_list_of_kernels_tells_what_apple_lacks() -> None:
    assert lacking({"grid_sampler_3d", "_cudnn_rnn", "add.Tensor", "nonsense"}) == ["_cudnn_rnn", "nonsense"]


def test_a_frame_needs_nothing_that_apples_gpus_lack(nets, monkeypatch) -> None:
    """In bfloat16, which takes no path of the CPU's own."""
    monkeypatch.setattr(reference, "trilinear", reference.gathered)  # as on mps
    fast = FastLivePortrait(nets, Placement(torch.device("cpu"), torch.bfloat16), 256)
    x = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    rules = kp.Rules(retarget_eyes=True, retarget_lips=True, close_lips=True).tensor()
    with torch.inference_mode(False), torch.no_grad(), Seen() as seen:
        source = fast.source(x.clone())
        code = fast.latent(x.flip(3) * 2 - 1)
        picture = fast.draw(source, code, source.code + 0.01, rules)
    assert picture.shape == (1, 3, 256, 256)
    assert {"convolution", "bmm"} <= seen.operations
    assert lacking(seen.operations) == []
    assert torch.float64 not in seen.types  # Apple's GPUs have none
