// A ring of kStages places in shared memory that are filled and emptied in turns, each with mbarriers of its own.
//
// Whoever fills or empties keeps a place in the ring and goes on from it. The parity is that of the phase which
// a reader waits for: of a place's filling in this lap. A writer waits for the emptying in the lap before, which has
// the other.
template <int kStages>
struct Ring {
    int stage = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void next() {
        if (++stage == kStages) {
            stage = 0;
            parity ^= 1;
        }
    }

    // Past places that others have.
    template <int kCount>
    __device__ __forceinline__ void skip() {
        stage += kCount % kStages;
        parity ^= kCount / kStages % 2;
        if (stage >= kStages) {
            stage -= kStages;
            parity ^= 1;
        }
    }
};

// The place whose turn it is; the next one is then the one after it.
template <int kStages>
__device__ __forceinline__ Ring<kStages> take(Ring<kStages>& next) {
    const Ring<kStages> place = next;
    next.next();
    return place;
}
