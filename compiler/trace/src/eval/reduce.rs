//! Ops that look along an axis.

use bytec_ir::eval::{Data, Tensor};

use super::{Outcome, floats, ints, offsets, strides};
use crate::op::ReduceOp;
use crate::program::Kind;

/// The place of the first element of every line along an axis, how many elements a line has, and how far apart they are.
fn lines(shape: &[usize], axis: usize) -> Outcome<(Vec<usize>, usize, usize)> {
    let extent = *shape.get(axis).ok_or_else(|| format!("{axis} is not an axis of {shape:?}"))?;
    let mut others = shape.to_vec();
    others[axis] = 1;
    let own = strides(shape);
    Ok((offsets(0, &others, &own), extent, own[axis]))
}

/// Every line along `axis` replaced by `f` of it, which may have another length.
fn along<T: Copy>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    f: impl Fn(&[T]) -> Outcome<Vec<T>>,
) -> Outcome<(Vec<T>, Vec<usize>)> {
    let (firsts, extent, step) = lines(shape, axis)?;
    let made = firsts.iter().map(|&first| {
        let line: Vec<T> = (0..extent).map(|i| x[first + i * step]).collect();
        f(&line)
    });
    let made = made.collect::<Outcome<Vec<_>>>()?;
    let mut out_shape = shape.to_vec();
    out_shape[axis] = made.first().map_or(0, Vec::len);
    let inner: usize = shape[axis + 1..].iter().product();
    let mut out = Vec::new();
    for block in made.chunks(inner.max(1)) {
        for i in 0..out_shape[axis] {
            out.extend(block.iter().map(|line| line[i]));
        }
    }
    Ok((out, out_shape))
}

fn along_floats(
    x: &Tensor,
    axis: usize,
    f: impl Fn(&[f64]) -> Outcome<Vec<f64>>,
) -> Outcome<Tensor> {
    let (data, shape) = along(&floats(x), &x.shape, axis, f)?;
    Ok(Tensor { shape, data: Data::Float(data) })
}

fn along_ints(x: &Tensor, axis: usize, f: impl Fn(&[i64]) -> Vec<i64>) -> Outcome<Tensor> {
    let (data, shape) = along(ints(x)?, &x.shape, axis, |line| Ok(f(line)))?;
    Ok(Tensor { shape, data: Data::Int(data) })
}

pub(super) fn reduce(
    f: ReduceOp,
    axes: &[usize],
    keep: bool,
    x: &Tensor,
    kind: Kind,
) -> Outcome<Tensor> {
    let mut out = x.clone();
    if f == ReduceOp::ArgMax && axes.len() != 1 {
        return Err(format!("expected one axis, found {axes:?}"));
    }
    for &axis in axes {
        out = match (f, kind) {
            (ReduceOp::ArgMax, _) => {
                let places = floats(&out);
                let (found, shape) =
                    along(&places, &out.shape, axis, |line| Ok(vec![argmax(line)]))?;
                let data = Data::Int(found.into_iter().map(|place| place as i64).collect());
                Tensor { shape, data }
            }
            (_, Kind::Float) => along_floats(&out, axis, |line| Ok(vec![of_floats(f, line)?]))?,
            (_, _) => {
                if !matches!(f, ReduceOp::Any | ReduceOp::All) {
                    ints(&out)?;
                }
                let whole = Tensor { shape: out.shape.clone(), data: truths(&out, f) };
                along_ints(&whole, axis, |line| vec![of_ints(f, line)])?
            }
        };
    }
    if !keep {
        let kept = |(axis, _): &(usize, &usize)| !axes.contains(axis);
        let shape = out.shape.iter().enumerate().filter(kept).map(|(_, &extent)| extent);
        out.shape = shape.collect();
    }
    Ok(out)
}

/// The integers that a reduction to integers or truth values works on.
fn truths(x: &Tensor, f: ReduceOp) -> Data {
    match (&x.data, f) {
        (Data::Float(x), _) => Data::Int(x.iter().map(|&x| i64::from(x != 0.0)).collect()),
        (Data::Int(x), ReduceOp::Any | ReduceOp::All) => {
            Data::Int(x.iter().map(|&x| i64::from(x != 0)).collect())
        }
        (Data::Int(x), _) => Data::Int(x.clone()),
    }
}

/// The place of the first largest element, or of the first NaN.
fn argmax(line: &[f64]) -> f64 {
    let mut best = 0;
    for (i, x) in line.iter().enumerate() {
        if !line[best].is_nan() && (x.is_nan() || *x > line[best]) {
            best = i;
        }
    }
    best as f64
}

fn of_floats(f: ReduceOp, line: &[f64]) -> Outcome<f64> {
    let ordered = |pick: fn(f64, f64) -> f64| {
        let nan = line.iter().any(|x| x.is_nan());
        let found = line.iter().copied().reduce(pick).ok_or("the axis is empty")?;
        Ok::<f64, String>(if nan { f64::NAN } else { found })
    };
    match f {
        ReduceOp::Sum => Ok(line.iter().sum()),
        ReduceOp::Mean => Ok(line.iter().sum::<f64>() / line.len() as f64),
        ReduceOp::Max => ordered(f64::max),
        ReduceOp::Min => ordered(f64::min),
        ReduceOp::ArgMax | ReduceOp::Any | ReduceOp::All => {
            Err(format!("{f:?} does not give floats"))
        }
    }
}

fn of_ints(f: ReduceOp, line: &[i64]) -> i64 {
    match f {
        ReduceOp::Sum | ReduceOp::Mean => line.iter().fold(0, |sum, x| sum.wrapping_add(*x)),
        ReduceOp::Max | ReduceOp::Any => line.iter().copied().max().unwrap_or(0),
        ReduceOp::Min | ReduceOp::All | ReduceOp::ArgMax => line.iter().copied().min().unwrap_or(1),
    }
}

pub(super) fn cumsum(x: &Tensor, axis: usize) -> Outcome<Tensor> {
    match x.data {
        Data::Int(_) => along_ints(x, axis, |line| {
            let running = line.iter().scan(0i64, |sum, &x| {
                *sum = sum.wrapping_add(x);
                Some(*sum)
            });
            running.collect()
        }),
        Data::Float(_) => along_floats(x, axis, |line| {
            let running = line.iter().scan(0.0, |sum, &x| {
                *sum += x;
                Some(*sum)
            });
            Ok(running.collect())
        }),
    }
}

pub(super) fn places(x: &Tensor, skip: i64) -> Outcome<Tensor> {
    let last = x.shape.len().checked_sub(1).ok_or("it has no axis")?;
    along_ints(x, last, |line| {
        let places = line.iter().scan(skip, |place, &x| {
            *place = place.wrapping_add(i64::from(x != skip));
            Some(if x == skip { skip } else { *place })
        });
        places.collect()
    })
}

pub(super) fn diff(x: &Tensor, axis: usize) -> Outcome<Tensor> {
    match x.data {
        Data::Int(_) => along_ints(x, axis, |line| {
            line.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()
        }),
        Data::Float(_) => along_floats(x, axis, |line| {
            Ok(line.windows(2).map(|pair| pair[1] - pair[0]).collect())
        }),
    }
}

/// `exp(x_i - max) / sum`; a line of minus infinities gives NaN, as in PyTorch.
pub(super) fn softmax(x: &Tensor, axis: usize) -> Outcome<Tensor> {
    along_floats(x, axis, |line| Ok(softmaxed(line)))
}

pub(super) fn softmaxed(line: &[f64]) -> Vec<f64> {
    let largest = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut out: Vec<_> = line.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|x| *x /= sum);
    out
}

pub(super) fn layer_norm(xs: &[&Tensor], axes: usize, eps: f64) -> Outcome<Tensor> {
    let x = xs[0];
    let first = x.shape.len().checked_sub(axes).ok_or("it has fewer axes than it normalises")?;
    let width: usize = x.shape[first..].iter().product();
    let scaled: Vec<_> = xs[1..].iter().map(|vector| floats(vector)).collect();
    if scaled.iter().any(|vector| vector.len() != width) || width == 0 {
        return Err(format!("expected {width} factors for {:?}", x.shape));
    }
    let mut out = floats(x);
    for row in out.chunks_mut(width) {
        let count = width as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        let scale = 1.0 / (variance + eps).sqrt();
        for (i, x) in row.iter_mut().enumerate() {
            let gamma = scaled.first().map_or(1.0, |gamma| gamma[i]);
            let beta = scaled.get(1).map_or(0.0, |beta| beta[i]);
            *x = (*x - mean) * scale * gamma + beta;
        }
    }
    Ok(Tensor { shape: x.shape.clone(), data: Data::Float(out) })
}

pub(super) fn rms_norm(x: &Tensor, gamma: &Tensor, eps: f64) -> Outcome<Tensor> {
    let gamma = floats(gamma);
    if gamma.is_empty() || x.shape.last() != Some(&gamma.len()) {
        return Err(format!("expected a factor for each column of {:?}", x.shape));
    }
    let mut out = floats(x);
    for row in out.chunks_mut(gamma.len()) {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + eps).sqrt();
        row.iter_mut().zip(&gamma).for_each(|(x, gamma)| *x = *x * scale * gamma);
    }
    Ok(Tensor { shape: x.shape.clone(), data: Data::Float(out) })
}
