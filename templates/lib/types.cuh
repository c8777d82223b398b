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
