// softmax(scale * q k^T) v for each sample and head, over the sample's own rows, in f32 on fma.
//
// As the kernel for f16 and bf16, with two differences. A warp has kWarpQueries queries and takes its products from
// shared memory in chunks of four. Its weights go through shared memory too, since the lane that has a score is not the
// one that needs its weight.
//
// `tiles` holds for each block along x a sample and the first of its queries, counted in the sample; a sample of -1 is
// no work. Offsets hold the row at which each sample begins, and at last the count of rows.
// Launch: a block for each tile and, along y, head; four warps, or two for 16 queries.

#include "lib/types.cuh"
#include "lib/overlap.cuh"
#include "lib/shared.cuh"
#include "lib/copy.cuh"
#include "lib/tile.cuh"
#include "lib/mma.cuh"
#include "lib/warp_tile.cuh"
#include "lib/softmax.cuh"
using Element = float;

constexpr int kHeadSize = 4;
// The scale times log2(e).
constexpr float kFactor = 0.7213475f;
// Elements from one row to the next.
constexpr int kQStride = 48;
constexpr int kKStride = 48;
constexpr int kVStride = 48;
constexpr int kOutStride = 16;
// Bytes that one copy or store moves: the most that a head's place and size allow.
constexpr int kQMove = 16;
constexpr int kKMove = 16;
constexpr int kVMove = 16;
constexpr int kOutMove = 16;
constexpr int kTileQueries = 64;
constexpr int kTileKeys = 32;

// Products by distance come eight columns at a time, so a warp has no fewer than eight queries.
constexpr int kThreads = kTileQueries < 32 ? 64 : 128;
constexpr int kWarpQueries = kTileQueries * 32 / kThreads;
// A lane has the columns 4 * (lane % 8) .. + 3 of every 32.
constexpr int kParts = (kHeadSize + 31) / 32;
constexpr int kColumns = kParts * 32;

using Queries = Tile<Element, kTileQueries, kColumns>;
using Keys = Tile<Element, kTileKeys, kColumns>;
using Scores = WarpTile<Element, kWarpQueries, kTileKeys>;

// Bytes from the begin of the weights to one of them. Chunks are swizzled so that neither a chunk of four rows nor
// eight keys of four rows meet in a bank.
__device__ __forceinline__ unsigned weight_offset(unsigned row, unsigned key) {
    constexpr unsigned kChunks = kTileKeys / 4;
    static_assert(kChunks == 2 || kChunks == 4 || kChunks == 8, "four rows fill the banks once, twice or in part");
    const unsigned flip = row / (8 / kChunks) % (kChunks / 2) * 2;
    return (row * kChunks + (key / 4 ^ flip)) * 16 + key % 4 * 4;
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
attention_4x4_f32(Element* __restrict__ out, const Element* q, const Element* k,
             const Element* v, const int2* __restrict__ tiles, const int* __restrict__ query_offsets,
             const int* __restrict__ key_offsets) {
    overlap_launches();
    extern __shared__ __align__(128) unsigned char shared_bytes[];
    const int2 tile = tiles[blockIdx.x];
    if (tile.x < 0) { return; }
    const int first_query = query_offsets[tile.x] + tile.y;
    const int queries = query_offsets[tile.x + 1] - first_query;
    const int first_key = key_offsets[tile.x];
    const int keys = key_offsets[tile.x + 1] - first_key;
    const int head = blockIdx.y * kHeadSize;
    q += (size_t)first_query * kQStride + head;
    k += (size_t)first_key * kKStride + head;
    v += (size_t)first_key * kVStride + head;
    out += (size_t)first_query * kOutStride + head;

    const unsigned shared = shared_address(shared_bytes);
    const auto key_tile = [&](int stage) { return shared + Queries::kBytes + stage * 2 * Keys::kBytes; };
    const auto value_tile = [&](int stage) { return key_tile(stage) + Keys::kBytes; };
    const unsigned weights = key_tile(2);
    const auto fetch = [&](int key, int stage) {
        Keys::fill<kThreads, kKMove, kKStride>(key_tile(stage), k + (size_t)key * kKStride, keys - key, kHeadSize);
        Keys::fill<kThreads, kVMove, kVStride>(value_tile(stage), v + (size_t)key * kVStride, keys - key, kHeadSize);
    };
    Queries::fill<kThreads, kQMove, kQStride>(shared, q, queries, kHeadSize);
    fetch(0, 0);
    commit_copies();

    const int lane = threadIdx.x % 32;
    const int warp_row = threadIdx.x / 32 * kWarpQueries;
    // A lane has the rows lane / 8, lane / 8 + 4, ..
    RunningSoftmax rows[Scores::kM];
    float sums[Scores::kM][kParts][4];
#pragma unroll
    for (int m = 0; m < Scores::kM; ++m) {
#pragma unroll
        for (int c = 0; c < kParts; ++c) {
#pragma unroll
            for (int i = 0; i < 4; ++i) { sums[m][c][i] = 0.0f; }
        }
    }
    int stage = 0;
#pragma unroll 1
    for (int key = 0; key < keys; key += kTileKeys) {
        wait_for_copies<0>();
        // Shows the copies of all threads, and that all are done with the stage that is filled next.
        __syncthreads();
        if (key + kTileKeys < keys) { fetch(key + kTileKeys, stage ^ 1); }
        commit_copies();
        if (warp_row < queries) {
            Scores scores;
            scores.clear();
            scores.template add_product<Queries, Keys>(shared, key_tile(stage), warp_row, 0);
            if (keys - key < kTileKeys) {
                const float none = kFactor < 0.0f ? infinity() : -infinity();
                scores.map(0, [&](float score, int column) { return column < keys - key ? score : none; });
            }
#pragma unroll
            for (int m = 0; m < Scores::kM; ++m) {
                float largest = -infinity();
#pragma unroll
                for (int n = 0; n < Scores::kN; ++n) {
                    largest = fmaxf(largest, kFactor < 0.0f ? -scores.sum[m][n] : scores.sum[m][n]);
                }
                const float rescale = rows[m].meet(largest_of_lanes<8>(largest) * fabsf(kFactor));
                const float base = rows[m].base();
#pragma unroll
                for (int n = 0; n < Scores::kN; ++n) {
                    const float weight = rows[m].weigh(scores.sum[m][n], kFactor, base);
                    store_word(weights + weight_offset(warp_row + 4 * m + lane / 8, 8 * n + lane % 8),
                               __float_as_uint(weight));
                }
#pragma unroll
                for (int c = 0; c < kParts; ++c) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) { sums[m][c][i] = sums[m][c][i] * rescale; }
                }
            }
            __syncwarp();
#pragma unroll 1
            for (int n = 0; n < kTileKeys; n += 4) {
                float left[Scores::kM][4];
#pragma unroll
                for (int m = 0; m < Scores::kM; ++m) {
                    load_chunk(left[m], weights + weight_offset(warp_row + 4 * m + lane / 8, n));
                }
#pragma unroll
                for (int j = 0; j < 4; ++j) {
#pragma unroll
                    for (int c = 0; c < kParts; ++c) {
                        float right[4];
                        load_chunk(right, value_tile(stage) + Keys::offset(n + j, 8 * c + lane % 8));
#pragma unroll
                        for (int m = 0; m < Scores::kM; ++m) {
#pragma unroll
                            for (int i = 0; i < 4; ++i) {
                                sums[m][c][i] = fmaf(left[m][j], right[i], sums[m][c][i]);
                            }
                        }
                    }
                }
            }
        }
        stage ^= 1;
    }

#pragma unroll
    for (int m = 0; m < Scores::kM; ++m) {
        const float inverse = 1.0f / sum_of_lanes<8>(rows[m].total);
        const int row = warp_row + 4 * m + lane / 8;
#pragma unroll
        for (int c = 0; c < kParts; ++c) {
            const int column = 32 * c + lane % 8 * 4;
#pragma unroll
            for (int i = 0; i < 4; ++i) { sums[m][c][i] = sums[m][c][i] * inverse; }
#pragma unroll
            for (int i = 0; i < 4; i += kOutMove / 4) {
                if (row < queries && column + i < kHeadSize) {
                    unsigned words[kOutMove / 4];
#pragma unroll
                    for (int j = 0; j < kOutMove / 4; ++j) { words[j] = __float_as_uint(sums[m][c][i + j]); }
                    write_words(out + (size_t)row * kOutStride + column + i, words);
                }
            }
        }
    }
}
