//! From a model to a plan, stage by stage: [`compile`] is the whole pipeline.
//!
//! The compiler is pure: the same files and options give the same bytes. It prints nothing, reads no environment and no
//! clock, and needs no GPU. Whoever calls it can watch through [`Progress`].

pub mod code;
pub mod cost;
pub mod emit;
pub mod explain;
pub mod front;
pub mod fuse;
pub mod nvrtc;
pub mod render;
pub mod report;
pub mod schedule;
pub mod target;
pub mod tune;
pub mod tuned;

use std::path::Path;

use bytec_plan::manifest::Manifest;
use thiserror::Error;

pub use code::Toolchain;
pub use emit::file;
pub use front::FrontOptions;
pub use target::Target;

use code::Code;
use emit::{Bundled, Emitted, Part};
use tuned::Table;

/// What to compile for, and what the source does not say.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the front end needs beside the files.
    pub front: FrontOptions,
    /// The targets, one program each.
    pub targets: Vec<Target>,
    /// What GPU targets need; the CPU needs none of it.
    pub toolchain: Toolchain,
    /// Whether GPU programs go without the PTX beside their machine code. They are smaller, but run on no later
    /// generation of GPUs and not on the interpreter. A program for `compute_80` is PTX alone and keeps it.
    pub strip_ptx: bool,
    /// Tiles as `bytec tune` measured them, the table that counts most first; the one that ships with the compiler is
    /// asked after these.
    pub tables: Vec<Table>,
    /// How many threads to use; `None` for as many as there are cores. The plan does not depend on it.
    pub threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            front: FrontOptions::default(),
            targets: vec![Target::Cpu],
            toolchain: Toolchain::default(),
            strip_ptx: false,
            tables: Vec::new(),
            threads: None,
        }
    }
}

/// A model that could not be compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The source could not be read.
    #[error(transparent)]
    Front(#[from] front::FrontError),
    /// A rule broke the graph: a defect of the compiler.
    #[error(transparent)]
    Fuse(#[from] fuse::FuseError),
    /// The model would mix the rows of a batch.
    #[error(transparent)]
    Pack(#[from] fuse::pack::PackError),
    /// An op has no kernel.
    #[error(transparent)]
    Schedule(#[from] schedule::ScheduleError),
    /// A kernel could not be compiled.
    #[error(transparent)]
    Code(#[from] code::CodeError),
    /// The plan could not be put together or written.
    #[error(transparent)]
    Emit(#[from] emit::EmitError),
    /// The thread pool could not be started.
    #[error("can't start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// Watches a compilation. Stages come in order, from the thread that compiles.
pub trait Progress {
    /// A stage begins; there are [`STAGES`] of them.
    fn stage(&mut self, name: &'static str);
    /// One more GPU kernel, such as `linear_384_f16 for sm_80`, is compiled, which makes it `done` of `total`. Kernels
    /// come in no particular order, and not always from the same thread, but one after the other, within a stage.
    fn kernel(&mut self, _done: usize, _total: usize, _kernel: &str) {}
    /// The stage that began last has ended, with a word on what came out.
    fn done(&mut self, outcome: String);
}

/// How many stages [`compile`] reports.
pub const STAGES: u64 = 5;

/// Every stage as text, for `--emit` and the stage goldens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// File name and contents, in the order of the pipeline.
    pub files: Vec<(String, String)>,
}

/// Compiles the model at `source` and hands the finished plan to `finish`, which writes it wherever it goes.
///
/// # Errors
/// What went wrong, with the file, field, tensor or op it went wrong at. Nothing has been written then.
pub fn compile<T, E: From<CompileError> + Send>(
    source: &Path,
    options: &Options,
    progress: &mut (dyn Progress + Send),
    finish: impl FnOnce(&Emitted<'_>, Stages) -> Result<T, E> + Send,
) -> Result<T, E>
where
    T: Send,
{
    let threads = options.threads.unwrap_or(0);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| CompileError::Threads { threads, reason: e.to_string() })?;
    pool.install(|| {
        progress.stage("read");
        let model = front::load(source, &options.front).map_err(CompileError::from)?;
        progress.done(format!("{} values, {}", model.graph.len(), model.front));

        progress.stage("fuse");
        let fused = fuse::run_followed(&model.graph, fuse::RULES).map_err(CompileError::from)?;
        let packed = fuse::pack::pack(&fused.graph).map_err(CompileError::from)?;
        progress.done(format!("{} values", fused.graph.len()));

        progress.stage("schedule");
        let schedules: Result<Vec<_>, _> =
            options.targets.iter().map(|&target| schedule::schedule(&packed, target)).collect();
        let schedules = schedules.map_err(CompileError::from)?;
        let steps: usize = schedules.iter().map(|schedule| schedule.steps.len()).sum();
        progress.done(format!("{steps} steps"));

        progress.stage("kernels");
        let mut tables = options.tables.clone();
        tables.push(tuned::shipped());
        let codes = code::compile(&schedules, &tables, &options.toolchain, progress)
            .map_err(CompileError::from)?;
        let kernels: usize = codes.iter().flatten().map(|code| code.sources.len()).sum();
        progress.done(match kernels {
            0 => "those of the runtime".to_owned(),
            _ => format!("{kernels} compiled for GPUs"),
        });

        progress.stage("emit");
        let mut stages = report::stages(&model.graph, &fused.graph, &schedules, &codes);
        let mut report = report::report(&model, &packed, fused.reports, &fused.origins);
        report.notes.extend(codes.iter().flatten().flat_map(|code| code.notes.clone()));
        report.notes.extend(codes.iter().flatten().flat_map(Code::defects));
        let manifest = Manifest { report, ..report::manifest(&model) };
        let kernels = report::kernels(&codes);
        let parts = schedules
            .into_iter()
            .zip(codes)
            .map(|(schedule, code)| Part { entry: "forward", schedule, code })
            .collect();
        let tokenizer = model.tokenizer.as_deref();
        let bundled = Bundled { tokenizer, strip_ptx: options.strip_ptx };
        let mut emitted = emit::emit(&fused.graph, parts, &model.weights, bundled, manifest)
            .map_err(CompileError::from)?;
        emitted.kernels = kernels;
        stages.files.push(report::plan_stage(&emitted));
        progress.done(format!(
            "{} weights",
            emitted.programs.iter().map(|p| p.weights.len()).sum::<usize>()
        ));
        finish(&emitted, stages)
    })
}
