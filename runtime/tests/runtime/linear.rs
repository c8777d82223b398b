//! A row of a linear has the same bits whatever is computed beside it.

use bytec_plan::kernel::UnaryFn;
use bytec_runtime::cpu::isa::Isa;
use bytec_runtime::cpu::linear::{Weights, linear};
use bytec_runtime::cpu::matrix::Matrix;
use bytec_runtime::cpu::threads::Threads;

use crate::programs::{Noise, bits, panels};

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
            let weights = Weights { n, k, panels: &packed, bias: Some(&bias), epilogue: &[] };
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
                    let mut scratch = vec![(); count];
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
    let weights = Weights { n, k, panels: &packed, bias: None, epilogue: &[] };
    let threads = Threads::new(Some(2)).unwrap();
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; 50 * n];
        linear(isa, &threads, &mut [(); 2], Matrix::new(&x, 50, k, 0, k), weights, &mut out);
        for (row, out) in x.chunks(k).zip(out.chunks(n)) {
            for (weight, out) in weight.chunks(k).zip(out) {
                assert_eq!(recipe(row, weight, 0.0).to_bits(), out.to_bits(), "{isa:?}");
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
        let weights = Weights { n, k, panels: &packed, bias: Some(&bias), epilogue: &epilogue };
        let mut expected: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; 40 * n];
            linear(isa, &threads, &mut [(); 3], Matrix::new(&x, 40, k, 0, k), weights, &mut out);
            let expected = expected.get_or_insert_with(|| bits(&out));
            assert!(bits(&out) == *expected, "{function:?} on {isa:?}");
            for row in 0..40 {
                let mut alone = vec![f32::NAN; n];
                let x = Matrix::new(&x[row * k..], 1, k, 0, k);
                linear(isa, &threads, &mut [(); 3], x, weights, &mut alone);
                assert!(bits(&alone) == expected[row * n..][..n], "{function:?} on {isa:?}");
            }
        }
    }
}

#[test]
fn nothing_comes_of_nothing() {
    let threads = Threads::new(Some(2)).unwrap();
    let weights = Weights { n: 3, k: 0, panels: &[], bias: Some(&[1.0, 2.0, 3.0]), epilogue: &[] };
    for isa in Isa::available() {
        let mut out = [f32::NAN; 6];
        linear(isa, &threads, &mut [(); 2], Matrix::new(&[], 2, 0, 0, 0), weights, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        linear(isa, &threads, &mut [(); 2], Matrix::new(&[], 0, 0, 0, 0), weights, &mut []);
    }
}
