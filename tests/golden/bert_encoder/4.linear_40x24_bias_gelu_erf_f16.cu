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
// Functions of one and two floats: the epilogues of matrix products, and what generated elementwise kernels call.
//
// The functions of one float are the polynomials of the CPU's kernels, written with explicit fma and exact divisions
// and roots only. Both devices therefore give the same bits, and so does every fusion that calls them.

// x if it is no smaller than low, and NaN for NaN.
__device__ __forceinline__ float at_least(float x, float low) { return x < low ? low : x; }

// x if it is no larger than high, and NaN for NaN.
__device__ __forceinline__ float at_most(float x, float high) { return x > high ? high : x; }

// 2^n for n in -126..127.
__device__ __forceinline__ float power_of_two(int n) { return __uint_as_float((unsigned)(n + 127) << 23); }

// The part p of e^x = p * 2^n, between 0.7 and 1.5, for x in -105..90.
__device__ __forceinline__ float exponential_part(float x, int& n) {
    // Adding this rounds to the nearest integer and leaves it in the low bits.
    constexpr float kRound = 12582912.0f;
    const float rounded = fmaf(x, 1.4426950408889634f, kRound);
    n = __float_as_int(rounded) - __float_as_int(kRound);
    const float whole = rounded - kRound;
    // ln 2 in two parts: a product of the first with an integer below 2^12 is exact.
    const float r = fmaf(whole, -3.1946183e-5f, fmaf(whole, -0.69311523f, x));
    float p = 0.00019790263f;
    p = fmaf(p, r, 0.0013944762f);
    p = fmaf(p, r, 0.008333498f);
    p = fmaf(p, r, 0.041666295f);
    p = fmaf(p, r, 0.16666666f);
    p = fmaf(p, r, 0.5f);
    return fmaf(p, r * r, r) + 1.0f;
}

// e^x for x in -105..90, and NaN for NaN.
__device__ __forceinline__ float exponential_within(float x) {
    int n;
    const float p = exponential_part(x, n);
    // Two steps, so that subnormal results and the last power before infinity come out right.
    const int half = n >> 1;
    return p * power_of_two(half) * power_of_two(n - half);
}

// e^x for x <= 0 and NaN: past the bound it is 0 whatever x is.
__device__ __forceinline__ float exponential_below(float x) { return exponential_within(at_least(x, -105.0f)); }

// e^x for x >= 0 and NaN: past the bound it is infinity whatever x is.
__device__ __forceinline__ float exponential_above(float x) { return exponential_within(at_most(x, 90.0f)); }

// e^x: 0 at minus infinity, infinity past 88.72.
__device__ __forceinline__ float exponential(float x) { return exponential_below(at_most(x, 90.0f)); }

// The Gauss error function.
__device__ __forceinline__ float error_function(float x) {
    const float t = at_most(fabsf(x), 4.0f);
    const float s = t * t;
    float small = 8.345216e-5f;
    small = fmaf(small, s, -0.00081374357f);
    small = fmaf(small, s, 0.005200634f);
    small = fmaf(small, s, -0.02685927f);
    small = fmaf(small, s, 0.11283694f);
    small = fmaf(small, s, -0.37612635f);
    small = fmaf(small, s, 0.12837917f);
    small = fmaf(small, t, t);
    float large = 1.1259147e-5f;
    large = fmaf(large, t, -0.000323082f);
    large = fmaf(large, t, 0.0036435877f);
    large = fmaf(large, t, -0.023764446f);
    large = fmaf(large, t, 0.10623964f);
    large = fmaf(large, t, 0.63514966f);
    large = fmaf(large, t, 0.1286489f);
    // t is at most 4, and e^-18 has a power of two that is a normal number.
    int n;
    const float p = exponential_part(-fmaf(large, t, t), n);
    large = 1.0f - p * power_of_two(n);
    return copysignf(t < 0.93f ? small : large, x);
}

__device__ __forceinline__ float hyperbolic_tangent(float x) {
    const float t = fabsf(x);
    const float s = t * t;
    float small = -0.005717011f;
    small = fmaf(small, s, 0.020650554f);
    small = fmaf(small, s, -0.053743485f);
    small = fmaf(small, s, 0.13331491f);
    small = fmaf(small, s, -0.33333284f);
    small = fmaf(small * s, t, t);
    const float large = 1.0f - 2.0f / (exponential_above(t + t) + 1.0f);
    return copysignf(t < 0.625f ? small : large, x);
}

// 1 / (1 + e^-x)
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// x * sigmoid(x)
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }

// x/2 * (1 + erf(x / sqrt 2))
__device__ __forceinline__ float gelu_erf(float x) {
    return (0.5f * x) * (1.0f + error_function(x * 0.70710678118654752f));
}

// x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
__device__ __forceinline__ float gelu_tanh(float x) {
    const float cubed = x * x * x;
    return (0.5f * x) * (1.0f + hyperbolic_tangent(0.7978846f * fmaf(cubed, 0.044715f, x)));
}

// max(x, 0), NaN for NaN.
__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ __forceinline__ float negate(float x) { return -x; }

// 1 / sqrt(x)
__device__ __forceinline__ float reciprocal_root(float x) { return 1.0f / sqrtf(x); }

// The larger; NaN if either is. Of two zeros, the positive one.
__device__ __forceinline__ float larger(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

// The smaller; NaN if either is. Of two zeros, the negative one.
__device__ __forceinline__ float smaller(float a, float b) {
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
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
using Element = f16;

constexpr int kN = 40;
constexpr int kK = 24;
// Elements from one row to the next.
constexpr int kXStride = 24;
constexpr int kWeightStride = 24;
constexpr int kOutStride = 40;
// Bytes that one copy or store moves: the most that a row's place and length allow.
constexpr int kXMove = 16;
constexpr int kWeightMove = 16;
constexpr int kOutMove = 16;
constexpr int kTileRows = 64;
constexpr int kTileColumns = 64;
constexpr int kTileK = 32;
constexpr int kWarpRows = 2;
constexpr int kWarpColumns = 2;
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
    y = gelu_erf(y);
    return y;
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
linear_40x24_bias_gelu_erf_f16(Element* __restrict__ out, const Element* __restrict__ x, const Element* __restrict__ weight,
             const Element* __restrict__ bias,
             const int* __restrict__ rows) {
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
