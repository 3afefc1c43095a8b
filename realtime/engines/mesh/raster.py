"""Filling triangles: where each pixel of the picture comes from.

`rasterise` writes a backward map (for every pixel of the target the point of the texture it shows), with a depth
buffer deciding between overlapping triangles. One `cv2.remap` then fetches the colours; that is faster than
sampling here, and a library's bilinear filter is vectorised where a loop is not.
"""

from __future__ import annotations

import numpy as np

from realtime.flow.jit import compiled

OUTSIDE = -1.0e4
"""What the map holds where no triangle lies: far outside every texture."""


@compiled(
    "UniTuple(int64, 2)(float32[:,::1], float32[::1], float32[:,::1], int32[:,::1], int64, float32[:,::1],"
    " float32[:,::1], float32[:,::1])"
)
def rasterise(
    points: np.ndarray,
    depth: np.ndarray,
    uv: np.ndarray,
    triangles: np.ndarray,
    top: int,
    map_x: np.ndarray,
    map_y: np.ndarray,
    depth_buffer: np.ndarray,
) -> tuple[int, int]:
    """Draw `triangles` into `map_x`, `map_y`, which hold the rows of the target from row `top` on.

    points: float32 (n, 2), pixels of the target; pixel (x, y) is drawn when its centre (x, y) is inside.
    depth: float32 (n,), smaller is nearer; of equal depths the earlier triangle wins.
    uv: float32 (n, 2), texture coordinates of the points. triangles: int32 (m, 3), either winding.
    map_x, map_y, depth_buffer: float32 (H, W), overwritten; `OUTSIDE` where nothing was drawn.
    Returns the columns (first, end) that something was drawn in.
    """
    height, width = map_x.shape
    for y in range(height):
        for x in range(width):
            map_x[y, x] = -1.0e4
            map_y[y, x] = -1.0e4
            depth_buffer[y, x] = np.inf
    slack = 1e-5
    leftmost, rightmost = width, -1
    for k in range(triangles.shape[0]):
        a = triangles[k, 0]
        b = triangles[k, 1]
        c = triangles[k, 2]
        ay = float(points[a, 1]) - top
        by = float(points[b, 1]) - top
        cy = float(points[c, 1]) - top
        if (ay < -1.0 and by < -1.0 and cy < -1.0) or (ay > height and by > height and cy > height):
            continue
        ax = float(points[a, 0])
        bx = float(points[b, 0])
        cx = float(points[c, 0])
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        reach = max(abs(ax), abs(ay), abs(bx), abs(by), abs(cx), abs(cy))
        if not (abs(area) > 1e-6 and reach < 1e6):  # nor where a coordinate is not a number
            continue
        y_first = max(0, int(np.ceil(max(-1.0, min(ay, by, cy) - slack))))
        y_last = min(height - 1, int(np.floor(min(float(height), max(ay, by, cy) + slack))))
        x_low = max(0.0, min(ax, bx, cx) - slack)
        x_high = min(width - 1.0, max(ax, bx, cx) + slack)
        if y_first > y_last or x_low > x_high:
            continue
        # barycentric weights of b and c as linear functions of x and y
        wb_x = (cy - ay) / area
        wb_y = -(cx - ax) / area
        wc_x = -(by - ay) / area
        wc_y = (bx - ax) / area
        ub = uv[b, 0] - uv[a, 0]
        uc = uv[c, 0] - uv[a, 0]
        vb = uv[b, 1] - uv[a, 1]
        vc = uv[c, 1] - uv[a, 1]
        zb = depth[b] - depth[a]
        zc = depth[c] - depth[a]
        u_x = ub * wb_x + uc * wc_x
        v_x = vb * wb_x + vc * wc_x
        z_x = zb * wb_x + zc * wc_x
        for y in range(y_first, y_last + 1):
            wb0 = wb_y * (y - ay) - wb_x * ax
            wc0 = wc_y * (y - ay) - wc_x * ax
            low = x_low
            high = x_high
            # each weight must be at least -slack: three half-planes cut the span
            for edge in range(3):
                if edge == 0:
                    slope = wb_x
                    start = wb0
                elif edge == 1:
                    slope = wc_x
                    start = wc0
                else:
                    slope = -(wb_x + wc_x)
                    start = 1.0 - wb0 - wc0
                if slope > 1e-12:
                    low = max(low, (-slack - start) / slope)
                elif slope < -1e-12:
                    high = min(high, (-slack - start) / slope)
                elif start < -slack:
                    high = -1.0
            if low > high:
                continue
            first = int(np.ceil(low))
            last = int(np.floor(high))
            wb = wb0 + wb_x * first
            wc = wc0 + wc_x * first
            u = uv[a, 0] + wb * ub + wc * uc
            v = uv[a, 1] + wb * vb + wc * vc
            z = depth[a] + wb * zb + wc * zc
            if first <= last:
                leftmost, rightmost = min(leftmost, first), max(rightmost, last)
            for x in range(first, last + 1):
                if z < depth_buffer[y, x]:
                    depth_buffer[y, x] = z
                    map_x[y, x] = u
                    map_y[y, x] = v
                u += u_x
                v += v_x
                z += z_x
    return min(leftmost, rightmost + 1), rightmost + 1


@compiled("void(uint8[:,:,::1], int64, int64, int64, int64)")
def _blend(out: np.ndarray, y: int, x: int, y_other: int, x_other: int) -> None:
    """Two pixels take a share of each other."""
    for c in range(3):
        a = np.int32(out[y, x, c])
        b = np.int32(out[y_other, x_other, c])
        out[y, x, c] = np.uint8((11 * a + 5 * b + 8) >> 4)
        out[y_other, x_other, c] = np.uint8((5 * a + 11 * b + 8) >> 4)


@compiled("void(float32[:,::1], float32[:,::1], float32, int64, int64, uint8[:,:,::1])")
def soften_folds(map_x: np.ndarray, map_y: np.ndarray, jump: float, first: int, end: int, out: np.ndarray) -> None:
    """Blend neighbouring pixels of `out` (uint8 (H, W, 3)) where the map jumps by more than `jump` texels, in the
    columns from `first` to `end`.

    There one part of the mesh hides another: without this the outline of a turned cheek is a staircase.
    """
    height, width = map_x.shape
    n = min(end, width - 1) - first
    jumps = np.zeros((width + 15) // 8 * 8, np.uint8)  # where there are any: eight pixels are looked at as one number
    eights = jumps.view(np.uint64)
    for y in range(height - 1):
        u, v = map_x[y, first : first + n], map_y[y, first : first + n]
        u_right, v_right = map_x[y, first + 1 : first + 1 + n], map_y[y, first + 1 : first + 1 + n]
        u_below, v_below = map_x[y + 1, first : first + n], map_y[y + 1, first : first + n]
        for i in range(n):
            right = np.uint8(abs(u_right[i] - u[i]) + abs(v_right[i] - v[i]) > jump)
            jumps[i] = right | np.uint8(abs(u_below[i] - u[i]) + abs(v_below[i] - v[i]) > jump) << np.uint8(1)
        for k in range((n + 7) // 8):
            if eights[k] == 0:
                continue
            for i in range(8 * k, min(8 * k + 8, n)):
                if u[i] < 0.0:
                    continue
                if jumps[i] & 1 and u_right[i] >= 0.0:
                    _blend(out, y, first + i, y, first + i + 1)
                if jumps[i] & 2 and u_below[i] >= 0.0:
                    _blend(out, y, first + i, y + 1, first + i)


@compiled("void(uint8[:,:,::1], uint8[:,:,::1], int64, int64, uint8[:,:,::1])")
def composite(front: np.ndarray, back: np.ndarray, first: int, end: int, out: np.ndarray) -> None:
    """`out` = `front` over `back` in the columns from `first` to `end`, `back` alone in the others.

    front: uint8 (H, W, 4), RGB already multiplied by alpha, then alpha. back, out: uint8 (H, W, 3).
    """
    height, width = out.shape[:2]
    for y in range(height):
        for x in range(first):
            for c in range(3):
                out[y, x, c] = back[y, x, c]
        for x in range(end, width):
            for c in range(3):
                out[y, x, c] = back[y, x, c]
        for x in range(first, end):
            alpha = front[y, x, 3]
            if alpha == 255:
                out[y, x, 0] = front[y, x, 0]
                out[y, x, 1] = front[y, x, 1]
                out[y, x, 2] = front[y, x, 2]
                continue
            hidden = np.int32(255) - np.int32(alpha)
            for c in range(3):
                rest = hidden * np.int32(back[y, x, c]) + np.int32(128)
                value = np.int32(front[y, x, c]) + ((rest + (rest >> 8)) >> 8)
                out[y, x, c] = np.uint8(min(value, np.int32(255)))
