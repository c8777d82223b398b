//! The last stage: steps and weights to a plan.

pub(crate) mod device;
pub mod file;
mod generated;
mod layouts;
mod weights;

use std::io::Write;
use std::path::Path;

use bytec_ir::Graph;
use bytec_ir::eval::EvalError;
use bytec_plan::manifest::Manifest;
use bytec_plan::program::Program;
use bytec_plan::weights::WeightTable;
use bytec_plan::writer::{Contents, WriteError, write};
use thiserror::Error;

use crate::code::Code;
use crate::front::FrontError;
use crate::front::weights::Weights;
use crate::report::KernelReport;
use crate::schedule::Schedule;

/// A plan that could not be made.
#[derive(Debug, Error)]
pub enum EmitError {
    /// A weight could not be read.
    #[error(transparent)]
    Weight(#[from] FrontError),
    /// An expression over weights could not be computed.
    #[error("can't compute a weight: {0}")]
    Fold(#[from] EvalError),
    /// A weight is too large for the target's element type.
    #[error("weight {name} holds {value}, which {dtype} can't: compile for bf16 or f32")]
    TooLarge {
        /// The weight.
        name: String,
        /// The number.
        value: f32,
        /// The element type.
        dtype: &'static str,
    },
    /// The plan could not be put together.
    #[error(transparent)]
    Write(WriteError),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] file::FileError),
}

/// A plan whose weights are ready; writing it is all that is left.
pub struct Emitted<'w> {
    /// The plan's description of itself.
    pub manifest: Manifest,
    /// Its programs.
    pub programs: Vec<Program>,
    /// What was compiled for them.
    pub kernels: Vec<KernelReport>,
    weights: WeightTable<'w>,
    modules: Option<WeightTable<'w>>,
    tokenizer: Option<&'w [u8]>,
}

/// What one program is made of.
pub struct Part<'a> {
    /// Its entry point.
    pub entry: &'a str,
    /// Its steps.
    pub schedule: Schedule,
    /// Its kernels, for a GPU.
    pub code: Option<Code>,
}

/// What goes into the plan beside programs and weights, and what stays out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bundled<'w> {
    /// The bytes of `tokenizer.json`.
    pub tokenizer: Option<&'w [u8]>,
    /// See [`Options::strip_ptx`](crate::Options::strip_ptx).
    pub strip_ptx: bool,
}

/// Lays the weights out and completes the programs.
///
/// # Errors
/// A weight that can't be read or folded.
pub fn emit<'w>(
    graph: &Graph,
    parts: Vec<Part<'_>>,
    weights: &'w Weights,
    bundled: Bundled<'w>,
    manifest: Manifest,
) -> Result<Emitted<'w>, EmitError> {
    let mut table = WeightTable::new();
    let mut modules = None;
    let mut programs = Vec::new();
    for Part { entry, schedule, code } in parts {
        let mut specs = Vec::new();
        let dtype = schedule.target.dtype();
        for packed in weights::pack(graph, &schedule.weights, weights, dtype)? {
            let place = table.add(packed.bytes);
            let mut spec = packed.spec;
            (spec.offset, spec.bytes, spec.hash) = (place.offset, place.bytes, place.hash);
            specs.push(spec);
        }
        let place = |code| device::place(code, bundled.strip_ptx, modules.get_or_insert_default());
        let device = code.map(place);
        programs.push(schedule.into_program(entry, specs, device));
    }
    let (kernels, tokenizer) = (Vec::new(), bundled.tokenizer);
    Ok(Emitted { manifest, programs, kernels, weights: table, modules, tokenizer })
}

impl Emitted<'_> {
    /// The bytes of `tokenizer.json`, if the plan gets one.
    pub fn tokenizer(&self) -> Option<&[u8]> {
        self.tokenizer
    }

    /// Writes the plan to `path`, whole or not at all; returns its bytes.
    ///
    /// # Errors
    /// If the file can't be written; then `path` is as it was.
    pub fn write_file(&self, path: &Path) -> Result<u64, EmitError> {
        file::replace(path, |out| {
            self.write(out).map_err(|error| match error {
                EmitError::Write(WriteError::Io(source)) => {
                    EmitError::File(file::FileError { path: path.to_owned(), source })
                }
                other => other,
            })
        })
    }

    /// Writes the plan's bytes; returns how many.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut dyn Write) -> Result<u64, EmitError> {
        let contents = Contents {
            manifest: &self.manifest,
            programs: &self.programs,
            weights: &self.weights,
            modules: self.modules.as_ref(),
            tokenizer: self.tokenizer,
        };
        write(contents, out).map_err(EmitError::Write)
    }
}
