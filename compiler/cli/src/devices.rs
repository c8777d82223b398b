//! What a plan can run on, by the names of the command line.

use std::fmt;
use std::io::{Write, stderr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use bytec_measure::Timed;
use bytec_plan::program::{DType, Program};
use bytec_runtime::cuda::{Arch, Cuda, Driver, runs};
use bytec_runtime::{Engine, EngineError, EngineOptions};
use bytec_sim::SimDriver;

use crate::failure::Failure;

/// What a plan can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// This machine's CPU.
    Cpu,
    /// The interpreter of the plan's PTX, for programs of this architecture.
    Sim(Arch),
    /// This machine's first NVIDIA GPU.
    Cuda,
}

const AMPERE: Arch = Arch { major: 8, minor: 0, only: false };
const HOPPER: Arch = Arch { major: 9, minor: 0, only: false };

/// Every device with its name, those that serve as a reference for others first.
const NAMES: [(&str, Device); 4] = [
    ("cpu", Device::Cpu),
    ("sim:sm_80", Device::Sim(AMPERE)),
    ("sim:sm_90a", Device::Sim(HOPPER)),
    ("cuda", Device::Cuda),
];

impl FromStr for Device {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let name = if text == "sim" { "sim:sm_80" } else { text };
        NAMES
            .iter()
            .find(|(of, _)| *of == name)
            .map(|(_, device)| *device)
            .ok_or_else(|| "expected cpu, cuda, sim, sim:sm_80 or sim:sm_90a".to_owned())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, of)| of == self).map_or("sim", |(name, _)| name))
    }
}

/// A plan on a device.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    /// The interpreter, if that is the device.
    pub(crate) sim: Option<Arc<SimDriver>>,
}

/// Opens the plan on a device. `threads` are those of the CPU's kernels.
pub(crate) fn open(device: Device, plan: &Path, threads: Option<u16>) -> Result<Opened, Failure> {
    let mut options =
        EngineOptions { threads: threads.map(usize::from), ..EngineOptions::default() };
    let Device::Sim(arch) = device else {
        if device == Device::Cuda {
            options.device = bytec_runtime::Device::Cuda;
        }
        let engine = Engine::open_with(plan, options)?;
        let isa = engine.isa();
        let note = match engine.program().arithmetic() {
            _ if device != Device::Cpu => None,
            DType::Bf16 if !isa.has_bf16() => Some(
                "products in bf16 run in f32 arithmetic: this processor has neither AMX nor AVX512_BF16",
            ),
            DType::I8 if !isa.has_int8() => Some(
                "products in int8 run by wider instructions, with the same results at a lower rate: this processor has \
                 neither AMX nor AVX512_VNNI nor AVX_VNNI",
            ),
            _ => None,
        };
        if let Some(note) = note {
            // Nobody can be told if this fails.
            let _ = writeln!(stderr(), "note: {note}");
        }
        return Ok(Opened { engine, sim: None });
    };
    let sim = Arc::new(SimDriver::of_arch(arch));
    let driver = Arc::clone(&sim) as Arc<dyn Driver>;
    Ok(Opened { engine: Engine::with_driver(plan, driver, options)?, sim: Some(sim) })
}

/// A plan on a device whose launches can be timed.
pub(crate) struct OpenedTimed {
    pub(crate) opened: Opened,
    /// The GPU, if that is the device.
    pub(crate) timed: Option<Arc<Timed>>,
}

/// As [`open`].
pub(crate) fn open_timed(
    device: Device,
    plan: &Path,
    threads: Option<u16>,
) -> Result<OpenedTimed, Failure> {
    if device != Device::Cuda {
        return Ok(OpenedTimed { opened: open(device, plan, threads)?, timed: None });
    }
    let cuda = Arc::new(Cuda::open(0).map_err(EngineError::from)?);
    let timed = Arc::new(Timed::new(cuda));
    let driver = Arc::clone(&timed) as Arc<dyn Driver>;
    let engine = Engine::with_driver(plan, driver, EngineOptions::default())?;
    Ok(OpenedTimed { opened: Opened { engine, sim: None }, timed: Some(timed) })
}

/// The devices that this machine has or stands in for and that can run one of the programs.
pub(crate) fn able(programs: &[Program]) -> Vec<Device> {
    let gpu = Cuda::open(0).ok().map(|cuda| cuda.arch());
    let any = |arch| programs.iter().any(|program| runs(program, arch));
    let interpreted = |program: &Program, arch| has_ptx(program) && runs(program, arch);
    let able = |device: &Device| match *device {
        Device::Cpu => programs.iter().any(|program| program.target == "cpu"),
        // Programs for Ampere run on Hopper too, which would run them twice.
        Device::Sim(HOPPER) => {
            programs.iter().any(|program| interpreted(program, HOPPER) && !runs(program, AMPERE))
        }
        Device::Sim(arch) => programs.iter().any(|program| interpreted(program, arch)),
        Device::Cuda => gpu.is_some_and(any),
    };
    NAMES.iter().map(|(_, device)| *device).filter(able).collect()
}

/// Whether the PTX of all kernels of a GPU program is in the plan, as the interpreter needs it.
pub(crate) fn has_ptx(program: &Program) -> bool {
    let modules = program.device.as_ref().map(|code| &code.modules);
    modules.is_some_and(|modules| modules.iter().all(|module| module.ptx.is_some()))
}
