// Depthwise convolution, padded by half the kernel.
#pragma once
#include "common.cuh"

struct DepthwiseArgs {
    // [images][blocks][height][width][16].
    const float *x;
    // [blocks][kernel²][16].
    const float *weight;
    // [blocks][16].
    const float *scale, *shift;
    // [images][blocks][out height][out width][16].
    float *y;
    // [images][bands][blocks][16]: sums of the outputs over the rows of each band, or null.
    float *sums;
    // `rows` are the output rows of a band.
    int height, width, kernel, stride, rows, activation;
};

constexpr int DEPTHWISE_THREADS = 256;

// A block of threads has one block of channels of one band of rows. A thread has four channels of R
// neighbouring outputs, whose inputs it reads once for each row of the kernel. K = 0: any kernel,
// and any stride.
template <int K, int S, int R> struct Depthwise {
    __device__ static void run(const DepthwiseArgs &a) {
        COSHIFT_SHARED(Rows<DEPTHWISE_THREADS>, scratch);
        const int kernel = K ? K : a.kernel, stride = K ? S : a.stride;
        const int out_height = (a.height + stride - 1) / stride;
        const int out_width = (a.width + stride - 1) / stride;
        const int blocks = gridDim.y, block = blockIdx.y, image = blockIdx.z;
        const int quarter = threadIdx.x % 4, slots = blockDim.x / 4, slot = threadIdx.x / 4;
        const long map = long(image) * blocks + block;
        const float *x = a.x + map * a.height * a.width * LANES + quarter * 4;
        float *y = a.y + map * out_height * out_width * LANES + quarter * 4;
        const float *weight = a.weight + long(block) * kernel * kernel * LANES + quarter * 4;
        const float4 scale = load4(a.scale + block * LANES + quarter * 4);
        const float4 shift = load4(a.shift + block * LANES + quarter * 4);

        const int first_row = blockIdx.x * a.rows;
        const int rows = min(a.rows, out_height - first_row);
        const int groups = (out_width + R - 1) / R;
        float4 total = zero4();
        for (int unit = slot; unit < rows * groups; unit += slots) {
            const int row = first_row + unit / groups, column = unit % groups * R;
            const int top = row * stride - kernel / 2, left = column * stride - kernel / 2;
            float4 sums[R];
#pragma unroll
            for (int r = 0; r < R; r++) {
                sums[r] = zero4();
            }
#pragma unroll
            for (int i = 0; i < kernel; i++) {
                if (top + i < 0 || top + i >= a.height) {
                    continue;
                }
                const float *line = x + long(top + i) * a.width * LANES;
                const float *taps = weight + i * kernel * LANES;
                if (K) {
                    constexpr int SPAN = K ? (R - 1) * S + K : 1;
                    float4 in[SPAN];
#pragma unroll
                    for (int j = 0; j < SPAN; j++) {
                        const bool valid = left + j >= 0 && left + j < a.width;
                        in[j] = valid ? load4(line + (left + j) * LANES) : zero4();
                    }
#pragma unroll
                    for (int j = 0; j < K; j++) {
                        const float4 tap = load4(taps + j * LANES);
#pragma unroll
                        for (int r = 0; r < R; r++) {
                            multiply_add4(sums[r], in[r * S + j < SPAN ? r * S + j : 0], tap);
                        }
                    }
                } else {
                    for (int j = 0; j < kernel; j++) {
                        if (left + j >= 0 && left + j < a.width) {
                            multiply_add4(sums[0], load4(line + (left + j) * LANES),
                                          load4(taps + j * LANES));
                        }
                    }
                }
            }
#pragma unroll
            for (int r = 0; r < R; r++) {
                if (column + r < out_width) {
                    const float4 out = finished(sums[r], scale, shift, a.activation);
                    store4(y + (long(row) * out_width + column + r) * LANES, out);
                    total = add4(total, out);
                }
            }
        }
        if (a.sums) {
            const float4 sum = sum_of_rows(total, scratch.at, slot, slots, quarter, 4);
            if (slot == 0) {
                const long band = long(image) * gridDim.x + blockIdx.x;
                store4(a.sums + (band * blocks + block) * LANES + quarter * 4, sum);
            }
        }
    }
};
