// Rows of a head in shared memory, as the copy engine brings them and products of warpgroups take them (sm_90a).
//
// The columns are cut into panels kSpan bytes wide, whose rows lie one after the other, swizzled by as many bytes: no
// product and no copy of them meets a bank twice. A tile begins at a multiple of 1024.

// Shows what this thread has written to shared memory to products; it comes before the barrier that they wait for.
__device__ __forceinline__ void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <int kRows, int kColumns, int kSpan>
struct Panels {
    static constexpr int kPerChunk = 8;
    static constexpr int kPanelBytes = kRows * kSpan;
    static constexpr int kPanelChunks = kSpan / 16;
    static constexpr int kCount = kColumns * 2 / kSpan;
    static constexpr int kBytes = kCount * kPanelBytes;
    static_assert(kSpan == 32 || kSpan == 64 || kSpan == 128, "swizzles are of 32, 64 or 128 bytes");
    static_assert(kColumns * 2 % kSpan == 0 && kRows % 64 == 0, "a tile is whole panels, each whole patterns");

    // Bytes from the tile's begin to 16 bytes of a row.
    static __device__ __forceinline__ unsigned offset(unsigned row, unsigned chunk) {
        constexpr unsigned kChunks = kPanelChunks;
        const unsigned flip = row * kSpan / 128 % kChunks;
        return chunk / kChunks * kPanelBytes + row * kSpan + ((chunk % kChunks) ^ flip) * 16;
    }

    // Brings rows of a head, from `row` of the matrix on, to a tile, by one thread; their bytes count on the barrier.
    static __device__ __forceinline__ void fetch(unsigned tile, const TensorMap& map, int head, int row,
                                                 unsigned barrier) {
#pragma unroll
        for (int panel = 0; panel < kCount; ++panel) {
            copy_box(tile + panel * kPanelBytes, map, panel * (kSpan / 2), head, row, barrier);
        }
    }

    // Zeroes the rows from `first` on, by one warp.
    static __device__ __forceinline__ void clear_from(unsigned tile, int first) {
        const int chunks = (kRows - first) * (kSpan / 16);
#pragma unroll
        for (int panel = 0; panel < kCount; ++panel) {
            const unsigned begin = tile + panel * kPanelBytes + first * kSpan;
#pragma unroll 1
            for (int chunk = threadIdx.x % 32; chunk < chunks; chunk += 32) { clear_chunk(begin + chunk * 16); }
        }
    }

    // The factor whose rows are the tile's, of columns 16 * step and on: products run along the rows.
    static __device__ __forceinline__ unsigned long long along(unsigned tile, int step) {
        return describe(tile + step * 32 / kSpan * kPanelBytes + step * 32 % kSpan, 16);
    }

    // The right factor whose rows are the tile's columns, of rows 16 * step and on: products run down the rows.
    static __device__ __forceinline__ unsigned long long down(unsigned tile, int step) {
        return describe(tile + step * 16 * kSpan, kPanelBytes);
    }

private:
    static __device__ __forceinline__ void copy_box(unsigned to, const TensorMap& map, int column, int head, int row,
                                                    unsigned barrier) {
        asm volatile(
            "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
            "[%1, {%2, %3, %4}], [%5];"
            :
            : "r"(to), "l"(&map), "r"(column), "r"(head), "r"(row), "r"(barrier)
            : "memory");
    }

    // `panels` is the distance from one panel to the next where a product runs down the rows; else it has no meaning.
    static __device__ __forceinline__ unsigned long long describe(unsigned address, unsigned panels) {
        constexpr unsigned long long kSwizzle = kSpan == 128 ? 1 : kSpan == 64 ? 2 : 3;
        constexpr unsigned long long kEightRows = 8 * kSpan / 16;
        return (unsigned long long)((address & 0x3FFFF) >> 4) | (unsigned long long)(panels / 16) << 16 |
               kEightRows << 32 | kSwizzle << 62;
    }

    static __device__ __forceinline__ void clear_chunk(unsigned to) {
        asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" ::"r"(to), "r"(0) : "memory");
    }
};

// Writes the first rows of a warpgroup's tile in shared memory, kWidth columns of each, by its threads: kMove bytes at
// a time, kStride elements from one row to the next.
template <class Rows, int kMove, int kStride, int kWidth, class T>
__device__ __forceinline__ void store_rows(T* out, unsigned tile, int count) {
    constexpr int kMoves = Rows::kChunks * 16 / kMove;
    constexpr int kCount = Rows::kBytes / kMove;
#pragma unroll 1
    for (int at = threadIdx.x % 128; at < kCount; at += 128) {
        const int row = at / kMoves;
        const int byte = at % kMoves * kMove;
        if (row < count && byte / 2 < kWidth) {
            move<kMove>(out + (size_t)row * kStride + byte / 2, tile + Rows::offset(row, byte / 16) + byte % 16);
        }
    }
}
