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
