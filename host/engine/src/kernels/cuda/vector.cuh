// A layer on one vector an image: squeeze-excite, the layers after pooling.
#pragma once
#include "common.cuh"

struct VectorArgs {
    // [images][parts][input blocks][16]: the vector is the sum of the parts, divided by `pixels`.
    const float *x;
    // [output blocks][row][16]; the first `inputs` of each row are used.
    const float *weight;
    // [output blocks][16], or null.
    const float *bias;
    // [images][output blocks][16].
    float *y;
    int inputs, row, parts, pixels, images, activation;
};

constexpr int VECTOR_THREADS = 256;

// A block of threads has one block of outputs of N images; groups of four threads take the inputs in
// turn.
template <int N> struct Vector {
    __device__ static void run(const VectorArgs &a) {
        COSHIFT_SHARED(Rows<VECTOR_THREADS>, scratch);
        const int quarter = threadIdx.x % 4, slots = blockDim.x / 4, slot = threadIdx.x / 4;
        const int block = blockIdx.x, blocks = gridDim.x, first = blockIdx.y * N;
        const int stride = (a.inputs + LANES - 1) / LANES * LANES;
        const float *weight = a.weight + long(block) * a.row * LANES + quarter * 4;
        const float share = 1.0f / float(a.pixels);
        float4 sums[N];
        for (int n = 0; n < N; n++) {
            sums[n] = zero4();
        }
#pragma unroll 4
        for (int input = slot; input < a.inputs; input += slots) {
            const float4 w = load4(weight + long(input) * LANES);
#pragma unroll
            for (int n = 0; n < N; n++) {
                if (first + n >= a.images) {
                    continue;
                }
                const float *x = a.x + long(first + n) * a.parts * stride + input;
                float value = 0.0f;
                for (int part = 0; part < a.parts; part++) {
                    value += x[part * stride];
                }
                multiply_add1(sums[n], value * share, w);
            }
        }
        for (int n = 0; n < N; n++) {
            if (n > 0) {
                __syncthreads();
            }
            const float4 sum = sum_of_rows(sums[n], scratch.at, slot, slots, quarter, 4);
            if (slot == 0 && first + n < a.images) {
                const int channel = block * LANES + quarter * 4;
                const float4 bias = a.bias ? load4(a.bias + channel) : zero4();
                const float4 one = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
                store4(a.y + long(first + n) * blocks * LANES + channel,
                       finished(sum, one, bias, a.activation));
            }
        }
    }
};
