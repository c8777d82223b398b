//! The simulated device: named allocations, and launches.

use std::collections::BTreeMap;
use std::ops::Range;

use bytec_runtime::Isa;

use crate::chain::Chain;
use crate::exec::Checks;
use crate::fault::{Fault, FaultKind};
use crate::launch;
use crate::memory::OFFSET_BITS;
use crate::memory::global::Allocation;
use crate::module::Kernel;
use crate::profile::Profile;

/// Allocations that a device can hold in its lifetime.
const ALLOCATION_LIMIT: usize = 1 << 22;

/// An allocation on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Buffer(u64);

impl Buffer {
    /// Its device address.
    pub fn address(self) -> u64 {
        self.0 << OFFSET_BITS
    }

    /// The buffer that an address belongs to, and the bytes before it there.
    pub(crate) fn at(address: u64) -> (Buffer, u64) {
        (Buffer(address >> OFFSET_BITS), address & ((1 << OFFSET_BITS) - 1))
    }
}

/// An argument of a launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A pointer so many bytes into a buffer.
    Pointer(Buffer, u64),
    /// A null pointer.
    Null,
    /// A 32-bit integer.
    U32(u32),
    /// A signed 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    U64(u64),
    /// An f32.
    F32(f32),
    /// A struct by value.
    Bytes(Vec<u8>),
}

impl Arg {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Arg::Pointer(buffer, offset) => {
                (buffer.address().wrapping_add(*offset)).to_le_bytes().into()
            }
            Arg::Null => 0u64.to_le_bytes().into(),
            Arg::U32(value) => value.to_le_bytes().into(),
            Arg::I32(value) => value.to_le_bytes().into(),
            Arg::U64(value) => value.to_le_bytes().into(),
            Arg::F32(value) => value.to_le_bytes().into(),
            Arg::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// A wrong use of the device's memory from the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A buffer of another device, or one that was freed.
    #[error("buffer {0} is not allocated on this device")]
    Unknown(u64),
    /// A range beyond the buffer's end.
    #[error("{name}: expected a range within its {bytes} bytes, found {start}..{end}")]
    OutOfRange {
        /// The buffer's name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
        /// Where the range starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// A read of what nothing wrote.
    #[error("{name}: expected bytes {start}..{end} to be written, byte {first} never was")]
    Uninitialised {
        /// The buffer's name.
        name: String,
        /// Where the range starts.
        start: u64,
        /// Where it ends.
        end: u64,
        /// The first byte that was never written.
        first: u64,
    },
    /// More memory than a simulated device gives.
    #[error(
        "{name}: expected at most {limit} bytes and {allocations} allocations, found {bytes} bytes"
    )]
    TooLarge {
        /// The buffer's name.
        name: String,
        /// The size asked for in bytes.
        bytes: u64,
        /// The largest size in bytes.
        limit: u64,
        /// The most allocations.
        allocations: usize,
    },
}

/// A simulated GPU.
#[derive(Debug)]
pub struct Device {
    pub(crate) allocations: Vec<Option<Allocation>>,
    /// Addresses of each module's global variables.
    pub(crate) globals: BTreeMap<u64, Vec<u64>>,
    /// The checks that launches make; all, unless changed.
    pub checks: Checks,
    /// Bytes of shared memory that a block may have.
    pub shared_limit: u32,
    /// Branches that the warps of a block may take before the kernel counts as endless.
    pub branch_limit: u64,
    /// The processor's instructions to run on; the result is the same for any.
    pub isa: Isa,
    /// Whether blocks may run on several threads. The result is the same either way.
    pub parallel: bool,
}

impl Device {
    /// A device of the Ampere family: 99 KiB of shared memory a block, so that what runs here also
    /// runs on compute capability 8.6 and 8.9.
    pub fn sm_80() -> Self {
        Self {
            // Address zero belongs to nobody.
            allocations: vec![None],
            globals: BTreeMap::new(),
            checks: Checks::ALL,
            shared_limit: 99 * 1024,
            branch_limit: 1 << 28,
            isa: Isa::best(),
            parallel: true,
        }
    }

    /// A device of the Hopper family: 227 KiB of shared memory a block.
    pub fn sm_90() -> Self {
        Self { shared_limit: 227 * 1024, ..Self::sm_80() }
    }

    /// Allocates uninitialised memory. The name is for messages.
    ///
    /// # Errors
    /// If the size or the number of allocations is beyond what addresses can tell apart.
    pub fn alloc(&mut self, name: impl Into<String>, bytes: u64) -> Result<Buffer, MemoryError> {
        let name = name.into();
        let limit = 1 << OFFSET_BITS;
        if bytes > limit || self.allocations.len() >= ALLOCATION_LIMIT {
            let allocations = ALLOCATION_LIMIT;
            return Err(MemoryError::TooLarge { name, bytes, limit, allocations });
        }
        self.allocations.push(Some(Allocation::new(name, bytes)));
        Ok(Buffer(self.allocations.len() as u64 - 1))
    }

    /// Frees a buffer; its address is never used again.
    ///
    /// # Errors
    /// If it is not allocated.
    pub fn free(&mut self, buffer: Buffer) -> Result<(), MemoryError> {
        let slot = self.allocations.get_mut(buffer.0 as usize).and_then(Option::take);
        slot.map(|_| ()).ok_or(MemoryError::Unknown(buffer.0))
    }

    /// Bytes of all buffers, a launched module's variables included.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocations.iter().flatten().map(|allocation| allocation.bytes).sum()
    }

    fn range(&self, buffer: Buffer, range: &Range<u64>) -> Result<&Allocation, MemoryError> {
        let allocation = self
            .allocations
            .get(buffer.0 as usize)
            .and_then(Option::as_ref)
            .ok_or(MemoryError::Unknown(buffer.0))?;
        if range.start > range.end || range.end > allocation.bytes {
            return Err(MemoryError::OutOfRange {
                name: allocation.name.clone(),
                bytes: allocation.bytes,
                start: range.start,
                end: range.end,
            });
        }
        Ok(allocation)
    }

    /// Writes bytes from the host.
    ///
    /// # Errors
    /// If they don't fit.
    pub fn upload(&mut self, buffer: Buffer, offset: u64, data: &[u8]) -> Result<(), MemoryError> {
        let end = offset.saturating_add(data.len() as u64);
        self.range(buffer, &(offset..end))?.upload(offset, data);
        Ok(())
    }

    /// Reads bytes to the host.
    ///
    /// # Errors
    /// If the range is outside, or parts of it were never written.
    pub fn download(&self, buffer: Buffer, range: Range<u64>) -> Result<Vec<u8>, MemoryError> {
        let allocation = self.range(buffer, &range)?;
        if let Some(first) = allocation.first_unwritten(range.clone()) {
            let (start, end) = (range.start, range.end);
            let name = allocation.name.clone();
            return Err(MemoryError::Uninitialised { name, start, end, first });
        }
        Ok(allocation.download(range))
    }

    /// A new value begins its life in a range: what was there before is uninitialised from now on.
    ///
    /// # Errors
    /// If the range is outside.
    pub fn birth(&mut self, buffer: Buffer, range: Range<u64>) -> Result<(), MemoryError> {
        self.range(buffer, &range)?.forget(range);
        Ok(())
    }

    /// Marks a range whose contents must not reach memory outside of marked ranges, such as the
    /// rows past a sample's end.
    ///
    /// # Errors
    /// If the range is outside.
    pub fn mark(&mut self, buffer: Buffer, range: Range<u64>) -> Result<(), MemoryError> {
        self.range(buffer, &range)?;
        if let Some(Some(allocation)) = self.allocations.get_mut(buffer.0 as usize) {
            allocation.marks.push(range);
            allocation.marks.sort_by_key(|mark| mark.start);
            let mut merged: Vec<Range<u64>> = Vec::new();
            for mark in allocation.marks.drain(..).filter(|mark| !mark.is_empty()) {
                match merged.last_mut() {
                    Some(last) if last.end >= mark.start => last.end = last.end.max(mark.end),
                    _ => merged.push(mark),
                }
            }
            allocation.marks = merged;
        }
        Ok(())
    }

    /// Takes all marks of a buffer away.
    ///
    /// # Errors
    /// If it is not allocated.
    pub fn unmark(&mut self, buffer: Buffer) -> Result<(), MemoryError> {
        self.range(buffer, &(0..0))?;
        if let Some(Some(allocation)) = self.allocations.get_mut(buffer.0 as usize) {
            allocation.marks.clear();
        }
        Ok(())
    }

    /// Takes the marks of a range away.
    ///
    /// # Errors
    /// If the range is outside.
    pub fn unmark_range(&mut self, buffer: Buffer, range: Range<u64>) -> Result<(), MemoryError> {
        self.range(buffer, &range)?;
        if let Some(Some(allocation)) = self.allocations.get_mut(buffer.0 as usize) {
            let marks = std::mem::take(&mut allocation.marks);
            let left = marks.into_iter().flat_map(|mark| {
                [mark.start..mark.end.min(range.start), mark.start.max(range.end)..mark.end]
            });
            allocation.marks = left.filter(|mark| !mark.is_empty()).collect();
        }
        Ok(())
    }

    /// The name that a buffer was given.
    ///
    /// # Errors
    /// If it is not allocated.
    pub fn name(&self, buffer: Buffer) -> Result<&str, MemoryError> {
        self.range(buffer, &(0..0)).map(|allocation| allocation.name.as_str())
    }

    /// Runs a kernel over a grid to its end.
    ///
    /// The result, the profile and the fault are the same for any number of threads. After a fault
    /// the contents of memory are what the blocks before the faulty one, and a part of it, left.
    ///
    /// # Errors
    /// The first fault in the order of blocks, or a launch that doesn't fit the kernel or the device.
    pub fn launch(
        &mut self,
        kernel: &Kernel,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        args: &[Arg],
    ) -> Result<Profile, Box<Fault>> {
        self.launch_behind(&mut Chain::default(), kernel, (grid, block), dynamic_shared, args)
    }

    /// As [`launch`](Self::launch), for one that may begin while the launches of a chain still run; it is the chain's
    /// last from then on. The first of a chain, and the first after a cut, begins when all before it have ended.
    /// A fault cuts the chain.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), and what comes before the kernel's `griddepcontrol.wait` too early.
    pub fn launch_behind(
        &mut self,
        chain: &mut Chain,
        kernel: &Kernel,
        (grid, block): ([u32; 3], [u32; 3]),
        dynamic_shared: u32,
        args: &[Arg],
    ) -> Result<Profile, Box<Fault>> {
        let params = launch::params(kernel, args)?;
        launch::geometry(self, kernel, grid, block, dynamic_shared)?;
        self.place_globals(kernel)?;
        launch::run(self, kernel, (grid, block), dynamic_shared, &params, chain)
    }

    /// Gives a module's global variables their memory at its first launch.
    fn place_globals(&mut self, kernel: &Kernel) -> Result<(), Box<Fault>> {
        let module = &kernel.module;
        if self.globals.contains_key(&module.number) {
            return Ok(());
        }
        let mut addresses = Vec::with_capacity(module.globals.len());
        for variable in &module.globals {
            let failed = |error: MemoryError| {
                let expected = "room for the module's variables".to_owned();
                Fault::launch(
                    kernel.name(),
                    FaultKind::Launch { expected, found: error.to_string() },
                )
            };
            let buffer = self.alloc(variable.name.clone(), variable.bytes).map_err(failed)?;
            let mut bytes = variable.init.clone();
            bytes.resize(variable.bytes as usize, 0);
            self.upload(buffer, 0, &bytes).map_err(failed)?;
            addresses.push(buffer.address());
        }
        self.globals.insert(module.number, addresses);
        Ok(())
    }
}
