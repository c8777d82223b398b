// A generated chain of elementwise functions.
//
// Every operand's element is read once and the result written once; values between are f32 in registers.
// Launch: kThreads threads a block; a block has kRowsPerBlock rows, and a thread every kThreads-th vector of them.

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
// How a launch overlaps with the one before it on the stream (programmatic dependent launch, from sm_90 on).
//
// A launch may begin as soon as all blocks of the one before have said so or ended. What that one and those before it
// write is there, and may be overwritten, only behind the wait: it ends when the launch before has ended and all that
// it wrote is visible. Every thread of every kernel waits, so no launch ends before those ahead of it. Before the wait
// come barriers in shared memory, the batch's tables, which were uploaded before the first launch began, and weights,
// which nobody writes.
//
// Pointers to what steps write are not __restrict__ where they are read: the compiler takes that for a promise that
// nothing changes while the kernel runs, moves reads before the wait, and reads through a cache that the wait does not
// clear. For architectures before sm_90 this is empty.

// Lets the next launch begin: it waits in its turn, so the earlier the better.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_launches_before() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// For kernels that have nothing to do before.
__device__ __forceinline__ void overlap_launches() {
    let_next_begin();
    wait_for_launches_before();
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

// x * sigmoid(1.702 x)
__device__ __forceinline__ float quick_gelu(float x) { return x * sigmoid(1.702f * x); }

// max(x, 0)^2, NaN for NaN.
__device__ __forceinline__ float relu_squared(float x) {
    const float positive = relu(x);
    return positive * positive;
}

// min(max(x, 0), 6), NaN for NaN.
__device__ __forceinline__ float relu6(float x) {
    const float positive = relu(x);
    return positive > 6.0f ? 6.0f : positive;
}

// x where it is not negative, 0.01 x elsewhere.
__device__ __forceinline__ float leaky_relu(float x) { return x < 0.0f ? 0.01f * x : x; }

// x * tanh(ln(1 + e^x)): with e for e^x, the factor is e (e + 2) / (e (e + 2) + 2), which is 1 long before 20.
__device__ __forceinline__ float mish(float x) {
    const float e = exponential(x > 20.0f ? 20.0f : x);
    const float n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
}

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
using Element = f16;

constexpr int kWidth = 12;
// Elements from one row to the next; none for an operand that is the same for every row.
constexpr int kOutStride = 12;
constexpr int kStride0 = 36;
constexpr int kStride1 = 12;
constexpr int kStride2 = 0;
constexpr int kVec = 4;
constexpr int kThreads = 256;
constexpr int kRowsPerBlock = 341;
constexpr int kVectors = (kWidth + kVec - 1) / kVec;

// A vector of an operand, or its one element kVec times.
template <bool kScalar>
__device__ __forceinline__ void read(const Element* p, float (&x)[kVec]) {
    if constexpr (kScalar) {
#pragma unroll
        for (int i = 0; i < kVec; ++i) { x[i] = to_float(*p); }
    } else {
        load(p, x);
    }
}

__device__ __forceinline__ float chain(
    float x0, float x1, float x2) {
    const float v0 = x0;
    const float v1 = x1;
    const float v2 = v0 - v1;
    const float v3 = hyperbolic_tangent(v2);
    const float v4 = x2;
    const float v5 = v3 * v4;
    const float v6 = 0.1f;
    const float v7 = larger(v5, v6);
    return v7;
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
pointwise_12_f16(Element* __restrict__ out,
    const Element* in0,
    const Element* in1,
    const Element* in2,
    const int* __restrict__ sample_of_row,
    const int* __restrict__ rows) {
    overlap_launches();
    const int count = *rows;
    for (int item = threadIdx.x; item < kRowsPerBlock * kVectors; item += kThreads) {
        const int row = blockIdx.x * kRowsPerBlock + item / kVectors;
        const int column = item % kVectors * kVec;
        if (row >= count) { return; }
        const int sample = sample_of_row[row];
        const Element* p0 = in0 + (size_t)row * kStride0;
        p0 += column;
        const Element* p1 = in1 + (size_t)sample * kStride1;
        p1 += column;
        const Element* p2 = in2 + (size_t)row * kStride2;
        Element* to = out + (size_t)row * kOutStride + column;
        if (kWidth % kVec == 0 || column + kVec <= kWidth) {
            float x0[kVec];
            read<false>(p0, x0);
            float x1[kVec];
            read<false>(p1, x1);
            float x2[kVec];
            read<true>(p2, x2);
            float y[kVec];
#pragma unroll
            for (int i = 0; i < kVec; ++i) {
                y[i] = chain(
                    x0[i], x1[i], x2[i]);
            }
            store(to, y);
        } else {
            // The row's end cuts this vector.
            for (int i = 0; i < kWidth - column; ++i) {
                const float x0 = to_float(p0[false ? 0 : i]);
                const float x1 = to_float(p1[false ? 0 : i]);
                const float x2 = to_float(p2[true ? 0 : i]);
                to[i] = from_float<Element>(chain(
                    x0, x1, x2));
            }
        }
    }
}
