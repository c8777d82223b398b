//! Plans put together from parts that need not be right, with all hashes right.

/// A section: kind, index and bytes.
pub(crate) type Part = (u32, u32, Vec<u8>);

pub(crate) const MANIFEST: u32 = 1;
pub(crate) const PROGRAM: u32 = 2;
pub(crate) const TOKENIZER: u32 = 3;
pub(crate) const WEIGHTS: u32 = 4;

/// Where things are, by `FORMAT.md`.
pub(crate) const FORMAT_AT: usize = 8;
pub(crate) const MIN_READER_AT: usize = 12;
pub(crate) const LENGTH_AT: usize = 16;
pub(crate) const COUNT_AT: usize = 24;
pub(crate) const RESERVED_AT: usize = 28;
pub(crate) const TABLE_AT: usize = 64;
pub(crate) const ENTRY: usize = 56;

/// The sections of a plan that is right.
pub(crate) fn parts(plan: &[u8]) -> Vec<Part> {
    let count = u32_at(plan, COUNT_AT) as usize;
    let entries = plan[TABLE_AT..TABLE_AT + count * ENTRY].chunks(ENTRY);
    let part = |entry: &[u8]| {
        let (offset, length) = (u64_at(entry, 8) as usize, u64_at(entry, 16) as usize);
        (u32_at(entry, 0), u32_at(entry, 4), plan[offset..offset + length].to_vec())
    };
    entries.map(part).collect()
}

/// A plan of these sections, each at the first aligned byte after the one before it.
pub(crate) fn assemble(parts: &[Part]) -> Vec<u8> {
    let mut file = b"\x89bytec\r\n".to_vec();
    file.resize(TABLE_AT + parts.len() * ENTRY, 0);
    file[FORMAT_AT] = 1;
    file[MIN_READER_AT] = 1;
    file[COUNT_AT..COUNT_AT + 4].copy_from_slice(&(parts.len() as u32).to_le_bytes());
    for (i, (kind, index, bytes)) in parts.iter().enumerate() {
        file.resize(file.len().next_multiple_of(256), 0);
        let at = TABLE_AT + i * ENTRY;
        let offset = file.len() as u64;
        file[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        file[at + 4..at + 8].copy_from_slice(&index.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
        file[at + 16..at + 24].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        file[at + 24..at + 56].copy_from_slice(blake3::hash(bytes).as_bytes());
        file.extend(bytes);
    }
    let length = file.len() as u64;
    file[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&length.to_le_bytes());
    seal(file)
}

/// The file with the header's hash made right.
pub(crate) fn seal(mut file: Vec<u8>) -> Vec<u8> {
    let end = TABLE_AT + u32_at(&file, COUNT_AT) as usize * ENTRY;
    file[32..64].fill(0);
    let hash = blake3::hash(&file[..end]);
    file[32..64].copy_from_slice(hash.as_bytes());
    file
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the field is there"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the field is there"))
}
