//! Prints how many warp instructions a second a core simulates, with and without checks, on the linear layer and the
//! attention of MiniLM, and how much memory that takes.
//!
//! `cargo run --release -p bytec-sim --example rate`, and after `--` the name of an instruction set for one that is not
//! the machine's best.
//!
//! One thread, and of several launches the one that took the least time of the processor, as Linux counts it for the
//! thread: other programs on the machine change little. The memory is the most that the process had beyond what it had
//! before, so parsed code and registers are in it; the larger batch shows what grows with the buffers.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

mod case;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use bytec_runtime::Isa;
use bytec_sim::Checks;
use case::{Case, Failure};

/// Rows of each sample in the batch.
const LENGTHS: [u64; 4] = [128, 77, 200, 107];

/// Batches of the larger one.
const TIMES: usize = 8;

/// Measures one kernel with the checks of a name, with so many times the batch.
fn measure(isa: Isa, kernel: &str, checks: &str, times: usize) -> Result<(), Failure> {
    let before = memory();
    let lengths = LENGTHS.repeat(times);
    let mut case =
        if kernel == "linear" { Case::linear(&lengths)? } else { Case::attention(&lengths)? };
    case.device.isa = isa;
    case.device.checks = if checks == "none" { Checks::NONE } else { Checks::ALL };
    if checks == "marks" {
        case.mark_last()?;
    }
    print!("{kernel:<10} checks: {checks:<6}");
    let (rate, count, peak) = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()?
        .install(|| launches(&mut case, if times == 1 { 9 } else { 1 }))?;
    if times == 1 {
        print!(" {count} warp instructions, {:.2} M a second a core,", rate / 1e6);
    }
    if let (Some((_, before)), Some((peak, _))) = (before, peak) {
        let (own, all) = (case.device.allocated_bytes(), peak.saturating_sub(before));
        print!(" {:.1} MB for buffers of {:.1} MB", all as f64 / 1e6, own as f64 / 1e6);
    }
    println!();
    Ok(())
}

/// Warp instructions a second in the best of some launches, those of each, and the memory after the first.
fn launches(case: &mut Case, count: usize) -> Result<(f64, u64, Option<Memory>), Failure> {
    let (mut best, mut instructions) = (f64::INFINITY, 0);
    let mut first = None;
    for _ in 0..count {
        let start = processor_time();
        instructions = case.launch()?.warp_instructions();
        best = best.min((processor_time() - start).as_secs_f64());
        let (_, output) = first.get_or_insert_with(|| (memory(), case.output()));
        if *output != case.output() {
            return Err("two launches gave different bits".into());
        }
    }
    Ok((instructions as f64 / best, instructions, first.and_then(|(memory, _)| memory)))
}

/// What the calling thread has had of the processor; without Linux's count, the time that passed.
fn processor_time() -> Duration {
    thread_local!(static START: Instant = Instant::now());
    let counted = fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos);
    counted.unwrap_or_else(|| START.with(Instant::elapsed))
}

/// The most memory that the process has had, and what it has now, in bytes.
type Memory = (u64, u64);

fn memory() -> Option<Memory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((kilobytes("VmHWM:")? * 1024, kilobytes("VmRSS:")? * 1024))
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let isa = match args.first() {
        None => Isa::best(),
        Some(name) => {
            let known = Isa::available().into_iter().find(|isa| isa.name() == name);
            known.ok_or_else(|| format!("this machine has no {name}"))?
        }
    };
    if let [_, kernel, checks, times] = &args[..] {
        return measure(isa, kernel, checks, times.parse()?);
    }
    println!("instruction set: {}", isa.name());
    // Each in a process of its own, so that none takes memory which another gave back.
    for kernel in ["linear", "attention"] {
        for checks in ["none", "all", "marks"] {
            for times in [1, TIMES] {
                let program = std::env::current_exe()?;
                let args = [isa.name(), kernel, checks, &times.to_string()];
                let status = Command::new(program).args(args).status()?;
                if !status.success() {
                    return Err(format!("{kernel} {checks}: {status}").into());
                }
            }
        }
    }
    Ok(())
}
