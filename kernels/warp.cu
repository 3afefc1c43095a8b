// Flow head, warp and blend of LIA-type decoders in one pass over memory (LIA, arXiv 2203.09043, section 3.3).
//
//   logits = head(trunk) or given, + up2(previous logits)         kept float32, returned for the next level
//   offset = tanh(logits[0:2]); m = sigmoid(logits[2])
//   warped = bilinear(features, base grid + offset, zeros outside) * m
//   blended = (warped + (1 - m) * trunk) [* post]
//   [picture = leaky(colour . warped + inner) + outer + up2(previous picture)]
//
// Features, trunk, warped and blended are channels-last; one thread moves 16 bytes of channels at a time. A block
// takes a tile of pixels, because neighbouring pixels read the same corners of `features`: first it works out where
// each pixel of the tile looks (once per pixel, not per channel), then it moves the channels.
#include "common.cuh"

constexpr int TILE_MAX = 256;  // pixels of a tile, at most
constexpr float OUTSIDE = -8.f;

// x2 FIR up-sampling ([1,3,3,1]) of one channel at one pixel: a quarter of the far and three of the near neighbour.
DEVICE float upsampled_at(const float* p, long long row, long long column, int y, int x, int height, int width) {
    const int near_y = y >> 1, far_y = (y & 1) ? near_y + 1 : near_y - 1;
    const int near_x = x >> 1, far_x = (x & 1) ? near_x + 1 : near_x - 1;
    const bool fy = far_y >= 0 && far_y < height, fx = far_x >= 0 && far_x < width;
    const float nn = p[near_y * row + near_x * column];
    const float nf = fx ? p[near_y * row + far_x * column] : 0.f;
    const float fn = fy ? p[far_y * row + near_x * column] : 0.f;
    const float ff = fy && fx ? p[far_y * row + far_x * column] : 0.f;
    return 0.75f * (0.75f * nn + 0.25f * nf) + 0.25f * (0.75f * fn + 0.25f * ff);
}

// Where position `i` of `n` reads for a tanh offset, in samples: the base grid is linspace(-1, 1, n) in both modes.
DEVICE float looks_at(float logit, int i, int n, int align_corners) {
    if (isnan(logit)) return OUTSIDE;  // a flow that is no number shows nothing rather than spoil its neighbours
    const float offset = tanhf(logit);
    if (align_corners) return i + offset * (0.5f * (n - 1));
    const float start = n > 1 ? i * ((float)n / (n - 1)) : 0.f;
    return start + offset * (0.5f * n) - 0.5f;
}

// Sum over the lanes of a pixel; they lie side by side in one warp, and all lanes of the warp call this.
DEVICE float over_lanes(float value, int lanes) {
    for (int step = lanes >> 1; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

// The colour head: weight (3, C), inner (3) before the leaky ReLU, outer (3) after it; planar float32 pictures.
struct Colour {
    const float *weight, *inner, *outer, *previous;
    float *picture, slope;
};

// HEAD: the logits are weight (B, 3, C) times trunk, + bias; otherwise they are given, with strides in elements.
// COLOUR: the picture is made as well; `warped` then need not be written.
template <typename T, bool HEAD, bool COLOUR>
DEVICE void warp_blend(const T* __restrict__ features, long long features_batch, const T* __restrict__ trunk,
                       const float* __restrict__ logits, long long logits_batch, long long logits_channel,
                       long long logits_row, long long logits_column, const float* __restrict__ weight,
                       const float* __restrict__ bias, const float* __restrict__ previous, long long previous_batch,
                       long long previous_channel, long long previous_row, long long previous_column,
                       const float* __restrict__ post, long long post_batch, T* __restrict__ warped,
                       T* __restrict__ blended, float* __restrict__ raw, int C, int H, int W, int align_corners,
                       int tile_shift, int tile_height, const Colour& colour) {
    constexpr int N = Pack<T>::N;
    __shared__ float look_x[TILE_MAX], look_y[TILE_MAX], mask[TILE_MAX];
    __shared__ float dots[HEAD || COLOUR ? 3 * TILE_MAX : 1];

    const int tile_width = 1 << tile_shift, pixels = tile_width * tile_height;
    const int tiles_x = (W + tile_width - 1) >> tile_shift;
    const int x0 = (blockIdx.x % tiles_x) << tile_shift, y0 = (blockIdx.x / tiles_x) * tile_height;
    const int b = blockIdx.y, lanes = blockDim.x, lane = threadIdx.x, vectors = C / N;
    const long long plane = (long long)H * W;
    trunk += b * plane * C;
    features += b * features_batch;

    if (HEAD) {
        weight += (long long)b * 3 * C;
        for (int p = threadIdx.y; p < pixels; p += blockDim.y) {
            const int x = x0 + (p & (tile_width - 1)), y = y0 + (p >> tile_shift);
            float sum[3] = {0.f, 0.f, 0.f};
            if (x < W && y < H)
                for (int v = lane; v < vectors; v += lanes) {
                    Pack<T> h;
                    h.load(trunk + ((long long)y * W + x) * C + v * N);
#pragma unroll
                    for (int k = 0; k < 3; ++k) {
                        float w[N];
                        load_parameters(w, weight + k * C + v * N, 0.f);
#pragma unroll
                        for (int i = 0; i < N; ++i) sum[k] += w[i] * h.v[i];
                    }
                }
#pragma unroll
            for (int k = 0; k < 3; ++k) {
                sum[k] = over_lanes(sum[k], lanes);
                if (lane == 0) dots[k * TILE_MAX + p] = sum[k];
            }
        }
        __syncthreads();
    }

    for (int p = threadIdx.y * lanes + lane; p < pixels; p += lanes * blockDim.y) {
        const int x = x0 + (p & (tile_width - 1)), y = y0 + (p >> tile_shift);
        if (x >= W || y >= H) continue;
        float logit[3];
#pragma unroll
        for (int k = 0; k < 3; ++k) {
            if (HEAD)
                logit[k] = dots[k * TILE_MAX + p];
            else
                logit[k] = logits[b * logits_batch + k * logits_channel + y * logits_row + x * logits_column];
            if (bias) logit[k] += bias[k];
            if (previous)
                logit[k] += upsampled_at(previous + b * previous_batch + k * previous_channel, previous_row,
                                         previous_column, y, x, H >> 1, W >> 1);
            if (raw) raw[(b * 3 + k) * plane + (long long)y * W + x] = logit[k];
        }
        look_x[p] = looks_at(logit[0], x, W, align_corners);
        look_y[p] = looks_at(logit[1], y, H, align_corners);
        mask[p] = isnan(logit[2]) ? 0.f : 1.f / (1.f + expf(-logit[2]));
    }
    __syncthreads();

    // Every lane makes the same number of turns, so that the sums over lanes find all of them.
    for (int turn = 0; turn * lanes < vectors; ++turn) {
        const int v = turn * lanes + lane;
        const bool active = v < vectors;
        float gain[N];
        load_parameters(gain, post && active ? post + b * post_batch + v * N : nullptr, 1.f);
        for (int p = threadIdx.y; p < pixels; p += blockDim.y) {
            const int x = x0 + (p & (tile_width - 1)), y = y0 + (p >> tile_shift);
            float sum[3] = {0.f, 0.f, 0.f};
            if (active && x < W && y < H) {
                const float fx = look_x[p], fy = look_y[p], m = mask[p];
                const float left = floorf(fx), top = floorf(fy);
                const int ix = (int)left, iy = (int)top;
                const float wx = fx - left, wy = fy - top;
                const bool in_x0 = ix >= 0 && ix < W, in_x1 = ix + 1 >= 0 && ix + 1 < W;
                const bool in_y0 = iy >= 0 && iy < H, in_y1 = iy + 1 >= 0 && iy + 1 < H;

                const long long here = ((long long)y * W + x) * C + v * N;
                const T* corner = features + ((long long)iy * W + ix) * C + v * N;
                Pack<T> h, c00, c01, c10, c11;
#pragma unroll
                for (int i = 0; i < N; ++i) c00.v[i] = c01.v[i] = c10.v[i] = c11.v[i] = 0.f;
                h.load(trunk + here);
                if (in_y0 && in_x0) c00.load(corner);
                if (in_y0 && in_x1) c01.load(corner + C);
                if (in_y1 && in_x0) c10.load(corner + (long long)W * C);
                if (in_y1 && in_x1) c11.load(corner + (long long)W * C + C);

                const float w00 = (1.f - wx) * (1.f - wy) * m, w01 = wx * (1.f - wy) * m;
                const float w10 = (1.f - wx) * wy * m, w11 = wx * wy * m;
                Pack<T> out;
#pragma unroll
                for (int i = 0; i < N; ++i)
                    out.v[i] = c00.v[i] * w00 + c01.v[i] * w01 + c10.v[i] * w10 + c11.v[i] * w11;
                if (warped) out.store(warped + b * plane * C + here);
                if (COLOUR)
#pragma unroll
                    for (int k = 0; k < 3; ++k) {
                        float w[N];
                        load_parameters(w, colour.weight + k * C + v * N, 0.f);
#pragma unroll
                        for (int i = 0; i < N; ++i) sum[k] += w[i] * out.v[i];
                    }
#pragma unroll
                for (int i = 0; i < N; ++i) out.v[i] = (out.v[i] + (1.f - m) * h.v[i]) * gain[i];
                out.store(blended + b * plane * C + here);
            }
            if (COLOUR)
#pragma unroll
                for (int k = 0; k < 3; ++k) {
                    sum[k] = over_lanes(sum[k], lanes);
                    if (lane == 0) dots[k * TILE_MAX + p] = turn ? dots[k * TILE_MAX + p] + sum[k] : sum[k];
                }
        }
    }
    if (!COLOUR) return;
    __syncthreads();
    for (int p = threadIdx.y * lanes + lane; p < pixels; p += lanes * blockDim.y) {
        const int x = x0 + (p & (tile_width - 1)), y = y0 + (p >> tile_shift);
        if (x >= W || y >= H) continue;
        for (int k = 0; k < 3; ++k) {
            float f = leaky(dots[k * TILE_MAX + p] + colour.inner[k], colour.slope) + colour.outer[k];
            if (colour.previous)
                f += upsampled_at(colour.previous + (b * 3 + k) * (plane / 4), W >> 1, 1, y, x, H >> 1, W >> 1);
            colour.picture[(b * 3 + k) * plane + (long long)y * W + x] = f;
        }
    }
}

#define WARP_BLEND(NAME, T, HEAD, COLOUR)                                                                           \
    extern "C" __global__ void __launch_bounds__(256)                                                               \
        NAME(const T* features, long long features_batch, const T* trunk, const float* logits,                      \
             long long logits_batch, long long logits_channel, long long logits_row, long long logits_column,       \
             const float* weight, const float* bias, const float* previous, long long previous_batch,               \
             long long previous_channel, long long previous_row, long long previous_column, const float* post,      \
             long long post_batch, T* warped, T* blended, float* raw, int C, int H, int W, int align_corners,       \
             int tile_shift, int tile_height, const float* colour_weight, const float* colour_inner,                \
             const float* colour_outer, const float* colour_previous, float* picture, float slope) {                \
        const Colour colour = {colour_weight, colour_inner, colour_outer, colour_previous, picture, slope};         \
        warp_blend<T, HEAD, COLOUR>(features, features_batch, trunk, logits, logits_batch, logits_channel,          \
                                    logits_row, logits_column, weight, bias, previous, previous_batch,              \
                                    previous_channel, previous_row, previous_column, post, post_batch, warped,      \
                                    blended, raw, C, H, W, align_corners, tile_shift, tile_height, colour);         \
    }                                                                                                               \
    EXPORT(NAME)

WARP_BLEND(warp_blend_f16, half16, false, false)
WARP_BLEND(warp_blend_f32, float, false, false)
WARP_BLEND(flow_warp_blend_f16, half16, true, false)
WARP_BLEND(flow_warp_blend_f32, float, true, false)
WARP_BLEND(warp_blend_colour_f16, half16, false, true)
WARP_BLEND(warp_blend_colour_f32, float, false, true)
WARP_BLEND(flow_warp_blend_colour_f16, half16, true, true)
WARP_BLEND(flow_warp_blend_colour_f32, float, true, true)
