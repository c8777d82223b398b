//! Rates of the linear kernel beside those of the `gemm` crate, at the shapes of a small BERT. Prints the best of many
//! runs, in GFLOP/s; of int8 those by its own instruction and by wider ones.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::{Duration, Instant};

use bytec_runtime::cpu::isa::Isa;
use bytec_runtime::cpu::linear::{Panels, Weights, linear, room};
use bytec_runtime::cpu::matrix::Matrix;
use bytec_runtime::cpu::threads::Threads;

const SHAPES: [[usize; 3]; 6] = [
    [2453, 1152, 384],
    [2453, 384, 384],
    [2453, 1536, 384],
    [2453, 384, 1536],
    [32, 1536, 384],
    [1, 1536, 384],
];

fn main() -> std::io::Result<()> {
    for [m, n, k] in SHAPES {
        let numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect()
        };
        let (x, weight, mut out) = (numbers(m * k), numbers(n * k), vec![0.0; m * n]);
        let panels = numbers(n.next_multiple_of(32) * k);
        let weights = Weights { n, k, panels: Panels::F32(&panels), bias: None, epilogue: &[] };
        let pairs = vec![0x3f80_3f80; n.next_multiple_of(32) * k.div_ceil(2)];
        let narrow = Weights { panels: Panels::Bf16(&pairs), ..weights };
        let quads = vec![0x0101_0101; n.next_multiple_of(32) * (k.div_ceil(4) + 2)];
        let bytes = Weights { panels: Panels::Int8(&quads), ..weights };
        let matrix = Matrix::new(&x, m, k, 0, k);
        for count in [1, 2] {
            let threads = Threads::new(Some(count))?;
            let mut scratch = vec![vec![0.0; room(m, k).unwrap_or(0)]; count];
            print!("{m:>5} x {n:>4} x {k:>4}, {count} threads:");
            for isa in Isa::available().into_iter().filter(|isa| isa.name() != "portable") {
                let time = best(|| linear(isa, &threads, &mut scratch, matrix, weights, &mut out));
                print!("  {isa:?} {:>4.0}", rate(m * n * k, time));
                let time = best(|| linear(isa, &threads, &mut scratch, matrix, narrow, &mut out));
                print!(", bf16 {:>4.0}", rate(m * n * k, time));
                let time = best(|| linear(isa, &threads, &mut scratch, matrix, bytes, &mut out));
                print!(", int8 {:>4.0}", rate(m * n * k, time));
                let wider = isa.without_int8();
                let time = best(|| linear(wider, &threads, &mut scratch, matrix, bytes, &mut out));
                print!(" or {:>4.0}", rate(m * n * k, time));
            }
            let parallel = match count {
                1 => gemm::Parallelism::None,
                _ => gemm::Parallelism::Rayon(count),
            };
            let (columns, rows) = (n as isize, k as isize);
            // SAFETY: the three matrices have the sizes and strides given.
            #[expect(unsafe_code, reason = "the peer's interface takes pointers")]
            let time = best(|| unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    out.as_mut_ptr(),
                    1,
                    columns,
                    false,
                    x.as_ptr(),
                    1,
                    rows,
                    weight.as_ptr(),
                    rows,
                    1,
                    0.0f32,
                    1.0f32,
                    false,
                    false,
                    false,
                    parallel,
                );
            });
            println!("  gemm {:>4.0}", rate(m * n * k, time));
        }
    }
    Ok(())
}

fn rate(products: usize, time: Duration) -> f64 {
    2.0 * products as f64 / time.as_secs_f64() / 1e9
}

/// The shortest of the runs that fit into half a second.
fn best(mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < Duration::from_millis(500) {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed());
    }
    best
}
