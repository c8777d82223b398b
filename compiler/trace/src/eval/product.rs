//! Matrix products and what is made of them.

use bytec_ir::eval::{Data, Tensor};

use super::elementwise::{broadcast, expanded};
use super::reduce::softmaxed;
use super::{Outcome, count, floats, strides};

/// Two operands `[.., m, k]` and `[.., k, n]` with their leading axes made equal.
fn aligned(a: &Tensor, b: &Tensor) -> Outcome<(Tensor, Tensor, Vec<usize>)> {
    let (ra, rb) = (a.shape.len(), b.shape.len());
    if ra < 2 || rb < 2 || a.shape[ra - 1] != b.shape[rb - 2] {
        return Err(format!(
            "expected [.., m, k] and [.., k, n], found {:?} and {:?}",
            a.shape, b.shape
        ));
    }
    let leading = broadcast(&[&a.shape[..ra - 2], &b.shape[..rb - 2]])?;
    let full = |x: &Tensor| {
        let mut shape = leading.clone();
        shape.extend(&x.shape[x.shape.len() - 2..]);
        count(&shape)?;
        expanded(x, &shape)
    };
    Ok((full(a)?, full(b)?, leading))
}

pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Outcome<Tensor> {
    let (a, b, mut shape) = aligned(a, b)?;
    let rank = a.shape.len();
    let (m, k, n) = (a.shape[rank - 2], a.shape[rank - 1], b.shape[rank - 1]);
    shape.extend([m, n]);
    let total = count(&shape)?;
    let (a, b) = (floats(&a), floats(&b));
    let mut out = vec![0.0; total];
    if m * n > 0 {
        for (block, out) in out.chunks_mut(m * n).enumerate() {
            let (a, b) = (&a[block * m * k..][..m * k], &b[block * k * n..][..k * n]);
            for (row, sums) in out.chunks_mut(n).enumerate() {
                for (x, b) in a[row * k..][..k].iter().zip(b.chunks(n)) {
                    sums.iter_mut().zip(b).for_each(|(sum, y)| *sum += x * y);
                }
            }
        }
    }
    Ok(Tensor { shape, data: Data::Float(out) })
}

/// Axes `axis` and the next one exchanged.
fn turned(x: &Tensor, axis: usize) -> Outcome<Tensor> {
    let mut perm: Vec<_> = (0..x.shape.len()).collect();
    perm.swap(axis, axis + 1);
    super::layout::moved(&crate::op::Op::Permute { perm }, &[x], &[], &Default::default())
}

fn with_bias(mut out: Tensor, bias: Option<&&Tensor>) -> Outcome<Tensor> {
    let Some(bias) = bias else { return Ok(out) };
    let bias = expanded(bias, &out.shape)?;
    if let Data::Float(out) = &mut out.data {
        out.iter_mut().zip(floats(&bias)).for_each(|(x, bias)| *x += bias);
    }
    Ok(out)
}

pub(super) fn linear(xs: &[&Tensor]) -> Outcome<Tensor> {
    let (x, weight) = (xs[0], xs[1]);
    if weight.shape.len() != 2 || x.shape.is_empty() {
        return Err(format!(
            "expected [.., k] and [n, k], found {:?} and {:?}",
            x.shape, weight.shape
        ));
    }
    let k = weight.shape[1];
    let rows: usize = x.shape[..x.shape.len() - 1].iter().product();
    if x.shape.last() != Some(&k) {
        return Err(format!("expected {k} columns, found {:?}", x.shape));
    }
    let flat = Tensor { shape: vec![rows, k], data: Data::Float(floats(x)) };
    let mut out = with_bias(matmul(&flat, &turned(weight, 0)?)?, xs.get(2))?;
    let mut shape = x.shape.clone();
    *shape.last_mut().ok_or("it has no axis")? = weight.shape[0];
    out.shape = shape;
    Ok(out)
}

pub(super) struct Conv<'a> {
    pub(super) stride: &'a [u64],
    pub(super) padding: &'a [u64],
    pub(super) dilation: &'a [u64],
    pub(super) groups: u64,
}

impl Conv<'_> {
    /// Every output element is a sum over the input channels of its group and over the taps of the kernel.
    pub(super) fn run(&self, xs: &[&Tensor]) -> Outcome<Tensor> {
        let (x, weight) = (xs[0], xs[1]);
        let space = self.stride.len();
        let groups = self.groups as usize;
        let fits = x.shape.len() == space + 2
            && weight.shape.len() == space + 2
            && self.padding.len() == space
            && self.dilation.len() == space
            && groups > 0
            && x.shape[1] == weight.shape[1].saturating_mul(groups)
            && weight.shape[0].is_multiple_of(groups)
            && self.stride.iter().all(|&stride| stride > 0);
        if !fits {
            return Err(format!("{:?} does not convolve {:?}", weight.shape, x.shape));
        }
        let mut shape = vec![x.shape[0], weight.shape[0]];
        for axis in 0..space {
            let reach = (weight.shape[axis + 2] as u64).saturating_sub(1) * self.dilation[axis];
            let padded = x.shape[axis + 2] as u64 + 2 * self.padding[axis];
            let room =
                padded.checked_sub(reach + 1).ok_or("the kernel is larger than its input")?;
            shape.push((room / self.stride[axis] + 1) as usize);
        }
        let total = count(&shape)?;
        let (values, taps) = (floats(x), floats(weight));
        let (own, kernel) = (strides(&x.shape), strides(&weight.shape));
        let out_strides = strides(&shape);
        let inputs = weight.shape[1];
        let per_group = weight.shape[0] / groups;
        let kernel_shape = &weight.shape[2..];
        let kernel_size: usize = kernel_shape.iter().product();
        let kernel_strides = strides(kernel_shape);
        let mut out = vec![0.0; total];
        for (place, sum) in out.iter_mut().enumerate() {
            let at: Vec<_> = (0..shape.len()).map(|a| place / out_strides[a] % shape[a]).collect();
            for tap in 0..kernel_size {
                let mut source = Some(at[0] * own[0]);
                let mut weight_at = at[1] * kernel[0];
                for axis in 0..space {
                    let k = tap / kernel_strides[axis] % kernel_shape[axis];
                    weight_at += k * kernel[axis + 2];
                    let to =
                        at[axis + 2] as u64 * self.stride[axis] + k as u64 * self.dilation[axis];
                    let found = to.checked_sub(self.padding[axis]).map(|i| i as usize);
                    source = source.and_then(|s| {
                        let i = found.filter(|&i| i < x.shape[axis + 2])?;
                        Some(s + i * own[axis + 2])
                    });
                }
                let Some(source) = source else { continue };
                let first = at[1] / per_group * inputs;
                for channel in 0..inputs {
                    *sum += values[source + (first + channel) * own[1]]
                        * taps[weight_at + channel * kernel[1]];
                }
            }
        }
        let mut out = Tensor { shape: shape.clone(), data: Data::Float(out) };
        if let Some(bias) = xs.get(2) {
            let mut column = vec![1; shape.len()];
            column[1] = shape[1];
            let bias = Tensor { shape: column, data: bias.data.clone() };
            if bias.len() != shape[1] {
                return Err(format!("expected a bias of {}, found {}", shape[1], bias.len()));
            }
            out = with_bias(out, Some(&&bias))?;
        }
        Ok(out)
    }
}

pub(super) fn attention(xs: &[&Tensor], scale: f64, causal: bool) -> Outcome<Tensor> {
    let rank = xs[1].shape.len();
    let keys = turned(xs[1], rank.checked_sub(2).ok_or("the keys have too few axes")?)?;
    let mut scores = matmul(xs[0], &keys)?;
    let rank = scores.shape.len();
    let (rows, columns) = (scores.shape[rank - 2], scores.shape[rank - 1]);
    let mask = xs.get(3).map(|mask| expanded(mask, &scores.shape)).transpose()?;
    if let Data::Float(scores) = &mut scores.data {
        for (place, score) in scores.iter_mut().enumerate() {
            let (i, j) = (place / columns % rows, place % columns);
            *score *= scale;
            match mask.as_ref().map(|mask| &mask.data) {
                Some(Data::Int(mask)) if mask[place] == 0 => *score = f64::NEG_INFINITY,
                Some(Data::Float(mask)) => *score += mask[place],
                _ => {}
            }
            if causal && j > i {
                *score = f64::NEG_INFINITY;
            }
        }
        for row in scores.chunks_mut(columns.max(1)) {
            row.copy_from_slice(&softmaxed(row));
        }
    }
    matmul(&scores, xs[2])
}

pub(super) fn rope(xs: &[&Tensor], interleaved: bool) -> Outcome<Tensor> {
    let x = xs[0];
    let width = *x.shape.last().ok_or("it has no axis")?;
    let half = width / 2;
    let rows = x.shape.len().checked_sub(2).map(|axis| x.shape[axis]).ok_or("it has no rows")?;
    let (cos, sin) = (floats(xs[1]), floats(xs[2]));
    if width == 0 || width % 2 != 0 || cos.len() != rows * half || sin.len() != rows * half {
        let found = [&xs[1].shape, &xs[2].shape];
        return Err(format!("expected tables [{rows}, {half}] for {:?}, found {found:?}", x.shape));
    }
    let mut out = floats(x);
    for (line, row) in out.chunks_mut(width).enumerate() {
        for pair in 0..half {
            let at = line % rows * half + pair;
            let [a, b] = if interleaved { [2 * pair, 2 * pair + 1] } else { [pair, pair + half] };
            let (x, y) = (row[a], row[b]);
            row[a] = x * cos[at] - y * sin[at];
            row[b] = x * sin[at] + y * cos[at];
        }
    }
    Ok(Tensor { shape: x.shape.clone(), data: Data::Float(out) })
}
