//! What a launch did, counted exactly.
//!
//! - A *warp instruction* is one instruction issued for one warp, whatever its guard says; a warp
//!   whose lanes went different ways issues once for each part.
//! - A *request* is one warp instruction that touches memory with at least one lane. Its *sectors*
//!   are the distinct aligned 32-byte pieces that its lanes touch; its *bytes* are the sizes of the
//!   lanes' accesses, added. Caches are not modelled: what is asked for twice counts twice, and the
//!   counts of each buffer tell a stream, which memory serves, from a small weight that caches keep.
//! - *Extra wavefronts* of shared memory: accesses of up to 4 bytes are served 32 lanes at a time,
//!   of 8 bytes 16 lanes, of 16 bytes 8 lanes, and `ldmatrix` one 8x8 matrix at a time. Each such group
//!   takes as many wavefronts as the most distinct 4-byte words that fall into one of the 32 banks;
//!   all but the first are extra.
//! - A *tensor operation* is one multiplication or one addition within `mma`.

use std::collections::BTreeMap;

use crate::device::Buffer;
use crate::inst::Class;

/// Requests to one memory in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Warp instructions that touched it.
    pub requests: u64,
    /// Bytes of all lanes.
    pub bytes: u64,
    /// Distinct 32-byte sectors of each request, added. Zero for shared memory.
    pub sectors: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: &Traffic) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.sectors += other.sectors;
    }
}

/// Requests to one buffer in global memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferTraffic {
    /// Reads, asynchronous copies included.
    pub reads: Traffic,
    /// Writes, atomics included.
    pub writes: Traffic,
}

/// The counts of one launch, or of several added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Warp instructions by class.
    pub instructions: BTreeMap<Class, u64>,
    /// Warp instructions by line of the PTX text.
    pub lines: BTreeMap<u32, u64>,
    /// Reads of global memory, asynchronous copies included.
    pub global_reads: Traffic,
    /// Writes to global memory, atomics included.
    pub global_writes: Traffic,
    /// The same by buffer. A request whose lanes go to several counts in each.
    pub buffers: BTreeMap<Buffer, BufferTraffic>,
    /// Reads of shared memory.
    pub shared_reads: Traffic,
    /// Writes to shared memory, asynchronous copies included.
    pub shared_writes: Traffic,
    /// Wavefronts of shared memory beyond the first of each group.
    pub extra_wavefronts: u64,
    /// Multiplications and additions in tensor-core instructions.
    pub tensor_ops: u64,
}

impl Profile {
    /// Warp instructions of all classes.
    pub fn warp_instructions(&self) -> u64 {
        self.instructions.values().sum()
    }

    /// Adds another launch's counts. Lines of different kernels get mixed; keep those apart.
    pub fn add(&mut self, other: &Profile) {
        for (class, count) in &other.instructions {
            *self.instructions.entry(*class).or_default() += count;
        }
        for (line, count) in &other.lines {
            *self.lines.entry(*line).or_default() += count;
        }
        self.global_reads.add(&other.global_reads);
        self.global_writes.add(&other.global_writes);
        for (buffer, traffic) in &other.buffers {
            let sum = self.buffers.entry(*buffer).or_default();
            sum.reads.add(&traffic.reads);
            sum.writes.add(&traffic.writes);
        }
        self.shared_reads.add(&other.shared_reads);
        self.shared_writes.add(&other.shared_writes);
        self.extra_wavefronts += other.extra_wavefronts;
        self.tensor_ops += other.tensor_ops;
    }
}
