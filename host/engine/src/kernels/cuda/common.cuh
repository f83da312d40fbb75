// What every kernel shares: the layout of maps, activations, copies that run ahead, sums.
//
// A feature map is [images][blocks of 16 channels][pixels][16], the blocks and the weights those of
// the executor on the CPU (kernels/blocked). A thread works on four channels of a block, `float4`:
// the 16 channels of consecutive pixels are consecutive in memory, so that a warp's accesses are.
// Lanes beyond the channels of a map are zero: their scale and shift are.
//
// The sources compile with nvcc, and with any C++17 compiler that reads emulation.h first; then
// COSHIFT_EMULATED is defined and the threads of a block are fibres on the host.
#pragma once

#ifndef COSHIFT_EMULATED
#include <cuda_runtime.h>
#define COSHIFT_SHARED(type, name) __shared__ type name
#define COSHIFT_KERNEL(name, args, threads, body)                                                  \
    extern "C" __global__ void __launch_bounds__(threads) name(const args a) { body(a); }
#endif

// Channels of a block.
constexpr int LANES = 16;
// Floats between the pixels of a tile in shared memory: 16-byte reads of 8 neighbours by 8 threads
// then fall into 8 different groups of banks.
constexpr int PITCH = LANES + 4;

enum Activation { NONE = 0, RELU = 1, H_SWISH = 2, H_SIGMOID = 3 };

__device__ inline float activated(float x, int activation) {
    switch (activation) {
    case RELU:
        return fmaxf(x, 0.0f);
    case H_SWISH:
        return x * (fminf(fmaxf(x + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f));
    case H_SIGMOID:
        return fminf(fmaxf(x + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f);
    default:
        return x;
    }
}

__device__ inline float4 zero4() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }

__device__ inline float4 load4(const float *from) { return *reinterpret_cast<const float4 *>(from); }

__device__ inline void store4(float *to, float4 x) { *reinterpret_cast<float4 *>(to) = x; }

__device__ inline float4 add4(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__device__ inline void multiply_add4(float4 &sum, float4 a, float4 b) {
    sum.x = fmaf(a.x, b.x, sum.x);
    sum.y = fmaf(a.y, b.y, sum.y);
    sum.z = fmaf(a.z, b.z, sum.z);
    sum.w = fmaf(a.w, b.w, sum.w);
}

__device__ inline void multiply_add1(float4 &sum, float a, float4 b) {
    multiply_add4(sum, make_float4(a, a, a, a), b);
}

// Scale, shift, activation of four channels.
__device__ inline float4 finished(float4 x, float4 scale, float4 shift, int activation) {
    return make_float4(activated(fmaf(x.x, scale.x, shift.x), activation),
                       activated(fmaf(x.y, scale.y, shift.y), activation),
                       activated(fmaf(x.z, scale.z, shift.z), activation),
                       activated(fmaf(x.w, scale.w, shift.w), activation));
}

// Copies of 16 bytes from global to shared memory that run while the thread computes: in hardware
// from compute capability 8.0 on, before that at once. Where `valid` is false zeros are written and
// nothing is read. `commit` closes a group, `wait<N>` waits for all but the last N groups of the
// calling thread; a barrier makes them visible to the others.
#ifndef COSHIFT_EMULATED
__device__ inline void copy_ahead(float *to, const float *from, bool valid) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(from),
                 "r"(bytes)
                 : "memory");
#else
    store4(to, valid ? load4(from) : zero4());
#endif
}

__device__ inline void commit() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

template <int N> __device__ inline void wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
#endif
}
#endif

// A float4 of each thread.
template <int THREADS> struct Rows {
    float4 at[THREADS];
};

// Adds up the float4 of all rows of a column, in an order that does not depend on timing; the sum is
// returned to row 0. `scratch` is [rows][columns], `rows` a power of two; nothing else may use it
// before the next barrier. Every thread of the block must call it.
__device__ inline float4 sum_of_rows(float4 x, float4 *scratch, int row, int rows, int column,
                                     int columns) {
    scratch[row * columns + column] = x;
    for (int half = rows / 2; half > 0; half /= 2) {
        __syncthreads();
        if (row < half) {
            x = add4(x, scratch[(row + half) * columns + column]);
            scratch[row * columns + column] = x;
        }
    }
    return x;
}
