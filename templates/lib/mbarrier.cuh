// Barriers in shared memory, which count arrivals and the bytes that asynchronous copies bring (sm_90).
//
// A phase ends when all its arrivals have come and as many bytes as were expected. A wait names the parity of a phase
// and ends with it; of a new barrier, the phase before the first counts as ended.

__device__ __forceinline__ void init_barrier(unsigned barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Shows the barriers that this thread has made to asynchronous copies; other threads see them behind a barrier.
__device__ __forceinline__ void show_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and lets the phase wait for so many more bytes.
__device__ __forceinline__ void arrive_and_expect(unsigned barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void wait_for_phase(unsigned barrier, unsigned parity) {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "AGAIN:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
        "@ended bra ENDED;\n"
        "bra AGAIN;\n"
        "ENDED:\n"
        "}" ::"r"(barrier),
        "r"(parity)
        : "memory");
}
