//! A plan's bytes: mapped from a file, or in memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use bytemuck::Zeroable;
use memmap2::Mmap;

use crate::arena::{Line, floats_mut};

// Plans hold little-endian numbers, which the kernels read where they lie.
const _: () = assert!(cfg!(target_endian = "little"), "plans are read on little-endian machines");

/// Bytes that begin at a multiple of 64.
#[derive(Debug)]
pub(crate) enum PlanBytes {
    /// A file.
    Mapped(Mmap),
    /// Memory: lines, of which the first `usize` bytes count.
    Owned(Vec<Line>, usize),
}

impl PlanBytes {
    /// Maps a file.
    pub(crate) fn open(path: &Path) -> io::Result<PlanBytes> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        if found.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if found.len() == 0 {
            return Ok(PlanBytes::Owned(Vec::new(), 0));
        }
        map(&file).map(PlanBytes::Mapped)
    }

    /// Copies bytes into aligned memory.
    pub(crate) fn copy(bytes: &[u8]) -> PlanBytes {
        let mut lines = vec![Line::zeroed(); bytes.len().div_ceil(size_of::<Line>())];
        bytemuck::cast_slice_mut::<f32, u8>(floats_mut(&mut lines))[..bytes.len()]
            .copy_from_slice(bytes);
        PlanBytes::Owned(lines, bytes.len())
    }
}

impl Deref for PlanBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            PlanBytes::Mapped(map) => map,
            PlanBytes::Owned(lines, len) => &bytemuck::cast_slice(lines)[..*len],
        }
    }
}

/// Maps a whole file for reading.
#[expect(
    unsafe_code,
    reason = "a mapping can't be made safely: another process may change the file"
)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only. Plans are written to a temporary file and renamed, never changed in place; that
    // no other process changes the file while it is mapped is asked of the caller in the docs of `Engine::open`.
    unsafe { Mmap::map(file) }
}

/// The weight section of a plan; begins at a multiple of 64 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightBytes<'a>(pub(crate) &'a [u8]);
