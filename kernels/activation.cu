// The activation of StyleGAN-type networks with what surrounds it, in one pass (Karras et al., arXiv 1912.04958):
//
//   y = (act(x * scale + bias) * gain * post + residual) * out_gain,   act = leaky ReLU
//
// scale, post: per (batch, channel), for instance the demodulation of this convolution and the style of the next;
// bias: per channel. Channels-last, 16 bytes per access, four pixels in flight per thread.
#include "common.cuh"

constexpr int IN_FLIGHT = 4;

template <typename T>
DEVICE void bias_act(const T* __restrict__ x, const float* __restrict__ scale, long long scale_batch,
                     const float* __restrict__ bias, const float* __restrict__ post, long long post_batch,
                     const T* __restrict__ residual, T* __restrict__ out, int C, long long plane, float slope,
                     float gain, float out_gain) {
    constexpr int N = Pack<T>::N;
    const int v = blockIdx.z * blockDim.x + threadIdx.x, b = blockIdx.y;
    if (v * N >= C) return;
    const long long first = (long long)blockIdx.x * blockDim.y * IN_FLIGHT + threadIdx.y;
    const long long base = b * plane * C + v * N;
    float s[N], a[N], q[N];
    load_parameters(s, scale ? scale + b * scale_batch + v * N : nullptr, 1.f);
    load_parameters(a, bias ? bias + v * N : nullptr, 0.f);
    load_parameters(q, post ? post + b * post_batch + v * N : nullptr, 1.f);

    Pack<T> pack[IN_FLIGHT];
#pragma unroll
    for (int k = 0; k < IN_FLIGHT; ++k) {
        const long long p = first + (long long)k * blockDim.y;
        if (p < plane) pack[k].load(x + base + p * C);
    }
#pragma unroll
    for (int k = 0; k < IN_FLIGHT; ++k) {
        const long long p = first + (long long)k * blockDim.y;
        if (p >= plane) continue;
#pragma unroll
        for (int i = 0; i < N; ++i) pack[k].v[i] = leaky(pack[k].v[i] * s[i] + a[i], slope) * (gain * q[i]);
        if (residual) {
            Pack<T> r;
            r.load(residual + base + p * C);
#pragma unroll
            for (int i = 0; i < N; ++i) pack[k].v[i] += r.v[i];
        }
#pragma unroll
        for (int i = 0; i < N; ++i) pack[k].v[i] *= out_gain;
        pack[k].store(out + base + p * C);
    }
}

#define BIAS_ACT(NAME, T)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256)                                                             \
        NAME(const T* x, const float* scale, long long scale_batch, const float* bias, const float* post,         \
             long long post_batch, const T* residual, T* out, int C, long long plane, float slope, float gain,    \
             float out_gain) {                                                                                    \
        bias_act<T>(x, scale, scale_batch, bias, post, post_batch, residual, out, C, plane, slope, gain,          \
                    out_gain);                                                                                    \
    }                                                                                                             \
    EXPORT(NAME)

BIAS_ACT(bias_act_f16, half16)
BIAS_ACT(bias_act_f32, float)
