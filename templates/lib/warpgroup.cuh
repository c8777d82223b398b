// What the four warps of a warpgroup do as one (sm_90a): products on the tensor cores that run beside the threads.
//
// Registers of a product belong to it from its issue to the wait for its group. A fence comes before the first product
// that uses registers which the threads have written.

// A tile in shared memory, rows of 128 bytes swizzled as copies of 128-byte boxes leave them, for products along its
// rows. The address is that of the tile's begin, a multiple of 1024, or a multiple of 32 bytes along the first row.
__device__ __forceinline__ unsigned long long describe_tile(unsigned address) {
    constexpr unsigned long long kEightRows = 1024 >> 4;
    constexpr unsigned long long kSwizzle128 = 1;
    // The distance along rows has no meaning with a swizzle; 1 is what it is to be then.
    return (unsigned long long)((address & 0x3FFFF) >> 4) | 1ull << 16 | kEightRows << 32 | kSwizzle128 << 62;
}

// Keeps what is done with registers on its side of the fences and waits beside this, which name no registers: without
// it the compiler writes sums behind the fence, or reads them before the wait.
template <int kCount>
__device__ __forceinline__ void keep_in_place(float (&x)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) { asm volatile("" : "+f"(x[i])::"memory"); }
}

template <int kN>
__device__ __forceinline__ void keep_in_place(float (&x)[kN][4]) {
#pragma unroll
    for (int n = 0; n < kN; ++n) { keep_in_place(x[n]); }
}

__device__ __forceinline__ void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Until at most kLeft of the warpgroup's groups are under way.
template <int kLeft>
__device__ __forceinline__ void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

// Writes four 8x8 matrices of two-byte numbers, as products leave them among a warp's lanes: a lane has two numbers of
// each, and says where the row of its number lies, of the first matrix for lanes 0 to 7, of the second from 8, and on.
__device__ __forceinline__ void store_matrices(unsigned row, const unsigned (&words)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(words[0]),
                 "r"(words[1]), "r"(words[2]), "r"(words[3])
                 : "memory");
}

// The registers that each thread has from now on.
template <int kCount>
__device__ __forceinline__ void give_registers_back() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

template <int kCount>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// Waits for all threads of some warps, so many, that name the same barrier, from 1 to 15.
template <int kBarrier>
__device__ __forceinline__ void meet(int threads) {
    asm volatile("bar.sync %0, %1;" ::"n"(kBarrier), "r"(threads) : "memory");
}
