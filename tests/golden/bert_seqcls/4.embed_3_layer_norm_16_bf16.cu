// Sum of embedding tables' rows, in the tables' order, then LayerNorm if the model has one.
//
// A table's row comes from an id of the batch, or from the row's place in its own sample. Ids were checked against the
// tables when the batch was made. Each table row is read once and summed in registers as f32.
// Launch: kThreads threads a row, kRowsPerBlock rows a block; a block of several warps has one row.

#include "lib/types.cuh"
#include "lib/overlap.cuh"
#include "lib/reduce.cuh"
#include "lib/row.cuh"
using Element = bf16;

constexpr int kWidth = 16;
constexpr float kEps = 1e-12f;
// Elements from one row of the output to the next; tables are dense.
constexpr int kOutStride = 16;
constexpr int kVec = 8;
constexpr int kThreads = 32;
constexpr int kRowsPerBlock = 4;

extern "C" __global__ void __launch_bounds__(kThreads * kRowsPerBlock, 1)
embed_3_layer_norm_16_bf16(Element* __restrict__ out,
    const Element* __restrict__ table0,
    const int* __restrict__ ids0,
    const Element* __restrict__ table1,
    const int* __restrict__ ids1,
    const Element* __restrict__ table2,
    const Element* __restrict__ gamma, const Element* __restrict__ beta,
    const int* __restrict__ positions,
    const int* __restrict__ rows) {
    overlap_launches();
    const int row = blockIdx.x * kRowsPerBlock + threadIdx.x / kThreads;
    if (row >= *rows) { return; }
    Row<kWidth, kVec, kThreads> values;
    values.read(table0 + (size_t)ids0[row] * kWidth);
    values.add(table1 + (size_t)ids1[row] * kWidth);
    values.add(table2 + (size_t)(positions[row] + 0) * kWidth);
    values.layer_norm(gamma, beta, kEps);
    values.write(out + (size_t)row * kOutStride);
}
