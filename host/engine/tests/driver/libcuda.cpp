// As much of the CUDA driver as the engine uses, for machines without a GPU: memory is the host's,
// kernels run as emulation.h does it. Compiled as libcuda.so by tests/cuda_device.rs; candle.cpp has
// what candle uses beside it.
//
// What a stream is given is done when somebody waits for it, not before, and in its order: a call that
// reads results too early, or changes what is still to be copied, finds wrong values. Memory starts as
// NaN. During a capture everything but a launch is an error, as are copies beyond an allocation.
#include "emulation.h"

#include "kernels.cu"

#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

namespace {

// As cuda.h numbers them.
enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, LAUNCH_FAILED = 719, IN_CAPTURE = 900 };

using Time = std::chrono::steady_clock::time_point;

// What a kernel of somebody else's does: reads its arguments at once, and gives what is to be done.
using Foreign = std::function<int()> (*)(void **arguments);
std::map<std::string, Foreign> foreign;

struct Function {
    emulated::Kernel *kernel;
    Foreign other;
};

struct Launch {
    emulated::Kernel *kernel;
    unsigned grid[3], threads;
    std::vector<char> argument;
};

struct Graph {
    std::vector<Launch> launches;
};

struct Stream {
    bool capturing = false;
    Graph captured;
    std::deque<std::function<int()>> todo;
};

struct Event {
    Time time;
};

std::map<uintptr_t, size_t> device_memory, host_memory;
Stream *only;
// Times that a caller waited for a stream.
uint64_t waits;
uint64_t seed = 1;
thread_local void *current;
int context;

bool within(const std::map<uintptr_t, size_t> &memory, uintptr_t at, size_t bytes) {
    auto next = memory.upper_bound(at);
    if (next == memory.begin()) {
        return false;
    }
    --next;
    return at + bytes <= next->first + next->second;
}

int allocate(std::map<uintptr_t, size_t> &memory, void **to, size_t bytes) {
    if (bytes == 0 || (only && only->capturing)) {
        return bytes ? IN_CAPTURE : INVALID;
    }
    *to = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!*to) {
        return OUT_OF_MEMORY;
    }
    memset(*to, 0xff, bytes);
    memory[uintptr_t(*to)] = bytes;
    return SUCCESS;
}

// The stream of a handle: 2 is each thread's own, of which there is one.
Stream *stream_of(void *handle) {
    if (uintptr_t(handle) != 2) {
        return static_cast<Stream *>(handle);
    }
    static Stream of_thread;
    return only = &of_thread;
}

int finish(Stream *stream) {
    if (stream->capturing) {
        return IN_CAPTURE;
    }
    waits++;
    while (!stream->todo.empty()) {
        auto next = std::move(stream->todo.front());
        stream->todo.pop_front();
        if (const int fault = next()) {
            return fault;
        }
    }
    return SUCCESS;
}

int later(Stream *stream, std::function<int()> work) {
    if (stream->capturing) {
        return IN_CAPTURE;
    }
    stream->todo.push_back(std::move(work));
    return SUCCESS;
}

// A fault that a test asks for: changes the argument of a launch.
void (*spoil)(const char *kernel, char *argument);

int run(const Launch &launch) {
    const int outcome = coshift_emulate(launch.kernel->name, launch.grid, launch.threads,
                                      launch.argument.data(), seed++);
    return outcome ? LAUNCH_FAILED : SUCCESS;
}

} // namespace

API cuInit(unsigned) { return SUCCESS; }
API cuDeviceGet(int *device, int ordinal) {
    *device = 0;
    return ordinal == 0 ? SUCCESS : 101;
}
API cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}
API cuDeviceGetName(char *name, int, int) {
    strcpy(name, "the host, emulated");
    return SUCCESS;
}
API cuDeviceGetAttribute(int *value, int attribute, int) {
    // Multiprocessors, of which the tiles depend, as many as an Orin's or a test's; capability; memory
    // pools where a test wants them; what else is asked: none.
    const char *wanted = getenv("COSHIFT_EMULATED_MULTIPROCESSORS");
    const int processors = wanted ? atoi(wanted) : 16;
    const bool pools = attribute == 115 && getenv("COSHIFT_EMULATED_POOLS");
    *value = attribute == 16 ? processors : attribute == 75 ? 8 : attribute == 76 ? 7 : pools;
    return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void **to, int) {
    *to = &context;
    return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API cuCtxGetCurrent(void **to) {
    *to = current;
    return SUCCESS;
}
API cuCtxSetCurrent(void *to) {
    current = to;
    return SUCCESS;
}
API cuCtxSynchronize() { return only ? finish(only) : SUCCESS; }

API cuModuleLoadData(void **module, const void *image) {
    // None for this device: what a driver says of an empty file, too.
    if (getenv("COSHIFT_EMULATED_REFUSES")) {
        return 209;
    }
    // The number that a file of machine code for devices begins with; or text, which a driver compiles.
    *module = &context;
    const bool text = foreign.size() && !strncmp(static_cast<const char *>(image), "//", 2);
    return text || *static_cast<const uint32_t *>(image) == 0xba55ed50 ? SUCCESS : 200;
}
API cuModuleUnload(void *) { return SUCCESS; }
API cuModuleGetFunction(void **function, void *, const char *name) {
    // For the life of the process, as the kernels are.
    static std::map<std::string, Function> functions;
    emulated::Kernel *kernel = emulated::kernels;
    while (kernel && strcmp(kernel->name, name)) {
        kernel = kernel->next;
    }
    const auto other = foreign.find(name);
    if (!kernel && other == foreign.end()) {
        return NOT_FOUND;
    }
    *function = &(functions[name] = {kernel, kernel ? nullptr : other->second});
    return SUCCESS;
}

API cuStreamCreate(void **to, unsigned) {
    *to = only = new Stream;
    return SUCCESS;
}
API cuStreamDestroy_v2(void *stream) {
    const int fault = finish(stream_of(stream));
    only = nullptr;
    delete stream_of(stream);
    return fault;
}
API cuStreamSynchronize(void *stream) { return finish(stream_of(stream)); }
// One stream: what it waits for is done.
API cuStreamWaitEvent(void *stream, void *, unsigned) {
    return stream_of(stream)->capturing ? IN_CAPTURE : SUCCESS;
}
API cuStreamBeginCapture_v2(void *stream, int) {
    Stream *s = stream_of(stream);
    if (s->capturing) {
        return IN_CAPTURE;
    }
    s->capturing = true;
    s->captured = {};
    return SUCCESS;
}
API cuStreamEndCapture(void *stream, void **graph) {
    Stream *s = stream_of(stream);
    s->capturing = false;
    *graph = new Graph(std::move(s->captured));
    return SUCCESS;
}
API cuGraphInstantiateWithFlags(void **to, void *graph, unsigned long long) {
    *to = new Graph(*static_cast<Graph *>(graph));
    return SUCCESS;
}
API cuGraphUpload(void *, void *) { return SUCCESS; }
API cuGraphDestroy(void *graph) {
    delete static_cast<Graph *>(graph);
    return SUCCESS;
}
API cuGraphExecDestroy(void *graph) {
    delete static_cast<Graph *>(graph);
    return SUCCESS;
}
API cuGraphLaunch(void *graph, void *stream) {
    const Graph *g = static_cast<Graph *>(graph);
    return later(stream_of(stream), [g] {
        for (const Launch &launch : g->launches) {
            if (const int fault = run(launch)) {
                return fault;
            }
        }
        return int(SUCCESS);
    });
}
API cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned high,
                   unsigned deep, unsigned shared, void *stream, void **arguments, void **) {
    emulated::Kernel *kernel = static_cast<Function *>(function)->kernel;
    if (!kernel) {
        return later(stream_of(stream), static_cast<Function *>(function)->other(arguments));
    }
    if (high != 1 || deep != 1 || shared != 0 || threads > kernel->threads || !x || !y || !z ||
        y > 65535 || z > 65535) {
        return INVALID;
    }
    const char *bytes = static_cast<const char *>(arguments[0]);
    Launch launch = {kernel, {x, y, z}, threads, {bytes, bytes + kernel->bytes}};
    if (spoil) {
        spoil(kernel->name, launch.argument.data());
    }
    Stream *s = stream_of(stream);
    if (s->capturing) {
        s->captured.launches.push_back(launch);
        return SUCCESS;
    }
    return later(s, [launch] { return run(launch); });
}

API cuMemAlloc_v2(void **to, size_t bytes) { return allocate(device_memory, to, bytes); }
API cuMemHostAlloc(void **to, size_t bytes, unsigned) { return allocate(host_memory, to, bytes); }
API cuMemAllocAsync(void **to, size_t bytes, void *) { return allocate(device_memory, to, bytes); }
API cuMemFreeAsync(void *at, void *stream) {
    return later(stream_of(stream), [at] {
        const auto place = device_memory.find(uintptr_t(at));
        if (place == device_memory.end()) {
            return int(INVALID);
        }
        device_memory.erase(place);
        free(at);
        return int(SUCCESS);
    });
}
API cuMemFree_v2(void *at) {
    const int fault = only ? finish(only) : SUCCESS;
    device_memory.erase(uintptr_t(at));
    free(at);
    return fault;
}
API cuMemFreeHost(void *at) {
    const int fault = only ? finish(only) : SUCCESS;
    host_memory.erase(uintptr_t(at));
    free(at);
    return fault;
}
API cuMemsetD8Async(void *at, unsigned char value, size_t bytes, void *stream) {
    if (!within(device_memory, uintptr_t(at), bytes)) {
        return INVALID;
    }
    return later(stream_of(stream), [=] {
        memset(at, value, bytes);
        return int(SUCCESS);
    });
}
API cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    if (!within(device_memory, uintptr_t(to), bytes)) {
        return INVALID;
    }
    const char *source = static_cast<const char *>(from);
    // Memory that is not pinned is read at once.
    if (!within(host_memory, uintptr_t(from), bytes)) {
        const std::vector<char> values(source, source + bytes);
        return later(stream_of(stream), [=] {
            memcpy(to, values.data(), bytes);
            return int(SUCCESS);
        });
    }
    return later(stream_of(stream), [=] {
        memcpy(to, source, bytes);
        return int(SUCCESS);
    });
}
API cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    Stream *s = stream_of(stream);
    if (!within(device_memory, uintptr_t(from), bytes)) {
        return INVALID;
    }
    const int fault = later(s, [=] {
        memcpy(to, from, bytes);
        return int(SUCCESS);
    });
    // Memory that is not pinned is waited for.
    return fault || within(host_memory, uintptr_t(to), bytes) ? fault : finish(s);
}

API cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    if (!within(device_memory, uintptr_t(to), bytes) || !within(device_memory, uintptr_t(from), bytes)) {
        return INVALID;
    }
    return later(stream_of(stream), [=] {
        memmove(to, from, bytes);
        return int(SUCCESS);
    });
}

API cuEventCreate(void **to, unsigned) {
    *to = new Event{};
    return SUCCESS;
}
API cuEventDestroy_v2(void *event) {
    // Nobody waits for that; what still records it comes first.
    const auto destroy = [event] {
        delete static_cast<Event *>(event);
        return int(SUCCESS);
    };
    return only && !only->capturing ? later(only, destroy) : destroy();
}
API cuEventRecord(void *event, void *stream) {
    return later(stream_of(stream), [event] {
        static_cast<Event *>(event)->time = std::chrono::steady_clock::now();
        return int(SUCCESS);
    });
}
API cuEventSynchronize(void *) { return only ? finish(only) : SUCCESS; }
API cuEventQuery(void *) { return only ? finish(only) : SUCCESS; }
API cuEventElapsedTime(float *ms, void *start, void *end) {
    const auto time = static_cast<Event *>(end)->time - static_cast<Event *>(start)->time;
    *ms = std::chrono::duration<float, std::milli>(time).count();
    return SUCCESS;
}
API cuEventElapsedTime_v2(float *ms, void *start, void *end) {
    return cuEventElapsedTime(ms, start, end);
}
API cuGetErrorName(int, const char **name) {
    *name = "an error";
    return SUCCESS;
}
API cuGetErrorString(int, const char **name) {
    *name = "an error";
    return SUCCESS;
}
extern "C" __attribute__((visibility("default"))) uint64_t coshift_waits() { return waits; }
