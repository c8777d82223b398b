// out[row, n] = f(sum_k x[row, k] * weight[n, k] + bias[n]), for packed rows.
//
// A block makes a tile of kTileRows x kTileColumns. Tiles of x and of the weight, kTileK columns of each at a time,
// come through a ring of kStages pairs in shared memory: the copies of later pairs run beside the arithmetic of one.
// Each element has one f32 sum that takes its products in ascending k, so its bits depend neither on the other rows,
// nor on the tile's shape. The bias and the functions work on the sums in registers.
// Rows past the count are neither read nor written: their place in a tile is zeros.
//
// Launch: a block for each tile, along x those of the same rows, which find each other's x in the cache; and
// kWarpRows * kWarpColumns warps. Dynamic shared memory: the ring.

#include "lib/types.cuh"
#include "lib/overlap.cuh"
#include "lib/math.cuh"
#include "lib/shared.cuh"
#include "lib/copy.cuh"
#include "lib/tile.cuh"
#include "lib/mma.cuh"
#include "lib/warp_tile.cuh"
using Element = bf16;

constexpr int kN = 48;
constexpr int kK = 16;
// Elements from one row to the next.
constexpr int kXStride = 16;
constexpr int kWeightStride = 16;
constexpr int kOutStride = 48;
// Bytes that one copy or store moves: the most that a row's place and length allow.
constexpr int kXMove = 16;
constexpr int kWeightMove = 16;
constexpr int kOutMove = 16;
constexpr int kTileRows = 64;
constexpr int kTileColumns = 48;
constexpr int kTileK = 32;
constexpr int kWarpRows = 4;
constexpr int kWarpColumns = 1;
constexpr int kStages = 2;

constexpr int kThreads = kWarpRows * kWarpColumns * 32;
constexpr int kSteps = (kK + kTileK - 1) / kTileK;

using Left = Tile<Element, kTileRows, kTileK>;
using Right = Tile<Element, kTileColumns, kTileK>;
using Result = Tile<Element, kTileRows, kTileColumns>;
using Sums = WarpTile<Element, kTileRows / kWarpRows, kTileColumns / kWarpColumns>;
static_assert(sizeof(Element) == 4 || Result::kBytes <= kStages * (Left::kBytes + Right::kBytes),
              "the result goes through the ring's memory");

__device__ __forceinline__ float epilogue(float y) {
    return y;
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
linear_48x16_bias_bf16(Element* __restrict__ out, const Element* x, const Element* __restrict__ weight,
             const Element* __restrict__ bias,
             const int* __restrict__ rows) {
    overlap_launches();
    extern __shared__ __align__(128) unsigned char ring[];
    const int first_row = blockIdx.y * kTileRows;
    const int first_column = blockIdx.x * kTileColumns;
    const int rows_here = *rows - first_row;
    const int columns_here = kN - first_column;
    if (rows_here <= 0) { return; }
    x += (size_t)first_row * kXStride;
    weight += (size_t)first_column * kWeightStride;
    out += (size_t)first_row * kOutStride + first_column;

    const unsigned shared = shared_address(ring);
    const auto left = [&](int stage) { return shared + stage * (Left::kBytes + Right::kBytes); };
    const auto right = [&](int stage) { return left(stage) + Left::kBytes; };
    // Every step commits a group, be it an empty one: so many groups under way are so many stages.
    const auto fetch = [&](int step, int stage) {
        if (step < kSteps) {
            const int k = step * kTileK;
            const int k_here = kK % kTileK == 0 ? kTileK : kK - k;
            Left::fill<kThreads, kXMove, kXStride>(left(stage), x + k, rows_here, k_here);
            Right::fill<kThreads, kWeightMove, kWeightStride>(right(stage), weight + k, columns_here, k_here);
        }
        commit_copies();
    };
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) { fetch(stage, stage); }

    const int warp = threadIdx.x / 32;
    const int warp_row = warp / kWarpColumns * (kTileRows / kWarpRows);
    const int warp_column = warp % kWarpColumns * (kTileColumns / kWarpColumns);
    Sums sums;
    sums.clear();
    int stage = 0;
    int next = kStages - 1;
#pragma unroll 1
    for (int step = 0; step < kSteps; ++step) {
        wait_for_copies<kStages - 2>();
        // Shows the copies of all threads, and that all are done with the stage that is filled next.
        __syncthreads();
        fetch(step + kStages - 1, next);
        sums.template add_product<Left, Right>(left(stage), right(stage), warp_row, warp_column);
        stage = stage + 1 == kStages ? 0 : stage + 1;
        next = next + 1 == kStages ? 0 : next + 1;
    }

    sums.map(warp_column, [&](float y, int column) {
        y = y + to_float(bias[min(first_column + column, kN - 1)]);
        return epilogue(y);
    });
    // The last steps' groups are empty, and the loop has waited for all others.
    sums.template write<Result, kThreads, kOutMove, kOutStride>(out, shared, warp_row, warp_column, rows_here,
                                                                columns_here);
}
