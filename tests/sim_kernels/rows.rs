//! Kernels that hold a row: embeddings, LayerNorm, L2 norm, softmax; and pooling.

use bytec_compiler::render::Matrix;
use bytec_plan::kernel::{IdSource, Kernel, PoolKind};

use super::numbers::random;
use super::{Case, DTYPES, LENGTHS, Operand, dense, packed};

/// Smaller than a vector, cut by a warp, several vectors a lane, and more than a warp holds.
const WIDTHS: [usize; 5] = [1, 7, 48, 384, 1100];

const EPS: f64 = 1e-5;

fn layer_norm(row: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + f64::from(EPS as f32)).sqrt();
    row.iter().zip(gamma).zip(beta).map(|((x, g), b)| (x - mean) * scale * g + b).collect()
}

#[test]
fn layer_norm_agrees_alone_and_beside_nan() {
    for width in WIDTHS {
        for residual in [false, true] {
            let kernel = Kernel::LayerNorm { width: width as u32, eps: EPS as f32, residual };
            // A view into a wider buffer, aligned to eight bytes or less.
            let view = Matrix { column: 4, stride: 3 * width as u64 + 4 };
            let mut operands = vec![Operand::Rows(random(packed() * width, 1), view)];
            if residual {
                operands.push(dense(random(packed() * width, 2), width));
            }
            operands.extend([3, 4].map(|seed| Operand::Weight(random(width, seed))));
            let case = Case { kernel, width, operands, pooled: false };
            for dtype in DTYPES {
                case.check(dtype, |case| {
                    let (gamma, beta) = (1 + usize::from(residual), 2 + usize::from(residual));
                    let mut x = case.numbers(0).to_vec();
                    if residual {
                        x.iter_mut().zip(case.numbers(1)).for_each(|(x, r)| *x += r);
                    }
                    let rows = x.chunks_exact(width);
                    rows.flat_map(|x| layer_norm(x, case.numbers(gamma), case.numbers(beta)))
                        .collect()
                });
            }
        }
    }
}

#[test]
fn l2_normalize_agrees_alone_and_beside_nan() {
    for width in WIDTHS {
        let kernel = Kernel::L2Normalize { width: width as u32, eps: 1e-12 };
        let mut x = random(packed() * width, 5);
        x[..width].fill(0.0);
        let case = Case { kernel, width, operands: vec![dense(x, width)], pooled: false };
        for dtype in DTYPES {
            case.check(dtype, |case| {
                case.numbers(0).chunks_exact(width).flat_map(l2_normalize).collect()
            });
        }
    }
}

fn l2_normalize(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
    row.iter().map(|x| x / norm).collect()
}

#[test]
fn softmax_agrees_alone_and_beside_nan() {
    for width in WIDTHS {
        let kernel = Kernel::Softmax { width: width as u32 };
        let mut x = random(packed() * width, 6);
        // Masked columns, and a row that is dominated by one number.
        x[width - 1] = if width > 1 { f64::NEG_INFINITY } else { 0.0 };
        x[width] = 1000.0;
        let case = Case { kernel, width, operands: vec![dense(x, width)], pooled: false };
        for dtype in DTYPES {
            case.check(dtype, |case| {
                let softmax = |row: &[f64]| {
                    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let powers: Vec<_> = row.iter().map(|x| (x - largest).exp()).collect();
                    let total: f64 = powers.iter().sum();
                    powers.into_iter().map(move |p| p / total)
                };
                case.numbers(0).chunks_exact(width).flat_map(softmax).collect()
            });
        }
    }
}

#[test]
fn embed_agrees_alone_and_beside_nan() {
    for width in WIDTHS {
        for normalize in [false, true] {
            let sources = vec![IdSource::Input, IdSource::Position { start: 2 }];
            let eps = normalize.then_some(EPS as f32);
            let kernel = Kernel::Embed { sources, width: width as u32, eps };
            let (words, places) = (11, 2 + LENGTHS.iter().max().unwrap());
            let ids: Vec<i32> = (0..packed()).map(|row| (row * 7 % words) as i32).collect();
            let mut operands = vec![
                Operand::Weight(random(words * width, 7)),
                Operand::Ids(ids.clone()),
                Operand::Weight(random(places * width, 8)),
            ];
            if normalize {
                operands.extend([9, 10].map(|seed| Operand::Weight(random(width, seed))));
            }
            let case = Case { kernel, width, operands, pooled: false };
            let positions: Vec<_> = LENGTHS.iter().flat_map(|length| 0..*length).collect();
            for dtype in DTYPES {
                case.check(dtype, |case| {
                    let (words, places) = (case.numbers(0), case.numbers(2));
                    let row = |(id, position): (&i32, &usize)| {
                        let word = &words[*id as usize * width..][..width];
                        let place = &places[(position + 2) * width..][..width];
                        let sum: Vec<_> = word.iter().zip(place).map(|(a, b)| a + b).collect();
                        if normalize {
                            layer_norm(&sum, case.numbers(3), case.numbers(4))
                        } else {
                            sum
                        }
                    };
                    ids.iter().zip(&positions).flat_map(row).collect()
                });
            }
        }
    }
}

#[test]
fn pool_agrees_alone_and_beside_nan() {
    let kinds = [
        PoolKind::Mean,
        PoolKind::Sum,
        PoolKind::Cls,
        PoolKind::Max,
        PoolKind::MeanSqrtLen,
        PoolKind::WeightedMean,
        PoolKind::Last,
    ];
    for (width, pooling, normalize) in
        WIDTHS.iter().flat_map(|w| kinds.map(|k| [(*w, k, false), (*w, k, true)])).flatten()
    {
        let eps = normalize.then_some(1e-12);
        let kernel = Kernel::Pool { pooling, width: width as u32, normalize: eps };
        let x = dense(random(packed() * width, 11), width);
        let case = Case { kernel, width, operands: vec![x], pooled: true };
        for dtype in DTYPES {
            case.check(dtype, |case| {
                let mut first = 0;
                let mut out = Vec::new();
                for length in LENGTHS {
                    let rows = &case.numbers(0)[first * width..(first + length) * width];
                    first += length;
                    let row: Vec<_> =
                        (0..width).map(|column| pool(pooling, rows, width, column)).collect();
                    out.extend(if normalize { l2_normalize(&row) } else { row });
                }
                out
            });
        }
    }
}

fn pool(pooling: PoolKind, rows: &[f64], width: usize, column: usize) -> f64 {
    let count = rows.len() / width;
    let mut numbers = rows.iter().skip(column).step_by(width).copied();
    match pooling {
        PoolKind::Mean => numbers.clone().sum::<f64>() / count as f64,
        PoolKind::Sum => numbers.sum(),
        PoolKind::Cls => numbers.next().unwrap_or(f64::NAN),
        PoolKind::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
        PoolKind::MeanSqrtLen => numbers.sum::<f64>() / (count as f64).sqrt(),
        PoolKind::WeightedMean => {
            let sum: f64 = numbers.zip(1..=count).map(|(x, weight)| weight as f64 * x).sum();
            sum / (1..=count).sum::<usize>() as f64
        }
        PoolKind::Last => numbers.last().unwrap_or(f64::NAN),
    }
}

#[test]
fn rms_norm_agrees_alone_and_beside_nan() {
    for width in WIDTHS {
        let kernel = Kernel::RmsNorm { width: width as u32, eps: EPS as f32 };
        let view = Matrix { column: 4, stride: 3 * width as u64 + 4 };
        let x = Operand::Rows(random(packed() * width, 12), view);
        let operands = vec![x, Operand::Weight(random(width, 13))];
        let case = Case { kernel, width, operands, pooled: false };
        for dtype in DTYPES {
            case.check(dtype, |case| {
                let row = |row: &[f64]| {
                    let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
                    let root = (mean + f64::from(EPS as f32)).sqrt();
                    let pairs = row.iter().zip(case.numbers(1));
                    pairs.map(|(x, gamma)| x / root * gamma).collect::<Vec<_>>()
                };
                case.numbers(0).chunks_exact(width).flat_map(row).collect()
            });
        }
    }
}
