//! The processor's ceilings. Each is the best of as many tries as fit in the time given, and of a few at least.

use std::time::{Duration, Instant};

use bytec_runtime::Isa;
use bytec_runtime::cpu::linear::{Panels, Weights, linear, room};
use bytec_runtime::cpu::matrix::Matrix;
use bytec_runtime::cpu::peak::{self, Products};
use bytec_runtime::cpu::threads::Threads;

/// Bytes of each of a copy's two sides; no processor's caches hold them.
const COPIED: usize = 128 << 20;
/// Rows, columns and depth of the product. Rows that lie a multiple of 4096 bytes apart would share a few lines of the
/// first-level cache.
const ROWS: usize = 768;
const COLUMNS: usize = 1024;
const DEPTH: usize = 784;
/// The fewest tries.
const TRIES: usize = 4;
/// Rounds of the loop: a few milliseconds.
const ROUNDS: usize = 1 << 20;

/// Bytes a second, read and written, of a copy in memory, a part of it by each of `threads` threads. What a write reads
/// first, to fill its cache line, is not counted.
pub fn host_copy(threads: usize, time: Duration) -> f64 {
    let from = vec![1u8; COPIED];
    let mut to = vec![2u8; COPIED];
    let part = COPIED.div_ceil(threads.max(1));
    let seconds = best(time, || {
        std::thread::scope(|scope| {
            for (to, from) in to.chunks_mut(part).zip(from.chunks(part)) {
                scope.spawn(|| to.copy_from_slice(from));
            }
        });
        std::hint::black_box(&to);
    });
    2.0 * COPIED as f64 / seconds
}

/// Multiplications and additions a second of a large product through the linear of plans.
pub fn product(isa: Isa, products: Products, threads: &Threads, time: Duration) -> f64 {
    let numbers = |count: usize| -> Vec<f32> {
        (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect()
    };
    let x = numbers(ROWS * DEPTH);
    let (panels, words) = match products {
        Products::F32 => (numbers(COLUMNS * DEPTH), Vec::new()),
        // Each a pair of ones.
        Products::Bf16 => (Vec::new(), vec![0x3f80_3f80; COLUMNS * DEPTH / 2]),
        // Each four ones; as scales and corrections, at the ends of panels, they are numbers like any others.
        Products::Int8 => (Vec::new(), vec![0x0101_0101; COLUMNS * (DEPTH / 4 + 2)]),
    };
    let panels = match products {
        Products::F32 => Panels::F32(&panels),
        Products::Bf16 => Panels::Bf16(&words),
        Products::Int8 => Panels::Int8(&words),
    };
    let mut out = vec![0.0; ROWS * COLUMNS];
    let weights = Weights { n: COLUMNS, k: DEPTH, panels, bias: None, epilogue: &[] };
    let matrix = Matrix::new(&x, ROWS, DEPTH, 0, DEPTH);
    let mut scratch = vec![vec![0.0; room(ROWS, DEPTH).unwrap_or(0)]; threads.count()];
    let seconds = best(time, || linear(isa, threads, &mut scratch, matrix, weights, &mut out));
    2.0 * (ROWS * COLUMNS * DEPTH) as f64 / seconds
}

/// Multiplications and additions a second of a loop of multiply-adds on registers alone.
pub fn fma(isa: Isa, products: Products, threads: &Threads, time: Duration) -> f64 {
    let mut operations = 0;
    let run = || operations = peak::multiply_adds(isa, products, threads, ROUNDS);
    let seconds = best(time, run);
    operations as f64 / seconds
}

/// The seconds of the shortest run.
fn best(time: Duration, mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    let mut tries = 0;
    while tries < TRIES || begun.elapsed() < time {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        tries += 1;
    }
    // A clock of coarse ticks may see no time pass.
    best.max(1e-9)
}
