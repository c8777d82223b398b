// Rotary positions: a pair of a head's columns (a, b) becomes (a cos - b sin, b cos + a sin), by its row's position.
//
// A table has a row for each position: kTurned / 2 cosines, then as many sines. The first kTurned columns of a head are
// turned; pair c is columns 2c and 2c + 1 if kNeighbours, else c and c + kTurned / 2.

__device__ __forceinline__ void turn(float& a, float& b, float cosine, float sine) {
    const float turned = fmaf(a, cosine, -(b * sine));
    b = fmaf(b, cosine, a * sine);
    a = turned;
}

// One number of a tile in shared memory.
template <class T>
__device__ __forceinline__ float load_number(unsigned from) {
    if constexpr (sizeof(T) == 4) {
        return __uint_as_float(load_word(from));
    } else {
        return to_float(T{load_half(from)});
    }
}

template <class T>
__device__ __forceinline__ void store_number(unsigned to, float x) {
    if constexpr (sizeof(T) == 4) {
        store_word(to, __float_as_uint(x));
    } else {
        store_half(to, from_float<T>(x).bits);
    }
}

// Turns the first `rows` rows of a tile in place, by so many warps, of which this is one. A warp has a row at a time,
// so that its accesses meet no bank twice.
template <class T, class Rows, int kRows, int kTurned, bool kNeighbours>
__device__ __forceinline__ void turn_rows(unsigned tile, const float* __restrict__ turns, int rows, int warp,
                                          int warps) {
    constexpr int kPairs = kTurned / 2;
    const int lane = threadIdx.x % 32;
    const auto place = [&](int row, int column) {
        return tile + Rows::offset(row, column / Rows::kPerChunk) + column % Rows::kPerChunk * sizeof(T);
    };
#pragma unroll 2
    for (int row = warp; row < min(rows, kRows); row += warps) {
        const float* of_row = turns + (size_t)row * kTurned;
#pragma unroll
        for (int pair = lane; pair < kPairs; pair += 32) {
            const float cosine = of_row[pair];
            const float sine = of_row[kPairs + pair];
            if constexpr (!kNeighbours) {
                const unsigned left = place(row, pair);
                const unsigned right = place(row, pair + kPairs);
                float a = load_number<T>(left);
                float b = load_number<T>(right);
                turn(a, b, cosine, sine);
                store_number<T>(left, a);
                store_number<T>(right, b);
            } else if constexpr (sizeof(T) == 4) {
                const unsigned at = place(row, 2 * pair);
                float a, b;
                asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(a), "=f"(b) : "r"(at) : "memory");
                turn(a, b, cosine, sine);
                asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(a), "f"(b) : "memory");
            } else {
                const unsigned at = place(row, 2 * pair);
                const unsigned both = load_word(at);
                float a = to_float(T{(unsigned short)both});
                float b = to_float(T{(unsigned short)(both >> 16)});
                turn(a, b, cosine, sine);
                store_word(at, pack<T>(a, b));
            }
        }
    }
}
