// Pointwise convolution: a product of the weights with a map, both in blocks of 16 channels.
#pragma once
#include "common.cuh"

// Pointers, then numbers: launch.rs lays the arguments out in this order.
struct PointwiseArgs {
    // [images][input blocks][pixels][16].
    const float *x;
    // [output blocks][row][16]; the first `inputs` of each row are used.
    const float *weight;
    // [output blocks][16].
    const float *scale, *shift;
    // [images][input blocks][16]: factors of the inputs, or null.
    const float *gates;
    // Like `y`, added after the activation, or null.
    const float *add;
    // [images][output blocks][pixels][16], or null where only the sums are wanted.
    float *y;
    // [images][pixel tiles][output blocks][16]: sums of the outputs over the pixels of each tile,
    // or null.
    float *sums;
    int inputs, row, outputs, pixels, activation;
};

// The tile of a block of threads. A warp has 16 outputs and 8·P pixels, a thread 4 and P; WM by WN
// warps make a slice, and S slices share the inputs, block by block in turn. The tiles of STAGES
// blocks of inputs are on their way at a time.
template <int WM, int WN, int S, int P, int STAGES> struct PointwiseTile {
    static constexpr int OUTPUTS = 16 * WM;
    static constexpr int PIXELS = 8 * P * WN;
    static constexpr int SLICE = 32 * WM * WN;
    static constexpr int THREADS = SLICE * S;

    struct Stage {
        float x[PIXELS * PITCH];
        float weight[LANES * OUTPUTS];
        float gates[LANES];
    };
    union Shared {
        Stage stages[S][STAGES];
        // Of each slice, to be added up.
        float4 parts[S][P][SLICE];
        // Of each pixel of a tile, to be added up.
        float4 sums[S * WN * 8 * OUTPUTS / 4];
    };
    static_assert(sizeof(Shared) <= 48 * 1024, "more shared memory than every device has");

    // Starts the copies of one block of inputs.
    __device__ static void fetch(const PointwiseArgs &a, Stage &to, int block, const float *x,
                                 const float *gates, int place) {
        const int first_pixel = blockIdx.x * PIXELS, first_output = blockIdx.y * WM;
        const int output_blocks = (a.outputs + LANES - 1) / LANES;
        for (int i = place; i < PIXELS * 4; i += SLICE) {
            const int pixel = i / 4, quarter = i % 4;
            const bool valid = first_pixel + pixel < a.pixels;
            const long from = (long(block) * a.pixels + (valid ? first_pixel + pixel : 0)) * LANES;
            copy_ahead(&to.x[pixel * PITCH + quarter * 4], x + from + quarter * 4, valid);
        }
        for (int i = place; i < LANES * WM * 4; i += SLICE) {
            const int output = i / (LANES * 4), lane = i / 4 % LANES, quarter = i % 4;
            const int input = block * LANES + lane;
            // Inputs beyond the sub-network's are other weights of the row, or lie behind the last.
            const bool valid = input < a.inputs && first_output + output < output_blocks;
            const long from = valid ? (long(first_output + output) * a.row + input) * LANES : 0;
            copy_ahead(&to.weight[lane * OUTPUTS + output * LANES + quarter * 4],
                       a.weight + from + quarter * 4, valid);
        }
        if (gates && place < 4) {
            copy_ahead(&to.gates[place * 4], gates + block * LANES + place * 4, true);
        }
    }

    // Adds the products of one block of inputs.
    __device__ static void multiply(const Stage &from, bool gated, int pixel, int output,
                                    float4 (&sums)[P]) {
#pragma unroll
        for (int lane = 0; lane < LANES; lane += 4) {
            float4 x[P], weight[4];
#pragma unroll
            for (int j = 0; j < P; j++) {
                x[j] = load4(&from.x[(pixel + 8 * j) * PITCH + lane]);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                weight[i] = load4(&from.weight[(lane + i) * OUTPUTS + output]);
            }
            if (gated) {
                const float4 gates = load4(&from.gates[lane]);
#pragma unroll
                for (int j = 0; j < P; j++) {
                    x[j] = make_float4(x[j].x * gates.x, x[j].y * gates.y, x[j].z * gates.z,
                                       x[j].w * gates.w);
                }
            }
#pragma unroll
            for (int j = 0; j < P; j++) {
                multiply_add1(sums[j], x[j].x, weight[0]);
                multiply_add1(sums[j], x[j].y, weight[1]);
                multiply_add1(sums[j], x[j].z, weight[2]);
                multiply_add1(sums[j], x[j].w, weight[3]);
            }
        }
    }

    // Where a thread is in the tile: its first pixel and its first output.
    __device__ static int pixel() { return threadIdx.x % SLICE / 32 % WN * 8 * P + threadIdx.x % 8; }
    __device__ static int output() {
        return threadIdx.x % SLICE / 32 / WN * LANES + threadIdx.x % 32 / 8 * 4;
    }

    // The products of the tile, of each of a thread's pixels j with j % S equal to its slice. Where
    // the tile lies is `blockIdx`'s first two. Shared memory may still be read by others then.
    __device__ static void product(const PointwiseArgs &a, Shared &shared, float4 (&sums)[P]) {
        const int slice = threadIdx.x / SLICE, place = threadIdx.x % SLICE;
        const int input_blocks = (a.inputs + LANES - 1) / LANES;
        const int image = blockIdx.z;
        const float *x = a.x + long(image) * input_blocks * a.pixels * LANES;
        const float *gates = a.gates ? a.gates + image * input_blocks * LANES : nullptr;

        const int rounds = (input_blocks + S - 1) / S;
        for (int round = 0; round < STAGES - 1; round++) {
            const int block = round * S + slice;
            if (block < input_blocks) {
                fetch(a, shared.stages[slice][round], block, x, gates, place);
            }
            commit();
        }
#pragma unroll
        for (int j = 0; j < P; j++) {
            sums[j] = zero4();
        }
        for (int round = 0; round < rounds; round++) {
            wait<STAGES - 2>();
            // Everybody's copies for this round are there, and nobody still reads the stage of the
            // round before, which the next copies go to.
            __syncthreads();
            const int ahead = (round + STAGES - 1) * S + slice;
            if (ahead < input_blocks) {
                const int stage = (round + STAGES - 1) % STAGES;
                fetch(a, shared.stages[slice][stage], ahead, x, gates, place);
            }
            commit();
            if (round * S + slice < input_blocks) {
                multiply(shared.stages[slice][round % STAGES], gates != nullptr, pixel(), output(),
                         sums);
            }
        }
        wait<0>();

        if (S > 1) {
            __syncthreads();
#pragma unroll
            for (int j = 0; j < P; j++) {
                shared.parts[slice][j][place] = sums[j];
            }
            __syncthreads();
            // Each slice finishes some of the pixels.
#pragma unroll
            for (int j = 0; j < P; j++) {
                if (j % S == slice) {
                    sums[j] = shared.parts[0][j][place];
#pragma unroll
                    for (int other = 1; other < S; other++) {
                        sums[j] = add4(sums[j], shared.parts[other][j][place]);
                    }
                }
            }
        }
    }

    __device__ static void run(const PointwiseArgs &a) {
        COSHIFT_SHARED(Shared, shared);
        const int slice = threadIdx.x / SLICE, warp = threadIdx.x % SLICE / 32;
        const int pixel = PointwiseTile::pixel(), output = PointwiseTile::output();
        const int output_blocks = (a.outputs + LANES - 1) / LANES, image = blockIdx.z;
        float4 sums[P];
        product(a, shared, sums);
        const int output_block = blockIdx.y * WM + output / LANES;
        float4 total = zero4();
        if (output_block < output_blocks) {
            const int channel = output_block * LANES + output % LANES;
            const float4 scale = load4(a.scale + channel), shift = load4(a.shift + channel);
            const long map = (long(image) * output_blocks + output_block) * a.pixels;
#pragma unroll
            for (int j = 0; j < P; j++) {
                const int at = blockIdx.x * PIXELS + pixel + 8 * j;
                if (j % S != slice || at >= a.pixels) {
                    continue;
                }
                float4 y = finished(sums[j], scale, shift, a.activation);
                const long to = (map + at) * LANES + output % LANES;
                if (a.add) {
                    y = add4(y, load4(a.add + to));
                }
                if (a.y) {
                    store4(a.y + to, y);
                }
                total = add4(total, y);
            }
        }
        if (a.sums) {
            __syncthreads();
            const int row = (slice * WN + warp % WN) * 8 + threadIdx.x % 8;
            const float4 sum =
                sum_of_rows(total, shared.sums, row, S * WN * 8, output / 4, OUTPUTS / 4);
            if (row == 0 && output_block < output_blocks) {
                const long tile = long(image) * gridDim.x + blockIdx.x;
                store4(a.sums + (tile * output_blocks + output_block) * LANES + output % LANES, sum);
            }
        }
    }
};
