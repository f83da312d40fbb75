// Runs the kernels on the host, for tests without a device: read before the sources by any C++17
// compiler on Linux.
//
// The blocks of a launch run one after another in an order drawn from a seed. The threads of a block
// are fibres; between two barriers they run one after another, whole, in an order drawn anew each
// time. Shared memory starts as NaN. Copies that run ahead happen when they are waited for, never
// before. So a missing barrier, a missing wait or a read of what nobody wrote gives wrong values in
// some order, where hardware would only sometimes. What is not modelled: threads that overtake each
// other between two barriers at the granularity of single reads, memory models.
//
// A float4 is read and written at multiples of 16 bytes, or the device traps. To be compiled with
// -fsanitize=alignment, which calls the function below where one is not; its library is not needed.
#pragma once
#define COSHIFT_EMULATED 1

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>

#define __device__
#define __host__

struct alignas(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct dim3 {
    unsigned x, y, z;
};

using std::max;
using std::min;

static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

enum Fault {
    DONE = 0,
    UNKNOWN_KERNEL = 1,
    BLOCK_SIZE = 2,
    // Some threads of a block ended where others wait at a barrier.
    BARRIER = 3,
    SHARED_MEMORY = 4,
    MEMORY = 5,
    // More copies on their way than a thread can have here, or copies nobody waited for.
    COPIES = 6,
    MISALIGNED = 7,
};

constexpr int MOST_THREADS = 1024;
constexpr size_t STACK = 64 * 1024;
constexpr size_t SHARED = 48 * 1024;
constexpr int MOST_COPIES = 512;

struct Copy {
    float *to;
    const float *from;
    bool valid;
    int group;
};

struct Fibre {
    ucontext_t context;
    jmp_buf place;
    bool started, ended;
    Copy copies[MOST_COPIES];
    int waiting, group;
};

struct Machine {
    Fibre fibres[MOST_THREADS];
    char *stacks;
    jmp_buf scheduler;
    ucontext_t first;
    int current;
    void (*body)(const void *);
    const void *args;
    uint64_t random;
    Fault fault;
    alignas(64) unsigned char shared[SHARED];
};

static thread_local Machine *machine;

// xorshift64*.
static inline uint32_t draw(uint32_t below) {
    uint64_t &x = machine->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return uint32_t((x * 2685821657736338717ull) >> 32) % below;
}

static inline void shuffle(unsigned *items, unsigned count) {
    for (unsigned i = count; i > 1; i--) {
        std::swap(items[i - 1], items[draw(i)]);
    }
}

// Back to the scheduler until this fibre's next turn. A call of its own, so that nothing of the
// kernel's is kept in registers across it.
__attribute__((noinline)) static void pause() {
    if (!_setjmp(machine->fibres[machine->current].place)) {
        _longjmp(machine->scheduler, 1);
    }
}

// A fibre runs one thread after another, for as long as the program lives.
static void live() {
    for (;;) {
        machine->body(machine->args);
        Fibre &own = machine->fibres[machine->current];
        own.ended = true;
        if (own.waiting) {
            machine->fault = COPIES;
        }
        pause();
    }
}

// Runs one fibre to its next barrier or end.
__attribute__((noinline)) static void turn(int index) {
    Machine &m = *machine;
    m.current = index;
    Fibre &fibre = m.fibres[index];
    threadIdx = {unsigned(index), 0, 0};
    if (_setjmp(m.scheduler)) {
        return;
    }
    if (fibre.started) {
        _longjmp(fibre.place, 1);
    }
    fibre.started = true;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = m.stacks + index * STACK;
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, live, 0);
    swapcontext(&m.first, &fibre.context);
}

static void run_block(unsigned threads) {
    Machine &m = *machine;
    memset(m.shared, 0xff, SHARED);
    unsigned order[MOST_THREADS];
    for (unsigned i = 0; i < threads; i++) {
        order[i] = i;
        m.fibres[i].ended = false;
        m.fibres[i].waiting = m.fibres[i].group = 0;
    }
    for (;;) {
        shuffle(order, threads);
        unsigned ended = 0;
        for (unsigned i = 0; i < threads; i++) {
            turn(int(order[i]));
            ended += m.fibres[order[i]].ended;
        }
        if (ended == threads || m.fault) {
            return;
        }
        if (ended) {
            // The fibres that wait would go on in the next block: they start anew.
            m.fault = BARRIER;
            return;
        }
    }
}

template <class T> T &shared() {
    static_assert(sizeof(T) <= SHARED, "more shared memory than every device has");
    return *reinterpret_cast<T *>(machine->shared);
}

struct Kernel {
    const char *name;
    unsigned threads;
    // Of its argument.
    size_t bytes;
    void (*body)(const void *);
    Kernel *next;
};
static Kernel *kernels;

struct Register {
    Kernel kernel;
    Register(const char *name, unsigned threads, size_t bytes, void (*body)(const void *))
        : kernel{name, threads, bytes, body, kernels} {
        kernels = &kernel;
    }
};

} // namespace emulated

#define COSHIFT_SHARED(type, name) type &name = emulated::shared<type>()
#define COSHIFT_KERNEL(name, Args, threads, run)                                                   \
    static emulated::Register name##_registered(                                                   \
        #name, threads, sizeof(Args), [](const void *args) { run(*static_cast<const Args *>(args)); });

// What the compiler calls before an access that is not aligned. Where no thread runs that is the
// emulation's own fault.
extern "C" __attribute__((used, visibility("hidden"))) void
__ubsan_handle_type_mismatch_v1(void *, void *) {
    if (!emulated::machine || !emulated::machine->body) {
        __builtin_trap();
    }
    emulated::machine->fault = emulated::MISALIGNED;
    // The thread ends here, as on a device.
    for (;;) {
        emulated::pause();
    }
}

static inline void __syncthreads() { emulated::pause(); }

static inline void copy_ahead(float *to, const float *from, bool valid) {
    emulated::Machine &m = *emulated::machine;
    emulated::Fibre &own = m.fibres[m.current];
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16) {
        m.fault = emulated::MISALIGNED;
    } else if (own.waiting == emulated::MOST_COPIES) {
        m.fault = emulated::COPIES;
    } else {
        own.copies[own.waiting++] = {to, from, valid, own.group};
    }
}

static inline void commit() {
    emulated::machine->fibres[emulated::machine->current].group++;
}

template <int N> static inline void wait() {
    emulated::Fibre &own = emulated::machine->fibres[emulated::machine->current];
    int left = 0;
    for (int i = 0; i < own.waiting; i++) {
        const emulated::Copy &copy = own.copies[i];
        if (copy.group >= own.group - N) {
            own.copies[left++] = copy;
        } else if (copy.valid) {
            memcpy(copy.to, copy.from, 16);
        } else {
            memset(copy.to, 0, 16);
        }
    }
    own.waiting = left;
}

// Runs a launch; 0, or an emulated::Fault. After a fault the calling thread's fibres are given up.
extern "C" __attribute__((visibility("default"))) int
coshift_emulate(const char *name, const unsigned *grid, unsigned threads, const void *args,
                uint64_t seed) {
    using namespace emulated;
    Kernel *kernel = kernels;
    while (kernel && strcmp(kernel->name, name)) {
        kernel = kernel->next;
    }
    if (!kernel) {
        return UNKNOWN_KERNEL;
    }
    if (threads == 0 || threads > kernel->threads || threads > MOST_THREADS) {
        return BLOCK_SIZE;
    }
    if (!machine) {
        void *place = mmap(nullptr, sizeof(Machine), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        void *stacks = mmap(nullptr, MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED || stacks == MAP_FAILED) {
            return MEMORY;
        }
        machine = static_cast<Machine *>(place);
        machine->stacks = static_cast<char *>(stacks);
    }
    machine->body = kernel->body;
    machine->args = args;
    machine->random = seed * 0x9e3779b97f4a7c15ull | 1;
    machine->fault = DONE;
    blockDim = {threads, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    const uint64_t blocks = uint64_t(grid[0]) * grid[1] * grid[2];
    // A stride without a factor of the number of blocks visits each once.
    uint64_t block = blocks ? draw(uint32_t(blocks)) : 0, stride = blocks > 2 ? blocks / 2 + 1 : 1;
    const auto common = [](uint64_t a, uint64_t b) {
        while (b) {
            a = std::exchange(b, a % b);
        }
        return a;
    };
    while (common(stride, blocks) != 1 && blocks > 1) {
        stride++;
    }
    int fault = DONE;
    for (uint64_t i = 0; i < blocks && !fault; i++, block = (block + stride) % blocks) {
        blockIdx = {unsigned(block % grid[0]), unsigned(block / grid[0] % grid[1]),
                    unsigned(block / grid[0] / grid[1])};
        run_block(threads);
        fault = machine->fault;
    }
    if (fault) {
        for (Fibre &fibre : machine->fibres) {
            fibre.started = false;
        }
    }
    machine->body = nullptr;
    return fault;
}
