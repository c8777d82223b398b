// LayerNorm of each row: out = (v - mean(v)) / sqrt(variance(v) + eps) * gamma + beta,
// where v is x, or x + residual.
//
// Each row is read once, held in registers as f32, and written once; gamma and beta come from the caches after the
// first rows. Statistics are f32 and take two passes over the registers.
// Launch: kThreads threads a row, kRowsPerBlock rows a block; a block of several warps has one row.

#include "lib/types.cuh"
#include "lib/overlap.cuh"
#include "lib/reduce.cuh"
#include "lib/row.cuh"
using Element = f16;

constexpr int kWidth = 384;
constexpr float kEps = 1e-12f;
// Elements from one row to the next.
constexpr int kXStride = 384;
constexpr int kResidualStride = 384;
constexpr int kOutStride = 384;
constexpr int kVec = 8;
constexpr int kThreads = 32;
constexpr int kRowsPerBlock = 4;

extern "C" __global__ void __launch_bounds__(kThreads * kRowsPerBlock, 1)
layer_norm_residual_384_f16(Element* __restrict__ out, const Element* x,
    const Element* residual,
    const Element* __restrict__ gamma, const Element* __restrict__ beta, const int* __restrict__ rows) {
    overlap_launches();
    const int row = blockIdx.x * kRowsPerBlock + threadIdx.x / kThreads;
    if (row >= *rows) { return; }
    Row<kWidth, kVec, kThreads> values;
    values.read(x + (size_t)row * kXStride);
    values.add(residual + (size_t)row * kResidualStride);
    values.layer_norm(gamma, beta, kEps);
    values.write(out + (size_t)row * kOutStride);
}
