//! A plan's bytes to its manifest, its programs and the places of everything else.

mod error;
mod table;

use std::ops::Range;

use serde::de::DeserializeOwned;

pub use self::error::ReadError;
use crate::check::{self, SectionSizes};
use crate::header::{Section, SectionId, SectionKind};
use crate::manifest::Manifest;
use crate::program::{Program, WeightSpec};

/// What a plan holds, without the file itself.
///
/// Weights and tokenizer are given as ranges of the file's bytes, so that this can be kept beside a mapping of the file.
/// Whoever keeps both must not let the file change under the mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanIndex {
    /// The format that the plan was written in.
    pub format: u32,
    /// The plan's description of itself.
    pub manifest: Manifest,
    /// The programs, each checked by [`check::check`].
    pub programs: Vec<Program>,
    /// The bytes of the weight section. It begins at a multiple of 256.
    pub weights: Range<usize>,
    /// The bytes of the section of modules; empty without one.
    pub modules: Range<usize>,
    /// The bytes of `tokenizer.json`, if the plan has one.
    pub tokenizer: Option<Range<usize>>,
    /// The section table, in the order of the file.
    pub sections: Vec<Section>,
}

impl PlanIndex {
    /// Reads a plan from all bytes of its file.
    ///
    /// Every byte is covered by a check, a hash first of all, before anything is parsed. Time and memory grow with the
    /// size of the file only, whatever it says about itself.
    ///
    /// # Errors
    ///
    /// One variant of [`ReadError`] for each thing that can be wrong, with what was expected and what was found.
    pub fn read(file: &[u8]) -> Result<PlanIndex, ReadError> {
        let (format, sections) = table::read(file)?;
        let find = |kind| sections.iter().find(|section| section.id.kind == kind);
        let need = |kind| {
            let section = SectionId { kind, index: 0 };
            find(kind).ok_or(ReadError::SectionMissing { section })
        };
        let manifest: Manifest = json(file, need(SectionKind::Manifest)?)?;
        need(SectionKind::Program)?;
        let weights = need(SectionKind::Weights)?;
        let tokenizer = find(SectionKind::Tokenizer).map(range);
        if manifest.text.is_some() && tokenizer.is_none() {
            return Err(ReadError::TokenizerMissing);
        }

        let modules = find(SectionKind::Modules);
        let sizes = SectionSizes {
            weights: weights.length,
            modules: modules.map_or(0, |section| section.length),
        };
        let mut programs: Vec<Program> = Vec::new();
        for section in sections.iter().filter(|section| section.id.kind == SectionKind::Program) {
            let program: Program = json(file, section)?;
            let (entry, target) = (program.entry.clone(), program.target.clone());
            if programs.iter().any(|other| other.entry == entry && other.target == target) {
                return Err(ReadError::ProgramTwice { entry, target });
            }
            check::check(&program, sizes).map_err(|cause| ReadError::Program {
                entry,
                target,
                cause: Box::new(cause),
            })?;
            programs.push(program);
        }
        let modules = modules.map_or(0..0, range);
        let weights = range(weights);
        Ok(PlanIndex { format, manifest, programs, weights, modules, tokenizer, sections })
    }

    /// The program for an entry point and a target, if the plan has it.
    pub fn program(&self, entry: &str, target: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.entry == entry && program.target == target)
    }

    /// The range of the file that holds the bytes of a weight of one of these programs; `None` for any other weight
    /// that the section does not hold.
    pub fn weight(&self, weight: &WeightSpec) -> Option<Range<usize>> {
        let offset = usize::try_from(weight.offset).ok()?;
        let bytes = usize::try_from(weight.bytes).ok()?;
        let start = self.weights.start.checked_add(offset)?;
        let end = start.checked_add(bytes)?;
        (end <= self.weights.end).then_some(start..end)
    }
}

/// The section's place. `table::read` has found it inside a file in memory, so it fits.
fn range(section: &Section) -> Range<usize> {
    section.offset as usize..(section.offset + section.length) as usize
}

fn json<T: DeserializeOwned>(file: &[u8], section: &Section) -> Result<T, ReadError> {
    serde_json::from_slice(&file[range(section)])
        .map_err(|cause| ReadError::Json { section: section.id, cause })
}
