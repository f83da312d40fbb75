// A pointwise convolution and the depthwise one that alone reads its map, for small maps: the map
// between them stays in shared memory.
#pragma once
#include "common.cuh"
#include "pointwise.cuh"

struct FusedArgs {
    // [images][input blocks][side²][16].
    const float *x;
    // Of the first: [blocks][row][16], of which the first `inputs` of each row are used.
    const float *weight;
    // Of the first: [blocks][16].
    const float *scale, *shift;
    // Of the second: [blocks][kernel²][16].
    const float *taps;
    // Of the second: [blocks][16].
    const float *tap_scale, *tap_shift;
    // [images][blocks][out side²][16].
    float *y;
    // [images][blocks][16]: sums of the outputs over all pixels, or null.
    float *sums;
    // `activation` follows both.
    int inputs, row, outputs, side, kernel, stride, activation;
};

// A block of threads has one block of channels of the whole map, WN · 8 · P pixels at most, first as
// a tile of the product, then four channels of an output a thread.
template <int WN, int S, int P, int STAGES> struct Fused {
    using Tile = PointwiseTile<1, WN, S, P, STAGES>;
    static constexpr int THREADS = Tile::THREADS;

    union Shared {
        typename Tile::Shared tile;
        // Of the map between.
        float4 wide[Tile::PIXELS * 4];
        Rows<THREADS> rows;
    };

    __device__ static void run(const FusedArgs &a) {
        COSHIFT_SHARED(Shared, shared);
        const int blocks = gridDim.y, block = blockIdx.y, image = blockIdx.z, area = a.side * a.side;
        {
            PointwiseArgs first = {};
            first.x = a.x;
            first.weight = a.weight;
            first.inputs = a.inputs;
            first.row = a.row;
            first.outputs = a.outputs;
            first.pixels = area;
            float4 sums[P];
            Tile::product(first, shared.tile, sums);
            const int quarter = Tile::output() / 4, channel = block * LANES + quarter * 4;
            const float4 scale = load4(a.scale + channel), shift = load4(a.shift + channel);
            const int slice = threadIdx.x / Tile::SLICE;
            // The map goes where tiles and parts were.
            __syncthreads();
#pragma unroll
            for (int j = 0; j < P; j++) {
                const int pixel = Tile::pixel() + 8 * j;
                if (j % S == slice && pixel < area) {
                    shared.wide[pixel * 4 + quarter] = finished(sums[j], scale, shift, a.activation);
                }
            }
            __syncthreads();
        }
        const int out_side = (a.side + a.stride - 1) / a.stride;
        const int quarter = threadIdx.x % 4, channel = block * LANES + quarter * 4;
        const float4 scale = load4(a.tap_scale + channel), shift = load4(a.tap_shift + channel);
        const float *taps = a.taps + long(block) * a.kernel * a.kernel * LANES + quarter * 4;
        float *y = a.y + (long(image) * blocks + block) * out_side * out_side * LANES + quarter * 4;
        float4 total = zero4();
        for (int pixel = threadIdx.x / 4; pixel < out_side * out_side; pixel += THREADS / 4) {
            const int top = pixel / out_side * a.stride - a.kernel / 2;
            const int left = pixel % out_side * a.stride - a.kernel / 2;
            // The kernel's part that lies in the map.
            const int first_row = max(0, -top), last_row = min(a.kernel, a.side - top);
            const int first = max(0, -left), last = min(a.kernel, a.side - left);
            float4 sum = zero4();
            for (int i = first_row; i < last_row; i++) {
                const float4 *line = shared.wide + ((top + i) * a.side + left) * 4 + quarter;
#pragma unroll 4
                for (int j = first; j < last; j++) {
                    multiply_add4(sum, line[j * 4], load4(taps + (i * a.kernel + j) * LANES));
                }
            }
            const float4 out = finished(sum, scale, shift, a.activation);
            store4(y + pixel * LANES, out);
            total = add4(total, out);
        }
        if (a.sums) {
            // The rows go where the map was.
            __syncthreads();
            const float4 sum = sum_of_rows(total, shared.rows.at, threadIdx.x / 4, THREADS / 4, quarter, 4);
            if (threadIdx.x < 4) {
                store4(a.sums + (long(image) * blocks + block) * LANES + quarter * 4, sum);
            }
        }
    }
};
