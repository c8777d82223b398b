//! Prints how many warp instructions a second the simulator runs, with and without its checks.
//!
//! `cargo run --release -p bytec-sim --example rate`

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::time::Instant;

use bytec_sim::{Arg, Checks, Device, Module, Profile};

const GEMM: &str = include_str!("../tests/fixtures/gemm.ptx");

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One product of f16 matrices, 256 x 256 x 512.
fn gemm(module: &Module, checks: Checks, marked: bool) -> Result<Profile, Failure> {
    let (m, n, k) = (256u64, 256u64, 512u64);
    let mut device = Device::sm_80();
    device.checks = checks;
    let a = device.alloc("a", m * k * 2)?;
    let b = device.alloc("b", n * k * 2)?;
    let c = device.alloc("c", m * n * 4)?;
    // 0x3c00 is one in f16.
    device.upload(a, 0, &[0x00, 0x3c].repeat((m * k) as usize))?;
    device.upload(b, 0, &[0x00, 0x3c].repeat((n * k) as usize))?;
    if marked {
        device.mark(a, (m - 1) * k * 2..m * k * 2)?;
        device.mark(c, (m - 1) * n * 4..m * n * 4)?;
    }
    let pointers = [a, b, c].map(|buffer| Arg::Pointer(buffer, 0));
    let sizes = [m, n, k].map(|size| Arg::I32(size as i32));
    let args: Vec<Arg> = pointers.into_iter().chain(sizes).collect();
    let kernel = module.kernel("gemm").ok_or("the fixture has the kernel")?;
    Ok(device.launch(kernel, [n as u32 / 64, m as u32 / 64, 1], [128, 1, 1], 0, &args)?)
}

fn main() -> Result<(), Failure> {
    let start = Instant::now();
    let module = Module::parse(GEMM)?;
    println!("parsed in {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let cases = [
            ("no checks", Checks::NONE, false),
            ("all checks", Checks::ALL, false),
            ("all checks and marks", Checks::ALL, true),
        ];
        for (name, checks, marked) in cases {
            let mut best = f64::INFINITY;
            let mut count = 0;
            for _ in 0..5 {
                let start = Instant::now();
                let profile = pool.install(|| gemm(&module, checks, marked))?;
                best = best.min(start.elapsed().as_secs_f64());
                count = profile.warp_instructions();
            }
            let rate = count as f64 / best / 1e6;
            println!("{threads} threads, {name}: {rate:.2} M warp instructions a second");
        }
    }
    Ok(())
}
