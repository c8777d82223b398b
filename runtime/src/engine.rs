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
use crate::cpu::isa::Isa;
use crate::cpu::threads::Threads;
use crate::cpu::{self, Processor};
use crate::cuda::{self, Code, Driver, DriverError};
use crate::error::EngineError;
use crate::session::{Session, SessionOptions};

/// What a plan runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// This machine's processor.
    #[default]
    Cpu,
    /// The first of this machine's NVIDIA GPUs. For another, see [`Engine::with_driver`].
    Cuda,
}

impl FromStr for Device {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Device, EngineError> {
        match name {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda),
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
    /// Threads of the processor, the caller's own among them; `None` for as many as it has. A GPU's runs use none but the
    /// caller's.
    pub threads: Option<usize>,
    /// The processor's instruction set; `None` for the fastest. All give the same bits.
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
    pub(crate) machine: Machine,
}

/// What runs the program.
#[derive(Debug)]
pub(crate) enum Machine {
    /// The processor.
    Cpu(Processor),
    /// A GPU, or what stands in for one.
    Device(Code),
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
        Engine::from_plan(path.to_owned(), bytes, options, None)
    }

    /// Opens a plan for a device behind a driver of the caller's: another GPU than the first, or what stands in for a
    /// GPU. The options' device does not count.
    ///
    /// Of the plan's programs for the entry point the one that suits the driver's architecture best is run: one made for
    /// exactly it (`sm_90a` on an `sm_90` device), else the newest that is no newer. Code for an older generation of
    /// GPUs runs by its PTX.
    ///
    /// # Errors
    /// As [`Engine::open_with`], and when the driver does not take the program.
    pub fn with_driver(
        path: impl AsRef<Path>,
        driver: Arc<dyn Driver>,
        options: EngineOptions,
    ) -> Result<Engine, EngineError> {
        let path = path.as_ref();
        let bytes = PlanBytes::open(path)
            .map_err(|source| EngineError::Open { path: path.to_owned(), source })?;
        Engine::from_plan(path.to_owned(), bytes, options, Some(driver))
    }

    /// As [`Engine::with_driver`], for a plan that lies in memory. The bytes are copied.
    ///
    /// # Errors
    /// As [`Engine::with_driver`].
    pub fn from_bytes_with_driver(
        bytes: &[u8],
        driver: Arc<dyn Driver>,
        options: EngineOptions,
    ) -> Result<Engine, EngineError> {
        Engine::from_plan(PathBuf::from("memory"), PlanBytes::copy(bytes), options, Some(driver))
    }

    /// Opens a plan that lies in memory. The bytes are copied.
    ///
    /// # Errors
    /// As [`Engine::open_with`].
    pub fn from_bytes(bytes: &[u8], options: EngineOptions) -> Result<Engine, EngineError> {
        Engine::from_plan(PathBuf::from("memory"), PlanBytes::copy(bytes), options, None)
    }

    /// An engine for a program that was never in a plan, with the bytes of its weight section, which are copied.
    ///
    /// # Errors
    /// When the program breaks a rule of [`bytec_plan::check`], is not for the CPU, or the threads can't be started.
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
            modules: 0..0,
            tokenizer: None,
            manifest: Manifest::default(),
            programs: vec![program],
        };
        Engine::load(loaded, options, None)
    }

    fn from_plan(
        path: PathBuf,
        bytes: PlanBytes,
        options: EngineOptions,
        driver: Option<Arc<dyn Driver>>,
    ) -> Result<Engine, EngineError> {
        let PlanIndex { manifest, programs, weights, modules, tokenizer, .. } =
            PlanIndex::read(&bytes).map_err(|source| EngineError::Read { path, source })?;
        let loaded = Loaded { bytes, weights, modules, tokenizer, manifest, programs };
        Engine::load(loaded, options, driver)
    }

    fn load(
        loaded: Loaded,
        options: EngineOptions,
        driver: Option<Arc<dyn Driver>>,
    ) -> Result<Engine, EngineError> {
        let driver = match (driver, options.device) {
            (Some(driver), _) => Some(driver),
            (None, Device::Cuda) => Some(first_gpu()?),
            (None, Device::Cpu) => None,
        };
        let Loaded { bytes, weights, modules, tokenizer, manifest, mut programs } = loaded;
        if !programs.iter().any(|program| program.entry == options.entry) {
            let (entry, found) = (options.entry, listed(&programs));
            return Err(EngineError::NoEntry { entry, found });
        }
        let picked = match &driver {
            None => pick_for_cpu(&programs, &options.entry)?,
            Some(driver) => pick_for_device(&programs, &options.entry, &**driver)?,
        };
        let program = programs.swap_remove(picked);
        let machine = match driver {
            None => Machine::Cpu(processor(&program, &options)?),
            Some(driver) => {
                let weights = &bytes[weights.clone()];
                Machine::Device(Code::load(driver, &program, weights, &bytes[modules])?)
            }
        };
        let program = Arc::new(program);
        let shared = Shared { bytes, weights, tokenizer, manifest, program, machine };
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

    /// Threads that a run uses; on a device the caller's only.
    pub fn threads(&self) -> usize {
        match &self.shared.machine {
            Machine::Cpu(processor) => processor.threads.count(),
            Machine::Device(_) => 1,
        }
    }

    /// The processor's instruction set; the one that a run uses, unless it uses a device.
    pub fn isa(&self) -> Isa {
        match &self.shared.machine {
            Machine::Cpu(processor) => processor.isa,
            Machine::Device(_) => Isa::best(),
        }
    }

    /// The driver of the device that runs use; `None` for the processor.
    pub fn driver(&self) -> Option<&Arc<dyn Driver>> {
        match &self.shared.machine {
            Machine::Cpu(_) => None,
            Machine::Device(code) => Some(code.driver()),
        }
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
    modules: Range<usize>,
    tokenizer: Option<Range<usize>>,
    manifest: Manifest,
    programs: Vec<Program>,
}

/// The processor, ready for a program.
fn processor(program: &Program, options: &EngineOptions) -> Result<Processor, EngineError> {
    cpu::accepts(program)?;
    let threads = Threads::new(options.threads).map_err(|source| EngineError::Threads {
        threads: match options.threads {
            Some(threads) => threads.to_string(),
            None => "as many as processors".to_owned(),
        },
        source,
    })?;
    Ok(Processor { threads, isa: options.isa.unwrap_or_else(Isa::best) })
}

/// The place of the program for an entry point that the processor runs.
fn pick_for_cpu(programs: &[Program], entry: &str) -> Result<usize, EngineError> {
    let target = "cpu";
    let fits = |program: &Program| {
        program.entry == entry && program.target == target && program.device.is_none()
    };
    programs.iter().position(fits).ok_or_else(|| EngineError::NoProgram {
        entry: entry.to_owned(),
        target: target.to_owned(),
        found: listed(programs),
    })
}

/// The place of the program for an entry point that suits a device best.
fn pick_for_device(
    programs: &[Program],
    entry: &str,
    driver: &dyn Driver,
) -> Result<usize, EngineError> {
    cuda::pick(programs, entry, driver.arch()).ok_or_else(|| EngineError::NoDeviceProgram {
        entry: entry.to_owned(),
        device: format!("{} ({})", driver.name(), driver.arch()),
        found: listed(programs),
    })
}

/// What a plan has, for messages.
fn listed(programs: &[Program]) -> Vec<String> {
    programs.iter().map(|p| format!("{} for {}", p.entry, p.target)).collect()
}

/// The first of this machine's GPUs.
#[cfg(feature = "cuda")]
fn first_gpu() -> Result<Arc<dyn Driver>, DriverError> {
    Ok(Arc::new(cuda::Cuda::open(0)?))
}

/// This build has no driver for GPUs.
#[cfg(not(feature = "cuda"))]
fn first_gpu() -> Result<Arc<dyn Driver>, DriverError> {
    Err(DriverError::NotBuilt)
}
