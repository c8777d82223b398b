//! From a schedule to machine code: render its kernels, then compile them.

use std::path::PathBuf;

use bytec_plan::device::Launch;
use thiserror::Error;

use crate::nvrtc::{Arch, Cache, Compiled, Nvrtc, NvrtcError, search};
use crate::render::{RenderError, Source, steps};
use crate::schedule::Schedule;
use crate::target::Target;

/// What compiling for a GPU needs of the machine; the caller looks it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toolchain {
    /// Folders that may hold NVRTC, the preferred one first.
    pub nvrtc: Vec<PathBuf>,
    /// Where compiled kernels are kept for the next time; `None` to keep none.
    pub cache: Option<PathBuf>,
}

/// The compiled kernels of one program.
pub struct Code {
    /// What they are compiled for.
    pub arch: Arch,
    /// Their texts.
    pub sources: Vec<Source>,
    /// One for each text.
    pub compiled: Vec<Compiled>,
    /// One for each step.
    pub launches: Vec<Launch>,
}

/// Kernels that could not be made.
#[derive(Debug, Error)]
pub enum CodeError {
    /// A step has no CUDA text.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// NVRTC is not there, or does not take a text.
    #[error(transparent)]
    Nvrtc(#[from] NvrtcError),
}

/// The code of every schedule; `None` for the CPU's, whose kernels are in the runtime.
///
/// # Errors
/// A kernel without a text, a text that does not compile, or no NVRTC although a GPU is among the targets.
pub fn compile(
    schedules: &[Schedule],
    toolchain: &Toolchain,
) -> Result<Vec<Option<Code>>, CodeError> {
    let mut codes = Vec::with_capacity(schedules.len());
    let mut opened = None;
    for schedule in schedules {
        let Target::Cuda { arch, float } = schedule.target else {
            codes.push(None);
            continue;
        };
        let rendered = steps::render(schedule, float)?;
        let (nvrtc, cache) = match &mut opened {
            Some(opened) => opened,
            None => opened.insert(open(toolchain)?),
        };
        let units: Vec<_> = rendered.sources.iter().map(|source| (source, arch)).collect();
        let compiled = nvrtc.compile(&units, cache.as_ref(), &|_| {})?;
        let (sources, launches) = (rendered.sources, rendered.launches);
        codes.push(Some(Code { arch, sources, compiled, launches }));
    }
    Ok(codes)
}

fn open(toolchain: &Toolchain) -> Result<(Nvrtc, Option<Cache>), NvrtcError> {
    let nvrtc = Nvrtc::open(&search(&toolchain.nvrtc).library()?)?;
    let cache = toolchain.cache.as_deref().map(Cache::open).transpose()?;
    Ok((nvrtc, cache))
}

impl Code {
    /// What makes kernels slower than they should be, one line each: spills, and warnings of the assembler.
    pub fn defects(&self) -> Vec<String> {
        let defects = |(source, compiled): (&Source, &Compiled)| {
            let symbol = &source.symbol;
            let lines: Vec<_> = compiled
                .defects()
                .into_iter()
                .map(|defect| format!("warning: {symbol} for {}: {defect}", self.arch))
                .collect();
            lines
        };
        self.sources.iter().zip(&self.compiled).flat_map(defects).collect()
    }
}
