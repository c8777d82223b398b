// The rows of a sample as one row: a mean of them, their sum or maximum, the first or the last; then divided by its L2
// norm if asked.
//
// A block reads a sample's rows once. Its threads are kGroups groups of kLanes: a group takes every kGroups-th row,
// each lane one vector of columns, in ascending order; then the groups' results are put together in ascending order
// through shared memory, and written a vector at a time. The bits depend on the sample alone. Of no rows the sum is
// zero, the maximum minus infinity, and the means and the first and last row are NaN.
// Launch: one block a sample, kLanes * kGroups threads. Dynamic shared memory: the groups' vectors, and the pooled row
// where its norm is needed.

#include "lib/types.cuh"
#include "lib/overlap.cuh"
#include "lib/math.cuh"
#include "lib/reduce.cuh"
using Element = float;

constexpr int kWidth = 16;
constexpr float kEps = 1e-12f;
// Elements from one row to the next.
constexpr int kXStride = 16;
constexpr int kOutStride = 16;
constexpr int kVec = 4;
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
pool_mean_normalize_16_f32(Element* __restrict__ out, const Element* x, const int* __restrict__ offsets,
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
