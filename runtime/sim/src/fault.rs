//! What a run can be stopped for, and where it was then.

use std::fmt;

/// A kernel did something that a GPU would refuse, or that has no defined result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Fault {
    /// The kernel's name.
    pub kernel: String,
    /// What happened, and what was expected.
    pub kind: FaultKind,
    /// Line in the PTX text; none for a launch that never began.
    pub line: Option<u32>,
    /// File and line of the CUDA source, where the PTX carries `.loc`.
    pub cuda: Option<(String, u32)>,
    /// Block index.
    pub block: [u32; 3],
    /// Warp within the block.
    pub warp: u32,
    /// Lane within the warp, where one lane is to blame.
    pub lane: Option<u32>,
    /// The address, where memory is concerned.
    pub address: Option<Place>,
}

impl Fault {
    /// A fault of the launch itself, before any warp ran.
    pub(crate) fn launch(kernel: &str, kind: FaultKind) -> Box<Self> {
        Box::new(Self {
            kernel: kernel.to_owned(),
            kind,
            line: None,
            cuda: None,
            block: [0; 3],
            warp: 0,
            lane: None,
            address: None,
        })
    }

    fn text(&self) -> String {
        let mut text = format!("kernel {}: {}", self.kernel, self.kind);
        if let Some(place) = &self.address {
            text += &format!("; at {place}");
        }
        if let Some(line) = self.line {
            let [x, y, z] = self.block;
            text += &format!("; PTX line {line}");
            if let Some((file, line)) = &self.cuda {
                text += &format!(" ({file}:{line})");
            }
            text += &format!(", block ({x}, {y}, {z}), warp {}", self.warp);
            if let Some(lane) = self.lane {
                text += &format!(", lane {lane}");
            }
        }
        text
    }
}

/// A place in memory, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In an allocation.
    Global {
        /// Its name.
        name: String,
        /// Bytes from its beginning.
        offset: u64,
        /// Its size in bytes.
        bytes: u64,
    },
    /// An address in no allocation.
    Nowhere(u64),
    /// In the block's shared memory.
    Shared(u64),
    /// In that of another block of its cluster.
    Peer {
        /// The block's rank in the cluster.
        rank: u32,
        /// Bytes from the beginning of its shared memory.
        offset: u64,
    },
    /// In the thread's local memory.
    Local(u64),
    /// Among the kernel's parameters.
    Param(u64),
    /// In constant memory.
    Const(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Global { name, offset, bytes } => {
                write!(f, "{name}+{offset} (of {bytes} bytes)")
            }
            Place::Nowhere(address) => write!(f, "address {address:#x}"),
            Place::Shared(offset) => write!(f, "shared+{offset}"),
            Place::Peer { rank, offset } => {
                write!(f, "shared+{offset} of the cluster's block {rank}")
            }
            Place::Local(offset) => write!(f, "local+{offset}"),
            Place::Param(offset) => write!(f, "parameters+{offset}"),
            Place::Const(offset) => write!(f, "constants+{offset}"),
        }
    }
}

/// Whether memory was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// An atomic operation.
    Atomic,
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessKind::Read => "read",
            AccessKind::Write => "write",
            AccessKind::Atomic => "atomic operation",
        })
    }
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The launch asks for what no device has, or not for what the kernel declares.
    #[error("expected {expected}, found {found}")]
    Launch {
        /// What a launch must look like.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// An access outside of its memory.
    #[error("{access} of {bytes} bytes outside of the memory it points into")]
    OutOfBounds {
        /// Read or write.
        access: AccessKind,
        /// Its size in bytes.
        bytes: u64,
    },
    /// An address that is not a multiple of the access's size.
    #[error("{access} of {bytes} bytes at an address that is not a multiple of {bytes}")]
    Misaligned {
        /// Read or write.
        access: AccessKind,
        /// Its size in bytes.
        bytes: u64,
    },
    /// An address that belongs to no allocation, or to one that was freed.
    #[error("{access} of {bytes} bytes at an address that no allocation has")]
    Unallocated {
        /// Read or write.
        access: AccessKind,
        /// Its size in bytes.
        bytes: u64,
    },
    /// Memory that nothing wrote since its birth.
    #[error("read of {bytes} bytes of which some were never written")]
    Uninitialised {
        /// The read's size in bytes.
        bytes: u64,
    },
    /// Two accesses within a block that nothing orders.
    #[error(
        "{access} races with a {other} of warp {other_warp} lane {other_lane}: no barrier is between them"
    )]
    Race {
        /// This access.
        access: AccessKind,
        /// The earlier one.
        other: AccessKind,
        /// The warp of the earlier one.
        other_warp: u32,
        /// The lane of the earlier one; 32 if several.
        other_lane: u32,
    },
    /// Two accesses of different blocks of a cluster that nothing orders.
    #[error(
        "{access} races with a {other} of the cluster's block {other_rank}, warp {other_warp} lane {other_lane}: no \
         barrier of the cluster and no mbarrier is between them"
    )]
    ClusterRace {
        /// This access.
        access: AccessKind,
        /// The earlier one.
        other: AccessKind,
        /// The rank of the earlier one's block in the cluster.
        other_rank: u32,
        /// The warp of the earlier one, within its block.
        other_warp: u32,
        /// The lane of the earlier one; 32 if several.
        other_lane: u32,
    },
    /// Shared memory of a block that may not have begun yet.
    #[error(
        "{access} of the shared memory of the cluster's block {rank}, which is not known to have begun: expected a \
         barrier of the cluster before"
    )]
    NotBegun {
        /// This access.
        access: AccessKind,
        /// The block's rank in the cluster.
        rank: u32,
    },
    /// Shared memory of a block that has returned.
    #[error("{access} of the shared memory of the cluster's block {rank}, which has returned")]
    Returned {
        /// This access.
        access: AccessKind,
        /// The block's rank in the cluster.
        rank: u32,
    },
    /// A block returns while something may still reach its shared memory.
    #[error(
        "the block returns while {owner} may still reach its shared memory ({other}): expected a barrier of the \
         cluster or a wait for its end before"
    )]
    Outlived {
        /// What is done there.
        other: AccessKind,
        /// Who does it.
        owner: String,
    },
    /// A rank that no block of the cluster has.
    #[error("expected a rank below {blocks}, the number of blocks in the cluster, found {rank}")]
    Rank {
        /// The rank.
        rank: u32,
        /// Blocks in the cluster.
        blocks: u32,
    },
    /// Two lanes of one store write different values to one place.
    #[error("one store writes different values to the same place, from lane {other_lane} too")]
    StoreConflict {
        /// The other lane.
        other_lane: u32,
    },
    /// Accesses of different blocks in one launch that conflict.
    #[error("{access} conflicts with an access of another block in the same launch")]
    BlockRace {
        /// This access.
        access: AccessKind,
    },
    /// An access that came too early in a launch that overlaps with those before it.
    #[error(
        "{access} of memory that a launch before this one {}, which may still run: expected griddepcontrol.wait of the \
         lane before",
        verb(*other)
    )]
    Overlap {
        /// This access.
        access: AccessKind,
        /// What the earlier launch does with it.
        other: AccessKind,
    },
    /// Lanes of a launch that overlaps return without having waited.
    #[error(
        "lanes {lanes:#010x} return without griddepcontrol.wait: launches behind this one would begin while those \
         before it still run"
    )]
    Unwaited {
        /// The lanes.
        lanes: u32,
    },
    /// A load of constants from memory that changes while the kernel runs.
    #[error(
        "ld.global.nc of {bytes} bytes that a launch before this one writes, maybe after this one began: expected an \
         ordinary load"
    )]
    Constant {
        /// The load's size in bytes.
        bytes: u64,
    },
    /// Memory that a copy in flight owns.
    #[error(
        "{access} of memory that cp.async of warp {owner_warp} lane {owner_lane} still owns: no wait of the owner was seen"
    )]
    AsyncConflict {
        /// This access.
        access: AccessKind,
        /// The warp that issued the copy.
        owner_warp: u32,
        /// The lane that issued the copy.
        owner_lane: u32,
    },
    /// Memory that an asynchronous operation still reads or writes.
    #[error("{access} of memory that {owner} still {}: no wait for its end was seen", verb(*other))]
    Unfinished {
        /// This access.
        access: AccessKind,
        /// What the operation does with it.
        other: AccessKind,
        /// The operation.
        owner: String,
    },
    /// An asynchronous operation reads what an ordinary store wrote, and no fence was between them.
    #[error(
        "an asynchronous read of what warp {other_warp} lane {other_lane} stored: expected a fence.proxy.async of that \
         lane after the store"
    )]
    ProxyFence {
        /// The warp of the store.
        other_warp: u32,
        /// The lane of the store.
        other_lane: u32,
    },
    /// An ordinary access to the bytes of an mbarrier.
    #[error("{access} of bytes that belong to an mbarrier")]
    MbarrierAccess {
        /// This access.
        access: AccessKind,
    },
    /// An operation on an mbarrier that it doesn't take.
    #[error("mbarrier: {0}")]
    Mbarrier(String),
    /// A register that products in flight own.
    #[error(
        "{access} of a register that a wgmma still owns: expected a wgmma.wait_group for its group before"
    )]
    RegisterInFlight {
        /// This access.
        access: AccessKind,
    },
    /// A product that uses registers which were read or written without a fence after it.
    #[error("a wgmma uses a register that was read or written since the last wgmma.fence")]
    RegisterFence,
    /// A product that a warpgroup can't do.
    #[error("wgmma: {0}")]
    Wgmma(String),
    /// A tensor copy whose map is none, or not one of its kind.
    #[error("expected a tensor map that suits the copy, found {0}")]
    TensorMap(String),
    /// More mbarriers and issuers of copies than the race checks can tell apart.
    #[error(
        "expected at most {most} warps, mbarriers and issuers of asynchronous operations in a block, found more"
    )]
    Agents {
        /// How many there may be.
        most: usize,
    },
    /// Global memory that a copy in flight reads.
    #[error(
        "{access} of memory that cp.async of warp {owner_warp} lane {owner_lane} may still read: no wait of the owner was seen"
    )]
    AsyncSource {
        /// This access.
        access: AccessKind,
        /// The warp that issued the copy.
        owner_warp: u32,
        /// The lane that issued the copy.
        owner_lane: u32,
    },
    /// A value from a marked range reaches memory outside of any.
    #[error("a value that depends on a marked range ({what}) is kept")]
    Taint {
        /// Whether the value, the address or the predicate depends on it.
        what: &'static str,
    },
    /// A barrier that not all lanes of a warp reach together.
    #[error(
        "barrier reached by lanes {found:#010x} of the warp, expected {expected:#010x} together"
    )]
    DivergentBarrier {
        /// Lanes that have not returned.
        expected: u32,
        /// Lanes at the barrier.
        found: u32,
    },
    /// Warps that wait for each other for ever, or that disagree about a barrier.
    #[error("barriers can't complete: {0}")]
    Barrier(String),
    /// A warp-wide instruction whose members don't all come.
    #[error("lanes {members:#010x} are members, but only {found:#010x} come to this instruction")]
    MissingLanes {
        /// The member mask.
        members: u32,
        /// The lanes that execute it.
        found: u32,
    },
    /// A lane that executes a warp-wide instruction without being a member.
    #[error("the lane is not in the member mask {members:#010x} that it names")]
    NotAMember {
        /// The member mask.
        members: u32,
    },
    /// `trap`.
    #[error("the kernel trapped")]
    Trap,
    /// More branches than the limit.
    #[error("a warp took {0} branches without end; the kernel seems to loop for ever")]
    Endless(u64),
}

fn verb(access: AccessKind) -> &'static str {
    match access {
        AccessKind::Read => "reads",
        AccessKind::Write | AccessKind::Atomic => "writes",
    }
}

/// A fault on its way out of a warp, before block and line are known.
#[derive(Debug)]
pub(crate) struct Trap {
    pub(crate) kind: FaultKind,
    pub(crate) lane: Option<u32>,
    pub(crate) address: Option<Place>,
}

impl Trap {
    pub(crate) fn new(kind: FaultKind) -> Box<Self> {
        Box::new(Self { kind, lane: None, address: None })
    }

    pub(crate) fn at(kind: FaultKind, lane: u32, address: Place) -> Box<Self> {
        Box::new(Self { kind, lane: Some(lane), address: Some(address) })
    }

    pub(crate) fn lane(kind: FaultKind, lane: u32) -> Box<Self> {
        Box::new(Self { kind, lane: Some(lane), address: None })
    }
}
