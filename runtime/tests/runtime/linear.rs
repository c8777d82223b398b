//! A row of a linear has the same bits whatever is computed beside it.

use bytec_plan::kernel::UnaryFn;
use bytec_runtime::cpu::isa::Isa;
use bytec_runtime::cpu::linear::{Panels, Weights, linear, room};
use bytec_runtime::cpu::matrix::Matrix;
use bytec_runtime::cpu::threads::Threads;

use crate::programs::{Noise, bits, panels, ways};

const ROWS: usize = 300;

/// The recipe, one number at a time: k ascending by fma, then the bias.
fn recipe(x: &[f32], weight: &[f32], bias: f32) -> f32 {
    x.iter().zip(weight).fold(0.0f32, |sum, (x, w)| x.mul_add(*w, sum)) + bias
}

#[test]
fn a_row_has_the_same_bits_for_any_number_of_rows() {
    let mut noise = Noise(1);
    let mut worst = 0.0f64;
    for n in [1, 2, 9, 64, 65, 384, 768] {
        for k in [1, 17, 64, 384] {
            let x = noise.floats(ROWS * k);
            let weight = noise.floats(n * k);
            let bias = noise.floats(n);
            let packed = panels(n, k, &weight);
            let weights =
                Weights { n, k, panels: Panels::F32(&packed), bias: Some(&bias), epilogue: &[] };
            let mut expected = Vec::new();
            for row in x.chunks(k) {
                for (weight, bias) in weight.chunks(k).zip(&bias) {
                    expected.push(recipe(row, weight, *bias));
                }
            }
            for (row, expected) in x.chunks(k).zip(expected.chunks(n)).step_by(37) {
                for ((weight, bias), got) in weight.chunks(k).zip(&bias).zip(expected) {
                    let terms = row.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
                    let exact = terms.clone().sum::<f64>() + f64::from(*bias);
                    let size = terms.map(f64::abs).sum::<f64>() + f64::from(bias.abs());
                    worst = worst.max((exact - f64::from(*got)).abs() / size);
                }
            }
            for isa in Isa::available() {
                for count in [1, 2] {
                    let portable = isa.name() == "portable";
                    if portable && (count > 1 || n > 65) {
                        continue;
                    }
                    let threads = Threads::new(Some(count)).unwrap();
                    let mut scratch = vec![vec![0.0; room(ROWS, k).unwrap()]; count];
                    let mut out = vec![0.0; ROWS * n];
                    for rows in (1..=ROWS).filter(|m| !portable || m % 41 == 1) {
                        // The last rows, so that a row moves through the tiles as their number grows.
                        let first = ROWS - rows;
                        let x = Matrix::new(&x[first * k..], rows, k, 0, k);
                        let out = &mut out[..rows * n];
                        out.fill(f32::NAN);
                        linear(isa, &threads, &mut scratch, x, weights, out);
                        assert!(
                            bits(out) == bits(&expected[first * n..]),
                            "{rows} x {n} x {k} on {isa:?} with {count} threads"
                        );
                    }
                }
            }
        }
    }
    println!("largest error as a part of the sum of sizes: {worst:e}");
    assert!(worst < 1e-6);
}

#[test]
fn deep_linears_keep_their_bits_too() {
    let (n, k) = (96, 3000);
    let mut noise = Noise(2);
    let (x, weight) = (noise.floats(50 * k), noise.floats(n * k));
    let packed = panels(n, k, &weight);
    let weights = Weights { n, k, panels: Panels::F32(&packed), bias: None, epilogue: &[] };
    let threads = Threads::new(Some(2)).unwrap();
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; 50 * n];
        linear(isa, &threads, &mut [[0.0; 0]; 2], Matrix::new(&x, 50, k, 0, k), weights, &mut out);
        for (row, out) in x.chunks(k).zip(out.chunks(n)) {
            for (weight, out) in weight.chunks(k).zip(out) {
                assert_eq!(recipe(row, weight, 0.0).to_bits(), out.to_bits(), "{isa:?}");
            }
        }
    }
}

/// Rows 4096 bytes apart are gathered where there is scratch for them, and keep their bits.
#[test]
fn gathered_rows_keep_their_bits() {
    let (n, k, stride) = (40, 900, 1024);
    let mut noise = Noise(4);
    let (x, weight) = (noise.floats(50 * stride), noise.floats(n * k));
    let packed = panels(n, k, &weight);
    let panels = Panels::F32(&packed);
    let weights = Weights { n, k, panels, bias: None, epilogue: &[] };
    let threads = Threads::new(Some(2)).unwrap();
    let x = Matrix::new(&x, 50, stride, 100, k);
    for isa in Isa::available() {
        let mut results = [room(50, k).unwrap(), 0].map(|numbers| {
            let mut out = vec![f32::NAN; 50 * n];
            let mut scratch = vec![vec![f32::NAN; numbers]; 2];
            linear(isa, &threads, &mut scratch, x, weights, &mut out);
            bits(&out)
        });
        let last = std::mem::take(&mut results[1]);
        assert!(results[0] == last, "{isa:?}");
    }
}

/// The nearest bf16, ties to even, as an f32.
fn rounded(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

/// `[n, k]` as `[ceil(n / 32)][ceil(k / 2)][32]` pairs of bf16.
fn pairs(n: usize, k: usize, data: &[f32]) -> Vec<u32> {
    let depth = k.div_ceil(2);
    let mut packed = vec![0; n.div_ceil(32) * depth * 32];
    for i in 0..n {
        for j in 0..k {
            let bits = u32::from(half::bf16::from_f32(data[i * k + j]).to_bits());
            packed[(i / 32 * depth + j / 2) * 32 + i % 32] |= bits << (16 * (j % 2));
        }
    }
    packed
}

/// In bf16 by fma the recipe is that of f32 on rounded factors; the instruction for it is near, and keeps a row's bits.
#[test]
fn in_bf16_a_row_has_the_same_bits_for_any_number_of_rows() {
    let mut noise = Noise(5);
    let mut worst = 0.0f64;
    for (n, k) in [(1, 1), (65, 17), (96, 384), (33, 1537)] {
        let (x, weight) = (noise.floats(ROWS * k), noise.floats(n * k));
        let bias = noise.floats(n);
        let packed = pairs(n, k, &weight);
        let panels = Panels::Bf16(&packed);
        let weights = Weights { n, k, panels, bias: Some(&bias), epilogue: &[] };
        let narrow = |x: &[f32]| x.iter().copied().map(rounded).collect::<Vec<_>>();
        let (narrow_x, narrow_weight) = (narrow(&x), narrow(&weight));
        let mut by_tiles: Option<Vec<u32>> = None;
        for isa in ways() {
            let portable = isa.name() == "portable";
            let mut whole: Option<Vec<f32>> = None;
            for count in [1, 3] {
                let threads = Threads::new(Some(count)).unwrap();
                let mut scratch = vec![vec![f32::NAN; room(ROWS, k).unwrap()]; count];
                let mut of_last = |rows: usize| {
                    let x = Matrix::new(&x[(ROWS - rows) * k..], rows, k, 0, k);
                    let mut out = vec![f32::NAN; rows * n];
                    linear(isa, &threads, &mut scratch, x, weights, &mut out);
                    out
                };
                let all = whole.get_or_insert_with(|| of_last(ROWS));
                let step = if portable { 101 } else { 7 };
                for rows in (1..18).chain([31, 32, 33]).chain((34..=ROWS).step_by(step)) {
                    let expected = bits(&all[(ROWS - rows) * n..]);
                    assert!(bits(&of_last(rows)) == expected, "{rows} x {n} x {k}, {isa:?}");
                }
            }
            let all = whole.unwrap();
            if isa.has_amx() {
                let expected = by_tiles.get_or_insert_with(|| bits(&all));
                assert!(bits(&all) == *expected, "{n} x {k}: the unit and its emulation differ");
            }
            for (row, out) in narrow_x.chunks(k).zip(all.chunks(n)).step_by(19) {
                for ((weight, bias), out) in narrow_weight.chunks(k).zip(&bias).zip(out) {
                    if !isa.has_bf16() {
                        let expected = recipe(row, weight, *bias).to_bits();
                        assert_eq!(out.to_bits(), expected, "{n} x {k}, {isa:?}");
                    }
                    let terms = row.iter().zip(weight);
                    let terms = terms.map(|(x, w)| f64::from(*x) * f64::from(*w));
                    let exact = terms.clone().sum::<f64>() + f64::from(*bias);
                    let size = terms.map(f64::abs).sum::<f64>() + f64::from(bias.abs());
                    worst = worst.max((exact - f64::from(*out)).abs() / size);
                }
            }
        }
    }
    println!("largest error in bf16 as a part of the sum of sizes: {worst:e}");
    assert!(worst < 2e-6);
}

/// Denormals may count as zero; whatever else a row holds stays in its row.
#[test]
fn in_bf16_what_a_row_holds_stays_in_it() {
    let (n, k) = (40, 7);
    let mut noise = Noise(6);
    let (x, weight) = (noise.floats(30 * k), noise.floats(n * k));
    let packed = pairs(n, k, &weight);
    let panels = Panels::Bf16(&packed);
    let weights = Weights { n, k, panels, bias: None, epilogue: &[] };
    let threads = Threads::new(Some(2)).unwrap();
    let mut spoiled = x.clone();
    for (i, row) in spoiled.chunks_mut(k).enumerate().step_by(2) {
        row.fill([f32::NAN, f32::INFINITY, f32::MAX, 1e-40][i / 2 % 4]);
    }
    for isa in ways() {
        let [clean, beside] = [&x, &spoiled].map(|x| {
            let mut scratch = vec![vec![f32::NAN; room(30, k).unwrap()]; 2];
            let mut out = vec![0.0; 30 * n];
            linear(isa, &threads, &mut scratch, Matrix::new(x, 30, k, 0, k), weights, &mut out);
            out
        });
        for (i, (clean, beside)) in clean.chunks(n).zip(beside.chunks(n)).enumerate() {
            match i {
                _ if i % 2 == 1 => assert_eq!(bits(clean), bits(beside), "row {i}, {isa:?}"),
                _ if i / 2 % 4 == 3 => assert!(beside.iter().all(|x| x.abs() < 1e-30)),
                _ => assert!(!beside.iter().any(|x| x.abs() < 1e30), "row {i}, {isa:?}"),
            }
        }
    }
}

#[test]
fn the_epilogue_has_the_same_bits_in_every_tile() {
    let (n, k) = (45, 20);
    let mut noise = Noise(3);
    let (x, weight, bias) = (noise.floats(40 * k), noise.floats(n * k), noise.floats(n));
    let packed = panels(n, k, &weight);
    let threads = Threads::new(Some(3)).unwrap();
    for function in [UnaryFn::GeluErf, UnaryFn::GeluTanh, UnaryFn::Silu, UnaryFn::Tanh] {
        let epilogue = [function, UnaryFn::Neg];
        let weights =
            Weights { n, k, panels: Panels::F32(&packed), bias: Some(&bias), epilogue: &epilogue };
        let mut expected: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; 40 * n];
            linear(
                isa,
                &threads,
                &mut [[0.0; 0]; 3],
                Matrix::new(&x, 40, k, 0, k),
                weights,
                &mut out,
            );
            let expected = expected.get_or_insert_with(|| bits(&out));
            assert!(bits(&out) == *expected, "{function:?} on {isa:?}");
            for row in 0..40 {
                let mut alone = vec![f32::NAN; n];
                let x = Matrix::new(&x[row * k..], 1, k, 0, k);
                linear(isa, &threads, &mut [[0.0; 0]; 3], x, weights, &mut alone);
                assert!(bits(&alone) == expected[row * n..][..n], "{function:?} on {isa:?}");
            }
        }
    }
}

#[test]
fn nothing_comes_of_nothing() {
    let threads = Threads::new(Some(2)).unwrap();
    let weights = Weights {
        n: 3,
        k: 0,
        panels: Panels::F32(&[]),
        bias: Some(&[1.0, 2.0, 3.0]),
        epilogue: &[],
    };
    for isa in Isa::available() {
        let mut out = [f32::NAN; 6];
        linear(isa, &threads, &mut [[0.0; 0]; 2], Matrix::new(&[], 2, 0, 0, 0), weights, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        linear(isa, &threads, &mut [[0.0; 0]; 2], Matrix::new(&[], 0, 0, 0, 0), weights, &mut []);
    }
}
