"""The losses of training against float64 computations with loops, and what they look at."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.parts.motion import PartMotion  # noqa: E402
from realtime.errors import BadFile  # noqa: E402
from realtime.training import losses  # noqa: E402
from realtime.training.config import WarpConfig  # noqa: E402
from realtime.training.features import GradientFeatures, Vgg19, load_vgg, make_features  # noqa: E402
from tests.support.training import one_thread  # noqa: E402, F401 (a fixture)


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
