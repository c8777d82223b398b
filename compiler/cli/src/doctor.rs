//! `bytec doctor`: what this machine can run.

use std::io::{Write, stdout};

use serde::Serialize;

use crate::Outcome;
use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::plan_file;

/// What `--json` prints.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    cpu: Cpu,
    programs: Vec<ProgramFinding>,
}

#[derive(Serialize)]
struct Cpu {
    architecture: &'static str,
    threads: usize,
    path: String,
}

#[derive(Serialize)]
struct ProgramFinding {
    entry: String,
    target: String,
    runs_here: bool,
}

pub(crate) fn doctor(args: &DoctorArgs) -> Outcome {
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        cpu: Cpu {
            architecture: std::env::consts::ARCH,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            path: bytec_runtime::Isa::best().name().to_owned(),
        },
        programs: match &args.plan {
            Some(path) => plan_file::read(path)?
                .0
                .programs
                .into_iter()
                .map(|program| ProgramFinding {
                    runs_here: program.target == "cpu",
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
            "cpu    {}, {} threads, kernels for {}",
            cpu.architecture, cpu.threads, cpu.path
        )?;
        for program in &findings.programs {
            let verdict = if program.runs_here { "runs here" } else { "does not run here" };
            writeln!(out, "plan   {} for {}: {verdict}", program.entry, program.target)?;
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
