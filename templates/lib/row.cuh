// One row of kWidth numbers, held in the registers of kThreads threads.
//
// Thread t holds the vectors t, t + kThreads, ..: neighbours read neighbouring vectors, and which thread holds a column
// depends on the width alone. Columns past the width are never read, written or computed with.

template <int kWidth, int kVec, int kThreads>
struct Row {
    static constexpr int kHeld = (kWidth + kVec * kThreads - 1) / (kVec * kThreads);
    static constexpr bool kWhole = kWidth % kVec == 0;

    float x[kHeld][kVec];

    static __device__ __forceinline__ int first_column(int held) {
        return (held * kThreads + (int)(threadIdx.x % kThreads)) * kVec;
    }

    // f(number, column) for each number that this thread holds.
    template <class F>
    __device__ __forceinline__ void each(F f) {
#pragma unroll
        for (int h = 0; h < kHeld; ++h) {
            const int column = first_column(h);
            // Of a row of whole vectors, a vector is there whole or not at all.
            if (kWhole && column >= kWidth) { continue; }
#pragma unroll
            for (int i = 0; i < kVec; ++i) {
                if (kWhole || column + i < kWidth) { f(x[h][i], column + i); }
            }
        }
    }

    // f(vector, first column) for each whole vector of the row that this thread holds, and g(number, column) for the
    // numbers of a vector that the row's end cuts.
    template <class F, class G>
    __device__ __forceinline__ void each_vector(F f, G g) {
#pragma unroll
        for (int h = 0; h < kHeld; ++h) {
            const int column = first_column(h);
            if (column + kVec <= kWidth) {
                f(x[h], column);
            } else if (!kWhole) {
#pragma unroll
                for (int i = 0; i < kVec; ++i) {
                    if (column + i < kWidth) { g(x[h][i], column + i); }
                }
            }
        }
    }

    template <class T>
    __device__ __forceinline__ void read(const T* row) {
        each_vector([&](float(&v)[kVec], int column) { load(row + column, v); },
                    [&](float& v, int column) { v = to_float(row[column]); });
    }

    // Adds another row's numbers to these.
    template <class T>
    __device__ __forceinline__ void add(const T* row) {
        each_vector(
            [&](float(&v)[kVec], int column) {
                float y[kVec];
                load(row + column, y);
#pragma unroll
                for (int i = 0; i < kVec; ++i) { v[i] = v[i] + y[i]; }
            },
            [&](float& v, int column) { v = v + to_float(row[column]); });
    }

    // Divides by the L2 norm, or by `eps` if that is larger.
    __device__ __forceinline__ void l2_normalize(float eps) {
        const float root = sqrtf(sum_of_squares());
        const float norm = root < eps ? eps : root;
        each([&](float& v, int) { v = v / norm; });
    }

    template <class T>
    __device__ __forceinline__ void write(T* __restrict__ row) {
        each_vector([&](float(&v)[kVec], int column) { store(row + column, v); },
                    [&](float& v, int column) { row[column] = from_float<T>(v); });
    }

    __device__ __forceinline__ float sum() {
        float total = 0.0f;
        each([&](float& v, int) { total = total + v; });
        return reduce<kThreads, 0>(total, Sum());
    }

    __device__ __forceinline__ float sum_of_squares() {
        float total = 0.0f;
        each([&](float& v, int) { total = fmaf(v, v, total); });
        return reduce<kThreads, 1>(total, Sum());
    }

    // NaNs are passed over.
    __device__ __forceinline__ float largest() {
        float largest = Largest::none();
        each([&](float& v, int) { largest = fmaxf(largest, v); });
        return reduce<kThreads, 0>(largest, Largest());
    }

    // Mean and variance in two passes, then gamma and beta.
    template <class T>
    __device__ __forceinline__ void layer_norm(const T* __restrict__ gamma, const T* __restrict__ beta, float eps) {
        const float mean = sum() / (float)kWidth;
        each([&](float& v, int) { v = v - mean; });
        const float variance = sum_of_squares() / (float)kWidth;
        const float scale = 1.0f / sqrtf(variance + eps);
        each_vector(
            [&](float(&v)[kVec], int column) {
                float g[kVec], b[kVec];
                load(gamma + column, g);
                load(beta + column, b);
#pragma unroll
                for (int i = 0; i < kVec; ++i) { v[i] = fmaf(v[i] * scale, g[i], b[i]); }
            },
            [&](float& v, int column) { v = fmaf(v * scale, to_float(gamma[column]), to_float(beta[column])); });
    }
};
