//! What a kernel has to give, in f64, each number with a bound of its own.
//!
//! The bounds are forward error bounds: what rounding to f32 after each operation of the kernel may add up to for the
//! very numbers that go into this element, and then half a unit of the element type.

use bytec_compiler::render::Float;
use bytec_ir::UnaryFn;
use bytec_ir::eval::unary;
use bytec_plan::attention::Bias;
use bytec_plan::kernel::{Kernel, PoolKind};

use super::cases::{Case, Operand};
use super::moves;

/// Half a unit in the last place of f32, of 1.
pub(super) const U: f64 = 1.0 / (1u64 << 24) as f64;

/// A number, and how far a kernel may be from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    pub(super) value: f64,
    pub(super) error: f64,
}

impl Near {
    /// Whether a kernel may give a number; of NaN and infinities only their like.
    pub(crate) fn allows(&self, found: f64) -> bool {
        if self.value.is_nan() {
            return found.is_nan();
        }
        found == self.value || (found - self.value).abs() <= self.error
    }

    /// The number once it is stored.
    fn stored(self, dtype: Float) -> Self {
        // The unit of normal numbers, and half the least subnormal one.
        let (unit, least) = match dtype {
            Float::F32 => (U, f64::powi(2.0, -150)),
            Float::F16 => (f64::powi(2.0, -11), f64::powi(2.0, -25)),
            Float::Bf16 => (f64::powi(2.0, -8), f64::powi(2.0, -134)),
        };
        let error = self.error + (self.value.abs() + self.error) * unit + least;
        Self { value: self.value, error }
    }
}

/// Each number that a case's kernel writes.
pub(crate) fn oracle(case: &Case) -> Vec<Near> {
    let numbers = match &case.kernel {
        Kernel::Linear { k, .. } => linear(case, *k as usize),
        Kernel::LinearLayerNorm { k, eps, up: None, .. } => {
            linear_layer_norm(case, products(case, *k as usize), *eps)
        }
        Kernel::LinearLayerNorm { k, eps, up: Some(up), .. } => {
            linear_layer_norm(case, products_of_gelu(case, up.k as usize, *k as usize), *eps)
        }
        Kernel::Attention { head_size, scale, .. } => {
            attention(case, *head_size as usize, f64::from(*scale))
        }
        Kernel::LayerNorm { eps, .. } => {
            let (x, residual) = (case.operands[0].data(), case.operands[1].data());
            let sums = x.iter().zip(residual).map(|(x, r)| (x + r, x.abs() + r.abs()));
            let rows: Vec<_> = sums.collect();
            let norm =
                |row| layer_norm(row, case.operands[2].data(), case.operands[3].data(), *eps);
            rows.chunks_exact(case.width).flat_map(norm).collect()
        }
        Kernel::Embed { eps, .. } => embed(case, eps.unwrap_or(0.0)),
        Kernel::Softmax { width } => {
            let rows = case.operands[0].data().chunks_exact(*width as usize);
            rows.flat_map(|row| softmax(case.dtype, row)).collect()
        }
        Kernel::Pool { pooling, normalize, .. } => pool(case, *pooling, *normalize),
        Kernel::Pointwise { .. } => pointwise(case),
        Kernel::RmsNorm { eps, .. } => {
            let rows = case.operands[0].data().chunks_exact(case.width);
            rows.flat_map(|row| rms_norm(row, case.operands[1].data(), *eps)).collect()
        }
        Kernel::L2Normalize { eps, .. } => {
            let exact = |x: &f64| Near { value: *x, error: 0.0 };
            let mut numbers: Vec<_> = case.operands[0].data().iter().map(exact).collect();
            numbers.chunks_exact_mut(case.width).for_each(|row| divide_by_norm(row, *eps));
            numbers
        }
        Kernel::Rotary { head_size, rotary, .. } => {
            moves::turned(case, *head_size as usize, *rotary)
        }
        Kernel::Permute { from, start, shape, strides, .. } => {
            moves::permuted(case, *from, (*start, shape, strides))
        }
        Kernel::Concat { groups, parts } => moves::concatenated(case, *groups, parts),
        Kernel::Join { .. } => moves::joined(case),
        Kernel::Unfold { width, size, before } => {
            moves::unfolded(case, *width as usize, (*size as usize, *before as usize))
        }
    };
    numbers.into_iter().map(|near| near.stored(case.dtype)).collect()
}

/// GELU of a number that is off by some error; its own error is some units of its parts.
pub(crate) fn gelu(x: Near) -> Near {
    let f = |x| unary(UnaryFn::GeluErf, x);
    let step = x.error.max(1e-6 * (1.0 + x.value.abs()));
    let slope = (f(x.value + step) - f(x.value - step)).abs() / (2.0 * step);
    // x/2 times a sum that may cancel: of 1, and of a polynomial within 4 units.
    Near { value: f(x.value), error: 1.1 * slope * x.error + 4.0 * U * x.value.abs() }
}

/// The products and the bias.
fn products(case: &Case, k: usize) -> Vec<Near> {
    products_with(case, [0, 1, 2], k)
}

fn products_with(case: &Case, operands: [usize; 3], k: usize) -> Vec<Near> {
    let [x, weight, bias] = operands.map(|nth| case.operands[nth].data());
    let mut out = Vec::new();
    for row in x.chunks_exact(k) {
        for (weights, bias) in weight.chunks_exact(k).zip(bias) {
            let products = row.iter().zip(weights).map(|(x, w)| x * w);
            let (sum, sizes) = products.fold((*bias, bias.abs()), |(s, a), p| (s + p, a + p.abs()));
            let terms = row.iter().zip(weights).filter(|(x, w)| **x * **w != 0.0).count() + 1;
            out.push(Near { value: sum, error: terms as f64 * U * sizes });
        }
    }
    out
}

/// The bias, and GELU.
fn linear(case: &Case, k: usize) -> Vec<Near> {
    products(case, k).into_iter().map(gelu).collect()
}

/// The products of a linear that reads what GELU gave of another one, whose operands come last.
fn products_of_gelu(case: &Case, k: usize, hidden: usize) -> Vec<Near> {
    let between = products_with(case, [6, 7, 8], k).into_iter().map(gelu);
    let between: Vec<_> = between.map(|near| near.stored(case.dtype)).collect();
    let [weight, bias] = [1, 2].map(|nth| case.operands[nth].data());
    let mut out = Vec::new();
    for row in between.chunks_exact(hidden) {
        for (weights, bias) in weight.chunks_exact(hidden).zip(bias) {
            let (mut value, mut sizes, mut off) = (*bias, bias.abs(), 0.0);
            for (x, w) in row.iter().zip(weights) {
                value += x.value * w;
                sizes += (x.value * w).abs();
                off += x.error * w.abs();
            }
            out.push(Near { value, error: off + (hidden + 1) as f64 * U * sizes });
        }
    }
    out
}

/// The bias, the residual, and the norm.
fn linear_layer_norm(case: &Case, products: Vec<Near>, eps: f32) -> Vec<Near> {
    let [residual, gamma, beta] = [3, 4, 5].map(|nth| case.operands[nth].data());
    let sums = products.into_iter().zip(residual).map(|(near, residual)| {
        let value = near.value + residual;
        // The norm takes two units of a number's size as its error.
        (value, near.error / (2.0 * U) + value.abs())
    });
    let rows: Vec<_> = sums.collect();
    rows.chunks_exact(case.width).flat_map(|row| layer_norm(row, gamma, beta, eps)).collect()
}

fn attention(case: &Case, size: usize, scale: f64) -> Vec<Near> {
    let [q, k, v] = [0, 1, 2].map(|nth| case.operands[nth].data());
    let (width, mut first_key) = (case.width, 0);
    // Weights are rounded to the element type before the second product.
    let unit = if case.dtype == Float::F32 { 0.0 } else { f64::powi(2.0, -11) };
    let least = if case.dtype == Float::F32 { 0.0 } else { f64::powi(2.0, -25) };
    let mut out = Vec::new();
    for (sample, keys) in case.keys.iter().enumerate() {
        let rows = case.rows(sample);
        let queries = q[rows.start * width..rows.end * width].chunks_exact(width);
        for (query, q) in queries.enumerate() {
            for head in (0..width).step_by(size) {
                let own = |data: &'_ [f64], key: usize| {
                    let first = (first_key + key) * width + head;
                    data[first..first + size].to_vec()
                };
                let mut scores = Vec::new();
                for key in 0..*keys {
                    let (q, k) = (&q[head..head + size], own(k, key));
                    let distance = query as i32 - key as i32;
                    let [to_keys, to_queries] = by_distance(case, distance, head..head + size);
                    let pairs = q.iter().zip(&k).chain(q.iter().zip(to_keys));
                    let pairs = pairs.chain(k.iter().zip(to_queries));
                    let products: Vec<f64> = pairs.map(|(a, b)| a * b).collect();
                    let sizes: f64 = products.iter().map(|p| p.abs()).sum();
                    let score = scale * products.iter().sum::<f64>();
                    let error = scale.abs() * (size as f64 + 6.0) * U * sizes;
                    scores.push((score, if score.is_finite() { error } else { 0.0 }));
                }
                let largest = scores.iter().fold(f64::NEG_INFINITY, |m, (s, _)| m.max(*s));
                let weights: Vec<f64> = scores.iter().map(|(s, _)| (s - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                // Errors of scores are errors of weights' ratios; of a mean, the weights' own mean of them.
                let ratios: Vec<f64> = scores
                    .iter()
                    .map(
                        |(s, e)| {
                            if s.is_finite() { e + 4.0 * U * (s - largest).abs() } else { 0.0 }
                        },
                    )
                    .collect();
                let mean = weights.iter().zip(&ratios).map(|(w, r)| w * r).sum::<f64>() / total;
                let steps = (*keys as f64 + 16.0) * U;
                for column in 0..size {
                    let (mut value, mut error) = (0.0, 0.0);
                    for ((key, weight), ratio) in weights.iter().enumerate().zip(&ratios) {
                        let v = own(v, key)[column];
                        value += weight / total * v;
                        error += weight / total * v.abs() * (ratio + mean + steps + unit);
                        error += if *weight > 0.0 { v.abs() * least } else { 0.0 };
                    }
                    if *keys == 0 {
                        value = f64::NAN;
                    }
                    out.push(Near { value, error });
                }
            }
        }
        first_key += keys;
    }
    out
}

/// A head's columns of what rows by distance give queries, and keys; of other attention nothing.
fn by_distance(case: &Case, distance: i32, columns: std::ops::Range<usize>) -> [&[f64]; 2] {
    let Kernel::Attention { bias: Bias::Disentangled { reach, .. }, .. } = case.kernel else {
        return [&[]; 2];
    };
    let Operand::Index(index) = &case.operands[3] else { return [&[]; 2] };
    let reach = reach as i32;
    let row = index[(distance.clamp(-reach, reach) + reach) as usize] as usize * case.width;
    [4, 5].map(|nth| &case.operands[nth].data()[row + columns.start..row + columns.end])
}

/// Of a row of numbers, each with the sum of the sizes of its parts.
fn layer_norm(row: &[(f64, f64)], gamma: &[f64], beta: &[f64], eps: f32) -> Vec<Near> {
    let count = row.len() as f64;
    let mean = row.iter().map(|(x, _)| x).sum::<f64>() / count;
    let sizes = row.iter().map(|(_, size)| size).sum::<f64>() / count;
    let variance = row.iter().map(|(x, _)| (x - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + f64::from(eps)).sqrt().recip();
    // A thread adds at most 16 numbers, and a tree of ten levels the threads' sums.
    let mean_error = 28.0 * U * sizes;
    let off = |size: f64| mean_error + 2.0 * U * size;
    let mean_off = off(sizes);
    let scale_error = (mean_off * scale).powi(2)
        + 2.0 * mean_off * scale * (variance.sqrt() * scale).min(1.0)
        + 32.0 * U;
    let columns = row.iter().zip(gamma.iter().zip(beta));
    let near = columns.map(|((x, size), (g, b))| {
        let normal = (x - mean) * scale;
        let value = normal * g + b;
        let error = g.abs() * (scale * off(*size) + normal.abs() * scale_error)
            + 2.0 * U * (normal * g).abs()
            + U * value.abs();
        Near { value, error }
    });
    near.collect()
}

fn rms_norm(row: &[f64], gamma: &[f64], eps: f32) -> Vec<Near> {
    let squares = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    let scale = (squares + f64::from(eps)).sqrt().recip();
    let near = row.iter().zip(gamma).map(|(x, g)| {
        let value = x * scale * g;
        // The sum's error is halved by the root; then come the root, the quotient and two products.
        Near { value, error: 24.0 * U * value.abs() }
    });
    near.collect()
}

fn embed(case: &Case, eps: f32) -> Vec<Near> {
    let width = case.width;
    let (words, places) = (case.operands[0].data(), case.operands[2].data());
    let Operand::Ids(ids) = &case.operands[1] else { return Vec::new() };
    let positions = case.lengths.iter().flat_map(|length| 0..*length);
    let rows = ids.iter().zip(positions).map(|(id, position)| {
        let word = &words[*id as usize * width..][..width];
        let place = &places[(position + 2) * width..][..width];
        let sums = word.iter().zip(place).map(|(a, b)| (a + b, a.abs() + b.abs()));
        sums.collect::<Vec<_>>()
    });
    rows.flat_map(|row| layer_norm(&row, case.operands[3].data(), case.operands[4].data(), eps))
        .collect()
}

fn softmax(dtype: Float, row: &[f64]) -> Vec<Near> {
    let largest = row.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
    let weights: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let ratio = |x: f64| if x.is_finite() { 2.0 * U * (x - largest).abs() } else { 0.0 };
    let mean = row.iter().zip(&weights).map(|(x, w)| ratio(*x) * w).sum::<f64>() / total;
    let nan = row.iter().any(|x| x.is_nan());
    let least = if dtype == Float::F32 { f64::powi(2.0, -149) } else { 0.0 };
    let near = row.iter().zip(&weights).map(|(x, weight)| {
        let value = if nan { f64::NAN } else { weight / total };
        Near { value, error: value * (ratio(*x) + mean + 40.0 * U) + least }
    });
    near.collect()
}

fn pool(case: &Case, kind: PoolKind, normalize: Option<f32>) -> Vec<Near> {
    let (x, width) = (case.operands[0].data(), case.width);
    let mut out = Vec::new();
    for sample in 0..case.lengths.len() {
        let rows = case.rows(sample);
        let count = rows.len() as f64;
        let mut row: Vec<Near> = (0..width)
            .map(|column| {
                let own = rows.clone().map(|row| x[row * width + column]);
                match kind {
                    PoolKind::Max => {
                        let larger = |m: f64, x: f64| if x.is_nan() || x > m { x } else { m };
                        Near { value: own.fold(f64::NEG_INFINITY, larger), error: 0.0 }
                    }
                    _ => {
                        let (sum, sizes) =
                            own.fold((0.0, 0.0), |(s, a): (f64, f64), x| (s + x, a + x.abs()));
                        Near { value: sum / count, error: (count + 2.0) * U * sizes / count }
                    }
                }
            })
            .collect();
        if let Some(eps) = normalize {
            divide_by_norm(&mut row, eps);
        }
        out.extend(row);
    }
    out
}

/// A row divided by its L2 norm, or by `eps` if that is larger.
fn divide_by_norm(row: &mut [Near], eps: f32) {
    let eps = f64::from(eps);
    let norm = row.iter().map(|near| near.value.powi(2)).sum::<f64>().sqrt();
    let error = row.iter().map(|near| near.error.powi(2)).sum::<f64>().sqrt();
    let divisor = if norm < eps { eps } else { norm };
    let relative = if norm < eps { 2.0 * U } else { error / norm + 24.0 * U };
    for near in row {
        near.value /= divisor;
        near.error = near.error / divisor + near.value.abs() * relative;
    }
}

/// Of the one chain that is a case: sigmoid((x + row) * scalar - sample).
fn pointwise(case: &Case) -> Vec<Near> {
    let [x, row, scalar, samples] = [0, 1, 2, 3].map(|nth| case.operands[nth].data());
    let width = case.width;
    let mut out = Vec::new();
    for sample in 0..case.lengths.len() {
        for at in case.rows(sample) {
            for column in 0..width {
                let sum = x[at * width + column] + row[column];
                let product = sum * scalar[0];
                let own = samples[sample * width + column];
                let value = product - own;
                let error =
                    if value.is_finite() { U * (2.0 * product.abs() + value.abs()) } else { 0.0 };
                // The derivative is sigmoid(x) * sigmoid(-x).
                let (y, other) = (unary(UnaryFn::Sigmoid, value), unary(UnaryFn::Sigmoid, -value));
                let exponent = if value.is_finite() { 2.0 * U * value.abs() } else { 0.0 };
                let error = y * other * (1.1 * error + exponent) + 8.0 * U * y;
                out.push(Near { value: y, error });
            }
        }
    }
    out
}
