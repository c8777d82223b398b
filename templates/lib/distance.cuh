// Scores by place: what attention hides or adds depends on the distance of query and key, query row minus key row.

// score = f(score, row, column) for each score of a warp, whose rows are those of a block's tile from first_row on.
template <class T, int kRows, int kColumns, class F>
__device__ __forceinline__ void each_score(WarpTile<T, kRows, kColumns>& scores, int first_row, F f) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kRows / 16; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = first_row + 16 * m + i / 2 * 8 + lane / 4;
                scores.sum[m][n][i] = f(scores.sum[m][n][i], row, 8 * n + lane % 4 * 2 + i % 2);
            }
        }
    }
}

template <int kRows, int kColumns, class F>
__device__ __forceinline__ void each_score(WarpTile<float, kRows, kColumns>& scores, int first_row, F f) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kRows / 4; ++m) {
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            const int row = first_row + 4 * m + lane / 8;
            scores.sum[m][n] = f(scores.sum[m][n], row, 8 * n + lane % 8);
        }
    }
}

// A query sees the keys at most kBefore rows before its own and at most kAfter after it.
template <int kBefore, int kAfter>
struct Band {
    static __device__ __forceinline__ bool sees(int distance) { return distance <= kBefore && -distance <= kAfter; }

    // True if all distances from `least` to `most` are seen.
    static __device__ __forceinline__ bool open(int least, int most) { return most <= kBefore && -least <= kAfter; }
};

// Copies a head's numbers of kCount distances, the first of them `first`, of a table that begins at distance -reach and
// goes to reach; farther ones are taken as those.
template <int kThreads, int kCount, int kReach>
__device__ __forceinline__ void fetch_distances(unsigned to, const float* __restrict__ table, int first) {
#pragma unroll
    for (int at = threadIdx.x; at < kCount; at += kThreads) {
        const int distance = min(max(first + at, -kReach), kReach);
        copy_async<4>(to + at * 4, table + (distance + kReach), true);
    }
}

// Copies the rows that a table has for kRows distances, the first of them `first`, to a tile; `index` has the row of
// each distance from -kReach to kReach, and the table so many rows. Columns past the first `columns` are zeros.
template <class Rows, int kRows, int kThreads, int kMove, int kStride, int kReach, class T>
__device__ __forceinline__ void fetch_rows(unsigned tile, const T* __restrict__ table, const int* __restrict__ index,
                                           int first, int columns) {
    constexpr int kMoves = Rows::kChunks * 16 / kMove;
    constexpr int kPerMove = kMove / (int)sizeof(T);
#pragma unroll 2
    for (int at = threadIdx.x; at < kRows * kMoves; at += kThreads) {
        const int row = at / kMoves;
        const int move = at % kMoves;
        const int distance = min(max(first + row, -kReach), kReach);
        const T* source = table + (size_t)index[distance + kReach] * kStride + move * kPerMove;
        const unsigned to = tile + Rows::offset(row, move * kMove / 16) + move * kMove % 16;
        const bool valid = move * kPerMove < columns;
        if constexpr (kMove >= 4) {
            copy_async<kMove>(to, valid ? source : table, valid);
        } else {
            store_half(to, valid ? source->bits : (unsigned short)0);
        }
    }
}
