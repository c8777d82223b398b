//! The zip container of an archive, read strictly from the whole file.
//!
//! `[local header, data] .. [central directory] [end record]`. Members are stored: their data is the file's own bytes, so
//! nothing can unpack to more than the file holds. Sizes come from the central directory (the local headers leave them
//! out), the place of the data from the local header (whose padding the directory doesn't know). Beyond what the format
//! asks for, a name may appear only once, no two members share a byte, and every checksum is checked.
//!
//! Field by field as in section 4.3 of PKWARE's APPNOTE, with the 64-bit records of sections 4.3.14, 4.3.15 and 4.5.3.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;
use thiserror::Error;

/// The first bytes of a file that begins with a member.
pub const MAGIC: [u8; 4] = *b"PK\x03\x04";

const LOCAL: [u8; 4] = MAGIC;
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const END_64: [u8; 4] = *b"PK\x06\x06";

/// Bytes of the end record without its comment.
const END_SIZE: usize = 22;
const LOCATOR_64_SIZE: usize = 20;

/// The most members of a container.
pub const MAX_MEMBERS: u64 = 1 << 20;

/// The rule that a container breaks.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ZipError {
    /// No end record.
    #[error("not a whole zip file: no end record in the last {0} bytes; the file may be cut short")]
    NoEnd(usize),
    /// Part of a set of files.
    #[error("the zip file is a part of several, expected a whole one")]
    Parts,
    /// More members than any model has.
    #[error("the zip file gives its number of members as {0}, expected at most {MAX_MEMBERS}")]
    Members(u64),
    /// A record outside the file.
    #[error("{what} should be at byte {at}, past what the zip file holds before it ends")]
    Outside {
        /// The record.
        what: String,
        /// Where it should begin.
        at: u64,
    },
    /// A record that isn't where the zip file says.
    #[error("expected {what} at byte {at}, found something else")]
    Signature {
        /// The record.
        what: String,
        /// Where it should begin.
        at: u64,
    },
    /// The directory isn't as long as it says.
    #[error("the zip file's directory should take {expected} bytes, found {found}")]
    Directory {
        /// What the end record says.
        expected: u64,
        /// What its members take.
        found: u64,
    },
    /// A name that is no plain path inside the archive.
    #[error("member {0:?}: expected a relative path in UTF-8 without `..`")]
    Name(String),
    /// Two members of one name.
    #[error("member `{0}` appears twice")]
    Duplicate(String),
    /// A member in a form that archives of models don't have.
    #[error("member `{name}` is {found}, expected one that is stored as it is")]
    Form {
        /// The member.
        name: String,
        /// What it is.
        found: String,
    },
    /// The directory and the member's own header disagree.
    #[error("member `{name}`: its header says {field} {local}, the zip file's directory {central}")]
    Disagree {
        /// The member.
        name: String,
        /// What they disagree on.
        field: &'static str,
        /// The header's value.
        local: String,
        /// The directory's value.
        central: String,
    },
    /// Two members share bytes.
    #[error("member `{second}` begins at byte {begin}, inside `{first}`, which ends at {end}")]
    Overlap {
        /// The member that begins first.
        first: String,
        /// The member that begins inside it.
        second: String,
        /// Where the second begins.
        begin: usize,
        /// Where the first ends.
        end: usize,
    },
    /// Bytes that have changed since they were written.
    #[error("member `{name}` is damaged: its checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// The member.
        name: String,
        /// What the directory says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
}

/// Where each member's bytes are in the file, by name; and the name of the member that is listed first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The ranges of the data.
    pub ranges: BTreeMap<String, Range<usize>>,
    /// The first name of the directory; empty if there is none.
    pub first: String,
}

/// What the directory says of a member.
struct Entry {
    name: String,
    method: u16,
    checksum: u32,
    size: u64,
    header: u64,
}

/// Reads the directory of a whole file and checks every member.
///
/// # Errors
/// The first rule that the file breaks.
pub fn parse(file: &[u8]) -> Result<Members, ZipError> {
    let end = End::find(file)?;
    let directory = span(file, end.offset, end.size, file.len(), || "the directory".to_owned())?;
    let first_byte = directory.start;
    let entries = entries(&file[directory], end.offset, end.members)?;
    let mut members = Members::default();
    let mut places = Vec::with_capacity(entries.len());
    for entry in &entries {
        let (begin, data) = locate(file, entry, first_byte)?;
        if members.ranges.insert(entry.name.clone(), data.clone()).is_some() {
            return Err(ZipError::Duplicate(entry.name.clone()));
        }
        places.push((begin, data.end, entry.name.as_str()));
    }
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        return Err(ZipError::Overlap {
            first: pair[0].2.to_owned(),
            second: pair[1].2.to_owned(),
            begin: pair[1].0,
            end: pair[0].1,
        });
    }
    let damaged = entries.par_iter().find_map_first(|entry| {
        let found = checksum(&file[members.ranges[&entry.name].clone()]);
        (found != entry.checksum).then_some((entry, found))
    });
    if let Some((entry, found)) = damaged {
        let (name, expected) = (entry.name.clone(), entry.checksum);
        return Err(ZipError::Checksum { name, expected, found });
    }
    members.first = entries.into_iter().next().map(|entry| entry.name).unwrap_or_default();
    Ok(members)
}

/// Where the directory is.
struct End {
    members: u64,
    size: u64,
    offset: u64,
}

impl End {
    fn find(file: &[u8]) -> Result<End, ZipError> {
        let searched = file.len().min(END_SIZE + usize::from(u16::MAX));
        let tail = file.len() - searched;
        let at = (tail..=file.len().saturating_sub(END_SIZE))
            .rev()
            .find(|&at| {
                let rest = &file[at..];
                rest.len() >= END_SIZE
                    && rest.starts_with(&END)
                    && usize::from(u16_at(rest, 20)) == rest.len() - END_SIZE
            })
            .ok_or(ZipError::NoEnd(searched))?;
        let record = &file[at..];
        let parts = [u16_at(record, 4), u16_at(record, 6)];
        let (here, members) = (u16_at(record, 8), u16_at(record, 10));
        let (size, offset) = (u32_at(record, 12), u32_at(record, 16));
        let wide = [here, members].contains(&u16::MAX) || [size, offset].contains(&u32::MAX);
        let locator = at.checked_sub(LOCATOR_64_SIZE).map(|at| &file[at..]);
        if let Some(locator) = locator.filter(|locator| wide && locator.starts_with(&LOCATOR_64)) {
            return Self::wide(file, u64_at(locator, 8));
        }
        if parts != [0, 0] || here != members {
            return Err(ZipError::Parts);
        }
        Self::checked(members.into(), size.into(), offset.into())
    }

    fn wide(file: &[u8], at: u64) -> Result<End, ZipError> {
        let what = || "the 64-bit end record".to_owned();
        let record = &file[span(file, at, 56, file.len(), what)?];
        if !record.starts_with(&END_64) {
            return Err(ZipError::Signature { what: what(), at });
        }
        let (here, members) = (u64_at(record, 24), u64_at(record, 32));
        if u32_at(record, 16) != 0 || u32_at(record, 20) != 0 || here != members {
            return Err(ZipError::Parts);
        }
        Self::checked(members, u64_at(record, 40), u64_at(record, 48))
    }

    fn checked(members: u64, size: u64, offset: u64) -> Result<End, ZipError> {
        if members > MAX_MEMBERS {
            return Err(ZipError::Members(members));
        }
        Ok(End { members, size, offset })
    }
}

/// The entries of the directory, which begins at `offset` of the file.
fn entries(directory: &[u8], offset: u64, members: u64) -> Result<Vec<Entry>, ZipError> {
    const FIXED: usize = 46;
    let mut entries = Vec::new();
    let mut at = 0;
    for i in 0..members {
        let what = || format!("entry {i} of the directory");
        let place = offset.saturating_add(at as u64);
        let rest = &directory[at..];
        let outside = || ZipError::Outside { what: what(), at: place };
        if rest.len() < FIXED {
            return Err(outside());
        }
        if !rest.starts_with(&CENTRAL) {
            return Err(ZipError::Signature { what: what(), at: place });
        }
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
        let end_of_name = FIXED + lengths[0];
        let end_of_extra = end_of_name + lengths[1];
        let entry = end_of_extra + lengths[2];
        if rest.len() < entry {
            return Err(outside());
        }
        entries.push(self::entry(
            rest,
            &rest[FIXED..end_of_name],
            &rest[end_of_name..end_of_extra],
        )?);
        at += entry;
    }
    if at != directory.len() {
        let (expected, found) = (directory.len() as u64, at as u64);
        return Err(ZipError::Directory { expected, found });
    }
    Ok(entries)
}

fn entry(fixed: &[u8], name: &[u8], extra: &[u8]) -> Result<Entry, ZipError> {
    let bad = || ZipError::Name(String::from_utf8_lossy(name).into_owned());
    let name = std::str::from_utf8(name).map_err(|_| bad())?;
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if !name.split('/').all(plain) || name.contains(['\\', '\0', ':']) {
        return Err(bad());
    }
    let mut wide = Wide::find(extra);
    let packed = wide.or_own(u32_at(fixed, 20), u32_at(fixed, 24));
    let form = |found: String| ZipError::Form { name: name.to_owned(), found };
    let (size, packed_size) = packed.ok_or_else(|| form("without its 64-bit size".to_owned()))?;
    let header = match u32_at(fixed, 42) {
        u32::MAX => wide.next().ok_or_else(|| form("without its 64-bit place".to_owned()))?,
        near => near.into(),
    };
    let (flags, method) = (u16_at(fixed, 8), u16_at(fixed, 10));
    if flags & 1 != 0 {
        return Err(form("encrypted".to_owned()));
    }
    if method != 0 {
        return Err(form(format!("compressed by method {method}")));
    }
    if packed_size != size {
        return Err(form(format!("stored in {packed_size} bytes but {size} bytes long")));
    }
    Ok(Entry { name: name.to_owned(), method, checksum: u32_at(fixed, 16), size, header })
}

/// The numbers of the 64-bit extra field that are still to be taken: those that the entry has no room for, in order.
struct Wide<'e> {
    rest: &'e [u8],
}

impl<'e> Wide<'e> {
    /// The extra field of id 1, if it is there and whole.
    fn find(mut extra: &'e [u8]) -> Self {
        while let Some((head, rest)) = extra.split_at_checked(4) {
            let Some((field, rest)) = rest.split_at_checked(u16_at(head, 2).into()) else { break };
            if u16_at(head, 0) == 1 {
                return Self { rest: field };
            }
            extra = rest;
        }
        Self { rest: &[] }
    }

    fn next(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// The size and the stored size. The field holds them in the opposite order of the entry.
    fn or_own(&mut self, packed: u32, size: u32) -> Option<(u64, u64)> {
        let mut take = |own: u32| if own == u32::MAX { self.next() } else { Some(own.into()) };
        let size = take(size)?;
        Some((size, take(packed)?))
    }
}

/// Where the member's header begins, and where its data is; `end` is where the directory begins.
fn locate(file: &[u8], entry: &Entry, end: usize) -> Result<(usize, Range<usize>), ZipError> {
    const FIXED: u64 = 30;
    let what = || format!("the header of member `{}`", entry.name);
    let header = span(file, entry.header, FIXED, end, what)?;
    let fixed = &file[header.clone()];
    if !fixed.starts_with(&LOCAL) {
        return Err(ZipError::Signature { what: what(), at: entry.header });
    }
    let lengths = [26, 28].map(|at| u64::from(u16_at(fixed, at)));
    let name = span(file, entry.header.saturating_add(FIXED), lengths[0], end, what)?;
    let disagree = |field, local: String, central: String| {
        let name = entry.name.clone();
        Err(ZipError::Disagree { name, field, local, central })
    };
    if file[name.clone()] != *entry.name.as_bytes() {
        let local = String::from_utf8_lossy(&file[name]).into_owned();
        return disagree("the name", local, entry.name.clone());
    }
    let method = u16_at(fixed, 8);
    if method != entry.method {
        return disagree("method", method.to_string(), entry.method.to_string());
    }
    let data = entry.header.saturating_add(FIXED + lengths[0] + lengths[1]);
    let data =
        span(file, data, entry.size, end, || format!("the data of member `{}`", entry.name))?;
    Ok((header.start, data))
}

/// `size` bytes from `at`, all before `end`.
fn span(
    file: &[u8],
    at: u64,
    size: u64,
    end: usize,
    what: impl Fn() -> String,
) -> Result<Range<usize>, ZipError> {
    let range = usize::try_from(at).ok().zip(usize::try_from(size).ok());
    let range = range.and_then(|(at, size)| Some(at..at.checked_add(size)?));
    match range.filter(|range| range.end <= end && range.end <= file.len()) {
        Some(range) => Ok(range),
        None => Err(ZipError::Outside { what: what(), at }),
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}

/// What a byte does to the checksum, and what it does after `i` more zero bytes: row `i`.
const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[row - 1][byte];
            tables[row][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
};

/// The CRC-32 of a zip file, eight bytes at a time.
pub fn checksum(bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<8>();
    let mut crc = u32::MAX;
    for block in blocks {
        let mixed = u64::from_le_bytes(*block) ^ u64::from(crc);
        crc = mixed
            .to_le_bytes()
            .iter()
            .zip(TABLES.iter().rev())
            .fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)]);
    }
    for &byte in rest {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zip_files() {
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
    }
}
