//! What works on beside a block's warps, each with a clock of its own; see `memory::shadow`.

/// Who, other than a warp, reads and writes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agent {
    /// The copies that complete on the mbarrier at an offset in a block's shared memory. The clock counts its phases.
    Mbarrier { block: usize, offset: u64 },
    /// Reads of shared memory by the bulk copies to global memory that a lane has issued. The clock counts its groups.
    Reads { warp: u32, lane: u32 },
    /// Their writes.
    Writes { warp: u32, lane: u32 },
    /// Reads of shared memory by the products of the warpgroup that begins with a warp. The clock counts its groups.
    Products { first: u32 },
}
