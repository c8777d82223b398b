// Copies of boxes of matrices from global to shared memory, by the copy engine (sm_90).

// What the host says of a matrix: where it lies, its extents and stride, the box that a copy takes, and how the box
// lies in shared memory. The host makes it; its bits are the driver's.
struct __align__(64) TensorMap {
    unsigned long long bits[16];
};

// Copies the box whose first element is in this column and row. Elements outside of the matrix arrive as zeros. The
// box's bytes count on the barrier.
__device__ __forceinline__ void copy_box(unsigned to, const TensorMap& map, int column, int row, unsigned barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
        :
        : "r"(to), "l"(&map), "r"(column), "r"(row), "r"(barrier)
        : "memory");
}

__device__ __forceinline__ void prefetch_map(const TensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
