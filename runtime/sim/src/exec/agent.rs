//! What works on beside a block's warps, each with a clock of its own; see `memory::shadow`.

use std::fmt;

/// Who, other than a warp, reads and writes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agent {
    /// The copies that complete on the mbarrier at an offset in shared memory. The clock counts its phases.
    Mbarrier(u64),
    /// Reads of shared memory by the bulk copies to global memory that a lane has issued. The clock counts its groups.
    Reads { warp: u32, lane: u32 },
    /// Their writes.
    Writes { warp: u32, lane: u32 },
    /// Reads of shared memory by a warpgroup's products. The clock counts its groups of products.
    Products { warpgroup: u32 },
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Agent::Mbarrier(offset) => {
                write!(f, "a copy that completes on the mbarrier at shared+{offset}")
            }
            Agent::Reads { warp, lane } | Agent::Writes { warp, lane } => {
                write!(f, "a bulk copy of warp {warp} lane {lane}")
            }
            Agent::Products { warpgroup } => write!(f, "a wgmma of warpgroup {warpgroup}"),
        }
    }
}
