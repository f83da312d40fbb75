// The first convolution: dense 3×3, padded by one, on an image [height][width][channels].
#pragma once
#include "common.cuh"

struct StemArgs {
    // [images][side][side][channels].
    const float *x;
    // [blocks][9 · channels][16], taps before channels.
    const float *weight;
    // [blocks][16].
    const float *scale, *shift;
    // [images][blocks][out side][out side][16].
    float *y;
    int side, channels, stride, activation;
};

constexpr int STEM_THREADS = 256;

// A thread has four channels of one pixel; the four threads of a pixel read the same image values.
__device__ inline void stem_run(const StemArgs &a) {
    const int out_side = (a.side + a.stride - 1) / a.stride;
    const int quarter = threadIdx.x % 4;
    const int pixel = blockIdx.x * (blockDim.x / 4) + threadIdx.x / 4;
    const int blocks = gridDim.y, block = blockIdx.y, image = blockIdx.z;
    if (pixel >= out_side * out_side) {
        return;
    }
    const int top = pixel / out_side * a.stride - 1, left = pixel % out_side * a.stride - 1;
    const float *x = a.x + long(image) * a.side * a.side * a.channels;
    const float *weight = a.weight + long(block) * 9 * a.channels * LANES + quarter * 4;
    float4 sum = zero4();
#pragma unroll
    for (int tap = 0; tap < 9; tap++) {
        const int row = top + tap / 3, column = left + tap % 3;
        if (row < 0 || row >= a.side || column < 0 || column >= a.side) {
            continue;
        }
        const float *values = x + (long(row) * a.side + column) * a.channels;
        for (int channel = 0; channel < a.channels; channel++) {
            multiply_add1(sum, values[channel],
                          load4(weight + (tap * a.channels + channel) * LANES));
        }
    }
    const int channel = block * LANES + quarter * 4;
    const float4 out =
        finished(sum, load4(a.scale + channel), load4(a.shift + channel), a.activation);
    const long map = long(image) * blocks + block;
    store4(a.y + (map * out_side * out_side + pixel) * LANES + quarter * 4, out);
}
