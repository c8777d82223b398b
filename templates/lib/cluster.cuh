// Blocks that run together, as a cluster, and reach each other's shared memory (sm_90).

// Waits for all threads of the cluster's blocks, and shows each what the others wrote before.
__device__ __forceinline__ void meet_cluster() {
    __syncwarp();
    asm volatile(
        "barrier.cluster.arrive.release.aligned;\n"
        "barrier.cluster.wait.acquire.aligned;" ::
            : "memory");
}

// Arrives at the barrier that another block of the cluster has where this block has the one of this address.
__device__ __forceinline__ void arrive_in_block(unsigned barrier, unsigned block) {
    asm volatile(
        "{\n"
        ".reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n"
        "}" ::"r"(barrier),
        "r"(block)
        : "memory");
}

// Writes four numbers to another block of the cluster, where this block has this address, a multiple of 16.
__device__ __forceinline__ void store_in_block(unsigned to, unsigned block, const float (&x)[4]) {
    asm volatile(
        "{\n"
        ".reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "st.shared::cluster.v4.f32 [there], {%2, %3, %4, %5};\n"
        "}" ::"r"(to),
        "r"(block), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3])
        : "memory");
}

// As wait_for_phase, for a barrier at which other blocks arrive.
__device__ __forceinline__ void wait_for_cluster(unsigned barrier, unsigned parity) {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "AGAIN:\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%0], %1;\n"
        "@ended bra ENDED;\n"
        "bra AGAIN;\n"
        "ENDED:\n"
        "}" ::"r"(barrier),
        "r"(parity)
        : "memory");
}

// As copy_box, to the same place in each block of the mask, and there its bytes count on the barrier of this address.
__device__ __forceinline__ void copy_box_to_blocks(unsigned to, const TensorMap& map, int column, int row,
                                                   unsigned barrier, unsigned short blocks) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
        " [%0], [%1, {%2, %3}], [%4], %5;"
        :
        : "r"(to), "l"(&map), "r"(column), "r"(row), "r"(barrier), "h"(blocks)
        : "memory");
}
