"""The rasteriser against the definition, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.engines.mesh.raster import OUTSIDE, composite, rasterise, soften_folds

SIZE = 16
EDGE = 1e-3


def draw(points, depth, uv, triangles, size=(SIZE, SIZE), top=0):
    x, y, z = (np.empty(size, np.float32) for _ in range(3))
    arrays = (np.ascontiguousarray(a, np.float32) for a in (points, depth, uv))
    first, end = rasterise(*arrays, np.ascontiguousarray(triangles, np.int32), top, x, y, z)
    drawn = np.flatnonzero((x != OUTSIDE).any(axis=0))
    assert (first, end) == ((drawn[0], drawn[-1] + 1) if len(drawn) else (0, 0))
    return x, y, z


def weights(points, triangle, x, y):
    """Barycentric weights of a pixel centre, None for a triangle without area."""
    corners = np.column_stack([points[triangle].astype(np.float64), np.ones(3)])
    if abs(np.linalg.det(corners)) < 1e-4:
        return None
    return np.linalg.solve(corners.T, np.array([x, y, 1.0]))


coordinate = st.integers(0, 120).map(lambda n: n / 4 - 8)
meshes = st.integers(3, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.tuples(coordinate, coordinate), min_size=n, max_size=n),
        st.lists(st.integers(0, 50), min_size=n, max_size=n),
        st.lists(st.tuples(*[st.integers(0, n - 1)] * 3), min_size=1, max_size=6),
    )
)


@settings(max_examples=50)
@given(meshes)
def test_every_pixel_shows_the_nearest_triangle_it_lies_in(mesh):
    points, depth, triangles = (np.array(a) for a in mesh)
    points, depth = points.astype(np.float32), depth.astype(np.float32)
    uv = np.column_stack([points[:, 0] * 2 + 3, depth - points[:, 1]]).astype(np.float32)
    got_x, got_y, got_z = draw(points, depth, uv, triangles)
    for y in range(SIZE):
        for x in range(SIZE):
            inside, near_edge = [], False
            for triangle in triangles:
                w = weights(points, triangle, x, y)
                if w is None or w.min() < -EDGE:
                    continue
                near_edge |= w.min() < EDGE
                inside.append((w @ depth[triangle], w @ uv[triangle]))
            if near_edge:
                continue  # on an outline both answers are right
            if not inside:
                assert got_x[y, x] == OUTSIDE
                assert got_z[y, x] == np.inf
                continue
            nearest = min(z for z, _ in inside)
            assert got_z[y, x] == pytest.approx(nearest, abs=0.02)
            shown = [texture for z, texture in inside if z < nearest + 0.02]
            assert any(np.allclose((got_x[y, x], got_y[y, x]), t, atol=0.1) for t in shown)


@given(st.integers(0, 7), st.integers(2, 9))
def test_triangles_that_share_edges_leave_no_gap(turn, cells):
    """A turned grid of triangles covers each pixel inside its outline."""
    side = np.linspace(-6, 6, cells + 1)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    angle = turn * 0.37
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = grid @ rotation.T + 7.63
    k = np.arange(cells * (cells + 1)).reshape(cells, cells + 1)[:, :-1].ravel()
    below = k + cells + 1
    triangles = np.concatenate([np.stack([k, k + 1, below], 1), np.stack([k + 1, below + 1, below], 1)])
    x, _, _ = draw(points, np.zeros(len(points)), points, triangles)
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    local = (np.stack([xx, yy], -1) - 7.63) @ rotation
    within = (np.abs(local) < 5.99).all(-1)
    assert (x[within] != OUTSIDE).all()
    assert np.allclose(x[within], xx[within], atol=1e-3)
    assert (x[(np.abs(local) > 6.01).any(-1)] == OUTSIDE).all()


def test_bands_of_rows_make_the_whole_picture():
    rng = np.random.default_rng(6)
    points, depth, uv = rng.uniform(-5, 25, (30, 2)), rng.uniform(0, 9, 30), rng.uniform(0, 99, (30, 2))
    triangles = rng.integers(0, 30, (40, 3))
    whole = draw(points, depth, uv, triangles)
    parts = [draw(points, depth, uv, triangles, (4, SIZE), top) for top in range(0, SIZE, 4)]
    for k in range(3):
        assert np.allclose(whole[k], np.concatenate([part[k] for part in parts]), atol=1e-3)


def test_of_equal_depths_the_earlier_triangle_wins():
    points = np.array([[0, 0], [20, 0], [0, 20], [0, 0], [20, 0], [0, 20]])
    uv = np.array([[1, 1]] * 3 + [[2, 2]] * 3)
    x, _, _ = draw(points, np.zeros(6), uv, [[0, 1, 2], [3, 4, 5]])
    assert x[5, 5] == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_broken_points_draw_nothing_and_do_not_hang(bad):
    points = np.array([[0, 0], [bad, 5], [5, bad], [1, 1], [6, 1], [1, 6]])
    x, _, _ = draw(points, np.zeros(6), points, [[0, 1, 2], [3, 4, 5]])
    assert x[2, 2] == pytest.approx(2, abs=1e-4)


def test_composite_is_front_plus_what_shows_through_of_the_back():
    rng = np.random.default_rng(0)
    front = rng.integers(0, 256, (31, 17, 4), np.uint8)
    front[:10, :, 3] = 255
    back = rng.integers(0, 256, (31, 17, 3), np.uint8)
    out = np.empty_like(back)
    composite(front, back, 3, 12, out)
    want = front[..., :3] + (255.0 - front[..., 3:]) * back / 255.0
    want[:, :3], want[:, 12:] = back[:, :3], back[:, 12:]
    assert np.abs(out - np.minimum(want, 255.0)).max() <= 0.5


@pytest.mark.parametrize(("first", "end"), [(0, 37), (3, 30), (5, 5), (36, 37)])
def test_each_fold_is_found_wherever_it_lies(first, end):
    rng = np.random.default_rng(end)
    xx, yy = (rng.integers(0, 3, (9, 37)).astype(np.float32) * 6 for _ in range(2))
    xx[rng.random((9, 37)) < 0.1] = OUTSIDE
    out = rng.integers(0, 256, (9, 37, 3)).astype(np.uint8)
    wanted = out.copy()
    for y in range(8):
        for x in range(first, min(end, 36)):
            for other in ((y, x + 1), (y + 1, x)):
                apart = abs(xx[other] - xx[y, x]) + abs(yy[other] - yy[y, x])
                if apart > 10.0 and xx[y, x] >= 0.0 and xx[other] >= 0.0:
                    a, b = wanted[y, x].astype(int), wanted[other].astype(int)
                    wanted[y, x], wanted[other] = (11 * a + 5 * b + 8) >> 4, (5 * a + 11 * b + 8) >> 4
    soften_folds(xx, yy, 10.0, first, end, out)
    np.testing.assert_array_equal(out, wanted)


def test_folds_are_softened_and_nothing_else_is_touched():
    yy, xx = np.mgrid[0:8, 0:8].astype(np.float32)
    xx[:, 4:] += 50.0
    out = np.zeros((8, 8, 3), np.uint8)
    out[:, 4:] = 160
    soften_folds(xx, yy, 10.0, 0, xx.shape[1], out)
    assert (out[:7, 3] == 50).all()
    assert (out[:7, 4] == 110).all()
    assert (out[:, :3] == 0).all()
    assert (out[:, 5:] == 160).all()
