//! The weight section while it is being put together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::header;

/// The bytes of all programs' weights. Equal bytes are kept once.
///
/// Bytes may be borrowed, from a mapped checkpoint for example, so that a weight that needs no change is never copied.
#[derive(Clone, Debug, Default)]
pub struct WeightTable<'a> {
    parts: Vec<(u64, Cow<'a, [u8]>)>,
    placed: BTreeMap<[u8; 32], Placement>,
    end: u64,
}

/// Where a weight's bytes are: what its `WeightSpec` says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where the bytes begin in the weight section; a multiple of 256.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes, in hexadecimal.
    pub hash: String,
}

impl<'a> WeightTable<'a> {
    /// A table without weights.
    pub fn new() -> WeightTable<'a> {
        WeightTable::default()
    }

    /// Places a weight's bytes, in their final layout, little-endian. Equal bytes get the place they have.
    pub fn add(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Placement {
        let bytes = bytes.into();
        let hash = *blake3::hash(&bytes).as_bytes();
        if let Some(placement) = self.placed.get(&hash) {
            return placement.clone();
        }
        let offset = header::align(self.end).expect("bytes in memory end below 2^63");
        let placement = Placement { offset, bytes: bytes.len() as u64, hash: header::hex(&hash) };
        self.end = offset + bytes.len() as u64;
        self.parts.push((offset, bytes));
        self.placed.insert(hash, placement.clone());
        placement
    }

    /// Bytes of the section.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether the section has no bytes.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The section's bytes in order, padding included.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        static ZEROS: [u8; header::ALIGN as usize] = [0; header::ALIGN as usize];
        let mut end = 0;
        self.parts.iter().flat_map(move |(offset, bytes)| {
            let gap = (offset - end) as usize;
            end = offset + bytes.len() as u64;
            [&ZEROS[..gap], &bytes[..]]
        })
    }
}
