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
