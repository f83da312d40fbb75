// Between the tensors of candle graphs, maps [images][pixels][channels] and weights as they are
// trained, and blocks of 16 channels. Tensors lie anywhere: only single values of them are read.
#pragma once
#include "common.cuh"

constexpr int PLAIN_THREADS = 256;

struct ToBlocksArgs {
    // Value of image i, channel c, pixel p: i · image_step + c · channel_step
    // + p / inner · outer_step + p % inner · inner_step.
    const float *x;
    // [images][blocks][pixels][16].
    float *y;
    int image_step, channels, channel_step, pixels, inner, outer_step, inner_step;
};

// A thread has one value; channels beyond the last are zero.
__device__ inline void to_blocks_run(const ToBlocksArgs &a) {
    const long at = long(blockIdx.x) * blockDim.x + threadIdx.x;
    const int pixel = int(at / LANES), channel = blockIdx.y * LANES + int(at % LANES);
    if (pixel >= a.pixels) {
        return;
    }
    const long map = long(blockIdx.z) * gridDim.y + blockIdx.y;
    const long from = long(blockIdx.z) * a.image_step + long(channel) * a.channel_step +
                      long(pixel / a.inner) * a.outer_step + long(pixel % a.inner) * a.inner_step;
    a.y[map * a.pixels * LANES + at] = channel < a.channels ? a.x[from] : 0.0f;
}

struct FromBlocksArgs {
    // [images][blocks][pixels][16].
    const float *x;
    // [images][pixels][channels].
    float *y;
    int pixels, channels;
};

// A thread has one value.
__device__ inline void from_blocks_run(const FromBlocksArgs &a) {
    const long at = long(blockIdx.x) * blockDim.x + threadIdx.x, all = long(a.pixels) * a.channels;
    if (at >= all) {
        return;
    }
    const long pixel = at / a.channels, blocks = (a.channels + LANES - 1) / LANES;
    const int channel = int(at % a.channels);
    const long map = long(blockIdx.z) * blocks + channel / LANES;
    a.y[long(blockIdx.z) * all + at] = a.x[(map * a.pixels + pixel) * LANES + channel % LANES];
}

struct MeansArgs {
    // [images][pixels][channels].
    const float *x;
    // [images][row]: zero from `channels` on.
    float *y;
    int pixels, channels, row;
};

// A block of threads has 16 channels of an image; groups of four threads take the pixels in turn.
__device__ inline void means_run(const MeansArgs &a) {
    COSHIFT_SHARED(Rows<PLAIN_THREADS>, scratch);
    const int quarter = threadIdx.x % 4, slots = blockDim.x / 4, slot = threadIdx.x / 4;
    const int first = blockIdx.x * LANES + quarter * 4;
    const float *x = a.x + long(blockIdx.z) * a.pixels * a.channels + first;
    float4 total = zero4();
    for (int pixel = slot; pixel < a.pixels; pixel += slots) {
        const float *from = x + long(pixel) * a.channels;
        total = add4(total, make_float4(first < a.channels ? from[0] : 0.0f,
                                        first + 1 < a.channels ? from[1] : 0.0f,
                                        first + 2 < a.channels ? from[2] : 0.0f,
                                        first + 3 < a.channels ? from[3] : 0.0f));
    }
    const float4 sum = sum_of_rows(total, scratch.at, slot, slots, quarter, 4);
    if (slot == 0) {
        const float share = 1.0f / float(a.pixels), all[4] = {sum.x, sum.y, sum.z, sum.w};
        float *y = a.y + long(blockIdx.z) * a.row + first;
        for (int i = 0; i < 4 && first + i < a.row; i++) {
            y[i] = all[i] * share;
        }
    }
}

struct ScaleArgs {
    // [images][pixels][channels].
    const float *x;
    // [images][blocks][16].
    const float *gates;
    // Like `x`.
    float *y;
    int pixels, channels;
};

// A thread has one value.
__device__ inline void scale_run(const ScaleArgs &a) {
    const long at = long(blockIdx.x) * blockDim.x + threadIdx.x, all = long(a.pixels) * a.channels;
    if (at >= all) {
        return;
    }
    const long blocks = (a.channels + LANES - 1) / LANES, to = long(blockIdx.z) * all + at;
    a.y[to] = a.x[to] * a.gates[long(blockIdx.z) * blocks * LANES + at % a.channels];
}
