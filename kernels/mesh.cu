// Mesh warp: triangles with depth to a backward flow, and a backward flow to a picture.
//
// A pixel centre has integer coordinates. A triangle covers a pixel where its three barycentric weights are at least
// -SLACK; the smallest depth wins, among equal depths the triangle that comes first. Depth and
// triangle number travel in one 64-bit word, so that one atomic minimum settles both and the result does not depend
// on the order in which threads run.
#include "common.cuh"

constexpr float SLACK = 1e-5f;
constexpr unsigned long long EMPTY = ~0ull;

struct Triangle {
    float ax, ay, w1x, w1y, w2x, w2y;
    float min_x, max_x, min_y, max_y;
    bool flat;

    DEVICE Triangle(const float* corners, const int* t) {
        ax = corners[2 * t[0]];
        ay = corners[2 * t[0] + 1];
        const float bx = corners[2 * t[1]] - ax, by = corners[2 * t[1] + 1] - ay;
        const float cx = corners[2 * t[2]] - ax, cy = corners[2 * t[2] + 1] - ay;
        const float det = bx * cy - cx * by;
        flat = !(fabsf(det) >= 1e-6f);  // also where a corner is not a number
        const float inverse = flat ? 0.f : 1.f / det;
        w1x = cy * inverse;
        w1y = -cx * inverse;
        w2x = -by * inverse;
        w2y = bx * inverse;
        min_x = ax + fminf(0.f, fminf(bx, cx));
        max_x = ax + fmaxf(0.f, fmaxf(bx, cx));
        min_y = ay + fminf(0.f, fminf(by, cy));
        max_y = ay + fmaxf(0.f, fmaxf(by, cy));
    }
    DEVICE bool covers(float x, float y, float& w1, float& w2) const {
        w1 = (x - ax) * w1x + (y - ay) * w1y;
        w2 = (x - ax) * w2x + (y - ay) * w2y;
        return w1 >= -SLACK && w2 >= -SLACK && w1 + w2 <= 1.f + SLACK;
    }
};

DEVICE float blend3(const float* of, int stride, const int* t, float w1, float w2) {
    const float a = of[stride * t[0]];
    return a + w1 * (of[stride * t[1]] - a) + w2 * (of[stride * t[2]] - a);
}

// Floats in the order of their values as unsigned numbers.
DEVICE unsigned ordered(float f) {
    const unsigned bits = __float_as_uint(f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

extern "C" __global__ void __launch_bounds__(256) mesh_clear(unsigned long long* nearest, int pixels) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < pixels) nearest[i] = EMPTY;
}
EXPORT(mesh_clear)

// One block per triangle. corners (V, 2), depth (V), triangles (n, 3).
extern "C" __global__ void __launch_bounds__(128)
    mesh_raster(const float* corners, const float* depth, const int* triangles, unsigned long long* nearest, int H,
                int W) {
    const int* t = triangles + 3 * blockIdx.x;
    const Triangle tri(corners, t);
    if (tri.flat) return;
    const int x0 = (int)fmaxf(ceilf(tri.min_x - SLACK), 0.f), x1 = (int)fminf(floorf(tri.max_x + SLACK), W - 1.f);
    const int y0 = (int)fmaxf(ceilf(tri.min_y - SLACK), 0.f), y1 = (int)fminf(floorf(tri.max_y + SLACK), H - 1.f);
    const int wide = x1 - x0 + 1, high = y1 - y0 + 1;
    if (wide <= 0 || high <= 0) return;
    for (int i = threadIdx.x; i < wide * high; i += blockDim.x) {
        const int x = x0 + i % wide, y = y0 + i / wide;
        float w1, w2;
        if (!tri.covers((float)x, (float)y, w1, w2)) continue;
        const float z = blend3(depth, 1, t, w1, w2);
        if (isnan(z)) continue;
        atomicMin(nearest + (long long)y * W + x, ((unsigned long long)ordered(z) << 32) | (unsigned)blockIdx.x);
    }
}
EXPORT(mesh_raster)

// flow (2, H, W), x then y: where a triangle covers the pixel its texture coordinate; elsewhere `outside`, or, where
// `outside` is not a number, left as it is.
extern "C" __global__ void __launch_bounds__(256)
    mesh_flow(const float* corners, const float* texture, const int* triangles, const unsigned long long* nearest,
              float* flow, int H, int W, float outside) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const long long at = (long long)y * W + x, plane = (long long)H * W;
    const unsigned long long key = nearest[at];
    if (key == EMPTY) {
        if (!isnan(outside)) flow[at] = flow[plane + at] = outside;
        return;
    }
    const int* t = triangles + 3 * (int)(key & 0xffffffffu);
    const Triangle tri(corners, t);
    float w1, w2;
    tri.covers((float)x, (float)y, w1, w2);
    flow[at] = blend3(texture, 2, t, w1, w2);
    flow[plane + at] = blend3(texture + 1, 2, t, w1, w2);
}
EXPORT(mesh_flow)

DEVICE float texel(const unsigned char* picture, int PH, int PW, int channels, int y, int x, int c, int repeat) {
    if (repeat) {
        x = clampi(x, 0, PW - 1);
        y = clampi(y, 0, PH - 1);
    } else if (x < 0 || x >= PW || y < 0 || y >= PH) {
        return 0.f;
    }
    return picture[((long long)y * PW + x) * channels + c];
}

// Backward warp of an 8-bit picture, bilinear; outside the picture its border repeats, or all is 0. flow (2, H, W).
// With `behind` (H, W, 3): picture is RGB multiplied by alpha, then alpha, and is laid over it; out has 3 channels.
extern "C" __global__ void __launch_bounds__(256)
    remap_u8(const unsigned char* picture, int PH, int PW, int channels, const float* flow,
             const unsigned char* behind, unsigned char* out, int H, int W, int repeat) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= W || y >= H) return;
    const long long at = (long long)y * W + x, plane = (long long)H * W;
    float fx = flow[at], fy = flow[plane + at];
    fx = isnan(fx) ? -2.f : fminf(fmaxf(fx, -2.f), PW + 1.f);  // beyond that everything is outside anyway
    fy = isnan(fy) ? -2.f : fminf(fmaxf(fy, -2.f), PH + 1.f);
    const int ix = (int)floorf(fx), iy = (int)floorf(fy);
    const float wx = fx - ix, wy = fy - iy;
    float value[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        if (c >= channels) break;
        const float a = texel(picture, PH, PW, channels, iy, ix, c, repeat) * (1.f - wx) +
                        texel(picture, PH, PW, channels, iy, ix + 1, c, repeat) * wx;
        const float b = texel(picture, PH, PW, channels, iy + 1, ix, c, repeat) * (1.f - wx) +
                        texel(picture, PH, PW, channels, iy + 1, ix + 1, c, repeat) * wx;
        value[c] = a * (1.f - wy) + b * wy;
    }
    const int shown = behind ? 3 : channels;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        if (c >= shown) break;
        float v = value[c];
        if (behind) v += behind[at * 3 + c] * (1.f - value[3] * (1.f / 255.f));
        out[at * shown + c] = (unsigned char)fminf(rintf(v), 255.f);
    }
}
EXPORT(remap_u8)
