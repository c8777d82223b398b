//! A block's shared memory.

use super::shadow::Shadow;

/// The bytes, what was written since the block began, and the shadows of the checks.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) data: Vec<u8>,
    /// One bit a byte.
    written: Vec<u32>,
    pub(crate) shadow: Shadow,
    /// Bits that depend on marked ranges; empty unless tracked.
    pub(crate) taint: Vec<u8>,
}

impl Shared {
    pub(crate) fn new(bytes: usize, tracked: bool) -> Self {
        Self {
            // Shared memory begins with whatever the last block left; a pattern stands for it.
            data: vec![0xcd; bytes],
            written: vec![0; bytes.div_ceil(32)],
            shadow: Shadow::new(bytes),
            taint: vec![0; if tracked { bytes } else { 0 }],
        }
    }

    /// Reads 1, 2, 4 or 8 bytes; the caller has checked the bounds.
    #[inline]
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> u64 {
        let at = offset as usize;
        read_le(&self.data[at..at + bytes as usize])
    }

    #[inline]
    pub(crate) fn write(&mut self, offset: u64, bytes: u64, value: u64) {
        let at = offset as usize;
        let bytes = bytes as usize;
        self.data[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }

    pub(crate) fn is_written(&self, offset: u64, bytes: u64) -> bool {
        let mask = mask(offset, bytes);
        self.written[(offset / 32) as usize] & mask == mask
    }

    #[inline]
    pub(crate) fn set_written(&mut self, offset: u64, bytes: u64) {
        self.written[(offset / 32) as usize] |= mask(offset, bytes);
    }
}

/// Bits of up to 32 aligned bytes within their word of the bitmap.
fn mask(offset: u64, bytes: u64) -> u32 {
    (((1u64 << bytes) - 1) << (offset % 32)) as u32
}

/// A little-endian number of up to 8 bytes.
#[inline]
pub(crate) fn read_le(bytes: &[u8]) -> u64 {
    match bytes {
        [a, b, c, d] => u64::from(u32::from_le_bytes([*a, *b, *c, *d])),
        [a, b] => u64::from(u16::from_le_bytes([*a, *b])),
        _ => bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    }
}
