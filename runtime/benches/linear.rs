//! Rates of the linear kernel beside those of the `gemm` crate.
#![expect(missing_docs, reason = "a benchmark")]
#![allow(clippy::print_stdout, clippy::allow_attributes)]
use bytec_runtime::cpu::{
    isa::Isa,
    linear::{Weights, linear},
    matrix::Matrix,
    threads::Threads,
};
use std::time::Instant;

fn best(mut f: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < 0.7 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    for (m, n, k) in [
        (2453usize, 1152usize, 384usize),
        (2453, 384, 384),
        (2453, 1536, 384),
        (2453, 384, 1536),
        (32, 1536, 384),
        (1, 1536, 384),
    ] {
        let x: Vec<f32> = (0..m * k).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
        let panels: Vec<f32> = (0..n.div_ceil(32) * 32 * k)
            .map(|i| ((i * 104729) % 1000) as f32 / 1000.0 - 0.5)
            .collect();
        let w: Vec<f32> = (0..n * k).map(|i| ((i * 104729) % 1000) as f32 / 1000.0 - 0.5).collect();
        let mut out = vec![0f32; m * n];
        let flops = 2.0 * (m * n * k) as f64;
        for threads in [1usize, 2] {
            let t = Threads::new(Some(threads)).unwrap();
            let mut scratch = vec![(); threads];
            for isa in Isa::available() {
                if isa.name() == "portable" {
                    continue;
                }
                let ours = best(|| {
                    linear(
                        isa,
                        &t,
                        &mut scratch,
                        Matrix::new(&x, m, k, 0, k),
                        Weights { n, k, panels: &panels, bias: None, epilogue: &[] },
                        &mut out,
                    )
                });
                println!(
                    "{m}x{n}x{k} t{threads} {}: {:.0} GFLOP/s",
                    isa.name(),
                    flops / ours / 1e9
                );
            }
            let par = if threads == 1 {
                gemm::Parallelism::None
            } else {
                gemm::Parallelism::Rayon(threads)
            };
            #[allow(unsafe_code)]
            let theirs = best(|| unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    out.as_mut_ptr(),
                    1,
                    n as isize,
                    false,
                    x.as_ptr(),
                    1,
                    k as isize,
                    w.as_ptr(),
                    k as isize,
                    1,
                    0.0f32,
                    1.0f32,
                    false,
                    false,
                    false,
                    par,
                )
            });
            println!("{m}x{n}x{k} t{threads} gemm: {:.0} GFLOP/s", flops / theirs / 1e9);
        }
    }
}
