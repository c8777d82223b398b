// The rows of a sample as one row: a mean of them, their sum or maximum, the first or the last; then divided by its L2
// norm if asked.
//
// A block reads a sample's rows once. Its threads are kGroups groups of kLanes: a group takes every kGroups-th row,
// each lane one vector of columns, in ascending order; then the groups' results are put together in ascending order
// through shared memory, and written a vector at a time. The bits depend on the sample alone. Of no rows the sum is
// zero, the maximum minus infinity, and the means and the first and last row are NaN.
// Launch: one block a sample, kLanes * kGroups threads. Dynamic shared memory: the groups' vectors, and the pooled row
// where its norm is needed.

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
// Functions of one and two floats: the epilogues of matrix products, and what generated elementwise kernels call.
//
// The functions of one float are the polynomials of the CPU's kernels, written with explicit fma and exact divisions
// and roots only. Both devices therefore give the same bits, and so does every fusion that calls them.

// x if it is no smaller than low, and NaN for NaN.
__device__ __forceinline__ float at_least(float x, float low) { return x < low ? low : x; }

// x if it is no larger than high, and NaN for NaN.
__device__ __forceinline__ float at_most(float x, float high) { return x > high ? high : x; }

// 2^n for n in -126..127.
__device__ __forceinline__ float power_of_two(int n) { return __uint_as_float((unsigned)(n + 127) << 23); }

// The part p of e^x = p * 2^n, between 0.7 and 1.5, for x in -105..90.
__device__ __forceinline__ float exponential_part(float x, int& n) {
    // Adding this rounds to the nearest integer and leaves it in the low bits.
    constexpr float kRound = 12582912.0f;
    const float rounded = fmaf(x, 1.4426950408889634f, kRound);
    n = __float_as_int(rounded) - __float_as_int(kRound);
    const float whole = rounded - kRound;
    // ln 2 in two parts: a product of the first with an integer below 2^12 is exact.
    const float r = fmaf(whole, -3.1946183e-5f, fmaf(whole, -0.69311523f, x));
    float p = 0.00019790263f;
    p = fmaf(p, r, 0.0013944762f);
    p = fmaf(p, r, 0.008333498f);
    p = fmaf(p, r, 0.041666295f);
    p = fmaf(p, r, 0.16666666f);
    p = fmaf(p, r, 0.5f);
    return fmaf(p, r * r, r) + 1.0f;
}

// e^x for x in -105..90, and NaN for NaN.
__device__ __forceinline__ float exponential_within(float x) {
    int n;
    const float p = exponential_part(x, n);
    // Two steps, so that subnormal results and the last power before infinity come out right.
    const int half = n >> 1;
    return p * power_of_two(half) * power_of_two(n - half);
}

// e^x for x <= 0 and NaN: past the bound it is 0 whatever x is.
__device__ __forceinline__ float exponential_below(float x) { return exponential_within(at_least(x, -105.0f)); }

// e^x for x >= 0 and NaN: past the bound it is infinity whatever x is.
__device__ __forceinline__ float exponential_above(float x) { return exponential_within(at_most(x, 90.0f)); }

// e^x: 0 at minus infinity, infinity past 88.72.
__device__ __forceinline__ float exponential(float x) { return exponential_below(at_most(x, 90.0f)); }

// The Gauss error function.
__device__ __forceinline__ float error_function(float x) {
    const float t = at_most(fabsf(x), 4.0f);
    const float s = t * t;
    float small = 8.345216e-5f;
    small = fmaf(small, s, -0.00081374357f);
    small = fmaf(small, s, 0.005200634f);
    small = fmaf(small, s, -0.02685927f);
    small = fmaf(small, s, 0.11283694f);
    small = fmaf(small, s, -0.37612635f);
    small = fmaf(small, s, 0.12837917f);
    small = fmaf(small, t, t);
    float large = 1.1259147e-5f;
    large = fmaf(large, t, -0.000323082f);
    large = fmaf(large, t, 0.0036435877f);
    large = fmaf(large, t, -0.023764446f);
    large = fmaf(large, t, 0.10623964f);
    large = fmaf(large, t, 0.63514966f);
    large = fmaf(large, t, 0.1286489f);
    // t is at most 4, and e^-18 has a power of two that is a normal number.
    int n;
    const float p = exponential_part(-fmaf(large, t, t), n);
    large = 1.0f - p * power_of_two(n);
    return copysignf(t < 0.93f ? small : large, x);
}

__device__ __forceinline__ float hyperbolic_tangent(float x) {
    const float t = fabsf(x);
    const float s = t * t;
    float small = -0.005717011f;
    small = fmaf(small, s, 0.020650554f);
    small = fmaf(small, s, -0.053743485f);
    small = fmaf(small, s, 0.13331491f);
    small = fmaf(small, s, -0.33333284f);
    small = fmaf(small * s, t, t);
    const float large = 1.0f - 2.0f / (exponential_above(t + t) + 1.0f);
    return copysignf(t < 0.625f ? small : large, x);
}

// 1 / (1 + e^-x)
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// x * sigmoid(x)
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }

// x/2 * (1 + erf(x / sqrt 2))
__device__ __forceinline__ float gelu_erf(float x) {
    return (0.5f * x) * (1.0f + error_function(x * 0.70710678118654752f));
}

// x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
__device__ __forceinline__ float gelu_tanh(float x) {
    const float cubed = x * x * x;
    return (0.5f * x) * (1.0f + hyperbolic_tangent(0.7978846f * fmaf(cubed, 0.044715f, x)));
}

// max(x, 0), NaN for NaN.
__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

// x * sigmoid(1.702 x)
__device__ __forceinline__ float quick_gelu(float x) { return x * sigmoid(1.702f * x); }

// max(x, 0)^2, NaN for NaN.
__device__ __forceinline__ float relu_squared(float x) {
    const float positive = relu(x);
    return positive * positive;
}

// min(max(x, 0), 6), NaN for NaN.
__device__ __forceinline__ float relu6(float x) {
    const float positive = relu(x);
    return positive > 6.0f ? 6.0f : positive;
}

// x where it is not negative, 0.01 x elsewhere.
__device__ __forceinline__ float leaky_relu(float x) { return x < 0.0f ? 0.01f * x : x; }

// x * tanh(ln(1 + e^x)): with e for e^x, the factor is e (e + 2) / (e (e + 2) + 2), which is 1 long before 20.
__device__ __forceinline__ float mish(float x) {
    const float e = exponential(x > 20.0f ? 20.0f : x);
    const float n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

__device__ __forceinline__ float negate(float x) { return -x; }

// 1 / sqrt(x)
__device__ __forceinline__ float reciprocal_root(float x) { return 1.0f / sqrtf(x); }

// The larger; NaN if either is. Of two zeros, the positive one.
__device__ __forceinline__ float larger(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

// The smaller; NaN if either is. Of two zeros, the negative one.
__device__ __forceinline__ float smaller(float a, float b) {
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
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
using Element = float;

constexpr int kWidth = 7;
constexpr float kEps = 1e-12f;
// Elements from one row to the next.
constexpr int kXStride = 7;
constexpr int kOutStride = 7;
constexpr int kVec = 1;
constexpr int kLanes = 32;
constexpr int kGroups = 16;
constexpr int kThreads = kLanes * kGroups;
constexpr int kColumns = kLanes * kVec;
// Columns of a chunk that a thread puts together and finishes.
constexpr int kPerThread = (kColumns + kThreads - 1) / kThreads;

// Numbers of one part of a group's vectors; the pad keeps the reads by column free of bank conflicts.
constexpr int kPitch = kLanes + 32 / kVec;

// What becomes of a column's numbers: the rows from `skip` to `take` of `count`, each number with its weight, put
// together from `none`, then finished.
struct PoolSum {
    static __device__ int skip(int) { return 0; }
    static __device__ int take(int count) { return count; }
    static __device__ float weighted(float x, int) { return x; }
    static __device__ float none() { return 0.0f; }
    static __device__ float combine(float a, float b) { return a + b; }
    static __device__ float finish(float total, int) { return total; }
};

struct PoolMean : PoolSum {
    static __device__ float finish(float total, int count) { return total / (float)count; }
};

struct PoolMeanSqrtLen : PoolSum {
    static __device__ float finish(float total, int count) { return total / sqrtf((float)count); }
};

// Row i, counted from 1, weighs i.
struct PoolWeightedMean : PoolSum {
    static __device__ float weighted(float x, int row) { return (float)(row + 1) * x; }
    static __device__ float finish(float total, int count) {
        return total / (0.5f * (float)count * ((float)count + 1.0f));
    }
};

struct PoolMax : PoolSum {
    static __device__ float none() { return __uint_as_float(0xff800000u); }
    static __device__ float combine(float a, float b) { return larger(a, b); }
};

// With one group only: the last number taken wins.
struct PoolCls : PoolSum {
    static __device__ int take(int count) { return count < 1 ? count : 1; }
    static __device__ float none() { return __uint_as_float(0x7fc00000u); }
    static __device__ float combine(float, float b) { return b; }
};

struct PoolLast : PoolCls {
    static __device__ int skip(int count) { return count < 1 ? 0 : count - 1; }
    static __device__ int take(int count) { return count; }
};

using Pooling = PoolMean;

// Writes a chunk of the output's row, a vector a thread, from the place of the first group's vectors. All threads come
// here, after each has put its columns there. A thread reads the place of its own vectors.
__device__ __forceinline__ void write_chunk(Element* __restrict__ out, const float* chunk_columns, int chunk) {
    __syncthreads();
    const int column = chunk + (int)threadIdx.x * kVec;
    if (threadIdx.x < kLanes && column < kWidth) {
        float v[kVec];
#pragma unroll
        for (int i = 0; i < kVec; ++i) { v[i] = chunk_columns[i * kPitch + threadIdx.x]; }
        if (kWidth % kVec == 0 || column + kVec <= kWidth) {
            store(out + column, v);
        } else {
            // The row's end cuts this vector.
#pragma unroll
            for (int i = 0; i < kVec; ++i) {
                if (column + i < kWidth) { out[column + i] = from_float<Element>(v[i]); }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
pool_mean_normalize_7_f32(Element* __restrict__ out, const Element* x, const int* __restrict__ offsets,
             const int* __restrict__ samples) {
    overlap_launches();
    const int sample = blockIdx.x;
    if (sample >= *samples) { return; }
    extern __shared__ __align__(16) float shared[];
    // [kGroups][kVec][kPitch]
    float* partial = shared;
    float* pooled = shared + kGroups * kVec * kPitch;
    float squares = 0.0f;
    const int lane = threadIdx.x % kLanes;
    const int group = threadIdx.x / kLanes;
    const int first = offsets[sample];
    const int count = offsets[sample + 1] - first;
    const int skip = Pooling::skip(count);
    const int take = Pooling::take(count);
    out += (size_t)sample * kOutStride;

    for (int chunk = 0; chunk < kWidth; chunk += kColumns) {
        const int column = chunk + lane * kVec;
        float total[kVec];
#pragma unroll
        for (int i = 0; i < kVec; ++i) { total[i] = Pooling::none(); }
        if (column + kVec <= kWidth) {
            for (int row = skip + group; row < take; row += kGroups) {
                float v[kVec];
                load(x + (size_t)(first + row) * kXStride + column, v);
#pragma unroll
                for (int i = 0; i < kVec; ++i) { total[i] = Pooling::combine(total[i], Pooling::weighted(v[i], row)); }
            }
        } else if (kWidth % kVec != 0 && column < kWidth) {
            // The row's end cuts this vector.
            for (int row = skip + group; row < take; row += kGroups) {
#pragma unroll
                for (int i = 0; i < kVec; ++i) {
                    if (column + i < kWidth) {
                        const float v = to_float(x[(size_t)(first + row) * kXStride + column + i]);
                        total[i] = Pooling::combine(total[i], Pooling::weighted(v, row));
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kVec; ++i) { partial[(group * kVec + i) * kPitch + lane] = total[i]; }
        __syncthreads();
        // From here on a thread has columns of its own.
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
            const int at = threadIdx.x + i * kThreads;
            if (at < kColumns && chunk + at < kWidth) {
                float result = partial[(at % kVec) * kPitch + at / kVec];
#pragma unroll
                for (int g = 1; g < kGroups; ++g) {
                    result = Pooling::combine(result, partial[(g * kVec + at % kVec) * kPitch + at / kVec]);
                }
                result = Pooling::finish(result, count);
                squares = fmaf(result, result, squares);
                pooled[chunk + at] = result;
            }
        }
        // The next chunk writes `partial` again.
        if (chunk + kColumns < kWidth) { __syncthreads(); }
    }
    const float root = sqrtf(reduce<kThreads, 0>(squares, Sum()));
    const float norm = root < kEps ? kEps : root;
    // Each thread reads what it wrote itself.
    for (int chunk = 0; chunk < kWidth; chunk += kColumns) {
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
            const int at = threadIdx.x + i * kThreads;
            if (at < kColumns && chunk + at < kWidth) {
                partial[(at % kVec) * kPitch + at / kVec] = pooled[chunk + at] / norm;
            }
        }
        write_chunk(out, partial, chunk);
        // The next chunk's columns are put where these are read.
        if (chunk + kColumns < kWidth) { __syncthreads(); }
    }
}
