// LivePortrait's warps of a feature volume (arXiv 2407.03168; the dense motion is that of arXiv 2011.15126).
//
//   keypoint_warp   for each of K + 1 motions (none, then one shift per keypoint): a heat, and the thin volume moved
//   mask_warp       softmax over the motions, their mean by it, and the whole volume moved by that: one pass
//
// Sampling is trilinear with zeros outside, as torch's grid_sample with align_corners False on a grid of
// linspace(-1, 1) in every axis. Volumes are channels-last, keypoints float32 (x, y, z).
#include "common.cuh"

constexpr float HEAT = -0.5f / 0.01f;  // of the exponent of a heat, per squared distance

DEVICE float grid_at(int i, int n) { return n > 1 ? -1.f + i * (2.f / (n - 1)) : -1.f; }

// Eight neighbours of a position, with weights; a position that is not a number shows nothing.
struct Corners {
    long long at[8];  // in voxels
    float weight[8];

    DEVICE Corners(float x, float y, float z, int D, int H, int W) {
        const float px = sample(x, W), py = sample(y, H), pz = sample(z, D);
        const int ix = (int)floorf(px), iy = (int)floorf(py), iz = (int)floorf(pz);
        const float wx = px - ix, wy = py - iy, wz = pz - iz;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            const int cx = ix + (k & 1), cy = iy + ((k >> 1) & 1), cz = iz + (k >> 2);
            const bool inside = cx >= 0 && cx < W && cy >= 0 && cy < H && cz >= 0 && cz < D;
            at[k] = inside ? ((long long)cz * H + cy) * W + cx : 0;
            weight[k] = inside ? (k & 1 ? wx : 1.f - wx) * (k & 2 ? wy : 1.f - wy) * (k & 4 ? wz : 1.f - wz) : 0.f;
        }
    }
    DEVICE static float sample(float coordinate, int n) {
        const float p = ((coordinate + 1.f) * n - 1.f) * 0.5f;
        return isnan(p) ? -2.f : fminf(fmaxf(p, -2.f), n + 1.f);  // beyond that all is outside anyway
    }
};

DEVICE float square_away(const float* p, float x, float y, float z) {
    return (x - p[0]) * (x - p[0]) + (y - p[1]) * (y - p[1]) + (z - p[2]) * (z - p[2]);
}

// One thread: one motion at one voxel. out (B, D, H, W, K + 1, 1 + C), C channels of `thin`.
template <typename T>
DEVICE void keypoint_warp(const T* __restrict__ thin, long long thin_batch, const float* __restrict__ source,
                          const float* __restrict__ driving, T* __restrict__ out, int K, int C, int D, int H, int W) {
    const long long voxels = (long long)D * H * W;
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= voxels * (K + 1)) return;
    const int motion = (int)(i % (K + 1)), b = blockIdx.y;
    const long long voxel = i / (K + 1);
    const float x = grid_at((int)(voxel % W), W), y = grid_at((int)(voxel / W % H), H);
    const float z = grid_at((int)(voxel / W / H), D);
    float heat = 0.f, shift[3] = {0.f, 0.f, 0.f};
    if (motion) {
        const float* s = source + ((long long)b * K + motion - 1) * 3;
        const float* d = driving + ((long long)b * K + motion - 1) * 3;
        heat = expf(HEAT * square_away(d, x, y, z)) - expf(HEAT * square_away(s, x, y, z));
        for (int k = 0; k < 3; ++k) shift[k] = s[k] - d[k];
    }
    const Corners corners(x + shift[0], y + shift[1], z + shift[2], D, H, W);
    T* to = out + ((long long)b * voxels * (K + 1) + i) * (C + 1);
    narrow(heat, to[0]);
    thin += b * thin_batch;
    for (int c = 0; c < C; ++c) {
        float sum = 0.f;
#pragma unroll
        for (int k = 0; k < 8; ++k)
            if (corners.weight[k] != 0.f) sum += corners.weight[k] * widen(thin[corners.at[k] * C + c]);
        narrow(sum, to[1 + c]);
    }
}

// One thread: one voxel. logits (B, D, H, W, K + 1); out (B, H, W, D, C): the depths of a pixel lie side by side.
template <typename T>
DEVICE void mask_warp(const T* __restrict__ logits, const T* __restrict__ volume, long long volume_batch,
                      const float* __restrict__ source, const float* __restrict__ driving, T* __restrict__ out, int K,
                      int C, int D, int H, int W) {
    constexpr int N = Pack<T>::N;
    const long long voxels = (long long)D * H * W;
    const long long voxel = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (voxel >= voxels) return;
    const int b = blockIdx.y, ix = (int)(voxel % W), iy = (int)(voxel / W % H), iz = (int)(voxel / W / H);
    const T* l = logits + ((long long)b * voxels + voxel) * (K + 1);
    float top = widen(l[0]);
    for (int k = 1; k <= K; ++k) top = fmaxf(top, widen(l[k]));
    float total = expf(widen(l[0]) - top), moved[3] = {0.f, 0.f, 0.f};
    for (int k = 0; k < K; ++k) {
        const float share = expf(widen(l[k + 1]) - top);
        const float *s = source + ((long long)b * K + k) * 3, *d = driving + ((long long)b * K + k) * 3;
        total += share;
        for (int axis = 0; axis < 3; ++axis) moved[axis] += share * (s[axis] - d[axis]);
    }
    const Corners corners(grid_at(ix, W) + moved[0] / total, grid_at(iy, H) + moved[1] / total,
                          grid_at(iz, D) + moved[2] / total, D, H, W);
    volume += b * volume_batch;
    T* to = out + (((long long)b * H + iy) * W + ix) * D * C + (long long)iz * C;
    for (int v = 0; v < C; v += N) {
        Pack<T> sum, part;
#pragma unroll
        for (int j = 0; j < N; ++j) sum.v[j] = 0.f;
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            if (corners.weight[k] == 0.f) continue;
            part.load(volume + corners.at[k] * C + v);
#pragma unroll
            for (int j = 0; j < N; ++j) sum.v[j] += corners.weight[k] * part.v[j];
        }
        sum.store(to + v);
    }
}

#define KEYPOINT_WARP(NAME, T)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        NAME(const T* thin, long long thin_batch, const float* source, const float* driving, T* out, int K, int C,   \
             int D, int H, int W) {                                                                                  \
        keypoint_warp<T>(thin, thin_batch, source, driving, out, K, C, D, H, W);                                     \
    }                                                                                                                \
    EXPORT(NAME)

#define MASK_WARP(NAME, T)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        NAME(const T* logits, const T* volume, long long volume_batch, const float* source, const float* driving,    \
             T* out, int K, int C, int D, int H, int W) {                                                            \
        mask_warp<T>(logits, volume, volume_batch, source, driving, out, K, C, D, H, W);                             \
    }                                                                                                                \
    EXPORT(NAME)

KEYPOINT_WARP(keypoint_warp_f16, half16)
KEYPOINT_WARP(keypoint_warp_f32, float)
MASK_WARP(mask_warp_f16, half16)
MASK_WARP(mask_warp_f32, float)
