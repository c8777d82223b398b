//! Manifest, programs, weights and tokenizer to a plan's bytes.
//!
//! The same contents always give the same bytes. Placing a file under its final name in one step is the caller's part.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::check::{self, CheckError, SectionSizes};
use crate::header::{
    self, ENTRY_BYTES, HEADER_BYTES, MAX_SECTIONS, Section, SectionId, SectionKind,
};
use crate::manifest::Manifest;
use crate::program::Program;
use crate::weights::WeightTable;

/// What goes into a plan.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The plan's description of itself.
    pub manifest: &'a Manifest,
    /// At least one, each with its own entry and target.
    pub programs: &'a [Program],
    /// The weights that the programs' specs point into.
    pub weights: &'a WeightTable<'a>,
    /// The compiled kernels that GPU programs point into; `None` without GPU programs.
    pub modules: Option<&'a WeightTable<'a>>,
    /// The bytes of `tokenizer.json`; needed if the manifest says how texts become inputs.
    pub tokenizer: Option<&'a [u8]>,
}

/// Why a plan can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The writer failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There are no programs, or more than the section table holds.
    #[error("expected 1 to {max} programs, found {found}")]
    ProgramCount {
        /// The most programs.
        max: usize,
        /// How many there are.
        found: usize,
    },
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
    /// A program breaks a rule of [`check::check`].
    #[error("program `{entry}` for `{target}`: {cause}")]
    Program {
        /// The program's entry.
        entry: String,
        /// The program's target.
        target: String,
        /// The broken rule.
        cause: Box<CheckError>,
    },
    /// The manifest needs a tokenizer and there is none.
    #[error("the manifest says how texts become inputs: expected a tokenizer, found none")]
    TokenizerMissing,
    /// A manifest, program or tokenizer is too large to be read back.
    #[error("{section}: expected at most {max} bytes, found {found}")]
    TooLarge {
        /// Which section.
        section: SectionId,
        /// The most bytes.
        max: u64,
        /// How many bytes it has.
        found: u64,
    },
    /// The section has no JSON form that can be read back.
    #[error("{section}: expected JSON that can be read back, found: {cause}")]
    Json {
        /// Which section.
        section: SectionId,
        /// What serde says.
        cause: serde_json::Error,
    },
    /// The section reads back as something else: a number lost bits in JSON.
    #[error("{section}: expected its JSON to read back as it was, found a difference")]
    Unfaithful {
        /// Which section.
        section: SectionId,
    },
}

/// Writes a plan and returns how many bytes it has.
///
/// # Errors
///
/// Refuses contents that [`PlanIndex::read`](crate::reader::PlanIndex::read) would refuse, before anything is written;
/// passes on what the writer says.
pub fn write(contents: Contents<'_>, mut out: impl Write) -> Result<u64, WriteError> {
    refuse_bad_contents(contents)?;

    let mut texts =
        vec![(SectionKind::Manifest, 0, json(SectionKind::Manifest, 0, contents.manifest)?)];
    for (index, program) in contents.programs.iter().enumerate() {
        texts.push((
            SectionKind::Program,
            index as u32,
            json(SectionKind::Program, index as u32, program)?,
        ));
    }
    if let Some(tokenizer) = contents.tokenizer {
        texts.push((SectionKind::Tokenizer, 0, tokenizer.to_vec()));
    }

    let mut tables = vec![(SectionKind::Weights, contents.weights)];
    tables.extend(contents.modules.map(|modules| (SectionKind::Modules, modules)));

    let mut placer = Placer::new(texts.len() + tables.len());
    for (kind, index, bytes) in &texts {
        let id = SectionId { kind: *kind, index: *index };
        let found = bytes.len() as u64;
        if found > kind.max_bytes() {
            return Err(WriteError::TooLarge { section: id, max: kind.max_bytes(), found });
        }
        placer.place(id, found, *blake3::hash(bytes).as_bytes());
    }
    for (kind, table) in &tables {
        let mut hash = blake3::Hasher::new();
        table.chunks().for_each(|chunk| {
            hash.update(chunk);
        });
        let id = SectionId { kind: *kind, index: 0 };
        placer.place(id, table.len(), *hash.finalize().as_bytes());
    }

    let mut written = 0;
    let head = header::encode(placer.end, &placer.sections);
    put(&mut out, &mut written, &head)?;
    for ((_, _, bytes), section) in texts.iter().zip(&placer.sections) {
        pad(&mut out, &mut written, section.offset)?;
        put(&mut out, &mut written, bytes)?;
    }
    for ((_, table), section) in tables.iter().zip(&placer.sections[texts.len()..]) {
        pad(&mut out, &mut written, section.offset)?;
        for chunk in table.chunks() {
            put(&mut out, &mut written, chunk)?;
        }
    }
    out.flush()?;
    debug_assert_eq!(written, placer.end);
    Ok(written)
}

fn refuse_bad_contents(contents: Contents<'_>) -> Result<(), WriteError> {
    let max = MAX_SECTIONS as usize - 4;
    let found = contents.programs.len();
    if found == 0 || found > max {
        return Err(WriteError::ProgramCount { max, found });
    }
    let sections = SectionSizes {
        weights: contents.weights.len(),
        modules: contents.modules.map_or(0, WeightTable::len),
    };
    for (index, program) in contents.programs.iter().enumerate() {
        let (entry, target) = (program.entry.clone(), program.target.clone());
        let before = &contents.programs[..index];
        if before.iter().any(|other| other.entry == entry && other.target == target) {
            return Err(WriteError::ProgramTwice { entry, target });
        }
        check::check(program, sections).map_err(|cause| WriteError::Program {
            entry,
            target,
            cause: Box::new(cause),
        })?;
    }
    if contents.manifest.text.is_some() && contents.tokenizer.is_none() {
        return Err(WriteError::TokenizerMissing);
    }
    Ok(())
}

fn json<T: Serialize + DeserializeOwned + PartialEq>(
    kind: SectionKind,
    index: u32,
    value: &T,
) -> Result<Vec<u8>, WriteError> {
    let section = SectionId { kind, index };
    let bytes = serde_json::to_vec(value).map_err(|cause| WriteError::Json { section, cause })?;
    let back: T =
        serde_json::from_slice(&bytes).map_err(|cause| WriteError::Json { section, cause })?;
    if back != *value {
        return Err(WriteError::Unfaithful { section });
    }
    Ok(bytes)
}

/// Gives each section its place.
struct Placer {
    sections: Vec<Section>,
    end: u64,
}

impl Placer {
    fn new(sections: usize) -> Placer {
        let end = (HEADER_BYTES + sections * ENTRY_BYTES) as u64;
        Placer { sections: Vec::with_capacity(sections), end }
    }

    fn place(&mut self, id: SectionId, length: u64, hash: [u8; 32]) {
        let offset = header::align(self.end).expect("sections in memory end below 2^63");
        self.sections.push(Section { id, offset, length, hash });
        self.end = offset + length;
    }
}

fn put(out: &mut impl Write, written: &mut u64, bytes: &[u8]) -> io::Result<()> {
    *written += bytes.len() as u64;
    out.write_all(bytes)
}

fn pad(out: &mut impl Write, written: &mut u64, to: u64) -> io::Result<()> {
    let zeros = [0; header::ALIGN as usize];
    let gap = (to - *written) as usize;
    put(out, written, &zeros[..gap])
}
