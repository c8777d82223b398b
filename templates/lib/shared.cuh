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

// Moves kBytes from shared to global memory. Both sides are aligned to them.
template <int kBytes>
__device__ __forceinline__ void move(void* to, unsigned from) {
    if constexpr (kBytes == 16) {
        uint4 v;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "r"(from)
                     : "memory");
        *static_cast<uint4*>(to) = v;
    } else if constexpr (kBytes == 8) {
        uint2 v;
        asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(from) : "memory");
        *static_cast<uint2*>(to) = v;
    } else if constexpr (kBytes == 4) {
        unsigned v;
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(from) : "memory");
        *static_cast<unsigned*>(to) = v;
    } else {
        unsigned short v;
        asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(from) : "memory");
        *static_cast<unsigned short*>(to) = v;
    }
}
