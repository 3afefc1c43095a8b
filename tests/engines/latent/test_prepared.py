"""The form that runs per frame against the definition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.latent.layers import Fir, FirUp2, HalvingResidual, ModulatedConv2d, StyledConv  # noqa: E402
from realtime.engines.latent.lia import FastLia, Lia  # noqa: E402
from realtime.engines.latent.lia_x import FastLiaX, LiaX  # noqa: E402
from realtime.engines.latent.prepared import ChannelFir, Down, Modulated, Placement, Styles, double  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402
from realtime.errors import EngineError  # noqa: E402
from tests.support.golden import Comparison, picture, reference  # noqa: E402

CPU = Placement(torch.device("cpu"))


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def lia() -> Lia:
    net = Lia(size=64)
    recipe.fill(net, 1)
    return net


def _textbook(layer: ModulatedConv2d, x, z):
    """StyleGAN2, equations 1 and 3, one weight per sample."""
    out = []
    for sample, style in zip(x, layer.modulation(z), strict=True):
        w = layer.weight[0].double() * layer.scale * style.double()[None, :, None, None]
        if layer.demodulate:
            w = w / torch.sqrt(w.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        sample = sample[None].double()
        if layer.up:
            y = torch.nn.functional.conv_transpose2d(sample, w.transpose(0, 1), stride=2)
            kernel = layer.blur.kernel.double().expand(y.shape[1], 1, 4, 4)
            y = torch.nn.functional.conv2d(y, kernel, padding=1, groups=y.shape[1])
        else:
            y = torch.nn.functional.conv2d(sample, w, padding=layer.padding)
        out.append(y)
    return torch.cat(out)


def _randomise(module, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.copy_(torch.randn(p.shape, generator=generator))
    return module


@pytest.mark.parametrize("up", [False, True], ids=["same size", "doubled"])
@pytest.mark.parametrize("side", [4, 32], ids=["more weights", "more activations"])
@pytest.mark.parametrize("batch", [1, 3])
def test_scaling_activations_is_modulating_weights(up: bool, side: int, batch: int) -> None:
    layer = _randomise(StyledConv(24, 16, 32, flat=True, up=up))
    x, z = torch.randn(batch, 24, side, side), torch.randn(batch, 32)
    bias = layer.activate.bias.double().reshape(1, -1, 1, 1)
    want = torch.nn.functional.leaky_relu(_textbook(layer.conv, x, z) + bias, 0.2) * 2**0.5
    assert torch.allclose(layer(x, z).double(), want, atol=2e-5)
    styles = Styles(CPU)
    fast = Modulated(CPU, styles, layer)
    styles.close()
    cl = x.to(memory_format=torch.channels_last)
    assert torch.allclose(fast(cl, styles(z)).double(), want, atol=2e-5)


def test_a_flow_head_is_modulated_without_demodulation() -> None:
    layer = _randomise(ModulatedConv2d(24, 3, 1, 32, demodulate=False))
    x, z = torch.randn(2, 24, 8, 8), torch.randn(2, 32)
    assert torch.allclose(layer(x, z).double(), _textbook(layer, x, z), atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 5, 16])
def test_doubling_is_the_published_filter_up_to_the_border(side: int) -> None:
    x = torch.randn(2, 3, side, side)
    assert torch.allclose(double(x), FirUp2()(x), atol=1e-6)


def test_the_filter_of_a_skip_computes_only_the_samples_its_stride_keeps() -> None:
    x = torch.randn(1, 6, 16, 16)
    assert torch.allclose(ChannelFir(CPU, 6, 1, stride=2)(x), Fir(1)(x)[..., ::2, ::2], atol=1e-6)


def test_prepared_lia_equals_the_network(lia: Lia) -> None:
    vectors = np.load(reference("lia", "vectors_size64_seed1.npz"))
    check = Comparison(vectors)
    fast = FastLia(lia, CPU)
    z, feats = fast.encode(picture(vectors, "source"))
    codes = {tag: fast.alpha(fast.latent(picture(vectors, tag))) for tag in ("source", "start", "drive")}
    for tag, code in codes.items():
        check.exact(f"alpha.{tag}", code, 2e-5)
    moved = z + fast.move(codes["drive"] - codes["start"] + codes["source"])
    check.exact("rel.latent", moved, 1e-4)
    trace: dict = {}
    image = fast.decode(moved, fast.features(feats), trace)
    check.image("rel", image, 3e-4, 1e-3)
    for name, value in trace.items():
        check.map(f"rel.{name}", value, 3e-4, 1e-3)


def test_a_batch_is_drawn_as_its_pictures_one_by_one(lia: Lia) -> None:
    fast = FastLia(lia, CPU)
    portrait = picture(np.load(reference("lia", "vectors_size64_seed1.npz")), "source")
    z, feats = fast.encode(portrait)
    feats = fast.features(feats)
    latents = z + fast.move(torch.randn(3, 20, generator=torch.Generator().manual_seed(1)))
    together = fast.decode(latents, feats)
    plain = lia.decode(latents, lia.encode(portrait)[1])
    for k in range(3):
        one = fast.decode(latents[k : k + 1], feats)[0]
        # Where a flow crosses a steep edge a rounding error is magnified: nearly all numbers agree closely.
        assert float((together[k] - one).abs().quantile(0.999)) < 1e-4
        assert float((plain[k] - one).abs().quantile(0.999)) < 1e-4


def test_half_precision_stays_near(lia: Lia) -> None:
    portrait = picture(np.load(reference("lia", "vectors_size64_seed1.npz")), "source")
    wide, half = FastLia(lia, CPU), FastLia(lia, Placement(torch.device("cpu"), torch.bfloat16))
    pictures = []
    for fast in (wide, half):
        z, feats = fast.encode(portrait)
        pictures.append(fast.decode(z + fast.move(torch.full((1, 20), 0.3)), fast.features(feats)))
    assert pictures[1].dtype == torch.float32
    assert float((pictures[0] - pictures[1]).abs().mean()) < 0.05


def test_another_filter_than_the_published_one_is_refused() -> None:
    net = Lia(size=8)
    net.dec.convs[0].conv.blur.kernel[0, 0] = 0.5
    with pytest.raises(EngineError, match=r"dec\.convs\.0\.conv\.blur\.kernel"):
        FastLia(net, CPU)


@pytest.mark.parametrize("wide_first", [False, True], ids=["lia", "lia-x"])
def test_a_prepared_residual_block_equals_the_block(wide_first: bool) -> None:
    block = _randomise(HalvingResidual(6, 10, flat=wide_first, wide_first=wide_first))
    x = torch.randn(2, 6, 16, 16)
    want = block(x)
    assert torch.allclose(Down(CPU, block)(x), want, atol=1e-4)


LEVELS = ("_512", "2")


@pytest.mark.parametrize("lean", [False, True], ids=["copied", "in place"])
def test_prepared_lia_x_equals_the_network(lean: bool) -> None:
    """The decoder's first two levels: the others repeat them, and one whole picture is 1.5 TFLOP."""
    net = LiaX(scale=1)
    recipe.fill(net, 3)
    generator = torch.Generator().manual_seed(5)
    z, code = torch.randn(1, 512, generator=generator), torch.full((1, 40), 0.2)
    feats = [torch.randn(1, 512, 8 << k, 8 << k, generator=generator) for k in range(2)]
    wanted: dict = {}
    hooks = [getattr(net.dec, f"flow{n}").register_forward_hook(_keep(wanted, k)) for k, n in enumerate(LEVELS)]
    hooks.append(net.dec.rgb2.register_forward_hook(_stop(wanted)))
    with pytest.raises(_Enough):
        net.decode(net.navigate(z, target=code), [*feats, *feats[-1:] * 5])
    want_code = net.alpha(z)
    fast = FastLiaX(net, Placement(torch.device("cpu"), torch.float32, lean=lean))
    assert torch.allclose(fast.alpha(z), want_code, atol=1e-5)
    fast.levels = fast.levels[:2]
    got: dict = {}
    image = fast.decode(z + fast.move(code), fast.features(feats), got)
    for name in got:
        assert torch.allclose(got[name], wanted[name], atol=1e-3), name
    # The features are noise, steep everywhere, and magnify rounding errors of the flow.
    assert float((image - wanted["image"]).abs().quantile(0.99)) < 1e-3


class _Enough(Exception):
    """Ends a decoding early."""


def _stop(trace: dict):
    def hook(module, args, output) -> None:
        trace["image"] = output
        raise _Enough

    return hook


def _keep(trace: dict, k: int):
    def hook(module, args, output) -> None:
        trace[f"flowraw{k}_{8 << k}"] = output[2]

    return hook


@pytest.mark.slow
def test_prepared_lia_x_gives_the_published_outputs() -> None:
    vectors = np.load(reference("lia_x", "vectors_scale1_seed1.npz"))
    check = Comparison(vectors)
    net = LiaX(scale=1)
    recipe.fill(net, 1)
    fast = FastLiaX(net, CPU)
    z, feats = fast.encode(picture(vectors, "source"))
    codes = {tag: fast.alpha(fast.latent(picture(vectors, tag))) for tag in ("source", "start", "drive")}
    moved = z + fast.move(codes["drive"] - codes["start"] + codes["source"])
    check.image("rel", fast.decode(moved, fast.features(feats)), 5e-4, 2e-3)
