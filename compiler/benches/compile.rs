//! How long MiniLM takes to compile, for the CPU and each GPU architecture: with no kernel in the cache, and with all.
//!
//! `cargo bench -p bytec-compiler --bench compile`, alone on the machine, prints medians of the times from reading the
//! model to the written plan. The README's figures are its output. MiniLM and NVRTC are fetched as the quickstart does.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bytec_compiler::nvrtc::{Nvrtc, search};
use bytec_compiler::{CompileError, Options, Progress, Target, Toolchain};

/// Runs of which each figure is the median.
const RUNS: usize = 5;

struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &'static str) {}
    fn done(&mut self, _: String) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo's own test run of benchmarks only wants to know that they start.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let model = fetch("fetch_minilm.sh")?;
    let nvrtc = fetch("fetch_nvrtc.sh")?;
    let library = search(std::slice::from_ref(&nvrtc)).library()?;
    // Loaded once a process; the first time would be counted to the first target.
    println!(
        "NVRTC {}, {} threads",
        Nvrtc::open(&library)?.version(),
        rayon::current_num_threads()
    );
    println!("{:28} {:>8} {:>8}", "medians in seconds", "cold", "cached");
    for names in ["cpu", "sm_80:f16", "sm_90a:f16", "sm_80:f16,sm_90a:bf16"] {
        let targets: Result<Vec<Target>, _> = names.split(',').map(str::parse).collect();
        let targets = targets?;
        let (mut cold, mut cached) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let folder = tempfile::tempdir()?;
            let toolchain = Toolchain {
                nvrtc: vec![nvrtc.clone()],
                cache: Some(folder.path().join("kernels")),
            };
            let options = Options { targets: targets.clone(), toolchain, ..Options::default() };
            for times in [&mut cold, &mut cached] {
                times.push(compile(&model, &options, &folder.path().join("model.plan"))?);
            }
        }
        println!("{names:28} {:8.2} {:8.2}", median(cold), median(cached));
    }
    Ok(())
}

/// Seconds of one compilation.
fn compile(model: &Path, options: &Options, plan: &Path) -> Result<f64, CompileError> {
    let begun = Instant::now();
    bytec_compiler::compile(model, options, &mut Silent, |emitted, _| {
        emitted.write_file(plan).map_err(CompileError::from)
    })?;
    Ok(begun.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The folder that one of the examples' scripts fills once.
fn fetch(script: &str) -> Result<PathBuf, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(script);
    let output = Command::new("bash").arg(script).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}
