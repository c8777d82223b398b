//! `bytec doctor`: what this machine can run.

use std::io::{self, Write, stdout};
use std::path::Path;

use bytec_compiler::nvrtc::{INSTALL, Nvrtc, search};
use bytec_plan::program::Program;
use bytec_runtime::cuda::{Arch, Cuda, Driver, runs};
use serde::Serialize;

use crate::Outcome;
use crate::args::DoctorArgs;
use crate::devices::has_ptx;
use crate::failure::Failure;
use crate::plan_file;
use crate::toolchain;

/// What `--json` prints.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    cpu: Cpu,
    gpu: Gpu,
    nvrtc: Compiler,
    programs: Vec<ProgramFinding>,
}

#[derive(Serialize)]
struct Cpu {
    architecture: &'static str,
    threads: usize,
    path: String,
    /// Whether it has an instruction for products of bf16.
    bf16: bool,
    /// Whether it has one for products of int8.
    int8: bool,
    /// Whether both are those of the matrix unit AMX, which the system lets this process use.
    amx: bool,
}

/// The first GPU, or why there is none.
#[derive(Serialize)]
struct Gpu {
    name: Option<String>,
    architecture: Option<String>,
    problem: Option<String>,
}

/// NVRTC, which GPU targets are compiled with.
#[derive(Serialize)]
struct Compiler {
    library: Option<String>,
    version: Option<String>,
    problem: Option<String>,
    tried: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    folder: String,
    outcome: String,
}

#[derive(Serialize)]
struct ProgramFinding {
    entry: String,
    target: String,
    runs_here: bool,
    /// Whether a GPU program has its PTX, for later generations of GPUs and the interpreter; none for the CPU's.
    ptx: Option<bool>,
}

pub(crate) fn doctor(args: &DoctorArgs) -> Outcome {
    let cuda = Cuda::open(0);
    let device = cuda.as_ref().ok().map(Driver::arch);
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        cpu: Cpu {
            architecture: std::env::consts::ARCH,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            path: bytec_runtime::Isa::best().name().to_owned(),
            bf16: bytec_runtime::Isa::best().has_bf16(),
            int8: bytec_runtime::Isa::best().has_int8(),
            amx: bytec_runtime::Isa::best().has_amx(),
        },
        gpu: Gpu {
            name: cuda.as_ref().ok().map(|cuda| cuda.name().to_owned()),
            architecture: device.map(|arch| arch.to_string()),
            problem: cuda.as_ref().err().map(ToString::to_string),
        },
        nvrtc: compiler(args.nvrtc.as_deref()),
        programs: match &args.plan {
            Some(path) => plan_file::read(path)?
                .0
                .programs
                .into_iter()
                .map(|program| ProgramFinding {
                    runs_here: runs_here(&program, device),
                    ptx: program.device.as_ref().map(|_| has_ptx(&program)),
                    entry: program.entry,
                    target: program.target,
                })
                .collect(),
            None => Vec::new(),
        },
    };
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings).map_err(Failure::json)?;
        writeln!(out)?;
    } else {
        writeln!(out, "bytec {}", findings.version)?;
        let cpu = &findings.cpu;
        writeln!(
            out,
            "cpu    {}, {} threads, kernels for {}{}",
            cpu.architecture,
            cpu.threads,
            cpu.path,
            match (cpu.bf16, cpu.int8) {
                _ if cpu.amx => " with products of bf16 and int8 by AMX",
                (true, true) => " with products of bf16 and int8",
                (true, false) => " with products of bf16",
                (false, true) => " with products of int8",
                (false, false) => "",
            }
        )?;
        gpu(&mut out, &findings.gpu)?;
        nvrtc(&mut out, &findings.nvrtc)?;
        for program in &findings.programs {
            let verdict = if program.runs_here { "runs here" } else { "does not run here" };
            let ptx = match program.ptx {
                Some(true) => "; --device sim interprets it",
                Some(false) => "; it has no PTX, which --device sim needs",
                None => "",
            };
            writeln!(out, "plan   {} for {}: {verdict}{ptx}", program.entry, program.target)?;
        }
    }
    if let Some(plan) = &args.plan
        && !findings.programs.iter().any(|program| program.runs_here)
    {
        return Err(Failure::machine(anyhow::anyhow!(
            "{}: expected a program that runs here, found none; compile one with --target cpu",
            plan.display()
        )));
    }
    Ok(())
}

/// Whether a program runs on the CPU or on a GPU of this architecture.
fn runs_here(program: &Program, device: Option<Arch>) -> bool {
    program.target == "cpu" || device.is_some_and(|device| runs(program, device))
}

fn compiler(folder: Option<&Path>) -> Compiler {
    let found = search(&toolchain::find(folder, None).nvrtc);
    let tried = found
        .tried
        .iter()
        .map(|place| Place {
            folder: place.folder.display().to_string(),
            outcome: place.outcome.to_string(),
        })
        .collect();
    let opened = found.library().and_then(|library| Nvrtc::open(&library));
    Compiler {
        library: opened.as_ref().ok().map(|nvrtc| nvrtc.library().display().to_string()),
        version: opened.as_ref().ok().map(|nvrtc| nvrtc.version().to_owned()),
        problem: opened.err().map(|error| error.to_string()),
        tried,
    }
}

fn gpu(out: &mut impl Write, gpu: &Gpu) -> io::Result<()> {
    match (&gpu.name, &gpu.architecture) {
        (Some(name), Some(architecture)) => writeln!(out, "gpu    {name}, {architecture}"),
        _ => writeln!(out, "gpu    none: {}", gpu.problem.as_deref().unwrap_or("unknown")),
    }
}

fn nvrtc(out: &mut impl Write, nvrtc: &Compiler) -> io::Result<()> {
    if let (Some(library), Some(version)) = (&nvrtc.library, &nvrtc.version) {
        return writeln!(out, "nvrtc  {version}, {library}");
    }
    writeln!(out, "nvrtc  none; install it with `{INSTALL}`; looked in")?;
    for place in &nvrtc.tried {
        writeln!(out, "         {}: {}", place.folder, place.outcome)?;
    }
    Ok(())
}
