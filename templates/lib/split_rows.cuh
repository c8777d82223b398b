// Rows whose columns are divided among the blocks of a cluster, and their LayerNorm (sm_90).
//
// A warp has sixteen rows of a block's columns as products leave them: of every eight columns a lane has two
// neighbours, of the rows lane / 4 and lane / 4 + 8. The last block's columns end with the row.
//
// Each block takes the mean of its own columns of a row, and the sum of the squares of their distances to that; so
// neither cancels. The blocks send each other both, once, and put them together in the order of their ranks:
//   mean = sum_b sum_b / width,  squares = sum_b (squares_b + columns_b * (sum_b / columns_b - mean)^2).
// All orders depend on the width and on the blocks alone. A row never meets another.

template <int kWidth, int kBlocks, int kColumns, int kWarps>
struct SplitRows {
    static constexpr int kLast = kWidth - (kBlocks - 1) * kColumns;
    static_assert(kBlocks <= 4, "each of the four lanes of a row sends to one block");
    static_assert(kLast > 0 && kLast <= kColumns, "every block has columns");
    static_assert(kColumns % 8 == 0 && kLast % 8 == 0, "eight columns are there whole or not at all");
    static constexpr bool kEven = kLast == kColumns;
    static constexpr int kWords = kColumns / 8;

    // What a warp gets from each block for a tile: sum and squares of sixteen rows.
    static constexpr int kPartBytes = 16 * 2 * 4;
    // Tiles have two places and barriers by turns: a block that sends for a tile has what all others sent for the one
    // before, and they sent that when they had read what was sent for the one before that.
    static constexpr int kPartsBytes = kBlocks > 1 ? 2 * kBlocks * kWarps * kPartBytes : 0;
    static constexpr int kBarrierBytes = kBlocks > 1 ? 2 * kWarps * 8 : 0;

    unsigned parts;
    unsigned came;
    int rank;
    int warp;
    int turn = 0;
    unsigned parity = 0;

    __device__ __forceinline__ SplitRows(unsigned parts, unsigned barriers, int rank, int warp)
        : parts(parts), came(barriers), rank(rank), warp(warp) {}

    // By one thread, before the blocks meet.
    static __device__ __forceinline__ void init_barriers(unsigned barriers) {
#pragma unroll
        for (int at = 0; at < kBarrierBytes; at += 8) { init_barrier(barriers + at, kBlocks); }
    }

    // The columns of a block, and whether this one has those from a multiple of eight on.
    static __device__ __forceinline__ int columns_of(int block) { return block == kBlocks - 1 ? kLast : kColumns; }
    __device__ __forceinline__ bool has(int column) const {
        return kEven || column < kLast || rank != kBlocks - 1;
    }

    // Normalises the rows: y = (v - mean) / sqrt(variance + eps) * gamma + beta. The vectors begin with this block's
    // first column.
    template <class T>
    __device__ __forceinline__ void layer_norm(float (&v)[kColumns / 2], const T* __restrict__ gamma,
                                               const T* __restrict__ beta, float eps) {
        const float count = (float)columns_of(rank);
        const float top = sum<0>(v);
        const float bottom = sum<2>(v);
        float row[4] = {top, squares<0>(v, top / count), bottom, squares<2>(v, bottom / count)};
        put_together(row);
        const float scale[2] = {1.0f / sqrtf(row[1] / (float)kWidth + eps), 1.0f / sqrtf(row[3] / (float)kWidth + eps)};
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int n = 0; n < kWords; ++n) {
            if (!has(n * 8)) { continue; }
            float g[2], b[2];
            load(gamma + n * 8 + lane % 4 * 2, g);
            load(beta + n * 8 + lane % 4 * 2, b);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                v[4 * n + i] = fmaf((v[4 * n + i] - row[i / 2 * 2]) * scale[i / 2], g[i % 2], b[i % 2]);
            }
        }
    }

private:
    // Over the four lanes that share a row; each gets the same bits.
    static __device__ __forceinline__ float over_row(float x) {
        x = x + __shfl_xor_sync(0xffffffffu, x, 1);
        return x + __shfl_xor_sync(0xffffffffu, x, 2);
    }

    // Of the row at kFirst among four numbers: even and odd columns apart, so that one sum does not wait for the other.
    template <int kFirst>
    __device__ __forceinline__ float sum(const float (&v)[kColumns / 2]) const {
        float even = 0.0f, odd = 0.0f;
#pragma unroll
        for (int n = 0; n < kWords; ++n) {
            if (!has(n * 8)) { continue; }
            even = even + v[4 * n + kFirst];
            odd = odd + v[4 * n + kFirst + 1];
        }
        return over_row(even + odd);
    }

    template <int kFirst>
    __device__ __forceinline__ float squares(const float (&v)[kColumns / 2], float mean) const {
        float even = 0.0f, odd = 0.0f;
#pragma unroll
        for (int n = 0; n < kWords; ++n) {
            if (!has(n * 8)) { continue; }
            const float left = v[4 * n + kFirst] - mean;
            const float right = v[4 * n + kFirst + 1] - mean;
            even = fmaf(left, left, even);
            odd = fmaf(right, right, odd);
        }
        return over_row(even + odd);
    }

    __device__ __forceinline__ unsigned place(int block, int lane) const {
        return parts + ((turn * kBlocks + block) * kWarps + warp) * kPartBytes + lane / 4 * 16;
    }

    // Of two rows this block's sum and squares become their mean and all squares.
    __device__ __forceinline__ void put_together(float (&row)[4]) {
        if constexpr (kBlocks == 1) {
            row[0] = row[0] / (float)kWidth;
            row[2] = row[2] / (float)kWidth;
        } else {
            const int lane = threadIdx.x % 32;
            if (lane % 4 < kBlocks) { store_in_block(place(rank, lane), lane % 4, row); }
            __syncwarp();
            const unsigned barrier = came + (turn * kWarps + warp) * 8;
            if (lane < kBlocks) { arrive_in_block(barrier, lane); }
            wait_for_cluster(barrier, parity);
            float part[kBlocks][4];
            row[0] = 0.0f;
            row[2] = 0.0f;
#pragma unroll
            for (int block = 0; block < kBlocks; ++block) {
                load_chunk(part[block], place(block, lane));
                row[0] = row[0] + part[block][0];
                row[2] = row[2] + part[block][2];
            }
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                row[i] = row[i] / (float)kWidth;
                row[i + 1] = 0.0f;
#pragma unroll
                for (int block = 0; block < kBlocks; ++block) {
                    const float count = (float)columns_of(block);
                    const float apart = part[block][i] / count - row[i];
                    row[i + 1] = row[i + 1] + fmaf(count * apart, apart, part[block][i + 1]);
                }
            }
            turn ^= 1;
            if (turn == 0) { parity ^= 1; }
        }
    }
};
