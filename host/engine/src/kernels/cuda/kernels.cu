// The kernels by their names; launch.rs and plain.rs say when which one runs.
#include "depthwise.cuh"
#include "fused.cuh"
#include "plain.cuh"
#include "pointwise.cuh"
#include "stem.cuh"
#include "vector.cuh"

COSHIFT_KERNEL(stem, StemArgs, STEM_THREADS, stem_run)

#define POINTWISE(name, ...)                                                                       \
    using name##_tile = PointwiseTile<__VA_ARGS__>;                                                \
    COSHIFT_KERNEL(name, PointwiseArgs, name##_tile::THREADS, name##_tile::run)
// Outputs × pixels × slices; the table TILES of tiles.rs has the same.
POINTWISE(pointwise_64x64x1, 4, 2, 1, 4, 3)
POINTWISE(pointwise_64x128x1, 4, 2, 1, 8, 3)
POINTWISE(pointwise_32x64x2, 2, 2, 2, 4, 3)
POINTWISE(pointwise_32x32x4, 2, 1, 4, 4, 2)
POINTWISE(pointwise_16x16x8, 1, 1, 8, 2, 2)

#define DEPTHWISE(name, K, S, R)                                                                   \
    using name##_shape = Depthwise<K, S, R>;                                                       \
    COSHIFT_KERNEL(name, DepthwiseArgs, DEPTHWISE_THREADS, name##_shape::run)
// Kernel, stride, outputs a thread.
DEPTHWISE(depthwise_3_1_1, 3, 1, 1)
DEPTHWISE(depthwise_3_1_4, 3, 1, 4)
DEPTHWISE(depthwise_3_2_1, 3, 2, 1)
DEPTHWISE(depthwise_3_2_4, 3, 2, 4)
DEPTHWISE(depthwise_5_1_1, 5, 1, 1)
DEPTHWISE(depthwise_5_1_4, 5, 1, 4)
DEPTHWISE(depthwise_5_2_1, 5, 2, 1)
DEPTHWISE(depthwise_5_2_4, 5, 2, 4)
DEPTHWISE(depthwise_7_1_1, 7, 1, 1)
DEPTHWISE(depthwise_7_1_4, 7, 1, 4)
DEPTHWISE(depthwise_7_2_1, 7, 2, 1)
DEPTHWISE(depthwise_7_2_4, 7, 2, 4)
DEPTHWISE(depthwise_any, 0, 0, 1)

#define FUSED(name, ...)                                                                           \
    using name##_shape = Fused<__VA_ARGS__>;                                                       \
    COSHIFT_KERNEL(name, FusedArgs, name##_shape::THREADS, name##_shape::run)
// Pixels of the map at most.
FUSED(fused_64, 2, 2, 4, 3)
FUSED(fused_256, 8, 1, 4, 2)

COSHIFT_KERNEL(vector_1, VectorArgs, VECTOR_THREADS, Vector<1>::run)
COSHIFT_KERNEL(vector_4, VectorArgs, VECTOR_THREADS, Vector<4>::run)

COSHIFT_KERNEL(to_blocks, ToBlocksArgs, PLAIN_THREADS, to_blocks_run)
COSHIFT_KERNEL(from_blocks, FromBlocksArgs, PLAIN_THREADS, from_blocks_run)
COSHIFT_KERNEL(means, MeansArgs, PLAIN_THREADS, means_run)
COSHIFT_KERNEL(scale, ScaleArgs, PLAIN_THREADS, scale_run)
