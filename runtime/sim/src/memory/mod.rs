//! Memory of the simulated device: global allocations, a block's shared memory, and the shadows
//! that know who wrote what and when.

pub(crate) mod banks;
pub(crate) mod blockrace;
pub(crate) mod global;
pub(crate) mod shadow;
pub(crate) mod shared;

/// Global addresses are an allocation's number times 2^36 plus an offset.
pub(crate) const OFFSET_BITS: u32 = 36;
/// Where the windows of the other spaces lie in generic addresses.
pub(crate) const SHARED_WINDOW: u64 = 1 << 60;
pub(crate) const LOCAL_WINDOW: u64 = 1 << 61;
pub(crate) const CONST_WINDOW: u64 = 1 << 62;
pub(crate) const PARAM_WINDOW: u64 = (1 << 62) | (1 << 61);
/// In an address within shared memory: from this bit on one more than the rank, within its cluster, of the block that
/// it lies in; zero in the own block's.
pub(crate) const RANK_BIT: u32 = 24;
/// The bits of a generic address that name a window.
pub(crate) const WINDOW_MASK: u64 = 0xf << 59;
