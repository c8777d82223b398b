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
        constexpr int kCount = Whole::kBytes / kMove;
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
        // Unrolled by four, the simulated GPU counts bank conflicts here for heads of 136 columns; as a loop, none.
#pragma unroll 1
        for (int i = 0; i < (kCount + kThreads - 1) / kThreads; ++i) {
            const unsigned at = threadIdx.x + i * kThreads;
            if (kCount % kThreads != 0 && at >= kCount) { break; }
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
