// What every kernel file shares: half precision without a header, 16-byte packs of channels, small helpers.
//
// No CUDA header is included, so run-time compilation needs no include path, and the same text compiles as plain
// C++ through host/shim.h. Arithmetic is float32 whatever the storage type is.
#pragma once

#ifndef __CUDACC__
#include "host/shim.h"
#else
#define EXPORT(name)
#endif

#define DEVICE __device__ __forceinline__

struct half16 {
    unsigned short bits;
};

#ifdef __CUDACC__
DEVICE float widen(half16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
    return f;
}
DEVICE void narrow(float f, half16& h) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f)); }
DEVICE unsigned narrow2(float lo, float hi) {
    unsigned pair;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
#else
    half16 a, b;
    narrow(lo, a);
    narrow(hi, b);
    pair = a.bits | ((unsigned)b.bits << 16);
#endif
    return pair;
}
DEVICE uint4 load16(const void* p) { return __ldg(reinterpret_cast<const uint4*>(p)); }
DEVICE void store16(void* p, uint4 v) { *reinterpret_cast<uint4*>(p) = v; }
#else
inline float widen(half16 h) { return host::half_to_float(h.bits); }
inline void narrow(float f, half16& h) { h.bits = host::float_to_half(f); }
inline unsigned narrow2(float lo, float hi) {
    return host::float_to_half(lo) | ((unsigned)host::float_to_half(hi) << 16);
}
inline uint4 load16(const void* p) { return *host::aligned16<const uint4>(p); }
inline void store16(void* p, uint4 v) { *host::aligned16<uint4>(p) = v; }
#endif
DEVICE float widen(float f) { return f; }
DEVICE void narrow(float f, float& out) { out = f; }

// 16 bytes of consecutive channels, held as float32.
template <typename T>
struct Pack;

template <>
struct Pack<half16> {
    static constexpr int N = 8;
    float v[8];
    DEVICE void load(const half16* p) {
        const uint4 raw = load16(p);
        const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            v[2 * i] = widen(half16{(unsigned short)(words[i] & 0xffffu)});
            v[2 * i + 1] = widen(half16{(unsigned short)(words[i] >> 16)});
        }
    }
    DEVICE void store(half16* p) const {
        uint4 raw;
        raw.x = narrow2(v[0], v[1]);
        raw.y = narrow2(v[2], v[3]);
        raw.z = narrow2(v[4], v[5]);
        raw.w = narrow2(v[6], v[7]);
        store16(p, raw);
    }
};

template <>
struct Pack<float> {
    static constexpr int N = 4;
    float v[4];
    DEVICE void load(const float* p) {
        const uint4 raw = load16(p);
        v[0] = __uint_as_float(raw.x);
        v[1] = __uint_as_float(raw.y);
        v[2] = __uint_as_float(raw.z);
        v[3] = __uint_as_float(raw.w);
    }
    DEVICE void store(float* p) const {
        uint4 raw;
        raw.x = __float_as_uint(v[0]);
        raw.y = __float_as_uint(v[1]);
        raw.z = __float_as_uint(v[2]);
        raw.w = __float_as_uint(v[3]);
        store16(p, raw);
    }
};

// N float32 parameters of consecutive channels, or `otherwise` where the pointer is null.
template <int N>
DEVICE void load_parameters(float (&out)[N], const float* p, float otherwise) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        if (p) {
            Pack<float> four;
            four.load(p + i);
#pragma unroll
            for (int j = 0; j < 4; ++j) out[i + j] = four.v[j];
        } else {
#pragma unroll
            for (int j = 0; j < 4; ++j) out[i + j] = otherwise;
        }
    }
}

DEVICE int imin(int a, int b) { return a < b ? a : b; }
DEVICE int imax(int a, int b) { return a > b ? a : b; }
DEVICE int clampi(int v, int lo, int hi) { return imin(imax(v, lo), hi); }
DEVICE float leaky(float v, float slope) { return v >= 0.f ? v : v * slope; }
