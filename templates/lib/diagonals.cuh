// Products of rows with distances, in shared memory, from where each score picks its own along a diagonal (sm_90a).
//
// A tile of queries and one of keys, 64 rows each, have 127 distances. Slot s stands for the distance s - 64 more than
// that of the tiles' first rows, so the score of a query's row and a key's is in slot 64 + row - column of either.
// Products are sums of a warpgroup, as WarpTile has them: kSlots of the slots at a time.
//
// Eight slots of a row are a chunk. Four rows lie side by side in lines of 128 bytes, in an order that lets no access
// meet a bank twice: a store of the chunks of eight rows; a pick for eight queries and every other one of eight keys
// from the queries' rows, of which those that share banks have slots of different parity; and from the keys' rows, each
// of which has banks of its own and eight slots that follow each other.
//
// The distances of a tile of keys are two blocks of 64 and one to spare, the upper of which is the lower one of the
// tile before. So a step brings the rows of one block of each table (`near`: of the queries' term; `far`: of the
// keys'). Queries meet that block alone, since what they gave with the other is still there; new keys meet both.
//
// For 64 queries, 64 keys and d columns, of 4 * 64 * 64 * d FLOPs in all without them, the near term has
// 2 * 64 * 64 * d more, which is what it needs, and the far one twice that: half of what keys give is of queries before
// or after the tile, but warps of 16 rows with tiles of their own, which would waste a quarter, multiply at three
// fifths of the rate. Each table gives 128 d bytes of rows, by copies of the warpgroup's own threads, as rows are where
// the index says. The near term writes and reads 16 KiB each, the far one 18 and 16, which with the factors of the
// products makes shared memory the limit; in registers instead, every pick would be a shuffle or two, which is as much
// of the same. A warpgroup keeps 32 KiB of what queries give, 18 KiB of what keys give, and one block of the one table
// and two of the other.

constexpr int kSlots = 64;

__device__ __forceinline__ void store_pair(unsigned to, float first, float second) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(first), "f"(second) : "memory");
}

// Copies a head's rows of a block of distances, the first of them `first`, to a tile of panels, by a warpgroup. `index`
// has the row of each distance from -kReach to kReach; farther ones are taken as those. Columns past the first
// `columns` are zeros. Eight threads that follow each other fill 128 bytes of a panel, and so every bank once.
template <class Rows, int kStride, int kReach, class T>
__device__ __forceinline__ void fetch_block(unsigned tile, const T* __restrict__ table, const int* __restrict__ index,
                                            int first, int columns) {
    constexpr int kChunks = Rows::kPanelChunks;
    const int thread = threadIdx.x % 128;
#pragma unroll 2
    for (int row = thread / kChunks; row < kSlots; row += 128 / kChunks) {
        const int distance = min(max(first + row, -kReach), kReach);
        const T* source = table + (size_t)index[distance + kReach] * kStride;
#pragma unroll
        for (int panel = 0; panel < Rows::kCount; ++panel) {
            const int chunk = panel * kChunks + thread % kChunks;
            const bool valid = chunk * Rows::kPerChunk < columns;
            copy_async<16>(tile + Rows::offset(row, chunk), valid ? source + chunk * Rows::kPerChunk : table, valid);
        }
    }
}

// Bytes from a line's begin to the chunk of a row.
__device__ __forceinline__ unsigned place_in_line(unsigned row) {
    const unsigned place = (row % 2 * 2 + row / 2 % 2) ^ row / 4 % 2 * 2;
    return place * 32;
}

// What queries give, with all slots: those of one step serve the next too, which takes 64 from its slots. `flip` is
// what a step's chunks are exclusively or'ed with: 8 in every other step, so that what was stored in the lower slots is
// found in the upper ones.
struct NearProducts {
    static constexpr int kBytes = 16 * 16 * 128;

    // The products of slots first_chunk * 8 and on.
    template <class Products>
    static __device__ __forceinline__ void store(const Products& products, unsigned to, unsigned first_chunk) {
        const unsigned lane = threadIdx.x % 32;
        const unsigned row = threadIdx.x / 32 % 4 * 16 + lane / 4;
        const unsigned from = to + (row / 4 * 16 + first_chunk) * 128 + place_in_line(row) + lane % 4 * 8;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int n = 0; n < kSlots / 8; ++n) {
                const float(&sum)[4] = products.sum[0][n];
                store_pair(from + (i * 32 + n) * 128, sum[2 * i], sum[2 * i + 1]);
            }
        }
    }

    // Adds to the scores of this lane's queries what they give.
    template <class Scores>
    static __device__ __forceinline__ void add(Scores& scores, unsigned from, unsigned flip) {
        const unsigned lane = threadIdx.x % 32;
        const unsigned row = threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const unsigned slot = 64 + row - (lane % 4 * 2 + j);
            const unsigned line = from + row / 4 * 16 * 128 + place_in_line(row) + slot % 8 * 4;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
#pragma unroll
                for (int n = 0; n < kSlots / 8; ++n) {
                    const unsigned chunk = (slot / 8 + i - n) ^ flip;
                    float& score = scores.sum[0][n][2 * i + j];
                    score = score + __uint_as_float(load_word(line + i * 32 * 128 + chunk * 128));
                }
            }
        }
    }
};

// What keys give. A key's scores are in 64 slots, those of eight keys in nine chunks, and others are not stored.
struct FarProducts {
    static constexpr int kBytes = 16 * 9 * 128;

    // The products of the lower or the upper slots.
    template <bool kUpper, class Products>
    static __device__ __forceinline__ void store(const Products& products, unsigned to) {
        const unsigned lane = threadIdx.x % 32;
        const unsigned row = threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            // The same for all lanes.
            const int first = (int)(threadIdx.x / 32 % 4 * 2) + i - 7 + (kUpper ? 8 : 0);
            const unsigned from = to + ((row / 4 + 2 * i) * 9 + first) * 128 + place_in_line(row) + lane % 4 * 8;
#pragma unroll
            for (int n = 0; n < kSlots / 8; ++n) {
                const float(&sum)[4] = products.sum[0][n];
                if (kUpper ? first + n <= 8 : first + n >= 0) {
                    store_pair(from + n * 128, sum[2 * i], sum[2 * i + 1]);
                }
            }
        }
    }

    // Adds to the scores of this lane's queries what their keys give.
    template <class Scores>
    static __device__ __forceinline__ void add(Scores& scores, unsigned from) {
        const unsigned lane = threadIdx.x % 32;
        const unsigned row = threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const unsigned key = lane % 4 * 2 + j;
            const unsigned slot = 64 + row - key;
            const unsigned first = from + (key / 4 * 9 + slot / 8 - 7) * 128 + place_in_line(key) + slot % 8 * 4;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
#pragma unroll
                for (int n = 0; n < kSlots / 8; ++n) {
                    // Eight keys on are two groups of four, one chunk less, and a first chunk that is one less too.
                    float& score = scores.sum[0][n][2 * i + j];
                    score = score + __uint_as_float(load_word(first + (18 * n + i) * 128));
                }
            }
        }
    }
};

// What a warpgroup has of both terms, or of one: products, and tiles of 64 rows by distance. `begin` is a multiple of
// 1024. A step's lower slots are the upper ones of the next, so of the keys' term there are two blocks of rows, which
// take turns, and of the queries' one, whose products stay instead.
template <bool kNear, bool kFar, class Rows>
struct DistanceTerms {
    static constexpr int kFarAt = kNear ? NearProducts::kBytes : 0;
    static constexpr int kNearRowsAt = kFarAt + (kFar ? FarProducts::kBytes : 0);
    static constexpr int kFarRowsAt = kNearRowsAt + (kNear ? Rows::kBytes : 0);
    static constexpr int kBytes = kFarRowsAt + (kFar ? 2 * Rows::kBytes : 0);
    static_assert(Rows::kBytes <= NearProducts::kBytes, "the first step's rows fit where products go");

    unsigned near;

    __device__ __forceinline__ unsigned near_rows() const { return near + kNearRowsAt; }

    // The rows of a step's lower slots; with the step before, of its upper ones.
    __device__ __forceinline__ unsigned far_rows(int step) const {
        return near + kFarRowsAt + (step & 1) * Rows::kBytes;
    }

    // Where a step's products of the lower slots go, and what flips its chunks.
    static __device__ __forceinline__ unsigned near_chunk(int step) { return (step & 1) * 8; }

    template <class Products>
    __device__ __forceinline__ void store_near(const Products& products, int step) const {
        NearProducts::store(products, near, near_chunk(step));
    }

    // Begins what a step adds to its scores, whose registers it uses. Products of the scores may be asked for behind
    // it, and then it is to be finished.
    template <class Products, class Multiply>
    __device__ __forceinline__ void start(Products& products, Products& scores, unsigned queries, unsigned keys,
                                          int step, Multiply multiply) const {
        if constexpr (kNear) { multiply(products, queries, near_rows()); }
        if constexpr (kFar) {
            multiply(scores, keys, far_rows(step));
            if constexpr (kNear) {
                wait_for_products<1>();
                keep_in_place(products.sum[0]);
                store_near(products, step);
            }
            multiply(products, keys, far_rows(step - 1));
            wait_for_products<1>();
            keep_in_place(scores.sum[0]);
            FarProducts::store<false>(scores, near + kFarAt);
        }
    }

    template <class Products>
    __device__ __forceinline__ void finish(Products& products, int step) const {
        wait_for_products<1>();
        keep_in_place(products.sum[0]);
        if constexpr (kFar) {
            FarProducts::store<true>(products, near + kFarAt);
        } else {
            store_near(products, step);
        }
    }

    // Behind a barrier: all keys' products count.
    template <class Scores>
    __device__ __forceinline__ void add(Scores& scores, int step) const {
        if constexpr (kNear) { NearProducts::add(scores, near, near_chunk(step)); }
        if constexpr (kFar) { FarProducts::add(scores, near + kFarAt); }
    }
};
