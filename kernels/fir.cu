// FIR filters of StyleGAN-type networks: outer([1,3,3,1]) / 64 (Karras et al., arXiv 1912.04958, appendix B).
//
//   blur:      zero-pad (before, after) in both axes, filter, keep every `DOWN`-th sample, times gain.
//              An activation is applied to each sample before (PRE) or to each result after (POST):
//              act(v * scale + bias) * act_gain [* post]
//   upsample2: zero-insert by 2, pad (2, 1), filter with gain 4; away from borders this is half-pixel bilinear.
//
// The filter is separable: a thread holds the horizontal sums of the last rows of a strip in registers and walks
// down, two columns wide, so that each sample is fetched 2.5 times from the cache instead of 16 times.
#include "common.cuh"

enum Activation { PLAIN = 0, PRE = 1, POST = 2 };
constexpr int COLUMNS = 2;

template <typename T, int DOWN, int ACT>
DEVICE void blur(const T* __restrict__ x, T* __restrict__ out, int C, int H, int W, int out_h, int out_w, int before,
                 float gain, const float* __restrict__ scale, long long scale_batch, const float* __restrict__ bias,
                 const float* __restrict__ post, long long post_batch, float slope, float act_gain) {
    constexpr int N = Pack<T>::N, STRIP = DOWN == 1 ? 8 : 4;
    constexpr int TAPS = (COLUMNS - 1) * DOWN + 4, ROWS = (STRIP - 1) * DOWN + 4;
    const float tap[4] = {0.125f, 0.375f, 0.375f, 0.125f};

    const int groups = (C / N + blockDim.x - 1) / blockDim.x;
    const int b = blockIdx.z / groups, v = (blockIdx.z % groups) * blockDim.x + threadIdx.x;
    const int ox = COLUMNS * (blockIdx.x * blockDim.y + threadIdx.y), oy = blockIdx.y * STRIP;
    if (v * N >= C || ox >= out_w) return;
    x += (long long)b * H * W * C + v * N;
    out += (long long)b * out_h * out_w * C + v * N;

    float s[N], a[N], q[N];
    if (ACT != PLAIN) {
        load_parameters(s, scale ? scale + b * scale_batch + v * N : nullptr, 1.f);
        load_parameters(a, bias ? bias + v * N : nullptr, 0.f);
        load_parameters(q, post ? post + b * post_batch + v * N : nullptr, 1.f);
#pragma unroll
        for (int i = 0; i < N; ++i) q[i] *= act_gain;
    }

    float last[3][COLUMNS][N];  // horizontal sums of the three rows above the current one
#pragma unroll
    for (int i = 0; i < 3 * COLUMNS * N; ++i) last[i / (COLUMNS * N)][i / N % COLUMNS][i % N] = 0.f;

#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        const int iy = oy * DOWN - before + r;
        float sum[COLUMNS][N];
#pragma unroll
        for (int i = 0; i < COLUMNS * N; ++i) sum[i / N][i % N] = 0.f;
        if (iy >= 0 && iy < H) {
#pragma unroll
            for (int k = 0; k < TAPS; ++k) {
                const int ix = ox * DOWN - before + k;
                if (ix < 0 || ix >= W) continue;
                Pack<T> in;
                in.load(x + ((long long)iy * W + ix) * C);
                if (ACT == PRE)
#pragma unroll
                    for (int i = 0; i < N; ++i) in.v[i] = leaky(in.v[i] * s[i] + a[i], slope) * q[i];
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j)
                    if (k - j * DOWN >= 0 && k - j * DOWN < 4)
#pragma unroll
                        for (int i = 0; i < N; ++i) sum[j][i] += tap[k - j * DOWN] * in.v[i];
            }
        }
        if (r >= 3 && (r - 3) % DOWN == 0) {
            const int y = oy + (r - 3) / DOWN;
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                if (y >= out_h || ox + j >= out_w) continue;
                Pack<T> result;
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    float f = (tap[0] * last[0][j][i] + tap[1] * last[1][j][i] + tap[2] * last[2][j][i] +
                               tap[3] * sum[j][i]) * gain;
                    if (ACT == POST) f = leaky(f * s[i] + a[i], slope) * q[i];
                    result.v[i] = f;
                }
                result.store(out + ((long long)y * out_w + ox + j) * C);
            }
        }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
            for (int i = 0; i < N; ++i) {
                last[0][j][i] = last[1][j][i];
                last[1][j][i] = last[2][j][i];
                last[2][j][i] = sum[j][i];
            }
    }
}

// Wide maps: one thread makes the 2 x 2 results of one sample.
template <typename T>
DEVICE void upsample2_wide(const T* __restrict__ x, const T* __restrict__ add, T* __restrict__ out, int C, int H,
                           int W) {
    constexpr int N = Pack<T>::N;
    const int groups = (C / N + blockDim.x - 1) / blockDim.x;
    const int b = blockIdx.z / groups, v = (blockIdx.z % groups) * blockDim.x + threadIdx.x;
    const int ix = blockIdx.x * blockDim.y + threadIdx.y, iy = blockIdx.y;
    if (v * N >= C || ix >= W) return;
    x += (long long)b * H * W * C + v * N;
    const long long base = (long long)b * 4 * H * W * C + v * N;

    float sum[2][2][N];
#pragma unroll
    for (int i = 0; i < 4 * N; ++i) sum[i / (2 * N)][i / N % 2][i % N] = 0.f;
#pragma unroll
    for (int dy = -1; dy <= 1; ++dy)
#pragma unroll
        for (int dx = -1; dx <= 1; ++dx) {
            const int sy = iy + dy, sx = ix + dx;
            if (sy < 0 || sy >= H || sx < 0 || sx >= W) continue;
            Pack<T> in;
            in.load(x + ((long long)sy * W + sx) * C);
#pragma unroll
            for (int ry = 0; ry < 2; ++ry)
#pragma unroll
                for (int rx = 0; rx < 2; ++rx) {  // row 0 looks up (-1), row 1 looks down (+1); columns alike
                    const float wy = dy == 0 ? 0.75f : (dy == 2 * ry - 1 ? 0.25f : 0.f);
                    const float wx = dx == 0 ? 0.75f : (dx == 2 * rx - 1 ? 0.25f : 0.f);
                    if (wy * wx != 0.f)
#pragma unroll
                        for (int i = 0; i < N; ++i) sum[ry][rx][i] += wy * wx * in.v[i];
                }
        }
#pragma unroll
    for (int ry = 0; ry < 2; ++ry)
#pragma unroll
        for (int rx = 0; rx < 2; ++rx) {
            const long long at = base + ((long long)(2 * iy + ry) * 2 * W + 2 * ix + rx) * C;
            Pack<T> result;
#pragma unroll
            for (int i = 0; i < N; ++i) result.v[i] = sum[ry][rx][i];
            if (add) {
                Pack<T> other;
                other.load(add + at);
#pragma unroll
                for (int i = 0; i < N; ++i) result.v[i] += other.v[i];
            }
            result.store(out + at);
        }
}

// The picture skip of a decoder: out = act(x + act_bias) * gain + bias + up2(previous). Few channels, float32 out;
// x is float16 or float32 with any strides (elements), previous and out are planar.
template <typename T>
DEVICE void picture_skip(const T* __restrict__ x, long long batch, long long channel, long long row, long long column,
                         const float* __restrict__ act_bias, const float* __restrict__ bias,
                         const float* __restrict__ previous, float* __restrict__ out, int C, int H, int W, float slope,
                         float gain) {
    const int ox = blockIdx.x * blockDim.x + threadIdx.x, oy = blockIdx.y, b = blockIdx.z / C, c = blockIdx.z % C;
    if (ox >= W) return;
    float f = widen(x[b * batch + c * channel + oy * row + ox * column]);
    if (act_bias) f = leaky(f + act_bias[c], slope) * gain;
    if (bias) f += bias[c];
    if (previous) {
        const int h = H >> 1, w = W >> 1, near_y = oy >> 1, near_x = ox >> 1;
        const int far_y = (oy & 1) ? near_y + 1 : near_y - 1, far_x = (ox & 1) ? near_x + 1 : near_x - 1;
        const bool fy = far_y >= 0 && far_y < h, fx = far_x >= 0 && far_x < w;
        const float* p = previous + (long long)(b * C + c) * h * w;
        f += 0.5625f * p[near_y * w + near_x];
        if (fx) f += 0.1875f * p[near_y * w + far_x];
        if (fy) f += 0.1875f * p[far_y * w + near_x];
        if (fy && fx) f += 0.0625f * p[far_y * w + far_x];
    }
    out[((long long)(b * C + c) * H + oy) * W + ox] = f;
}

#define BLUR(NAME, T, DOWN, ACT)                                                                                     \
    extern "C" __global__ void __launch_bounds__(128)                                                                \
        NAME(const T* x, T* out, int C, int H, int W, int out_h, int out_w, int before, float gain,                  \
             const float* scale, long long scale_batch, const float* bias, const float* post, long long post_batch,  \
             float slope, float act_gain) {                                                                          \
        blur<T, DOWN, ACT>(x, out, C, H, W, out_h, out_w, before, gain, scale, scale_batch, bias, post, post_batch,  \
                           slope, act_gain);                                                                         \
    }                                                                                                                \
    EXPORT(NAME)

#define UPSAMPLE(NAME, T)                                                                               \
    extern "C" __global__ void __launch_bounds__(128)                                                   \
        NAME(const T* x, const T* add, T* out, int C, int H, int W) {                                   \
        upsample2_wide<T>(x, add, out, C, H, W);                                                        \
    }                                                                                                   \
    EXPORT(NAME)

#define PICTURE_SKIP(NAME, T)                                                                                    \
    extern "C" __global__ void __launch_bounds__(128)                                                            \
        NAME(const T* x, long long batch, long long channel, long long row, long long column,                    \
             const float* act_bias, const float* bias, const float* previous, float* out, int C, int H, int W,   \
             float slope, float gain) {                                                                          \
        picture_skip<T>(x, batch, channel, row, column, act_bias, bias, previous, out, C, H, W, slope, gain);    \
    }                                                                                                            \
    EXPORT(NAME)

BLUR(blur_f16, half16, 1, PLAIN)
BLUR(blur_f32, float, 1, PLAIN)
BLUR(act_blur_f16, half16, 1, PRE)
BLUR(act_blur_f32, float, 1, PRE)
BLUR(blur_act_f16, half16, 1, POST)
BLUR(blur_act_f32, float, 1, POST)
BLUR(blur_down2_f16, half16, 2, PLAIN)
BLUR(blur_down2_f32, float, 2, PLAIN)
UPSAMPLE(upsample2_f16, half16)
UPSAMPLE(upsample2_f32, float)
PICTURE_SKIP(picture_skip_f16, half16)
PICTURE_SKIP(picture_skip_f32, float)
