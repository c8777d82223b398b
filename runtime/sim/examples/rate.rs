//! Prints how many warp instructions a second a core simulates, with and without checks, on the linear layer and the
//! attention of MiniLM, and how much memory it takes beside what the kernel's buffers have.
//!
//! `cargo run --release -p bytec-sim --example rate`
//!
//! One thread, and of several runs the one that took the least time of the processor, as the kernel of Linux counts it
//! for the thread: other programs on the machine change little.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use bytec_sim::{Arg, Buffer, Checks, Device, Module};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LINEAR: &str = include_str!("../tests/fixtures/linear.ptx");
const ATTENTION: &str = include_str!("../tests/fixtures/attention.ptx");

/// Rows of each sample in the batch.
const LENGTHS: [u64; 4] = [128, 77, 200, 107];

/// A kernel's launch, ready to run again and again.
struct Case {
    module: Module,
    device: Device,
    args: Vec<Arg>,
    grid: [u32; 3],
    shared: u32,
    /// Buffers of the last rows, which the marked runs mark.
    last_rows: Vec<(Buffer, std::ops::Range<u64>)>,
    bytes: u64,
}

/// The buffers of a case.
#[derive(Default)]
struct Buffers {
    bytes: u64,
    seed: u64,
}

impl Buffers {
    fn alloc(&mut self, device: &mut Device, name: &str, bytes: u64) -> Result<Buffer, Failure> {
        self.bytes += bytes;
        Ok(device.alloc(name, bytes)?)
    }

    /// f16 numbers between -1 and 1.
    fn numbers(&mut self, device: &mut Device, name: &str, count: u64) -> Result<Buffer, Failure> {
        let buffer = self.alloc(device, name, count * 2)?;
        let mut state = self.seed;
        let data: Vec<u8> = (0..count)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                half::f16::from_f32((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0).to_le_bytes()
            })
            .collect();
        self.seed = state;
        device.upload(buffer, 0, &data)?;
        Ok(buffer)
    }

    fn table(&mut self, device: &mut Device, name: &str, data: &[i32]) -> Result<Buffer, Failure> {
        let buffer = self.alloc(device, name, data.len() as u64 * 4)?;
        let data: Vec<u8> = data.iter().flat_map(|number| number.to_le_bytes()).collect();
        device.upload(buffer, 0, &data)?;
        Ok(buffer)
    }
}

/// `x` [rows][384] times `weight` [1152][384], and a bias.
fn linear() -> Result<Case, Failure> {
    let rows: u64 = LENGTHS.iter().sum();
    let (mut device, mut buffers) = (Device::sm_80(), Buffers::default());
    let out = buffers.alloc(&mut device, "out", rows * 1152 * 2)?;
    let x = buffers.numbers(&mut device, "x", rows * 384)?;
    let weight = buffers.numbers(&mut device, "weight", 1152 * 384)?;
    let bias = buffers.numbers(&mut device, "bias", 1152)?;
    let count = buffers.table(&mut device, "rows", &[rows as i32])?;
    let last = (rows - 1) * 384 * 2..rows * 384 * 2;
    Ok(Case {
        module: Module::parse(LINEAR)?,
        device,
        args: [out, x, weight, bias, count].map(|buffer| Arg::Pointer(buffer, 0)).to_vec(),
        grid: [1152 / 128, rows.div_ceil(128) as u32, 1],
        shared: 4 * 2 * 128 * 64,
        last_rows: vec![(x, last), (out, (rows - 1) * 1152 * 2..rows * 1152 * 2)],
        bytes: buffers.bytes,
    })
}

/// Attention of 12 heads of 32 columns on the merged `qkv` [rows][3 * 384].
fn attention() -> Result<Case, Failure> {
    let rows: u64 = LENGTHS.iter().sum();
    let (mut device, mut buffers) = (Device::sm_80(), Buffers::default());
    let out = buffers.alloc(&mut device, "out", rows * 384 * 2)?;
    let qkv = buffers.numbers(&mut device, "qkv", rows * 1152)?;
    let mut starts = vec![0];
    let mut tiles = Vec::new();
    for (sample, length) in (0..).zip(LENGTHS) {
        starts.push(starts[sample as usize] + length as i32);
        tiles.extend((0..length as i32).step_by(64).flat_map(|query| [sample, query]));
    }
    let blocks = tiles.len() as u32 / 2;
    let tiles = buffers.table(&mut device, "tiles", &tiles)?;
    let starts = buffers.table(&mut device, "starts", &starts)?;
    let columns = [0, 384, 768].map(|column| Arg::Pointer(qkv, column * 2));
    let tables = [tiles, starts, starts].map(|buffer| Arg::Pointer(buffer, 0));
    let last = rows - LENGTHS[LENGTHS.len() - 1];
    Ok(Case {
        module: Module::parse(ATTENTION)?,
        device,
        args: [Arg::Pointer(out, 0)].into_iter().chain(columns).chain(tables).collect(),
        grid: [blocks, 12, 1],
        shared: 5 * 64 * 32 * 2,
        last_rows: vec![
            (qkv, last * 1152 * 2..rows * 1152 * 2),
            (out, last * 384 * 2..rows * 384 * 2),
        ],
        bytes: buffers.bytes,
    })
}

impl Case {
    /// Warp instructions, and those a second at best.
    fn rate(&mut self) -> Result<(u64, f64), Failure> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        pool.install(|| {
            let (mut best, mut count) = (f64::INFINITY, 0);
            for _ in 0..7 {
                let start = processor_time();
                let kernel = self.module.kernels().first().ok_or("the fixture has a kernel")?;
                let profile =
                    self.device.launch(kernel, self.grid, [128, 1, 1], self.shared, &self.args)?;
                best = best.min((processor_time() - start).as_secs_f64());
                count = profile.warp_instructions();
            }
            Ok((count, count as f64 / best))
        })
    }
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

/// The most memory that the process has had since the last call, and what it has now, in bytes.
fn memory() -> Option<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let (peak, now) = (kilobytes("VmHWM:")?, kilobytes("VmRSS:")?);
    fs::write("/proc/self/clear_refs", "5").ok()?;
    Some((peak * 1024, now * 1024))
}

/// Measures one case, by the names that `main` gives.
fn measure(kernel: &str, checks: &str) -> Result<(), Failure> {
    let before = memory();
    let mut case = if kernel == "linear" { linear()? } else { attention()? };
    case.device.checks = if checks == "none" { Checks::NONE } else { Checks::ALL };
    if checks == "marks" {
        for (buffer, range) in case.last_rows.clone() {
            case.device.mark(buffer, range)?;
        }
    }
    let (count, rate) = case.rate()?;
    print!("{kernel:<10} {checks:<6} {count:>8} warp instructions {:>6.2} M a second", rate / 1e6);
    if let (Some((_, before)), Some((peak, _))) = (before, memory()) {
        let (peak, own) = ((peak - before) as f64 / 1e6, case.bytes as f64 / 1e6);
        print!(", {peak:.2} MB for buffers of {own:.2} MB");
    }
    println!();
    Ok(())
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [kernel, checks] = &args[..] {
        return measure(kernel, checks);
    }
    // Each in a process of its own, so that none takes memory which another gave back.
    for kernel in ["linear", "attention"] {
        for checks in ["none", "all", "marks"] {
            let program = std::env::current_exe()?;
            let status = Command::new(program).args([kernel, checks]).status()?;
            if !status.success() {
                return Err(format!("{kernel} {checks}: {status}").into());
            }
        }
    }
    Ok(())
}
