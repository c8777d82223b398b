//! The engine: a plan ready to run.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytec_plan::check::SectionSizes;
use bytec_plan::manifest::Manifest;
use bytec_plan::program::Program;
use bytec_plan::reader::PlanIndex;

use crate::bytes::{PlanBytes, WeightBytes};
use crate::cpu;
use crate::cpu::isa::Isa;
use crate::cpu::threads::Threads;
use crate::error::EngineError;
use crate::session::{Session, SessionOptions};

/// What a plan runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
}

impl Device {
    /// The target that a plan must have been compiled for.
    pub fn target(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
        }
    }
}

impl FromStr for Device {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Device, EngineError> {
        match name {
            "cpu" => Ok(Device::Cpu),
            _ => Err(EngineError::Device { found: name.to_owned() }),
        }
    }
}

/// How to open a plan.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// What to run on.
    pub device: Device,
    /// The entry point.
    pub entry: String,
    /// Threads of the processor; `None` for as many as it has.
    pub threads: Option<usize>,
    /// The instruction set; `None` for the fastest. All give the same bits.
    pub isa: Option<Isa>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            device: Device::default(),
            entry: "forward".to_owned(),
            threads: None,
            isa: None,
        }
    }
}

/// A plan's program with its weights and threads.
///
/// An engine can be shared by any number of threads; each makes a [`Session`] of its own. Clones are cheap and share
/// everything.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What an engine and its sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    bytes: PlanBytes,
    weights: Range<usize>,
    tokenizer: Option<Range<usize>>,
    manifest: Manifest,
    pub(crate) program: Arc<Program>,
    pub(crate) threads: Threads,
    pub(crate) isa: Isa,
}

impl Shared {
    pub(crate) fn weights(&self) -> WeightBytes<'_> {
        WeightBytes(&self.bytes[self.weights.clone()])
    }
}

impl Engine {
    /// Opens a plan with the default options. See [`Engine::open_with`].
    ///
    /// # Errors
    /// See [`Engine::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Engine, EngineError> {
        Engine::open_with(path, EngineOptions::default())
    }

    /// Opens a plan.
    ///
    /// The file is mapped, not read into memory, and every byte is checked against its hash first. It must not be changed
    /// while the engine lives; `bytec compile` never does that, it replaces the file as a whole.
    ///
    /// # Errors
    /// When the file can't be read or is not a valid plan, when it has no program for the device and entry point, or when
    /// the threads can't be started.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: EngineOptions,
    ) -> Result<Engine, EngineError> {
        let path = path.as_ref();
        let bytes = PlanBytes::open(path)
            .map_err(|source| EngineError::Open { path: path.to_owned(), source })?;
        Engine::from_plan(path.to_owned(), bytes, options)
    }

    /// Opens a plan that lies in memory. The bytes are copied.
    ///
    /// # Errors
    /// As [`Engine::open_with`].
    pub fn from_bytes(bytes: &[u8], options: EngineOptions) -> Result<Engine, EngineError> {
        Engine::from_plan(PathBuf::from("memory"), PlanBytes::copy(bytes), options)
    }

    /// An engine for a program that was never in a plan, with the bytes of its weight section, which are copied.
    ///
    /// # Errors
    /// When the program breaks a rule of [`bytec_plan::check`], is for another device, or the threads can't be started.
    pub fn from_program(
        program: Program,
        weights: &[u8],
        options: EngineOptions,
    ) -> Result<Engine, EngineError> {
        let sections = SectionSizes { weights: weights.len() as u64, modules: 0 };
        bytec_plan::check::check(&program, sections)?;
        let loaded = Loaded {
            bytes: PlanBytes::copy(weights),
            weights: 0..weights.len(),
            tokenizer: None,
            manifest: Manifest::default(),
            programs: vec![program],
        };
        Engine::load(loaded, options)
    }

    fn from_plan(
        path: PathBuf,
        bytes: PlanBytes,
        options: EngineOptions,
    ) -> Result<Engine, EngineError> {
        let PlanIndex { manifest, programs, weights, tokenizer, .. } =
            PlanIndex::read(&bytes).map_err(|source| EngineError::Read { path, source })?;
        Engine::load(Loaded { bytes, weights, tokenizer, manifest, programs }, options)
    }

    fn load(loaded: Loaded, options: EngineOptions) -> Result<Engine, EngineError> {
        let Loaded { bytes, weights, tokenizer, manifest, programs } = loaded;
        let EngineOptions { device, entry, threads, isa } = options;
        let target = device.target();
        let found = programs.iter().map(|p| format!("{} for {}", p.entry, p.target)).collect();
        let program = programs
            .into_iter()
            .find(|program| program.entry == entry && program.target == target)
            .ok_or_else(|| EngineError::NoProgram { entry, target: target.to_owned(), found })?;
        cpu::accepts(&program)?;
        let threads = Threads::new(threads).map_err(|source| EngineError::Threads {
            threads: threads.map_or_else(|| "as many as processors".to_owned(), |n| n.to_string()),
            source,
        })?;
        let program = Arc::new(program);
        let isa = isa.unwrap_or_else(Isa::best);
        let shared = Shared { bytes, weights, tokenizer, manifest, program, threads, isa };
        Ok(Engine { shared: Arc::new(shared) })
    }

    /// What the plan says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// The program that the engine runs.
    pub fn program(&self) -> &Program {
        &self.shared.program
    }

    /// The bytes of `tokenizer.json`, if the plan has one.
    pub fn tokenizer(&self) -> Option<&[u8]> {
        self.shared.tokenizer.clone().map(|range| &self.shared.bytes[range])
    }

    /// Threads that a run uses.
    pub fn threads(&self) -> usize {
        self.shared.threads.count()
    }

    /// The instruction set that a run uses.
    pub fn isa(&self) -> Isa {
        self.shared.isa
    }

    /// A session: the memory to run batches in, one batch at a time.
    pub fn session(&self) -> Session {
        self.session_with(SessionOptions::default())
    }

    /// A session with options.
    pub fn session_with(&self, options: SessionOptions) -> Session {
        Session::new(Arc::clone(&self.shared), options)
    }

    pub(crate) fn shared_program(&self) -> Arc<Program> {
        Arc::clone(&self.shared.program)
    }
}

/// A plan's parts, before a program is picked.
struct Loaded {
    bytes: PlanBytes,
    weights: Range<usize>,
    tokenizer: Option<Range<usize>>,
    manifest: Manifest,
    programs: Vec<Program>,
}
