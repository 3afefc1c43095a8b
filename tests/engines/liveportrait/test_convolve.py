"""The fast convolutions of the CPU against the library's, in double precision."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from realtime.engines.liveportrait import convolve  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402

CPU = Placement(torch.device("cpu"))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("shape", "out"),
    [((1, 128, 16, 16), 132), ((2, 130, 32, 16), 128), ((1, 16, 3, 16, 20), 20), ((2, 20, 5, 16, 16), 16)],
    ids=["map", "maps", "volume", "volumes"],
)
@pytest.mark.parametrize("chunk", [1, 8 << 20])
def test_winograd_is_the_convolution(shape: tuple[int, ...], out: int, chunk: int, monkeypatch) -> None:
    monkeypatch.setattr(convolve, "CHUNK", chunk)
    x, bias = drawn(*shape), drawn(out)
    weight = drawn(out, shape[1], *[3] * (len(shape) - 2)) / (shape[1] * 3 ** (len(shape) - 2)) ** 0.5
    conv = convolve.Conv(CPU, weight, bias)
    assert conv.fast
    want = (F.conv2d if len(shape) == 4 else F.conv3d)(x, weight, bias, padding=1)
    got = conv(convolve.layout(x.float()))
    assert conv._direct is None  # it went the fast way
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-4)


def test_small_and_odd_maps_go_the_library_way() -> None:
    x, weight, bias = drawn(1, 128, 18, 16), drawn(128, 128, 3, 3) / 34, drawn(128)
    conv = convolve.Conv(CPU, weight, bias)
    got = conv(convolve.layout(x.float()))
    assert conv._direct is not None
    torch.testing.assert_close(got.double(), F.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 5, 4, 32, 16), (1, 3, 16, 16, 16), (1, 3, 4, 18, 16)])
def test_fourier_is_the_convolution(shape: tuple[int, ...]) -> None:
    x, weight, bias = drawn(*shape), drawn(6, shape[1], 7, 7, 7) / 40, drawn(6)
    got = convolve.FourierConv(CPU, weight, bias)(convolve.layout(x.float()))
    torch.testing.assert_close(got.double(), F.conv3d(x, weight, bias, padding=3), rtol=0, atol=1e-4)
