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

__device__ __forceinline__ unsigned load_word(unsigned from) {
    unsigned word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(from) : "memory");
    return word;
}

__device__ __forceinline__ unsigned short load_half(unsigned from) {
    unsigned short bits;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(from) : "memory");
    return bits;
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
