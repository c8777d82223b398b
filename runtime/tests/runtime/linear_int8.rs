//! Linears in int8: the same bits on every instruction set, by its own instruction or by wider ones, whatever is computed
//! beside a row.

use bytec_plan::kernel::Kernel;
use bytec_plan::program::{DType, Layout};
use bytec_runtime::cpu::isa::Isa;
use bytec_runtime::cpu::linear::{Panels, Weights, linear, room};
use bytec_runtime::cpu::matrix::Matrix;
use bytec_runtime::cpu::threads::Threads;
use bytec_runtime::{Engine, EngineOptions};

use crate::programs::{Build, L, Noise, bits, ways};

const ROWS: usize = 60;

/// An output's nearest bytes and their scale.
fn weights_of(row: &[f32]) -> (Vec<i32>, f32) {
    let scale = row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    let bytes = row.iter().map(|x| (x / scale).round_ties_even() as i32).collect();
    (bytes, scale)
}

/// A row's nearest bytes, less that for zero, and the step from one to the next.
fn rounded(row: &[f32]) -> (Vec<i32>, f32) {
    let low = row.iter().fold(0.0f32, |low, x| low.min(*x));
    let high = row.iter().fold(0.0f32, |high, x| high.max(*x));
    let (step, inverse) = ((high - low) / 254.0, 254.0 / (high - low));
    let zero = (-low * inverse).round_ties_even();
    // In f64 neither the sum nor its rounding loses anything.
    let byte = |x: &f32| (f64::from(x * inverse) + f64::from(zero)).round_ties_even() as i32;
    let bytes: Vec<_> = row.iter().map(byte).collect();
    assert!(bytes.iter().all(|byte| (0..=255).contains(byte)), "{row:?}");
    (bytes.iter().map(|byte| byte - zero as i32).collect(), step)
}

/// `[n, k]` in quads.
fn quads(n: usize, k: usize, data: &[f32]) -> Vec<u32> {
    let depth = k.div_ceil(4);
    let mut packed = vec![0; n.div_ceil(32) * (depth + 2) * 32];
    for (i, row) in data.chunks(k).enumerate() {
        let panel = &mut packed[i / 32 * (depth + 2) * 32..];
        let (bytes, scale) = weights_of(row);
        for (j, byte) in bytes.iter().enumerate() {
            panel[j / 4 * 32 + i % 32] |= u32::from(*byte as u8) << (8 * (j % 4));
        }
        panel[depth * 32 + i % 32] = scale.to_bits();
        panel[(depth + 1) * 32 + i % 32] = bytes.iter().sum::<i32>() as u32;
    }
    packed
}

/// The recipe: an exact sum of integers, then one rounded operation after the other.
fn recipe(x: &[f32], weight: &[f32], bias: f32) -> f32 {
    let ((x, step), (weight, scale)) = (rounded(x), weights_of(weight));
    let sum: i32 = x.iter().zip(&weight).map(|(x, w)| x * w).sum();
    sum as f32 * step * scale + bias
}

/// What a linear gives for rows of x that lie so far apart.
fn run(isa: Isa, threads: usize, x: &[f32], stride: usize, weights: Weights<'_>) -> Vec<f32> {
    let (k, rows) = (weights.k, x.len().checked_div(stride).unwrap_or(2));
    let x = Matrix::new(x, rows, stride, stride - k, k);
    let mut out = vec![f32::NAN; rows * weights.n];
    let mut scratch = vec![vec![f32::NAN; room(rows, k).expect("rows fit")]; threads];
    linear(
        isa,
        &Threads::new(Some(threads)).expect("threads start"),
        &mut scratch,
        x,
        weights,
        &mut out,
    );
    out
}

#[test]
fn a_row_has_the_bits_of_the_recipe_everywhere() {
    let mut noise = Noise(11);
    for (n, k) in [(1, 1), (65, 17), (96, 384), (33, 1538)] {
        let (x, weight, bias) = (noise.floats(ROWS * k), noise.floats(n * k), noise.floats(n));
        let packed = quads(n, k, &weight);
        let panels = Panels::Int8(&packed);
        let weights = Weights { n, k, panels, bias: Some(&bias), epilogue: &[] };
        let mut expected = Vec::new();
        let (mut error, mut size) = (0.0f64, 0.0f64);
        for row in x.chunks(k) {
            for (weight, bias) in weight.chunks(k).zip(&bias) {
                let found = recipe(row, weight, *bias);
                let terms = row.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let exact = terms.sum::<f64>() + f64::from(*bias);
                error += (exact - f64::from(found)).powi(2);
                size += exact.powi(2);
                expected.push(found);
            }
        }
        let error = (error / size).sqrt();
        println!("{n} x {k}: error {error:.1e} of the size");
        assert!(error < 0.01, "{n} x {k}: error {error:e}");
        for isa in ways() {
            for threads in [1, 3] {
                // The last rows, so that a row moves through the tiles as their number grows.
                for rows in (1..18).chain([27, 32, 33, ROWS]) {
                    let first = ROWS - rows;
                    let found = run(isa, threads, &x[first * k..], k, weights);
                    assert!(
                        bits(&found) == bits(&expected[first * n..]),
                        "{rows} x {n} x {k} on {isa:?}, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn what_a_row_holds_stays_in_it() {
    let (n, k, stride) = (40, 7, 8);
    let mut noise = Noise(12);
    let (x, weight) = (noise.floats(ROWS * stride), noise.floats(n * k));
    let packed = quads(n, k, &weight);
    let bias = noise.floats(n);
    let weights = Weights { n, k, panels: Panels::Int8(&packed), bias: Some(&bias), epilogue: &[] };
    let mut spoiled = x.clone();
    for (i, row) in spoiled.chunks_mut(stride).enumerate() {
        let kinds = [f32::NAN, f32::INFINITY, -f32::NAN, f32::MAX, 0.0, -1e-40, 1e-31];
        match i % 4 {
            0 => row.fill(kinds[i / 4 % 7]),
            1 => row[1 + i % k] = kinds[i / 4 % 3],
            // Further apart than a number can say.
            2 => row[1..3].copy_from_slice(&[f32::MAX, -f32::MAX]),
            _ => {}
        }
    }
    for isa in ways() {
        let [clean, beside] = [&x, &spoiled].map(|x| run(isa, 2, x, stride, weights));
        for (i, (clean, beside)) in clean.chunks(n).zip(beside.chunks(n)).enumerate() {
            let row = &spoiled[i * stride + 1..][..k];
            match (i % 4, i / 4 % 7) {
                (0, 0..=2) | (1 | 2, _) => assert!(beside.iter().all(|x| x.is_nan()), "row {i}"),
                (0, 3) => {
                    for ((found, weight), bias) in beside.iter().zip(weight.chunks(k)).zip(&bias) {
                        assert_eq!(found.to_bits(), recipe(row, weight, *bias).to_bits());
                    }
                }
                // Zeros, and what is too small to be told from them.
                (0, _) => assert_eq!(bits(beside), bits(&bias), "row {i}"),
                _ => assert_eq!(bits(clean), bits(beside), "row {i}, {isa:?}"),
            }
        }
    }
}

/// A plan may hold any bytes: -128 among them, and corrections that are wrong.
#[test]
fn any_weight_has_the_same_bits_everywhere() {
    let (n, k) = (64, 51);
    let mut noise = Noise(13);
    let x = noise.floats(ROWS * k);
    let mut packed: Vec<u32> =
        noise.floats(2 * (13 + 2) * 32).iter().map(|x| x.to_bits().rotate_left(9)).collect();
    packed[..64].fill(0x8080_8080);
    packed[64..128].fill(0x7f7f_7f7f);
    for scale in [13, 28].into_iter().flat_map(|row| row * 32..(row + 1) * 32) {
        packed[scale] = 1.0f32.to_bits();
    }
    packed[13 * 32] = f32::INFINITY.to_bits();
    packed[14 * 32] = i32::MAX as u32;
    packed[14 * 32 + 1] = i32::MIN as u32;
    let weights = Weights { n, k, panels: Panels::Int8(&packed), bias: None, epilogue: &[] };
    let mut expected: Option<Vec<f32>> = None;
    for isa in ways() {
        let found = run(isa, 1, &x, k, weights);
        let expected = expected.get_or_insert_with(|| found.clone());
        assert!(bits(&found) == bits(expected), "{isa:?}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    let packed = [0; 64];
    let bias = [1.0, 2.0, 3.0];
    let panels = Panels::Int8(&packed);
    let weights = Weights { n: 3, k: 0, panels, bias: Some(&bias), epilogue: &[] };
    for isa in ways() {
        assert_eq!(run(isa, 2, &[], 0, weights), [bias, bias].concat());
        let panels = Panels::Int8(&[0; 96]);
        assert!(run(isa, 2, &[], 4, Weights { k: 4, panels, ..weights }).is_empty());
    }
}

/// As many products as a sum of 32 bits holds, and one more.
#[test]
fn sums_that_could_overflow_are_refused() {
    for (k, fits) in [(1 << 16, true), ((1 << 16) + 1, false)] {
        let mut build = Build::new(false);
        let x = build.input("x", L, k);
        // The largest sum: all bytes at 127.
        let mut packed = vec![0x7f7f_7f7fu32; (k as usize / 4 + 2) * 32];
        packed.resize((k as usize).div_ceil(4) * 32 + 64, 0);
        let ends = packed.len() - 64;
        packed[ends..][..32].fill(1.0f32.to_bits());
        packed[ends + 32..].fill(127 * k as u32);
        let layout = Layout::Quads { width: 32 };
        let bytes = bytemuck::cast_slice(&packed);
        let weight = build.place_bytes(&[32, k], layout, DType::I8, bytes);
        let kernel = Kernel::Linear { n: 32, k: k as u32, bias: false, epilogue: vec![] };
        let out = build.step(kernel, vec![x, weight], L, 32);
        build.output("out", out);
        if fits {
            let x = vec![254.0; k as usize];
            let panels = Panels::Int8(&packed);
            let weights = Weights { n: 32, k: k as usize, panels, bias: None, epilogue: &[] };
            for isa in ways() {
                let found = run(isa, 1, &x, k as usize, weights);
                assert_eq!(found, [(254 * 127 * k) as f32; 32], "{isa:?}");
            }
            build.engine(1, Isa::best());
        } else {
            let options = EngineOptions::default();
            let error = Engine::from_program(build.program, &build.weights, options).unwrap_err();
            let expected = "expected a linear in int8 of at most 65536 inputs, found 65537";
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            assert!(cause.is_some_and(|cause| cause.contains(expected)), "{error}");
        }
    }
}
