//! The fixed header and the section table: sizes, places and hashes of everything else in the file.
//!
//! All numbers are little-endian. `FORMAT.md` has the field tables.

use std::fmt;

/// The first bytes of every plan. The first is no ASCII letter and the last two are a line end, so that text tools and
/// transfers in text mode give themselves away.
pub const MAGIC: [u8; 8] = *b"\x89bytec\r\n";

/// The format that this crate writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The oldest reader that understands what this crate writes.
pub const MIN_READER: u32 = 1;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Bytes of one entry of the section table.
pub const ENTRY_BYTES: usize = 56;

/// Where the header's hash begins.
pub(crate) const HASH_AT: usize = 32;

/// Sections, and the weights in theirs, begin at multiples of this many bytes.
pub const ALIGN: u64 = 256;

/// The most sections a plan may have.
pub const MAX_SECTIONS: u32 = 1024;

/// The most bytes of a manifest, a program or a tokenizer: 64 MiB.
pub const MAX_TEXT_BYTES: u64 = 64 << 20;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionKind {
    /// The manifest, as JSON. Exactly one.
    Manifest,
    /// A program, as JSON. At least one; the index counts them.
    Program,
    /// The bytes of `tokenizer.json`. At most one.
    Tokenizer,
    /// The weights of all programs. Exactly one.
    Weights,
    /// The compiled kernels of all GPU programs. At most one.
    Modules,
}

impl SectionKind {
    /// All kinds.
    pub const ALL: [SectionKind; 5] = [
        SectionKind::Manifest,
        SectionKind::Program,
        SectionKind::Tokenizer,
        SectionKind::Weights,
        SectionKind::Modules,
    ];

    /// The number in the section table.
    pub fn code(self) -> u32 {
        match self {
            SectionKind::Manifest => 1,
            SectionKind::Program => 2,
            SectionKind::Tokenizer => 3,
            SectionKind::Weights => 4,
            SectionKind::Modules => 5,
        }
    }

    /// The kind of this number.
    pub fn from_code(code: u32) -> Option<SectionKind> {
        SectionKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The most bytes that a section of this kind may have.
    pub fn max_bytes(self) -> u64 {
        match self {
            SectionKind::Manifest | SectionKind::Program | SectionKind::Tokenizer => MAX_TEXT_BYTES,
            SectionKind::Weights | SectionKind::Modules => u64::MAX,
        }
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            SectionKind::Manifest => "manifest",
            SectionKind::Program => "program",
            SectionKind::Tokenizer => "tokenizer",
            SectionKind::Weights => "weights",
            SectionKind::Modules => "modules",
        }
    }
}

/// A section's kind and index, such as `program 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionId {
    /// What it holds.
    pub kind: SectionKind,
    /// Which of the sections of this kind; zero where there is only one.
    pub index: u32,
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SectionKind::Program => write!(f, "program {}", self.index),
            kind => f.write_str(kind.name()),
        }
    }
}

/// One entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What the section holds.
    pub id: SectionId,
    /// Where it begins in the file; a multiple of [`ALIGN`].
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
}

impl Section {
    /// The entry's bytes.
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0..4].copy_from_slice(&self.id.kind.code().to_le_bytes());
        bytes[4..8].copy_from_slice(&self.id.index.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.hash);
        bytes
    }
}

/// The header followed by the section table, with their hash filled in.
pub(crate) fn encode(file_length: u64, sections: &[Section]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sections.len() * ENTRY_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(MIN_READER.to_le_bytes());
    bytes.extend(file_length.to_le_bytes());
    let count = u32::try_from(sections.len()).expect("a plan has at most MAX_SECTIONS sections");
    bytes.extend(count.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0; 32]);
    for section in sections {
        bytes.extend(section.encode());
    }
    let hash = hash(&bytes);
    bytes[HASH_AT..HEADER_BYTES].copy_from_slice(&hash);
    bytes
}

/// BLAKE3 of a header and its table, with the hash field counted as zeros.
pub(crate) fn hash(header_and_table: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header_and_table[..HASH_AT]);
    hasher.update(&[0; HEADER_BYTES - HASH_AT]);
    hasher.update(&header_and_table[HEADER_BYTES..]);
    *hasher.finalize().as_bytes()
}

/// The smallest multiple of [`ALIGN`] that is not below `offset`; `None` past 64 bits.
pub(crate) fn align(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(ALIGN)
}

/// The hash as 64 hexadecimal digits.
pub(crate) fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}
