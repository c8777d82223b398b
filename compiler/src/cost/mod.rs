//! What kernels cost on a GPU, as written estimates: the schedule and the render stage choose by them.
//!
//! Everything is integers and depends on sizes alone, so that choices are the same on every machine.
//! `docs/performance.md` shows what comes of it, and what was measured where there was a GPU.

pub mod attention;
pub mod feed_forward;
pub mod functions;
pub mod linear;
pub mod linear_layer_norm;
pub mod linear_mma;
#[cfg(test)]
mod page;

/// Multiprocessors of an H100 (SXM).
pub const MULTIPROCESSORS: u64 = 132;
/// Products of two-byte numbers that a multiprocessor's tensor cores do in a cycle.
pub const PRODUCTS: u64 = 2048;
/// Instructions of single threads that a multiprocessor does in a cycle.
pub const LANES: u64 = 128;
/// Bytes that a multiprocessor's shared memory gives or takes in a cycle.
pub const SHARED: u64 = 128;
/// Bytes of shared memory of a multiprocessor.
pub const MULTIPROCESSOR_SHARED: u32 = 228 << 10;
/// Registers of a multiprocessor.
pub const REGISTERS: u32 = 1 << 16;
/// Exponentials that a multiprocessor does in a cycle.
pub const EXPONENTIALS: u64 = 16;
/// Bytes that a multiprocessor gets from the second-level cache in a cycle, when all ask at once.
pub const CACHE: u64 = 40;
/// Bytes that a multiprocessor writes to the second-level cache in a cycle.
pub const WRITES: u64 = 64;
/// Bytes that the device's memory gives or takes in a cycle.
pub const MEMORY: u64 = 1700;
/// Bytes of the second-level cache that a weight may fill, with room left for what goes by.
pub const KEPT: u64 = 24 << 20;

/// Clusters of so many blocks, at least one, that run at the same time, where each block takes a multiprocessor. They
/// come in groups of 16 or 18, and a cluster lies in one group; pairs use all of them.
pub fn clusters(blocks: u64) -> u64 {
    let used = if blocks > 2 { MULTIPROCESSORS / 16 * 16 } else { MULTIPROCESSORS };
    used / blocks
}
