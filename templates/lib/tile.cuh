// Tiles of rows in shared memory, filled by asynchronous copies.
//
// A row is a whole number of 16-byte chunks. Chunks are swizzled: eight rows that follow a multiple of eight keep their
// chunk of the same number in eight different groups of four banks. So ldmatrix, which reads one chunk of eight rows at
// a time, and copies, which write chunks in order, meet no bank conflict.

template <class T, int kRows, int kColumns>
struct Tile {
    static constexpr int kPerChunk = 16 / (int)sizeof(T);
    static constexpr int kChunks = kColumns / kPerChunk;
    static constexpr int kBytes = kRows * kChunks * 16;
    static_assert(kColumns % kPerChunk == 0, "rows are whole chunks");

    // The power of two up to 8 that divides a row's chunks; 8 / kPhases rows fill the banks between them.
    static constexpr int kPhases = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : kChunks % 2 == 0 ? 2 : 1;

    // Bytes from the tile's begin to a chunk.
    static __device__ __forceinline__ unsigned offset(unsigned row, unsigned chunk) {
        const unsigned flip = (row % 8) / (8 / kPhases);
        return (row * kChunks + (chunk ^ flip)) * 16;
    }

    // Copies `rows` rows of `columns` numbers and zeroes the rest; nothing past them is read.
    //
    // Rows lie kStride numbers apart. kMove bytes are moved at a time: they divide a row's bytes, and `from` and the
    // stride are aligned to them. Copies of 2 bytes are ordinary loads and stores, done when this returns.
    template <int kThreads, int kMove, int kStride>
    static __device__ __forceinline__ void fill(unsigned tile, const T* from, int rows, int columns) {
        constexpr int kMoves = kChunks * 16 / kMove;
        constexpr int kPerMove = kMove / (int)sizeof(T);
        constexpr int kSteps = (kRows * kMoves + kThreads - 1) / kThreads;
        constexpr bool kEven = kThreads % kMoves == 0;
        const unsigned thread = threadIdx.x;
#pragma unroll(kMove < 16 ? 4 : kSteps)
        for (int i = 0; i < kSteps; ++i) {
            const unsigned at = thread + i * kThreads;
            const unsigned row = kEven ? thread / kMoves + i * (kThreads / kMoves) : at / kMoves;
            const unsigned move = kEven ? thread % kMoves : at % kMoves;
            if (kRows * kMoves % kThreads != 0 && row >= kRows) { break; }
            const unsigned to = tile + offset(row, move * kMove / 16) + move * kMove % 16;
            const bool valid = (int)row < rows && (int)(move * kPerMove) < columns;
            const T* source = from + (size_t)row * kStride + move * kPerMove;
            if constexpr (kMove >= 4) {
                copy_async<kMove>(to, source, valid);
            } else {
                store_half(to, valid ? source->bits : (unsigned short)0);
            }
        }
    }
};
