//! Operations that sm_90 brought.

use super::{Access, Address, Col, Space, Ty};

/// What is waited for at an mbarrier.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// The current phase or the one before, whichever has this parity.
    Parity(Col),
    /// The phase that an arrival has named.
    State(Col),
}

/// The operations on mbarriers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mbarriers {
    Init {
        count: Col,
    },
    Inval,
    Arrive {
        /// Gets the number of the phase.
        state: Option<Col>,
        /// One if not given.
        count: Option<Col>,
        /// Bytes that the phase waits for from now on.
        expect: Option<Col>,
        /// Later phases expect so many fewer.
        drop: bool,
    },
    /// More bytes, or fewer, that the phase waits for.
    Transactions {
        bytes: Col,
        complete: bool,
    },
    Wait {
        /// `try_wait`, which waits for a change before it says no.
        blocking: bool,
        done: Col,
        phase: Phase,
    },
}

/// An operation on one mbarrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MbarrierOp {
    pub(crate) kind: Mbarriers,
    pub(crate) space: Space,
    pub(crate) address: Address,
}

/// The side of a bulk copy that lies in global memory.
#[derive(Clone, Debug)]
pub(crate) enum Far {
    /// So many bytes from an address on.
    Bytes { address: Address, bytes: Col },
    /// The box of a tensor that begins at these coordinates, the innermost first.
    Tensor { map: Address, coordinates: Box<[Col]> },
}

/// `cp.async.bulk` and `cp.async.bulk.tensor`.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) far: Far,
    pub(crate) shared: Address,
    /// Copies to shared memory complete on an mbarrier there; those to global memory belong to groups.
    pub(crate) mbarrier: Option<Address>,
    /// The blocks of the cluster, one bit each, to which a copy to shared memory goes; the own or the address' without.
    pub(crate) multicast: Option<Col>,
}

/// `cp.async.bulk` from the own block's shared memory to another's of the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerCopy {
    pub(crate) to: Address,
    pub(crate) from: Address,
    pub(crate) bytes: Col,
    /// In the block that it goes to.
    pub(crate) mbarrier: Address,
}

/// `st.async`: a store to shared memory of the cluster that completes on an mbarrier there.
#[derive(Clone, Debug)]
pub(crate) struct StoreAsync {
    pub(crate) store: Access,
    pub(crate) mbarrier: Address,
}

/// Where a product's left factor lies.
#[derive(Clone, Debug)]
pub(crate) enum Left {
    /// In shared memory, by a descriptor.
    Shared(Col),
    /// In registers: 16 rows of 16 for each warp.
    Registers([Col; 4]),
}

/// Whether a product adds to its sums or begins them anew.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    Always(bool),
    If { pred: Col, negated: bool },
}

/// A warpgroup's product: `d[64][n] = a[64][16] b[n][16]^T + d`.
#[derive(Clone, Debug)]
pub(crate) struct Wgmma {
    /// F16 or Bf16.
    pub(crate) ty: Ty,
    pub(crate) n: u32,
    pub(crate) d: Box<[Col]>,
    pub(crate) a: Left,
    /// A descriptor.
    pub(crate) b: Col,
    pub(crate) keep: Keep,
    /// Whether the factors are negated.
    pub(crate) negate: [bool; 2],
    /// Whether rows, not products, lie together in shared memory.
    pub(crate) transposed: [bool; 2],
}
