//! One op on tensors.

use super::tensor::{count, sizes};
use super::{Data, EvalError, Rounding, Tensor, attention, binary, expression, unary};
use crate::attrs::{BinaryFn, PoolKind, Real, ReduceFn, UnaryFn};
use crate::dim::{Bindings, Dim};
use crate::infer::infer;
use crate::ops::Op;

/// The value of `op` on these operands. `bindings` give the symbols of a `reshape` or an `iota`; folding constants needs
/// none. Nothing is rounded.
///
/// # Errors
/// Operands that the op can't take, ids outside their table, symbols without a value, results too large to hold.
pub fn eval_node(op: &Op, operands: &[&Tensor], bindings: &Bindings) -> Result<Tensor, EvalError> {
    eval_rounded(op, operands, bindings, Rounding::Exact)
}

/// As [`eval_node`]; of an op that stands for several, the results of all but the last are rounded.
pub(super) fn eval_rounded(
    op: &Op,
    operands: &[&Tensor],
    bindings: &Bindings,
    rounding: Rounding,
) -> Result<Tensor, EvalError> {
    let op = bound(op, bindings)?;
    for operand in operands {
        operand.check()?;
    }
    let types: Vec<_> = operands.iter().map(|operand| operand.ty()).collect();
    let ty = infer(&op, &types.iter().collect::<Vec<_>>())?;
    let shape = sizes(&ty.shape, bindings)?;
    let total = count(&shape)?;
    if total == 0 || operands.iter().any(|operand| operand.is_empty()) {
        return Err(EvalError::Size(format!(
            "{}: expected at least one element, found none",
            op.kind()
        )));
    }
    let data = match &op {
        Op::Iota { start, .. } => Data::Int(iota(*start, total)?),
        Op::Places { skip } => Data::Int(places(ints(operands[0]), *skip)?),
        Op::Select { .. }
        | Op::Slice { .. }
        | Op::Concat { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. } => moved(&op, operands, &shape),
        _ => Data::Float(computed(&op, operands, &shape, total, rounding)?),
    };
    Ok(Tensor { shape, data })
}

/// The op with its dimensions as numbers.
fn bound(op: &Op, bindings: &Bindings) -> Result<Op, EvalError> {
    Ok(match op {
        Op::Iota { extent, start } => {
            Op::Iota { extent: Dim::fixed(extent.eval(bindings)?), start: *start }
        }
        Op::Reshape { shape } => {
            Op::Reshape { shape: sizes(shape, bindings)?.into_iter().map(Dim::from).collect() }
        }
        _ => op.clone(),
    })
}

fn iota(start: i64, total: usize) -> Result<Vec<i64>, EvalError> {
    let end = i64::try_from(total).ok().and_then(|total| start.checked_add(total));
    let end = end.ok_or_else(|| {
        EvalError::Size(format!("{total} integers from {start} on do not fit in 64 bits"))
    })?;
    Ok((start..end).collect())
}

fn places(ids: &[i64], skip: usize) -> Result<Vec<i64>, EvalError> {
    let skip = i64::try_from(skip)
        .map_err(|_| EvalError::Size(format!("an id of {skip} does not fit in 64 bits")))?;
    let mut last = skip;
    let mut place = |id: i64| {
        if id == skip {
            return Ok(skip);
        }
        last = last.checked_add(1).ok_or_else(|| {
            EvalError::Size(format!("places from {skip} on do not fit in 64 bits"))
        })?;
        Ok(last)
    };
    ids.iter().map(|&id| place(id)).collect()
}

/// The elements of an op that only moves them.
fn moved(op: &Op, xs: &[&Tensor], shape: &[usize]) -> Data {
    let mut strides = strides(&xs[0].shape);
    let mut first = 0;
    match op {
        Op::Concat { axis } => return concat(xs, *axis),
        Op::Select { axis, index } => first = index * strides.remove(*axis),
        Op::Slice { axis, start, .. } => first = start * strides[*axis],
        Op::Transpose { perm } => strides = perm.iter().map(|&axis| strides[axis]).collect(),
        _ => return xs[0].data.clone(),
    }
    let sources = offsets(first, shape, &strides);
    match &xs[0].data {
        Data::Float(x) => Data::Float(sources.into_iter().map(|source| x[source]).collect()),
        Data::Int(x) => Data::Int(sources.into_iter().map(|source| x[source]).collect()),
    }
}

fn concat(xs: &[&Tensor], axis: usize) -> Data {
    fn joined<T: Copy>(xs: &[&Tensor], axis: usize, elements: impl Fn(&Tensor) -> &[T]) -> Vec<T> {
        let blocks: usize = xs[0].shape[..axis].iter().product();
        let mut out = Vec::new();
        for block in 0..blocks {
            for x in xs {
                let length: usize = x.shape[axis..].iter().product();
                out.extend_from_slice(&elements(x)[block * length..][..length]);
            }
        }
        out
    }
    match &xs[0].data {
        Data::Float(_) => Data::Float(joined(xs, axis, floats)),
        Data::Int(_) => Data::Int(joined(xs, axis, ints)),
    }
}

/// The elements of an op that computes floats.
fn computed(
    op: &Op,
    xs: &[&Tensor],
    shape: &[usize],
    total: usize,
    rounding: Rounding,
) -> Result<Vec<f64>, EvalError> {
    let width = |x: &Tensor| x.shape.last().copied().unwrap_or(1);
    Ok(match op {
        Op::Gather {} => gather(xs[0], xs[1])?,
        Op::Linear { epilogue } => linear(xs, epilogue),
        Op::MatMul {} => matmul(xs[0], xs[1]),
        Op::Unary { f } => floats(xs[0]).iter().map(|&x| unary(*f, x)).collect(),
        Op::Binary { f } => broadcast(xs, shape, total, |x| binary(*f, x[0], x[1])),
        Op::Pointwise { expr } => broadcast(xs, shape, total, |x| expression(expr, x)),
        Op::Softmax {} => by_row(floats(xs[0]), width(xs[0]), softmax),
        Op::LayerNorm { eps } => layer_norm(floats(xs[0]), xs[1], xs[2], *eps),
        Op::AddLayerNorm { eps } => {
            let sum: Vec<_> =
                floats(xs[0]).iter().zip(floats(xs[1])).map(|(x, residual)| x + residual).collect();
            layer_norm(&sum, xs[2], xs[3], *eps)
        }
        Op::EmbedLayerNorm { eps } => {
            let mut sum = gather(xs[2], xs[3])?;
            for pair in xs[4..].chunks(2) {
                let rows = gather(pair[0], pair[1])?;
                sum.iter_mut().zip(rows).for_each(|(sum, x)| *sum += x);
            }
            layer_norm(&sum, xs[0], xs[1], *eps)
        }
        Op::L2Normalize { eps } => {
            by_row(floats(xs[0]), width(xs[0]), |row| l2_normalize(row, *eps))
        }
        Op::Reduce { f, axis } => reduce(*f, xs[0], *axis, total),
        Op::Pool { kind, normalize } => {
            let mut row = match kind {
                PoolKind::Mean => reduce(ReduceFn::Mean, xs[0], 0, total),
                PoolKind::Max => reduce(ReduceFn::Max, xs[0], 0, total),
                PoolKind::Cls => floats(xs[0])[..total].to_vec(),
                PoolKind::MeanSqrtLen => {
                    let root = (xs[0].shape[0] as f64).sqrt();
                    let sums = reduce(ReduceFn::Sum, xs[0], 0, total);
                    sums.into_iter().map(|sum| sum / root).collect()
                }
                PoolKind::WeightedMean => weighted_mean(floats(xs[0]), total),
                PoolKind::Last => {
                    let x = floats(xs[0]);
                    x[x.len() - total..].to_vec()
                }
            };
            if let Some(eps) = normalize {
                l2_normalize(&mut row, *eps);
            }
            row
        }
        Op::Attention { heads, head_size, group, scale, mask, bias, rotary } => {
            let heads = attention::Heads { count: *heads, size: *head_size };
            let (group, scale, mask, rotary) = (*group, scale.0, *mask, *rotary);
            let rule = attention::Attention { heads, group, scale, mask, bias, rotary, rounding };
            rule.run(&xs.iter().map(|x| floats(x)).collect::<Vec<_>>())
        }
        Op::Rotary { heads, head_size, rotary } => {
            attention::Heads { count: *heads, size: *head_size }.turned(floats(xs[0]), rotary)
        }
        Op::RmsNorm { eps } => {
            by_row(floats(xs[0]), width(xs[0]), |row| rms_norm(row, floats(xs[1]), *eps))
        }
        Op::Unfold { size, before } => unfold(xs[0], *size, *before, total),
        Op::Iota { .. }
        | Op::Places { .. }
        | Op::Select { .. }
        | Op::Slice { .. }
        | Op::Concat { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. } => Vec::new(),
    })
}

/// The elements of an operand that inference has found to be floats.
fn floats(x: &Tensor) -> &[f64] {
    x.as_floats().expect("inference has checked that the operand holds floats")
}

/// The elements of an operand that inference has found to be integers.
fn ints(x: &Tensor) -> &[i64] {
    x.as_ints().expect("inference has checked that the operand holds integers")
}

/// How far apart neighbours along each axis lie.
fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Where the elements of `shape` lie, in order, for these strides and this place of the first.
fn offsets(first: usize, shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut places = vec![first];
    for (&extent, &stride) in shape.iter().zip(strides) {
        places =
            places.iter().flat_map(|place| (0..extent).map(move |i| place + i * stride)).collect();
    }
    places
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (x, y)| sum + x * y)
}

fn gather(table: &Tensor, ids: &Tensor) -> Result<Vec<f64>, EvalError> {
    let (rows, width) = (table.shape[0], table.shape[1]);
    let mut out = Vec::with_capacity(ids.len() * width);
    for &id in ints(ids) {
        let row = usize::try_from(id).ok().filter(|&row| row < rows);
        let row = row.ok_or(EvalError::Id { id, rows })?;
        out.extend_from_slice(&floats(table)[row * width..][..width]);
    }
    Ok(out)
}

/// `[m, k]` times `[k, n]`, every sum in ascending order of k.
fn product(a: &[f64], b: &[f64], k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; a.len() / k * n];
    for (row, sums) in a.chunks(k).zip(out.chunks_mut(n)) {
        for (x, b) in row.iter().zip(b.chunks(n)) {
            sums.iter_mut().zip(b).for_each(|(sum, y)| *sum += x * y);
        }
    }
    out
}

fn matmul(a: &Tensor, b: &Tensor) -> Vec<f64> {
    let rank = a.shape.len();
    let (m, k, n) = (a.shape[rank - 2], a.shape[rank - 1], b.shape[rank - 1]);
    let blocks = floats(a).chunks(m * k).zip(floats(b).chunks(k * n));
    blocks.flat_map(|(a, b)| product(a, b, k, n)).collect()
}

fn linear(xs: &[&Tensor], epilogue: &[UnaryFn]) -> Vec<f64> {
    let (n, k) = (xs[1].shape[0], xs[1].shape[1]);
    let weight = floats(xs[1]);
    let turned: Vec<_> = (0..k).flat_map(|k_| (0..n).map(move |n_| weight[n_ * k + k_])).collect();
    let mut out = product(floats(xs[0]), &turned, k, n);
    for row in out.chunks_mut(n) {
        if let Some(bias) = xs.get(2) {
            row.iter_mut().zip(floats(bias)).for_each(|(sum, bias)| *sum += bias);
        }
        row.iter_mut().for_each(|x| *x = epilogue.iter().fold(*x, |x, &f| unary(f, x)));
    }
    out
}

/// `f` of the operands' elements at each place of the output.
fn broadcast(xs: &[&Tensor], shape: &[usize], total: usize, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let places: Vec<_> = xs
        .iter()
        .map(|x| {
            let mut own = vec![0; shape.len() - x.shape.len()];
            let repeated = x.shape.iter().zip(strides(&x.shape));
            own.extend(repeated.map(|(&extent, stride)| if extent == 1 { 0 } else { stride }));
            offsets(0, shape, &own)
        })
        .collect();
    let mut elements = vec![0.0; xs.len()];
    (0..total)
        .map(|place| {
            for ((element, x), places) in elements.iter_mut().zip(xs).zip(&places) {
                *element = floats(x)[places[place]];
            }
            f(&elements)
        })
        .collect()
}

fn by_row(x: &[f64], width: usize, f: impl Fn(&mut [f64])) -> Vec<f64> {
    let mut out = x.to_vec();
    out.chunks_mut(width).for_each(f);
    out
}

pub(super) fn softmax(row: &mut [f64]) {
    let largest = row.iter().copied().reduce(|a, b| binary(BinaryFn::Max, a, b)).unwrap_or(0.0);
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

fn layer_norm(x: &[f64], gamma: &Tensor, beta: &Tensor, eps: Real) -> Vec<f64> {
    let (gamma, beta) = (floats(gamma), floats(beta));
    by_row(x, gamma.len(), |row| {
        let count = row.len() as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        let scale = 1.0 / (variance + eps.0).sqrt();
        for (i, x) in row.iter_mut().enumerate() {
            *x = (*x - mean) * scale * gamma[i] + beta[i];
        }
    })
}

fn l2_normalize(row: &mut [f64], eps: Real) {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let divisor = binary(BinaryFn::Max, norm, eps.0);
    row.iter_mut().for_each(|x| *x /= divisor);
}

fn reduce(f: ReduceFn, x: &Tensor, axis: usize, total: usize) -> Vec<f64> {
    let extent = x.shape[axis];
    let inner: usize = x.shape[axis + 1..].iter().product();
    let elements = floats(x);
    (0..total)
        .map(|place| {
            let first = place / inner * extent * inner + place % inner;
            let along = (0..extent).map(|i| elements[first + i * inner]);
            match f {
                ReduceFn::Sum => along.sum(),
                ReduceFn::Mean => along.sum::<f64>() / extent as f64,
                ReduceFn::Max => {
                    along.reduce(|a, b| binary(BinaryFn::Max, a, b)).unwrap_or(f64::NEG_INFINITY)
                }
            }
        })
        .collect()
}

/// `sum_i i x_i / sum_i i`, the rows counted from 1.
fn weighted_mean(x: &[f64], width: usize) -> Vec<f64> {
    let mut out = vec![0.0; width];
    let mut weights = 0.0;
    for (i, row) in x.chunks(width).enumerate() {
        let weight = (i + 1) as f64;
        weights += weight;
        out.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
    }
    out.iter_mut().for_each(|sum| *sum /= weights);
    out
}

/// `x / sqrt(mean(x^2) + eps) * gamma`
fn rms_norm(row: &mut [f64], gamma: &[f64], eps: Real) {
    let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    let scale = 1.0 / (mean + eps.0).sqrt();
    row.iter_mut().zip(gamma).for_each(|(x, gamma)| *x = *x * scale * gamma);
}

/// Rows side by side, zeros past the ends.
fn unfold(x: &Tensor, size: usize, before: usize, total: usize) -> Vec<f64> {
    let (rows, width) = (x.shape[0], x.shape[1]);
    let mut out = Vec::with_capacity(total);
    for row in 0..rows {
        for tap in 0..size {
            match (row + tap).checked_sub(before).filter(|&source| source < rows) {
                Some(source) => out.extend_from_slice(&floats(x)[source * width..][..width]),
                None => out.resize(out.len() + width, 0.0),
            }
        }
    }
    out
}
