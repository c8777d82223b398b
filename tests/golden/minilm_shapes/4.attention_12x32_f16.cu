// softmax(scale * q k^T) v for each sample and head, over the sample's own rows, on mma.sync.
//
// A block has kTileQueries queries of one sample and head; a warp has 16 of them. Keys and values come kTileKeys at a
// time, in ascending order, through two pairs of tiles in shared memory: the copies of the next run beside the
// arithmetic of this one. The softmax is a running one in f32, and scores and weights stay in registers.
// Nothing past a sample's end is read: those rows of a tile are zeros, and their scores are -infinity. So a NaN in
// another sample never arrives, be it by 0 * NaN. Columns past the head's are zeros too.
//
// `tiles` holds for each block along x a sample and the first of its queries, counted in the sample; a sample of -1 is
// no work. Offsets hold the row at which each sample begins, and at last the count of rows.
// Launch: a block for each tile and, along y, head; kTileQueries / 16 warps.

#include "lib/types.cuh"
#include "lib/overlap.cuh"
#include "lib/shared.cuh"
#include "lib/copy.cuh"
#include "lib/tile.cuh"
#include "lib/mma.cuh"
#include "lib/warp_tile.cuh"
#include "lib/softmax.cuh"
#include "lib/weights.cuh"
using Element = f16;

constexpr int kHeadSize = 32;
// The scale times log2(e).
constexpr float kFactor = 0.25503486f;
// Elements from one row to the next.
constexpr int kQStride = 1152;
constexpr int kKStride = 1152;
constexpr int kVStride = 1152;
constexpr int kOutStride = 384;
// Bytes that one copy or store moves: the most that a head's place and size allow.
constexpr int kQMove = 16;
constexpr int kKMove = 16;
constexpr int kVMove = 16;
constexpr int kOutMove = 16;
constexpr int kTileQueries = 64;
constexpr int kTileKeys = 64;

constexpr int kThreads = kTileQueries / 16 * 32;
constexpr int kColumns = (kHeadSize + 15) / 16 * 16;

using Queries = Tile<Element, kTileQueries, kColumns>;
using Keys = Tile<Element, kTileKeys, kColumns>;

extern "C" __global__ void __launch_bounds__(kThreads, 1)
attention_12x32_f16(Element* __restrict__ out, const Element* q, const Element* k,
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
    const auto fetch = [&](int key, int stage) {
        Keys::fill<kThreads, kKMove, kKStride>(key_tile(stage), k + (size_t)key * kKStride, keys - key, kHeadSize);
        Keys::fill<kThreads, kVMove, kVStride>(value_tile(stage), v + (size_t)key * kVStride, keys - key, kHeadSize);
    };
    Queries::fill<kThreads, kQMove, kQStride>(shared, q, queries, kHeadSize);
    fetch(0, 0);
    commit_copies();

    const int lane = threadIdx.x % 32;
    const int warp_row = threadIdx.x / 32 * 16;
    RunningSoftmax rows[2];
    WarpTile<Element, 16, kColumns> sums;
    sums.clear();
    int stage = 0;
#pragma unroll 1
    for (int key = 0; key < keys; key += kTileKeys) {
        wait_for_copies<0>();
        // Shows the copies of all threads, and that all are done with the stage that is filled next.
        __syncthreads();
        if (key + kTileKeys < keys) { fetch(key + kTileKeys, stage ^ 1); }
        commit_copies();
        if (warp_row < queries) {
            WarpTile<Element, 16, kTileKeys> scores;
            scores.clear();
            scores.template add_product<Queries, Keys>(shared, key_tile(stage), warp_row, 0);
            if (keys - key < kTileKeys) {
                // A score that a negative factor would make +infinity is masked as well as any.
                const float none = kFactor < 0.0f ? infinity() : -infinity();
                scores.map(0, [&](float score, int column) { return column < keys - key ? score : none; });
            }
            float rescale[2];
            weigh_scores(scores, kFactor, rows, rescale);
            scale_rows(sums, rescale);
#pragma unroll
            for (int n = 0; n < kTileKeys / 16; ++n) {
                unsigned weights[4];
                pack_weights(weights, scores, n);
#pragma unroll
                for (int c = 0; c < kColumns / 16; ++c) {
                    unsigned values[4];
                    load_matrices_transposed(values,
                                             value_tile(stage) + Keys::offset(16 * n + lane % 16, 2 * c + lane / 16));
                    multiply<Element>(sums.sum[0][2 * c], weights, values[0], values[1]);
                    if (16 * c + 8 < kHeadSize) {
                        multiply<Element>(sums.sum[0][2 * c + 1], weights, values[2], values[3]);
                    }
                }
            }
        }
        stage ^= 1;
    }

    const float inverses[2] = {1.0f / sum_of_lanes<4>(rows[0].total), 1.0f / sum_of_lanes<4>(rows[1].total)};
    scale_rows(sums, inverses);
    wait_for_copies<0>();
    sums.template write<Queries, kThreads, kOutMove, kOutStride>(out, shared, warp_row, 0, queries, kHeadSize);
}
