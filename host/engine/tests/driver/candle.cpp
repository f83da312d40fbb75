// What candle takes beside the engine's part of the driver: handles of cuBLAS and cuRAND, which can do
// nothing, and two of candle's kernels. Loaded before the libraries of those names by
// tests/candle_cuda.rs; what is missing here is theirs, or the stub's of the driver, which refuses.
#include "libcuda.cpp"

namespace {

// Strides of the input, as candle's kernels take them: lengths, then steps, or null.
size_t strided(size_t index, size_t dims, const size_t *info) {
    if (!info) {
        return index;
    }
    size_t at = 0;
    for (size_t dim = dims; dim-- > 0; index /= info[dim]) {
        at += index % info[dim] * info[dims + dim];
    }
    return at;
}

template <class T> T argument(void **arguments, int number) {
    return *static_cast<T *>(arguments[number]);
}

// Both take: count, dims, info, input, output.
template <class Op> std::function<int()> elementwise(void **arguments, Op op) {
    const size_t count = argument<size_t>(arguments, 0), dims = argument<size_t>(arguments, 1);
    const size_t *info = argument<const size_t *>(arguments, 2);
    const float *from = argument<const float *>(arguments, 3);
    float *to = argument<float *>(arguments, 4);
    return [=] {
        for (size_t i = 0; i < count; i++) {
            to[i] = op(from[strided(i, dims, info)]);
        }
        return int(SUCCESS);
    };
}

std::function<int()> copy(void **arguments) {
    return elementwise(arguments, [](float x) { return x; });
}

std::function<int()> affine(void **arguments) {
    const float factor = argument<float>(arguments, 5), summand = argument<float>(arguments, 6);
    return elementwise(arguments, [=](float x) { return x * factor + summand; });
}

// A tensor is taken from where its memory begins.
void without_offset(const char *kernel, char *argument) {
    uintptr_t from;
    memcpy(&from, argument, sizeof from);
    const auto next = device_memory.upper_bound(from);
    if (!strcmp(kernel, "to_blocks") && next != device_memory.begin()) {
        from = std::prev(next)->first;
        memcpy(argument, &from, sizeof from);
    }
}

struct Register {
    Register() {
        foreign["ucopy_f32"] = copy;
        foreign["affine_f32"] = affine;
        if (getenv("COSHIFT_EMULATED_FAULT")) {
            spoil = without_offset;
        }
    }
} registered;

int handle;

} // namespace

API cublasCreate_v2(void **to) {
    *to = &handle;
    return SUCCESS;
}
API cublasDestroy_v2(void *) { return SUCCESS; }
API cublasSetStream_v2(void *, void *) { return SUCCESS; }
API curandCreateGenerator(void **to, int) {
    *to = &handle;
    return SUCCESS;
}
API curandDestroyGenerator(void *) { return SUCCESS; }
API curandSetStream(void *, void *) { return SUCCESS; }
API curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return SUCCESS; }
