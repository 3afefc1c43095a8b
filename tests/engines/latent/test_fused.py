"""The networks on our kernels against their definition and golden vectors, and what half precision may touch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import kernels  # noqa: E402
from realtime.engines.latent.fused import FusedDown, fuse  # noqa: E402
from realtime.engines.latent.layers import HalvingResidual, MotionDictionary  # noqa: E402
from realtime.engines.latent.lia import FastLia, Lia  # noqa: E402
from realtime.engines.latent.lia_x import FastLiaX, LiaX  # noqa: E402
from realtime.engines.latent.prepared import Down, Placement  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402
from realtime.kernels import backends, host  # noqa: E402
from tests.support.golden import Comparison, picture, reference  # noqa: E402

CPU = Placement(torch.device("cpu"))
HALF = Placement(torch.device("cpu"), torch.float16)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def lia() -> Lia:
    net = Lia(size=64)
    recipe.fill(net, 1)
    return net


def drawn(fast, portrait, amount: float = 0.3, batch: int = 1):
    z, feats = fast.encode(portrait)
    codes = torch.full((batch, fast.motion_dim), amount)
    return fast.decode(z + fast.move(codes), fast.features(feats))


def test_fused_lia_gives_the_published_outputs(lia):
    vectors = np.load(reference("lia", "vectors_size64_seed1.npz"))
    check = Comparison(vectors)
    fast = fuse(FastLia(lia, CPU))
    z, feats = fast.encode(picture(vectors, "source"))
    codes = {tag: fast.alpha(fast.latent(picture(vectors, tag))) for tag in ("source", "start", "drive")}
    for tag, code in codes.items():
        check.exact(f"alpha.{tag}", code, 2e-5)
    moved = z + fast.move(codes["drive"] - codes["start"] + codes["source"])
    check.image("rel", fast.decode(moved, fast.features(feats)), 3e-4, 1e-3)


@pytest.mark.skipif(bool(host.missing()), reason=host.missing() or "a C++ compiler is there")
def test_fused_lia_through_the_kernels_themselves(lia):
    portrait = picture(np.load(reference("lia", "vectors_size64_seed1.npz")), "source")
    fast = fuse(FastLia(lia, CPU))
    want = drawn(fast, portrait, batch=2)
    with backends.emulated():
        got = drawn(fast, portrait, batch=2)
    assert float((got - want).abs().quantile(0.999)) < 1e-3


def test_a_batch_with_portraits_of_its_own_is_drawn_one_by_one(lia):
    fast = fuse(FastLia(lia, CPU))
    vectors = np.load(reference("lia", "vectors_size64_seed1.npz"))
    portraits = torch.cat([picture(vectors, "source"), picture(vectors, "drive")])
    together = drawn(fast, portraits, batch=2)
    for k in range(2):
        one = drawn(fast, portraits[k : k + 1])[0]
        assert float((together[k] - one).abs().quantile(0.999)) < 1e-4


def test_fused_lia_x_levels_equal_the_prepared_ones():
    net = LiaX(scale=1)
    generator = torch.Generator().manual_seed(5)
    used = tuple(f"dec.{part}{level}" for part in ("conv", "flow", "rgb") for level in ("_512", "2"))
    for name, p in net.named_parameters():
        if name.startswith((*used, "dec.conv1", "dec.input")):
            p.copy_(torch.randn(p.shape, generator=generator).mul_(0.1 if "bias" in name or "flow" in name else 1.0))
    fast = FastLiaX(net, CPU)
    fast.levels = fast.levels[:2]
    mine = fuse(fast)
    z = torch.randn(2, 512, generator=generator)
    feats = mine.features([torch.randn(1, 512, 8 << k, 8 << k, generator=generator) for k in range(2)])
    # The features are noise, steep everywhere, and magnify rounding errors of the flow.
    assert float((mine.decode(z, feats) - fast.decode(z, feats)).abs().quantile(0.99)) < 1e-3


@pytest.mark.parametrize("wide_first", [False, True], ids=["lia", "lia-x"])
def test_a_fused_residual_block_equals_the_prepared_one(wide_first):
    block = HalvingResidual(8, 16, flat=wide_first, wide_first=wide_first)
    generator = torch.Generator().manual_seed(0)
    for p in block.parameters():
        p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.randn(2, 8, 16, 16).to(memory_format=torch.channels_last)
    assert torch.allclose(FusedDown(Down(CPU, block))(x), Down(CPU, block)(x), atol=1e-4)


# --- precision -----------------------------------------------------------------------------------------------------


def test_half_precision_stays_near(lia):
    """Weights and features in float16, the rest in float32, over a whole network."""
    portrait = picture(np.load(reference("lia", "vectors_size64_seed1.npz")), "source")
    wide, half = drawn(fuse(FastLia(lia, CPU)), portrait), drawn(fuse(FastLia(lia, HALF)), portrait)
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    difference = (wide - half).abs()
    assert float(difference.mean()) < 4e-3  # half a step of an 8-bit picture
    assert float(difference.quantile(0.99)) < 3e-2


def test_flow_in_half_precision_would_misplace_samples():
    """Why logits, offsets and positions are float32: a ramp of 512 samples shows where each pixel looked."""
    side = 512
    ramp = torch.arange(side, dtype=torch.float32).expand(1, 8, side, side)
    ramp = ramp.contiguous(memory_format=torch.channels_last)
    trunk = torch.zeros_like(ramp)
    logits = torch.zeros(1, 3, side, side)
    logits[:, 0], logits[:, 2] = 0.05 * torch.randn(side, side, generator=torch.Generator().manual_seed(1)), 50.0
    exact = torch.arange(side).double() + torch.tanh(logits[0, 0].double()) * (side - 1) / 2
    inside = (exact > 0) & (exact < side - 1)
    mine = kernels.warp_blend(ramp, trunk, logits, align_corners=True).warped[0, 0]
    assert float((mine - exact)[inside].abs().max()) < 1e-3
    grid = torch.linspace(-1, 1, side).half() + torch.tanh(logits[0, 0].half())
    halved = (grid.double() + 1) * (side - 1) / 2
    assert float((halved - exact)[inside].abs().max()) > 0.1


def test_dictionary_in_half_precision_would_not_be_orthonormal():
    """Why navigation is float32: a code moves the latent by exactly its own length only along orthonormal columns."""
    dictionary = MotionDictionary(512, 20)
    dictionary.weight.copy_(torch.randn(512, 20, generator=torch.Generator().manual_seed(2)))
    q = dictionary()
    code = torch.randn(1000, 20, generator=torch.Generator().manual_seed(3))
    wide = ((code @ q.T).norm(dim=1) / code.norm(dim=1) - 1).abs().max()
    z = torch.randn(1000, 512, generator=torch.Generator().manual_seed(4))
    step = 1e-3 * q[:, 0]
    assert wide < 1e-5
    assert torch.allclose((z + step) - z, step.expand_as(z), atol=3e-7)
    lost = ((z.half() + step.half()) - z.half()).float()
    assert float((lost - step).norm(dim=1).mean() / step.norm()) > 0.1  # a slider's small step drowns


def test_demodulation_in_half_precision_would_overflow():
    """Why demodulation factors are float32: sums of squared styles, and an epsilon below half's smallest number."""
    styles, squares = torch.full((1, 512), 20.0), torch.ones(8, 512)
    wide = torch.rsqrt(styles.square() @ squares.T + 1e-8)
    assert torch.allclose(wide, torch.full_like(wide, 1 / (20 * 512**0.5)))
    assert (styles.half().square() @ squares.half().T).isinf().all()
    assert torch.tensor(1e-8).half() == 0


def test_networks_without_a_fused_form_are_refused():
    with pytest.raises(TypeError, match="no fused form"):
        fuse(object())
