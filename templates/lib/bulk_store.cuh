// Copies of bytes from shared to global memory, by the copy engine (sm_90).
//
// A thread commits what it has asked for as a group, and waits for its groups: until they have read shared memory,
// which may then be written again, or until they have written.

// Shows what this thread has stored in shared memory to the copies of threads that it meets at a barrier behind this.
__device__ __forceinline__ void show_to_copies() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Copies so many bytes, more than none. They are a multiple of 16, and so are both addresses.
__device__ __forceinline__ void store_bytes(void* to, unsigned from, unsigned bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(__cvta_generic_to_global(to)),
                 "r"(from), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Until all of this thread's groups have read shared memory.
__device__ __forceinline__ void wait_for_stores_to_read() {
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

// Until all that this thread's groups write is written.
__device__ __forceinline__ void wait_for_stores() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
