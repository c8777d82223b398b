//! From a schedule to machine code: render its kernels, then compile them.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytec_plan::device::{FromRows, Launch};
use thiserror::Error;

use crate::Progress;
use crate::nvrtc::{Arch, Cache, Compiled, Nvrtc, NvrtcError, search};
use crate::render::steps::{self, Rendered};
use crate::render::{RenderError, Source};
use crate::schedule::Schedule;
use crate::target::Target;
use crate::tuned::Table;

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
    /// Others for some steps, of many rows.
    pub by_rows: Vec<FromRows>,
    /// What the measured tables came to, one line each.
    pub notes: Vec<String>,
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
/// `tables` say which tiles were measured to be best. The kernels of all programs are compiled together on the current thread pool; `progress` hears of each.
///
/// # Errors
/// A kernel without a text, a text that does not compile, or no NVRTC although a GPU is among the targets.
pub fn compile(
    schedules: &[Schedule],
    tables: &[Table],
    toolchain: &Toolchain,
    progress: &mut (dyn Progress + Send),
) -> Result<Vec<Option<Code>>, CodeError> {
    let mut rendered = Vec::with_capacity(schedules.len());
    for schedule in schedules {
        rendered.push(match schedule.target {
            Target::Cpu | Target::CpuBf16 | Target::CpuInt8 => None,
            Target::Cuda { arch, float } => Some((arch, steps::render(schedule, float, tables)?)),
        });
    }
    let units: Vec<_> = rendered
        .iter()
        .flatten()
        .flat_map(|(arch, kernels)| kernels.sources.iter().map(|source| (source, *arch)))
        .collect();
    let mut compiled = if units.is_empty() {
        Vec::new()
    } else {
        let (nvrtc, cache) = open(toolchain)?;
        let watch = Mutex::new((0, progress));
        let done = |index: usize| {
            let (source, arch) = units[index];
            let (done, progress) = &mut *watch.lock().unwrap_or_else(PoisonError::into_inner);
            *done += 1;
            progress.kernel(*done, units.len(), &format!("{} for {arch}", source.symbol));
        };
        nvrtc.compile(&units, cache.as_ref(), &done)?
    }
    .into_iter();
    let mut code = |(arch, kernels): (Arch, Rendered)| {
        let compiled = compiled.by_ref().take(kernels.sources.len()).collect();
        let Rendered { sources, launches, by_rows, notes } = kernels;
        Code { arch, sources, compiled, launches, by_rows, notes }
    };
    Ok(rendered.into_iter().map(|kernels| kernels.map(&mut code)).collect())
}

pub(crate) fn open(toolchain: &Toolchain) -> Result<(Nvrtc, Option<Cache>), NvrtcError> {
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
