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
