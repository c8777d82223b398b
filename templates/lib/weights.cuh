// The running softmax of a warp's scores on the tensor cores: 16 queries, and a tile of keys at a time.
//
// A lane has two rows: lane / 4, and eight below.

// Makes weights of the scores of the next tile, which are `score * factor`; what was summed so far is to be multiplied
// by `rescale`.
template <class T, int kKeys>
__device__ __forceinline__ void weigh_scores(WarpTile<T, 16, kKeys>& scores, float factor, RunningSoftmax (&rows)[2],
                                             float (&rescale)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        float largest = -infinity();
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int j = 2 * i; j < 2 * i + 2; ++j) {
                const float score = scores.sum[0][n][j];
                largest = fmaxf(largest, factor < 0.0f ? -score : score);
            }
        }
        rescale[i] = rows[i].meet(largest_of_lanes<4>(largest) * fabsf(factor));
        const float base = rows[i].base();
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int j = 2 * i; j < 2 * i + 2; ++j) {
                scores.sum[0][n][j] = rows[i].weigh(scores.sum[0][n][j], factor, base);
            }
        }
    }
}

// Multiplies the sums of both rows by a factor of each.
template <class T, int kColumns>
__device__ __forceinline__ void scale_rows(WarpTile<T, 16, kColumns>& sums, const float (&factors)[2]) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 4; ++j) { sums.sum[0][n][j] = sums.sum[0][n][j] * factors[j / 2]; }
    }
}

// The weights of keys 16 * n and on: where a lane's scores lie in the sums of one product is where its weights lie on
// the left of the next.
template <class T, int kKeys>
__device__ __forceinline__ void pack_weights(unsigned (&weights)[4], const WarpTile<T, 16, kKeys>& scores, int n) {
    const float(&low)[4] = scores.sum[0][2 * n];
    const float(&high)[4] = scores.sum[0][2 * n + 1];
    weights[0] = pack<T>(low[0], low[1]);
    weights[1] = pack<T>(low[2], low[3]);
    weights[2] = pack<T>(high[0], high[1]);
    weights[3] = pack<T>(high[2], high[3]);
}
