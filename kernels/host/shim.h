// Compiles a .cu file as plain C++ and runs its kernels block by block on the CPU, for tests without a GPU.
//
// Every thread of a block is a fiber. `__syncthreads` and the shuffles hand over to the next fiber, so a kernel is
// ordinary sequential code between barriers. Blocks run one after the other, hence `__shared__` is a static.
// The fibers of a block run in rising or in falling order: a result that depends on it lacks a barrier.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __shared__ static
#define __launch_bounds__(...)

struct alignas(16) uint4 {
    unsigned x = 0, y = 0, z = 0, w = 0;
};

namespace host {

struct Index {
    int x = 0, y = 0, z = 0;
};

enum Fault { none = 0, misaligned = 1 };

inline int& fault() {
    static int value = none;
    return value;
}

template <typename V, typename P>
V* aligned16(P* p) {
    if (reinterpret_cast<uintptr_t>(p) & 15) {
        fault() = misaligned;  // a GPU would stop here; the bytes are still copied, so that the caller can report it
        static std::remove_const_t<V> scratch;
        return &scratch;
    }
    return reinterpret_cast<V*>(p);
}

inline float half_to_float(unsigned short h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 1023u;
    if (exponent == 0) {
        const float small = std::ldexp((float)fraction, -24);
        return sign ? -small : small;
    }
    const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | (fraction << 13);
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
}

inline unsigned short float_to_half(float f) {  // round to nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    const unsigned short sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return sign | 0x7fffu;
    if (bits >= 0x477ff000u) return sign | 0x7c00u;
    if (bits < 0x38800000u) {  // below the normal range: steps of 2^-24; nearbyint rounds ties to even
        float magnitude;
        std::memcpy(&magnitude, &bits, 4);
        return sign | (unsigned short)std::nearbyint(std::ldexp(magnitude, 24));
    }
    bits += 0xfffu + ((bits >> 13) & 1u);
    return sign | (unsigned short)((bits - 0x38000000u) >> 13);
}

struct Fiber {
    ucontext_t start;
    jmp_buf here;
    bool started = false, done = false;
    Index thread;
    int lane = 0;
};

struct Machine {
    Index block, block_dim, grid_dim;
    Index plain_thread;
    Fiber* current = nullptr;
    jmp_buf scheduler;
    std::function<void()> body;
    std::vector<uint64_t> exchange;
};

inline Machine& machine() {
    static Machine m;
    return m;
}

inline void yield() {
    Machine& m = machine();
    if (_setjmp(m.current->here) == 0) _longjmp(m.scheduler, 1);
}

inline void fiber_main() {
    for (;;) {  // one turn per block
        machine().body();
        machine().current->done = true;
        yield();
    }
}

inline void resume(Fiber& f) {
    Machine& m = machine();
    m.current = &f;
    if (_setjmp(m.scheduler) == 0) {
        if (!f.started) {
            f.started = true;
            setcontext(&f.start);
        }
        _longjmp(f.here, 1);
    }
}

// dims: grid x, y, z, block x, y, z. Returns a Fault.
inline int run(std::function<void()> body, const int* dims, bool fibers, bool falling) {
    constexpr size_t stack = 64 << 10;
    Machine& m = machine();
    fault() = none;
    m.grid_dim = {dims[0], dims[1], dims[2]};
    m.block_dim = {dims[3], dims[4], dims[5]};
    m.body = std::move(body);
    const int threads = dims[3] * dims[4] * dims[5];
    auto thread_of = [&](int t) {
        return Index{t % dims[3], t / dims[3] % dims[4], t / (dims[3] * dims[4])};
    };
    std::vector<Fiber> pool(fibers ? threads : 0);
    std::vector<char> stacks(pool.size() * stack);
    m.exchange.assign(threads, 0);
    for (size_t t = 0; t < pool.size(); ++t) {
        getcontext(&pool[t].start);
        pool[t].start.uc_stack.ss_sp = stacks.data() + t * stack;
        pool[t].start.uc_stack.ss_size = stack;
        pool[t].start.uc_link = nullptr;
        makecontext(&pool[t].start, fiber_main, 0);
        pool[t].thread = thread_of((int)t);
        pool[t].lane = (int)t;
    }
    for (m.block.z = 0; m.block.z < dims[2]; ++m.block.z)
        for (m.block.y = 0; m.block.y < dims[1]; ++m.block.y)
            for (m.block.x = 0; m.block.x < dims[0]; ++m.block.x) {
                if (!fibers) {
                    for (int i = 0; i < threads; ++i) {
                        m.plain_thread = thread_of(falling ? threads - 1 - i : i);
                        m.body();
                    }
                    continue;
                }
                for (auto& f : pool) f.done = false;
                for (bool busy = true; busy;) {
                    busy = false;
                    for (int i = 0; i < threads; ++i) {
                        Fiber& f = pool[falling ? threads - 1 - i : i];
                        if (f.done) continue;
                        resume(f);
                        busy = busy || !f.done;
                    }
                }
            }
    m.current = nullptr;
    return fault();
}

template <typename... P, size_t... I>
int launch_at(void (*kernel)(P...), void** args, std::index_sequence<I...>, const int* dims, bool fibers,
              bool falling) {
    (void)args;
    return run([=] { kernel(*static_cast<std::remove_reference_t<P>*>(args[I])...); }, dims, fibers, falling);
}

template <typename... P>
int launch(void (*kernel)(P...), void** args, const int* dims, int fibers, int falling) {
    return launch_at(kernel, args, std::index_sequence_for<P...>{}, dims, fibers != 0, falling != 0);
}

template <typename... P>
int parameter_sizes(void (*)(P...), int* sizes) {
    const int all[] = {(int)sizeof(P)...};
    for (size_t i = 0; i < sizeof...(P); ++i) sizes[i] = all[i];
    return (int)sizeof...(P);
}

}  // namespace host

#define threadIdx (host::machine().current ? host::machine().current->thread : host::machine().plain_thread)
#define blockIdx (host::machine().block)
#define blockDim (host::machine().block_dim)
#define gridDim (host::machine().grid_dim)

#define EXPORT(name)                                                                            \
    extern "C" int launch_##name(void** args, const int* dims, int fibers, int falling) {       \
        return host::launch(name, args, dims, fibers, falling);                                 \
    }                                                                                           \
    extern "C" int sizes_##name(int* sizes) { return host::parameter_sizes(name, sizes); }

inline void __syncthreads() { host::yield(); }

inline float __shfl_xor_sync(unsigned, float value, int mask) {
    host::Machine& m = host::machine();
    const int lane = m.current->lane;
    uint64_t word = 0;
    std::memcpy(&word, &value, 4);
    m.exchange[lane] = word;
    host::yield();
    std::memcpy(&value, &m.exchange[lane ^ mask], 4);
    host::yield();
    return value;
}

inline float __uint_as_float(unsigned bits) {
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
}
inline unsigned __float_as_uint(float f) {
    unsigned bits;
    std::memcpy(&bits, &f, 4);
    return bits;
}
inline unsigned long long atomicMin(unsigned long long* p, unsigned long long value) {
    const unsigned long long old = *p;
    if (value < old) *p = value;
    return old;
}
using std::isnan;
