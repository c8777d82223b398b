//! Every way for a file not to be a plan.

use crate::check::CheckError;
use crate::header::SectionId;

/// Why a file was refused. The variants stand in the order of the checks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file ends before the header does.
    #[error("expected a plan, whose header alone has {expected} bytes, found a file of {found}")]
    NoHeader {
        /// Bytes of the header.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The file does not begin as plans do.
    #[error("expected a plan, which begins with {}, found {}", bytes(.expected), bytes(.found))]
    NotAPlan {
        /// How plans begin.
        expected: [u8; 8],
        /// How the file begins.
        found: [u8; 8],
    },
    /// The plan was written for newer readers.
    #[error(
        "the plan has format {format} and needs a reader of at least {min_reader}, this one reads up to {reader}: \
         update bytec, or compile the plan again"
    )]
    TooNew {
        /// The plan's format.
        format: u32,
        /// The oldest reader for it.
        min_reader: u32,
        /// The newest format read here.
        reader: u32,
    },
    /// The version fields make no sense together.
    #[error(
        "expected a format from 1 and its oldest reader no newer than it, found format {format}, reader {min_reader}"
    )]
    NoSuchFormat {
        /// The plan's format.
        format: u32,
        /// The oldest reader for it.
        min_reader: u32,
    },
    /// The file is shorter than its header says.
    #[error("the plan is cut off: expected {expected} bytes, found {found}")]
    Truncated {
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The file is longer than its header says.
    #[error("expected the plan to end after {expected} bytes, found {found}")]
    TrailingBytes {
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// More sections than allowed, or than the file could name.
    #[error("expected at most {max} sections in a file of this size, found {found}")]
    SectionCount {
        /// The most that the file could have.
        max: u64,
        /// What the header says.
        found: u32,
    },
    /// Header or section table were changed.
    #[error("the header is damaged: expected BLAKE3 {expected}, found {found}")]
    HeaderHash {
        /// The hash in the header, in hexadecimal.
        expected: String,
        /// The hash of the bytes.
        found: String,
    },
    /// A reserved field is not zero.
    #[error("expected zero in the header's reserved field, found {found}")]
    Reserved {
        /// The field.
        found: u32,
    },
    /// A section of an unknown kind.
    #[error("entry {entry} of the section table: expected a kind from 1 to 4, found {found}")]
    SectionKind {
        /// The entry, from 0.
        entry: u32,
        /// Its kind.
        found: u32,
    },
    /// A section that may be there once is there twice.
    #[error("entry {entry} of the section table: expected one section `{section}`, found a second")]
    SectionTwice {
        /// The entry, from 0.
        entry: u32,
        /// Which.
        section: SectionId,
    },
    /// Sections of one kind don't count from zero.
    #[error("entry {entry} of the section table: expected index {expected}, found {found}")]
    SectionIndex {
        /// The entry, from 0.
        entry: u32,
        /// The next index of its kind.
        expected: u32,
        /// Its index.
        found: u32,
    },
    /// A section is larger than allowed.
    #[error("{section}: expected at most {max} bytes, found {found}")]
    SectionTooLarge {
        /// Which.
        section: SectionId,
        /// The most bytes.
        max: u64,
        /// Its length.
        found: u64,
    },
    /// A section does not begin at the first aligned byte after the one before it.
    #[error("{section}: expected to begin at byte {expected}, found {found}")]
    SectionPlace {
        /// Which.
        section: SectionId,
        /// Where it must begin.
        expected: u64,
        /// Where the table says it does.
        found: u64,
    },
    /// A section reaches past the end of the file.
    #[error("{section}: expected to end by byte {file}, found {length} bytes from byte {offset}")]
    SectionEnd {
        /// Which.
        section: SectionId,
        /// Where it begins.
        offset: u64,
        /// Its length.
        length: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// A byte between sections is not zero.
    #[error("expected zeros between sections, found {found:#04x} at byte {at}")]
    Padding {
        /// Where.
        at: u64,
        /// The byte.
        found: u8,
    },
    /// The file goes on after the last section.
    #[error(
        "expected the last section to end the file at byte {expected}, found its end at byte {found}"
    )]
    Unclaimed {
        /// Bytes of the file.
        expected: u64,
        /// Where the last section ends.
        found: u64,
    },
    /// A section's bytes were changed.
    #[error("{section} is damaged: expected BLAKE3 {expected}, found {found}")]
    SectionHash {
        /// Which.
        section: SectionId,
        /// The hash in the table, in hexadecimal.
        expected: String,
        /// The hash of the bytes.
        found: String,
    },
    /// A section that every plan has is not there.
    #[error("expected a section `{section}`, found none")]
    SectionMissing {
        /// Which.
        section: SectionId,
    },
    /// A section's JSON is not what its kind holds.
    #[error("{section}: {cause}")]
    Json {
        /// Which.
        section: SectionId,
        /// What serde says.
        cause: serde_json::Error,
    },
    /// The manifest needs a tokenizer and there is none.
    #[error(
        "the manifest says how texts become inputs: expected a section `tokenizer`, found none"
    )]
    TokenizerMissing,
    /// Two programs have the same entry and target.
    #[error(
        "expected one program for each entry and target, found two for `{entry}` on `{target}`"
    )]
    ProgramTwice {
        /// The entry.
        entry: String,
        /// The target.
        target: String,
    },
    /// A program breaks a rule of [`check`](crate::check::check).
    #[error("program `{entry}` for `{target}`: {cause}")]
    Program {
        /// The program's entry.
        entry: String,
        /// The program's target.
        target: String,
        /// The broken rule.
        cause: Box<CheckError>,
    },
}

fn bytes(bytes: &[u8; 8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
