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
