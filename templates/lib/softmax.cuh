// The running softmax of one row, whose scores come a tile at a time.
//
// Scores are in units of log 2: e^x is 2^x of a score that was multiplied by log2(e) with the scale. What was summed
// under an earlier, smaller maximum is multiplied by `rescale`; tiles come in ascending order, so a row's bits depend
// on its own scores alone.

__device__ __forceinline__ float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

struct RunningSoftmax {
    float largest = -infinity();
    // This thread's part of the sum.
    float total = 0.0f;

    // Takes the largest score of the next tile; what was summed so far is to be multiplied by the result.
    //
    // While every score is -infinity the base is 0, so that none of them is taken from itself.
    __device__ __forceinline__ float meet(float tile_largest) {
        const float before = largest;
        largest = fmaxf(before, tile_largest);
        const float rescale = exp2_of(before - base());
        total = total * rescale;
        return rescale;
    }

    __device__ __forceinline__ float base() const { return largest == -infinity() ? 0.0f : largest; }

    // The weight of a score that is `score * factor`, and adds it to the sum.
    __device__ __forceinline__ float weigh(float score, float factor, float base) {
        const float weight = exp2_of(fmaf(score, factor, -base));
        total = total + weight;
        return weight;
    }
};

// Over kLanes neighbouring lanes.
template <int kLanes>
__device__ __forceinline__ float largest_of_lanes(float x) {
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2) { x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step)); }
    return x;
}

template <int kLanes>
__device__ __forceinline__ float sum_of_lanes(float x) {
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2) { x = x + __shfl_xor_sync(0xffffffffu, x, step); }
    return x;
}
