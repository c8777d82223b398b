// Sum of embedding tables' rows, in the tables' order, then LayerNorm if the model has one.
//
// A table's row comes from an id of the batch, or from the row's place in its own sample. Ids were checked against the
// tables when the batch was made. Each table row is read once and summed in registers as f32.
// Launch: kThreads threads a row, kRowsPerBlock rows a block; a block of several warps has one row.

// Storage types and vector access.
//
// Numbers are stored as float, f16 or bf16 and computed with as float. There are no CUDA headers at compile time, so
// the two short types are bit patterns that inline PTX converts.

struct f16 {
    unsigned short bits;
};

struct bf16 {
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }

__device__ __forceinline__ float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

// Rounds to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x);

template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}

template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two numbers as one 32-bit word, the first in the low half.
template <class T>
__device__ __forceinline__ unsigned pack(float low, float high);

template <>
__device__ __forceinline__ unsigned pack<f16>(float low, float high) {
    unsigned y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

template <>
__device__ __forceinline__ unsigned pack<bf16>(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// kCount numbers that one instruction moves: kCount is a power of two, and the whole is at most 16 bytes.
template <class T, int kCount>
struct __align__(sizeof(T) * kCount) Vector {
    T at[kCount];
};

// Reads kCount numbers as floats. `p` is aligned to all of them.
template <int kCount, class T>
__device__ __forceinline__ void load(const T* p, float (&x)[kCount]) {
    const Vector<T, kCount> v = *reinterpret_cast<const Vector<T, kCount>*>(p);
#pragma unroll
    for (int i = 0; i < kCount; ++i) { x[i] = to_float(v.at[i]); }
}

// Writes kCount numbers, rounded. `p` is aligned to all of them.
template <int kCount, class T>
__device__ __forceinline__ void store(T* p, const float (&x)[kCount]) {
    Vector<T, kCount> v;
#pragma unroll
    for (int i = 0; i < kCount; ++i) { v.at[i] = from_float<T>(x[i]); }
    *reinterpret_cast<Vector<T, kCount>*>(p) = v;
}
// How a launch overlaps with the one before it on the stream (programmatic dependent launch, from sm_90 on).
//
// A launch may begin as soon as all blocks of the one before have said so or ended. What that one and those before it
// write is there, and may be overwritten, only behind the wait: it ends when the launch before has ended and all that
// it wrote is visible. Every thread of every kernel waits, so no launch ends before those ahead of it. Before the wait
// come barriers in shared memory, the batch's tables, which were uploaded before the first launch began, and weights,
// which nobody writes.
//
// Pointers to what steps write are not __restrict__ where they are read: the compiler takes that for a promise that
// nothing changes while the kernel runs, moves reads before the wait, and reads through a cache that the wait does not
// clear. For architectures before sm_90 this is empty.

// Lets the next launch begin: it waits in its turn, so the earlier the better.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_launches_before() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// For kernels that have nothing to do before.
__device__ __forceinline__ void overlap_launches() {
    let_next_begin();
    wait_for_launches_before();
}
// Reductions over the threads of a row, in a tree that depends on their number alone.
//
// A row's threads are one warp, or a whole block of several warps. Every thread gets the same bits: a butterfly adds
// the same pairs on both sides, and floating point addition commutes.

struct Sum {
    // The result of no numbers.
    static __device__ __forceinline__ float none() { return 0.0f; }
    __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};

// Passes over NaN, as fmaxf does.
struct Largest {
    static __device__ __forceinline__ float none() { return __uint_as_float(0xff800000u); }
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <class Op>
__device__ __forceinline__ float reduce_warp(float x, Op op) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) { x = op(x, __shfl_xor_sync(0xffffffffu, x, step)); }
    return x;
}

// Over kThreads threads: 32, or the whole block. A block comes at most once to a reduction of one kPlace and Op, which
// has shared memory of its own: so nothing waits for the last reduction's readers.
template <int kThreads, int kPlace, class Op>
__device__ __forceinline__ float reduce(float x, Op op) {
    static_assert(kThreads % 32 == 0 && kThreads <= 1024, "whole warps, and at most a block");
    x = reduce_warp(x, op);
    if constexpr (kThreads > 32) {
        constexpr int kWarps = kThreads / 32;
        __shared__ float partial[kWarps];
        const int lane = threadIdx.x % 32;
        if (lane == 0) { partial[threadIdx.x / 32] = x; }
        __syncthreads();
        x = reduce_warp(lane < kWarps ? partial[lane] : Op::none(), op);
    }
    return x;
}
// One row of kWidth numbers, held in the registers of kThreads threads.
//
// Thread t holds the vectors t, t + kThreads, ..: neighbours read neighbouring vectors, and which thread holds a column
// depends on the width alone. Columns past the width are never read, written or computed with.

template <int kWidth, int kVec, int kThreads>
struct Row {
    static constexpr int kHeld = (kWidth + kVec * kThreads - 1) / (kVec * kThreads);
    static constexpr bool kWhole = kWidth % kVec == 0;

    float x[kHeld][kVec];

    static __device__ __forceinline__ int first_column(int held) {
        return (held * kThreads + (int)(threadIdx.x % kThreads)) * kVec;
    }

    // f(number, column) for each number that this thread holds.
    template <class F>
    __device__ __forceinline__ void each(F f) {
#pragma unroll
        for (int h = 0; h < kHeld; ++h) {
            const int column = first_column(h);
            // Of a row of whole vectors, a vector is there whole or not at all.
            if (kWhole && column >= kWidth) { continue; }
#pragma unroll
            for (int i = 0; i < kVec; ++i) {
                if (kWhole || column + i < kWidth) { f(x[h][i], column + i); }
            }
        }
    }

    // f(vector, first column) for each whole vector of the row that this thread holds, and g(number, column) for the
    // numbers of a vector that the row's end cuts.
    template <class F, class G>
    __device__ __forceinline__ void each_vector(F f, G g) {
#pragma unroll
        for (int h = 0; h < kHeld; ++h) {
            const int column = first_column(h);
            if (column + kVec <= kWidth) {
                f(x[h], column);
            } else if (!kWhole) {
#pragma unroll
                for (int i = 0; i < kVec; ++i) {
                    if (column + i < kWidth) { g(x[h][i], column + i); }
                }
            }
        }
    }

    template <class T>
    __device__ __forceinline__ void read(const T* row) {
        each_vector([&](float(&v)[kVec], int column) { load(row + column, v); },
                    [&](float& v, int column) { v = to_float(row[column]); });
    }

    // Adds another row's numbers to these.
    template <class T>
    __device__ __forceinline__ void add(const T* row) {
        each_vector(
            [&](float(&v)[kVec], int column) {
                float y[kVec];
                load(row + column, y);
#pragma unroll
                for (int i = 0; i < kVec; ++i) { v[i] = v[i] + y[i]; }
            },
            [&](float& v, int column) { v = v + to_float(row[column]); });
    }

    // Divides by the L2 norm, or by `eps` if that is larger.
    __device__ __forceinline__ void l2_normalize(float eps) {
        const float root = sqrtf(sum_of_squares());
        const float norm = root < eps ? eps : root;
        each([&](float& v, int) { v = v / norm; });
    }

    template <class T>
    __device__ __forceinline__ void write(T* __restrict__ row) {
        each_vector([&](float(&v)[kVec], int column) { store(row + column, v); },
                    [&](float& v, int column) { row[column] = from_float<T>(v); });
    }

    __device__ __forceinline__ float sum() {
        float total = 0.0f;
        each([&](float& v, int) { total = total + v; });
        return reduce<kThreads, 0>(total, Sum());
    }

    __device__ __forceinline__ float sum_of_squares() {
        float total = 0.0f;
        each([&](float& v, int) { total = fmaf(v, v, total); });
        return reduce<kThreads, 1>(total, Sum());
    }

    // NaNs are passed over.
    __device__ __forceinline__ float largest() {
        float largest = Largest::none();
        each([&](float& v, int) { largest = fmaxf(largest, v); });
        return reduce<kThreads, 0>(largest, Largest());
    }

    // Mean and variance in two passes, then gamma and beta.
    template <class T>
    __device__ __forceinline__ void layer_norm(const T* __restrict__ gamma, const T* __restrict__ beta, float eps) {
        const float mean = sum() / (float)kWidth;
        each([&](float& v, int) { v = v - mean; });
        const float variance = sum_of_squares() / (float)kWidth;
        const float scale = 1.0f / sqrtf(variance + eps);
        each_vector(
            [&](float(&v)[kVec], int column) {
                float g[kVec], b[kVec];
                load(gamma + column, g);
                load(beta + column, b);
#pragma unroll
                for (int i = 0; i < kVec; ++i) { v[i] = fmaf(v[i] * scale, g[i], b[i]); }
            },
            [&](float& v, int column) { v = fmaf(v * scale, to_float(gamma[column]), to_float(beta[column])); });
    }
};
using Element = bf16;

constexpr int kWidth = 384;
constexpr float kEps = 1e-12f;
// Elements from one row of the output to the next; tables are dense.
constexpr int kOutStride = 384;
constexpr int kVec = 8;
constexpr int kThreads = 32;
constexpr int kRowsPerBlock = 4;

extern "C" __global__ void __launch_bounds__(kThreads * kRowsPerBlock, 1)
embed_3_layer_norm_384_bf16(Element* __restrict__ out,
    const Element* __restrict__ table0,
    const int* __restrict__ ids0,
    const Element* __restrict__ table1,
    const Element* __restrict__ table2,
    const int* __restrict__ ids2,
    const Element* __restrict__ gamma, const Element* __restrict__ beta,
    const int* __restrict__ positions,
    const int* __restrict__ rows) {
    overlap_launches();
    const int row = blockIdx.x * kRowsPerBlock + threadIdx.x / kThreads;
    if (row >= *rows) { return; }
    Row<kWidth, kVec, kThreads> values;
    values.read(table0 + (size_t)ids0[row] * kWidth);
    values.add(table1 + (size_t)(positions[row] + 0) * kWidth);
    values.add(table2 + (size_t)ids2[row] * kWidth);
    values.layer_norm(gamma, beta, kEps);
    values.write(out + (size_t)row * kOutStride);
}
