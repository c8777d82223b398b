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

// Storage types and vector access.
//
// Numbers are stored as float, f16 or bf16 and computed with as float. There are no CUDA headers at compile time, so
// the two short types are bit patterns that inline PTX converts.

struct f16 {
    unsigned short bits;
};

struct bf16 {
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }

__device__ __forceinline__ float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

// Rounds to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float x);

template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}

template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two numbers as one 32-bit word, the first in the low half.
template <class T>
__device__ __forceinline__ unsigned pack(float low, float high);

template <>
__device__ __forceinline__ unsigned pack<f16>(float low, float high) {
    unsigned y;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

template <>
__device__ __forceinline__ unsigned pack<bf16>(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// kCount numbers that one instruction moves: kCount is a power of two, and the whole is at most 16 bytes.
template <class T, int kCount>
struct __align__(sizeof(T) * kCount) Vector {
    T at[kCount];
};

// Reads kCount numbers as floats. `p` is aligned to all of them.
template <int kCount, class T>
__device__ __forceinline__ void load(const T* p, float (&x)[kCount]) {
    const Vector<T, kCount> v = *reinterpret_cast<const Vector<T, kCount>*>(p);
#pragma unroll
    for (int i = 0; i < kCount; ++i) { x[i] = to_float(v.at[i]); }
}

// Writes kCount numbers, rounded. `p` is aligned to all of them.
template <int kCount, class T>
__device__ __forceinline__ void store(T* p, const float (&x)[kCount]) {
    Vector<T, kCount> v;
#pragma unroll
    for (int i = 0; i < kCount; ++i) { v.at[i] = from_float<T>(x[i]); }
    *reinterpret_cast<Vector<T, kCount>*>(p) = v;
}
// Shared memory by address: what asynchronous copies write and ldmatrix reads.
//
// Every access says that it touches memory, so it stays on its side of barriers and waits.

__device__ __forceinline__ unsigned shared_address(const void* p) {
    return (unsigned)__cvta_generic_to_shared(p);
}

// Four floats.
__device__ __forceinline__ void load_chunk(float (&to)[4], unsigned address) {
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void store_word(unsigned to, unsigned word) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(word) : "memory");
}

__device__ __forceinline__ void store_half(unsigned to, unsigned short bits) {
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(to), "h"(bits) : "memory");
}

// Writes kCount words of global memory by one instruction, where the compiler would now and then split them. `to` is
// aligned to all of them.
template <int kCount>
__device__ __forceinline__ void write_words(void* to, const unsigned (&words)[kCount]) {
    static_assert(kCount == 1 || kCount == 2 || kCount == 4, "an instruction writes 4, 8 or 16 bytes");
    const size_t address = __cvta_generic_to_global(to);
    if constexpr (kCount == 4) {
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(words[0]), "r"(words[1]),
                     "r"(words[2]), "r"(words[3])
                     : "memory");
    } else if constexpr (kCount == 2) {
        asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(address), "r"(words[0]), "r"(words[1]) : "memory");
    } else {
        asm volatile("st.global.u32 [%0], %1;" ::"l"(address), "r"(words[0]) : "memory");
    }
}

// Moves kBytes from shared to global memory. Both sides are aligned to them.
template <int kBytes>
__device__ __forceinline__ void move(void* to, unsigned from) {
    if constexpr (kBytes >= 4) {
        unsigned words[kBytes / 4];
        if constexpr (kBytes == 16) {
            asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                         : "r"(from)
                         : "memory");
        } else if constexpr (kBytes == 8) {
            asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(words[0]), "=r"(words[1]) : "r"(from) : "memory");
        } else {
            asm volatile("ld.shared.u32 %0, [%1];" : "=r"(words[0]) : "r"(from) : "memory");
        }
        write_words(to, words);
    } else {
        unsigned short half;
        asm volatile("ld.shared.u16 %0, [%1];" : "=h"(half) : "r"(from) : "memory");
        *static_cast<unsigned short*>(to) = half;
    }
}
// Copies from global to shared memory that run beside the arithmetic (cp.async), in groups.
//
// A thread commits what it has asked for as a group and later waits until at most so many of its groups are under way.
// What arrived is visible to the thread itself; a barrier shows it to the block.

// Copies kBytes, or writes as many zeros and reads nothing if not `valid`. Both sides are aligned to kBytes.
template <int kBytes>
__device__ __forceinline__ void copy_async(unsigned to, const void* from, bool valid) {
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async moves 4, 8 or 16 bytes");
    const int bytes = valid ? kBytes : 0;
    if constexpr (kBytes == 16) {
        // Past the first level cache: a block reads these bytes once.
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes), "r"(bytes)
                     : "memory");
    }
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most kLeft of this thread's groups are under way.
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
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
    static __device__ __forceinline__ void fill(unsigned tile, const T* __restrict__ from, int rows, int columns) {
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
// The matrix instructions of a warp: ldmatrix, and mma m16n8k16 with f32 sums.

// Four 8x8 matrices of 16-bit numbers: lanes 8i .. 8i+7 give the addresses of matrix i's rows, and lane l gets numbers
// 2(l % 4) and 2(l % 4) + 1 of row l / 4 of each.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// The same of the matrices' transposes.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// sum += a * b. Lane l's sums are columns 2(l % 4) and 2(l % 4) + 1 of row l / 4, then the same of row l / 4 + 8.
template <class T>
__device__ __forceinline__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

template <>
__device__ __forceinline__ void multiply<f16>(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void multiply<bf16>(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// A warp's part of a product of two matrices whose tiles lie in shared memory: kRows x kColumns sums in registers.
//
// For f16 and bf16 on mma.sync; for float below, on fma. Sums are f32 and take their products in ascending order.

template <class T, int kRows, int kColumns>
struct WarpTile {
    static constexpr int kM = kRows / 16;
    static constexpr int kN = kColumns / 8;
    static_assert(kRows % 16 == 0 && kColumns % 16 == 0, "ldmatrix brings 16 rows at a time");

    float sum[kM][kN][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
            for (int n = 0; n < kN; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) { sum[m][n][i] = 0.0f; }
            }
        }
    }

    // sum += a * transpose(b), for this warp's rows of a and of b: the tiles' from first_row and first_column on.
    template <class A, class B>
    __device__ __forceinline__ void add_product(unsigned a, unsigned b, int first_row, int first_column) {
        const unsigned lane = threadIdx.x % 32;
#pragma unroll
        for (int k = 0; k < A::kChunks; k += 2) {
            unsigned left[kM][4];
            unsigned right[kN / 2][4];
#pragma unroll
            for (int m = 0; m < kM; ++m) {
                load_matrices(left[m], a + A::offset(first_row + 16 * m + lane % 16, k + lane / 16));
            }
#pragma unroll
            for (int n = 0; n < kN / 2; ++n) {
                const unsigned row = first_column + 16 * n + lane / 16 * 8 + lane % 8;
                load_matrices(right[n], b + B::offset(row, k + lane / 8 % 2));
            }
#pragma unroll
            for (int m = 0; m < kM; ++m) {
#pragma unroll
                for (int n = 0; n < kN; ++n) {
                    multiply<T>(sum[m][n], left[m], right[n / 2][n % 2 * 2], right[n / 2][n % 2 * 2 + 1]);
                }
            }
        }
    }

    // sum = f(sum, column)
    template <class F>
    __device__ __forceinline__ void map(int first_column, F f) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int column = first_column + 8 * n + lane % 4 * 2 + i;
#pragma unroll
                for (int m = 0; m < kM; ++m) {
                    sum[m][n][i] = f(sum[m][n][i], column);
                    sum[m][n][i + 2] = f(sum[m][n][i + 2], column);
                }
            }
        }
    }

    // Writes the first `rows` rows and `columns` columns of a block's tile, of which these sums are those from
    // first_row and first_column on. All of the block's threads come here, with no copies under way to `shared`: the
    // tile goes through it, as Whole, so that its rows are written whole, kMove bytes at a time.
    template <class Whole, int kThreads, int kMove, int kStride>
    __device__ __forceinline__ void write(T* __restrict__ out, unsigned shared, int first_row, int first_column,
                                          int rows, int columns) {
        constexpr int kMoves = Whole::kChunks * 16 / kMove;
        const unsigned lane = threadIdx.x % 32;
        __syncthreads();
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
            for (int n = 0; n < kN; ++n) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const unsigned row = first_row + 16 * m + 8 * half + lane / 4;
                    const float(&pair)[4] = sum[m][n];
                    store_word(shared + Whole::offset(row, first_column / 8 + n) + lane % 4 * 4,
                               pack<T>(pair[2 * half], pair[2 * half + 1]));
                }
            }
        }
        __syncthreads();
#pragma unroll 4
        for (unsigned at = threadIdx.x; at < Whole::kBytes / kMove; at += kThreads) {
            const unsigned row = at / kMoves;
            const unsigned byte = at % kMoves * kMove;
            if ((int)row < rows && (int)byte / 2 < columns) {
                move<kMove>(out + (size_t)row * kStride + byte / 2, shared + Whole::offset(row, byte / 16) + byte % 16);
            }
        }
    }
};

// Lane l has the rows l / 8, l / 8 + 4, .. and the columns l % 8, l % 8 + 8, ..: what a warp reads or writes at a time
// is whole sectors, and no two lanes' chunks meet in a bank.
template <int kRows, int kColumns>
struct WarpTile<float, kRows, kColumns> {
    static constexpr int kM = kRows / 4;
    static constexpr int kN = kColumns / 8;

    float sum[kM][kN];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
            for (int n = 0; n < kN; ++n) { sum[m][n] = 0.0f; }
        }
    }

    template <class A, class B>
    __device__ __forceinline__ void add_product(unsigned a, unsigned b, int first_row, int first_column) {
        const unsigned lane = threadIdx.x % 32;
#pragma unroll 1
        for (int k = 0; k < A::kChunks; ++k) {
            float right[kN][4];
#pragma unroll
            for (int n = 0; n < kN; ++n) {
                load_chunk(right[n], b + B::offset(first_column + 8 * n + lane % 8, k));
            }
#pragma unroll
            for (int m = 0; m < kM; ++m) {
                float left[4];
                load_chunk(left, a + A::offset(first_row + 4 * m + lane / 8, k));
#pragma unroll
                for (int i = 0; i < 4; ++i) {
#pragma unroll
                    for (int n = 0; n < kN; ++n) { sum[m][n] = fmaf(left[i], right[n][i], sum[m][n]); }
                }
            }
        }
    }

    template <class F>
    __device__ __forceinline__ void map(int first_column, F f) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
            const int column = first_column + 8 * n + lane % 8;
#pragma unroll
            for (int m = 0; m < kM; ++m) { sum[m][n] = f(sum[m][n], column); }
        }
    }

    // As above, but a row's sums go from eight lanes to a whole sector of global memory.
    template <class Whole, int kThreads, int kMove, int kStride>
    __device__ __forceinline__ void write(float* __restrict__ out, unsigned, int first_row, int first_column, int rows,
                                          int columns) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
            for (int n = 0; n < kN; ++n) {
                const int row = first_row + 4 * m + lane / 8;
                const int column = first_column + 8 * n + lane % 8;
                if (row < rows && column < columns) { out[(size_t)row * kStride + column] = sum[m][n]; }
            }
        }
    }
};
// The running softmax of one row, whose scores come a tile at a time.
//
// Scores are in units of log 2: e^x is 2^x of a score that was multiplied by log2(e) with the scale. What was summed
// under an earlier, smaller maximum is multiplied by `rescale`; tiles come in ascending order, so a row's bits depend
// on its own scores alone.

__device__ __forceinline__ float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

struct RunningSoftmax {
    float largest = -infinity();
    // This thread's part of the sum.
    float total = 0.0f;

    // Takes the largest score of the next tile; what was summed so far is to be multiplied by the result.
    //
    // While every score is -infinity the base is 0, so that none of them is taken from itself.
    __device__ __forceinline__ float meet(float tile_largest) {
        const float before = largest;
        largest = fmaxf(before, tile_largest);
        const float rescale = exp2_of(before - base());
        total = total * rescale;
        return rescale;
    }

    __device__ __forceinline__ float base() const { return largest == -infinity() ? 0.0f : largest; }

    // The weight of a score that is `score * factor`, and adds it to the sum.
    __device__ __forceinline__ float weigh(float score, float factor, float base) {
        const float weight = exp2_of(fmaf(score, factor, -base));
        total = total + weight;
        return weight;
    }
};

// Over kLanes neighbouring lanes.
template <int kLanes>
__device__ __forceinline__ float largest_of_lanes(float x) {
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2) { x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step)); }
    return x;
}

template <int kLanes>
__device__ __forceinline__ float sum_of_lanes(float x) {
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2) { x = x + __shfl_xor_sync(0xffffffffu, x, step); }
    return x;
}
using Element = f16;

constexpr int kHeadSize = 8;
// The scale times log2(e).
constexpr float kFactor = 0.5100697f;
// Elements from one row to the next.
constexpr int kQStride = 72;
constexpr int kKStride = 72;
constexpr int kVStride = 72;
constexpr int kOutStride = 24;
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
attention_3x8_f16(Element* __restrict__ out, const Element* __restrict__ q, const Element* __restrict__ k,
             const Element* __restrict__ v, const int2* __restrict__ tiles, const int* __restrict__ query_offsets,
             const int* __restrict__ key_offsets) {
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
    // A lane has two rows: lane / 4, and eight below.
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
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float largest = -infinity();
#pragma unroll
                for (int n = 0; n < kTileKeys / 8; ++n) {
#pragma unroll
                    for (int j = 2 * i; j < 2 * i + 2; ++j) {
                        const float score = scores.sum[0][n][j];
                        largest = fmaxf(largest, kFactor < 0.0f ? -score : score);
                    }
                }
                const float rescale = rows[i].meet(largest_of_lanes<4>(largest) * fabsf(kFactor));
                const float base = rows[i].base();
#pragma unroll
                for (int n = 0; n < kTileKeys / 8; ++n) {
#pragma unroll
                    for (int j = 2 * i; j < 2 * i + 2; ++j) {
                        scores.sum[0][n][j] = rows[i].weigh(scores.sum[0][n][j], kFactor, base);
                    }
                }
#pragma unroll
                for (int n = 0; n < kColumns / 8; ++n) {
                    sums.sum[0][n][2 * i] = sums.sum[0][n][2 * i] * rescale;
                    sums.sum[0][n][2 * i + 1] = sums.sum[0][n][2 * i + 1] * rescale;
                }
            }
            // Where a lane's scores lie in the sums of one product is where its weights lie on the left of the next.
#pragma unroll
            for (int n = 0; n < kTileKeys / 16; ++n) {
                const float(&low)[4] = scores.sum[0][2 * n];
                const float(&high)[4] = scores.sum[0][2 * n + 1];
                const unsigned weights[4] = {pack<Element>(low[0], low[1]), pack<Element>(low[2], low[3]),
                                             pack<Element>(high[0], high[1]), pack<Element>(high[2], high[3])};
#pragma unroll
                for (int c = 0; c < kColumns / 16; ++c) {
                    unsigned values[4];
                    load_matrices_transposed(values,
                                             value_tile(stage) + Keys::offset(16 * n + lane % 16, 2 * c + lane / 16));
                    multiply<Element>(sums.sum[0][2 * c], weights, values[0], values[1]);
                    multiply<Element>(sums.sum[0][2 * c + 1], weights, values[2], values[3]);
                }
            }
        }
        stage ^= 1;
    }

#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const float inverse = 1.0f / sum_of_lanes<4>(rows[i].total);
#pragma unroll
        for (int n = 0; n < kColumns / 8; ++n) {
            sums.sum[0][n][2 * i] = sums.sum[0][n][2 * i] * inverse;
            sums.sum[0][n][2 * i + 1] = sums.sum[0][n][2 * i + 1] * inverse;
        }
    }
    wait_for_copies<0>();
    sums.template write<Queries, kThreads, kOutMove, kOutStride>(out, shared, warp_row, 0, queries, kHeadSize);
}
