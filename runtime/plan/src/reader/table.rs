//! The header and the section table, checked against the file and its hashes.

use super::error::ReadError;
use super::range;
use crate::hash::hash;
use crate::header::{
    self, ENTRY_BYTES, FORMAT, HASH_AT, HEADER_BYTES, MAGIC, MAX_SECTIONS, Section, SectionId,
    SectionKind,
};

/// The format and the sections of a file whose every byte has been checked.
pub(super) fn read(file: &[u8]) -> Result<(u32, Vec<Section>), ReadError> {
    let (format, head) = head(file)?;
    let mut sections: Vec<Section> = Vec::new();
    let mut end = head.len() as u64;
    for (entry, bytes) in head[HEADER_BYTES..].chunks_exact(ENTRY_BYTES).enumerate() {
        let section = section(entry as u32, bytes, &sections)?;
        end = place(&section, end, file)?;
        sections.push(section);
    }
    if end != file.len() as u64 {
        return Err(ReadError::Unclaimed { expected: file.len() as u64, found: end });
    }
    for section in &sections {
        let found = hash(&file[range(section)]);
        if found != section.hash {
            return Err(ReadError::SectionHash {
                section: section.id,
                expected: header::hex(&section.hash),
                found: header::hex(&found),
            });
        }
    }
    Ok((format, sections))
}

/// The format, and the bytes of header and table after their hash was found right.
fn head(file: &[u8]) -> Result<(u32, &[u8]), ReadError> {
    let length = file.len() as u64;
    let Some(head) = file.first_chunk::<HEADER_BYTES>() else {
        return Err(ReadError::NoHeader { expected: HEADER_BYTES as u64, found: length });
    };
    let magic: [u8; 8] = array(head, 0);
    if magic != MAGIC {
        return Err(ReadError::NotAPlan { expected: MAGIC, found: magic });
    }
    let format = u32::from_le_bytes(array(head, 8));
    let min_reader = u32::from_le_bytes(array(head, 12));
    if min_reader > FORMAT {
        return Err(ReadError::TooNew { format, min_reader, reader: FORMAT });
    }
    if min_reader == 0 || format < min_reader {
        return Err(ReadError::NoSuchFormat { format, min_reader });
    }
    let announced = u64::from_le_bytes(array(head, 16));
    if announced > length {
        return Err(ReadError::Truncated { expected: announced, found: length });
    }
    if announced < length {
        return Err(ReadError::TrailingBytes { expected: announced, found: length });
    }
    let count = u32::from_le_bytes(array(head, 24));
    let room = (file.len() - HEADER_BYTES) / ENTRY_BYTES;
    let max = room.min(MAX_SECTIONS as usize);
    if count as usize > max {
        return Err(ReadError::SectionCount { max: max as u64, found: count });
    }
    let bytes = &file[..HEADER_BYTES + count as usize * ENTRY_BYTES];
    let (expected, found) = (array(head, HASH_AT), header::hash(bytes));
    if expected != found {
        let (expected, found) = (header::hex(&expected), header::hex(&found));
        return Err(ReadError::HeaderHash { expected, found });
    }
    let reserved = u32::from_le_bytes(array(head, 28));
    if reserved != 0 {
        return Err(ReadError::Reserved { found: reserved });
    }
    Ok((format, bytes))
}

/// One entry of the table, checked against the entries before it.
fn section(entry: u32, bytes: &[u8], before: &[Section]) -> Result<Section, ReadError> {
    let code = u32::from_le_bytes(array(bytes, 0));
    let Some(kind) = SectionKind::from_code(code) else {
        return Err(ReadError::SectionKind { entry, found: code });
    };
    let id = SectionId { kind, index: u32::from_le_bytes(array(bytes, 4)) };
    let next = before.iter().filter(|section| section.id.kind == kind).count() as u32;
    if next != 0 && kind != SectionKind::Program {
        let section = SectionId { kind, index: 0 };
        return Err(ReadError::SectionTwice { entry, section });
    }
    if id.index != next {
        return Err(ReadError::SectionIndex { entry, expected: next, found: id.index });
    }
    let offset = u64::from_le_bytes(array(bytes, 8));
    let length = u64::from_le_bytes(array(bytes, 16));
    if length > kind.max_bytes() {
        let max = kind.max_bytes();
        return Err(ReadError::SectionTooLarge { section: id, max, found: length });
    }
    Ok(Section { id, offset, length, hash: array(bytes, 24) })
}

/// Where the section ends, which is inside the file. It begins at the first aligned byte from `end`, the end of what is
/// before it, and the bytes between are zero.
fn place(section: &Section, end: u64, file: &[u8]) -> Result<u64, ReadError> {
    let &Section { id, offset, length, .. } = section;
    let expected = header::align(end).expect("`end` is inside a file in memory");
    if offset != expected {
        return Err(ReadError::SectionPlace { section: id, expected, found: offset });
    }
    let bound = file.len() as u64;
    let Some(section_end) = offset.checked_add(length).filter(|end| *end <= bound) else {
        return Err(ReadError::SectionEnd { section: id, offset, length, file: bound });
    };
    let gap = &file[end as usize..offset as usize];
    if let Some((i, found)) = gap.iter().enumerate().find(|(_, byte)| **byte != 0) {
        return Err(ReadError::Padding { at: end + i as u64, found: *found });
    }
    Ok(section_end)
}

/// `N` bytes from `at`. Callers pass fixed fields of bytes whose length they know.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the field lies inside the header or entry")
}
