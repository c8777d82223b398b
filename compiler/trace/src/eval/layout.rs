//! Ops that move elements, and the two that make them of nothing.

use bytec_ir::dim::{Bindings, Dim};
use bytec_ir::eval::{Data, Tensor};

use super::elementwise::{broadcast, expanded};
use super::{Outcome, count, ints, offsets, picked, strides};
use crate::op::Op;

pub(super) fn moved(
    op: &Op,
    xs: &[&Tensor],
    shape: &[usize],
    bindings: &Bindings,
) -> Outcome<Tensor> {
    if let Op::Arange { start, step } = op {
        return arange(*start, *step, shape);
    }
    let x = *xs.first().ok_or("expected an operand")?;
    let own = strides(&x.shape);
    match op {
        Op::Full | Op::Expand => expanded(x, shape),
        Op::Reshape => {
            if count(shape)? != x.len() {
                return Err(format!("{:?} can't become {shape:?}", x.shape));
            }
            Ok(Tensor { shape: shape.to_vec(), data: x.data.clone() })
        }
        Op::Permute { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..x.shape.len()) {
                return Err(format!("{perm:?} is no permutation of the axes of {:?}", x.shape));
            }
            let shape: Vec<_> = perm.iter().map(|&axis| x.shape[axis]).collect();
            let strides: Vec<_> = perm.iter().map(|&axis| own[axis]).collect();
            Ok(picked(x, &shape, &offsets(0, &shape, &strides)))
        }
        Op::Repeat => repeat(x, shape),
        Op::Slice { axis, start, step } => {
            let extent = *x.shape.get(*axis).ok_or_else(|| no_axis(*axis, x))?;
            let start = size(start, bindings)?;
            let step = usize::try_from(*step).map_err(|_| "the step is too large")?;
            let taken = *shape.get(*axis).ok_or_else(|| no_axis(*axis, x))?;
            let last = taken.checked_sub(1).map(|n| n.saturating_mul(step).saturating_add(start));
            if step == 0 || last.is_some_and(|last| last >= extent) {
                let from = format!("{taken} indices from {start} by {step}");
                return Err(format!("{from} are not all in axis {axis} of {:?}", x.shape));
            }
            let mut strides = own.clone();
            strides[*axis] *= step;
            let mut shape = x.shape.clone();
            shape[*axis] = taken;
            Ok(picked(x, &shape, &offsets(start * own[*axis], &shape, &strides)))
        }
        Op::Select { axis, index } => {
            let extent = *x.shape.get(*axis).ok_or_else(|| no_axis(*axis, x))?;
            let index = size(index, bindings)?;
            if index >= extent {
                return Err(format!("{index} is not in axis {axis} of {:?}", x.shape));
            }
            let (mut shape, mut strides) = (x.shape.clone(), own.clone());
            shape.remove(*axis);
            let first = index * strides.remove(*axis);
            Ok(picked(x, &shape, &offsets(first, &shape, &strides)))
        }
        Op::Concat { axis } => concat(xs, *axis),
        Op::Flip { axis } => {
            let extent = *x.shape.get(*axis).ok_or_else(|| no_axis(*axis, x))?;
            let along: Vec<_> = (0..extent).rev().collect();
            Ok(taken(x, *axis, &along))
        }
        Op::Gather { axis } => gather(x, xs[1], *axis),
        Op::Index => index(x, &xs[1..]),
        Op::IndexSelect { axis } => {
            let extent = *x.shape.get(*axis).ok_or_else(|| no_axis(*axis, x))?;
            let along = xs.get(1).ok_or("expected indices")?;
            if along.shape.len() > 1 {
                return Err(format!("expected one axis of indices, found {:?}", along.shape));
            }
            let along =
                ints(along)?.iter().map(|&i| inside(i, extent)).collect::<Outcome<Vec<_>>>();
            Ok(taken(x, *axis, &along?))
        }
        _ => Err("it moves nothing".to_owned()),
    }
}

fn no_axis(axis: usize, x: &Tensor) -> String {
    format!("{axis} is not an axis of {:?}", x.shape)
}

fn size(dim: &Dim, bindings: &Bindings) -> Outcome<usize> {
    let size = dim.eval(bindings).map_err(|error| error.to_string())?;
    usize::try_from(size).map_err(|_| format!("{dim} is too large"))
}

fn inside(index: i64, extent: usize) -> Outcome<usize> {
    // PyTorch counts negative indices from the end.
    let wrapped = if index < 0 { index.saturating_add_unsigned(extent as u64) } else { index };
    let found = usize::try_from(wrapped).ok().filter(|&found| found < extent);
    found.ok_or_else(|| format!("the index {index} is not in an axis of {extent}"))
}

fn arange(start: i64, step: i64, shape: &[usize]) -> Outcome<Tensor> {
    let &[count] = shape else { return Err(format!("expected one axis, found {shape:?}")) };
    let at = |i: usize| start.wrapping_add(step.wrapping_mul(i as i64));
    Ok(Tensor { shape: vec![count], data: Data::Int((0..count).map(at).collect()) })
}

/// The indices `along` of an axis.
fn taken(x: &Tensor, axis: usize, along: &[usize]) -> Tensor {
    let (outer, inner): (usize, usize) =
        (x.shape[..axis].iter().product(), x.shape[axis + 1..].iter().product());
    let extent = x.shape[axis];
    let places: Vec<_> = (0..outer)
        .flat_map(|o| along.iter().map(move |&i| (o * extent + i) * inner))
        .flat_map(|first| first..first + inner)
        .collect();
    let mut shape = x.shape.clone();
    shape[axis] = along.len();
    picked(x, &shape, &places)
}

fn repeat(x: &Tensor, shape: &[usize]) -> Outcome<Tensor> {
    let missing = shape.len().checked_sub(x.shape.len());
    let missing = missing.ok_or_else(|| format!("{:?} has more axes than {shape:?}", x.shape))?;
    let mut full = vec![1; missing];
    full.extend(&x.shape);
    let mut out = Tensor { shape: full, data: x.data.clone() };
    for (axis, &extent) in shape.iter().enumerate() {
        let own = out.shape[axis];
        if own == 0 || extent % own != 0 {
            return Err(format!("{:?} repeated does not give {shape:?}", x.shape));
        }
        let along: Vec<_> = (0..extent).map(|i| i % own).collect();
        out = taken(&out, axis, &along);
    }
    Ok(out)
}

fn concat(xs: &[&Tensor], axis: usize) -> Outcome<Tensor> {
    let first = xs[0];
    if axis >= first.shape.len() {
        return Err(no_axis(axis, first));
    }
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for x in xs {
        let fits = x.shape.len() == first.shape.len()
            && (0..shape.len()).all(|other| other == axis || x.shape[other] == shape[other]);
        if !fits || x.as_ints().is_some() != first.as_ints().is_some() {
            return Err(format!("{:?} and {:?} do not join", first.shape, x.shape));
        }
        shape[axis] += x.shape[axis];
    }
    count(&shape)?;
    let blocks: usize = shape[..axis].iter().product();
    let (mut reals, mut whole) = (Vec::new(), Vec::new());
    for block in 0..blocks {
        for x in xs {
            let length: usize = x.shape[axis..].iter().product();
            let part = block * length..(block + 1) * length;
            match &x.data {
                Data::Float(x) => reals.extend_from_slice(&x[part]),
                Data::Int(x) => whole.extend_from_slice(&x[part]),
            }
        }
    }
    let data = if first.as_ints().is_some() { Data::Int(whole) } else { Data::Float(reals) };
    Ok(Tensor { shape, data })
}

fn gather(x: &Tensor, index: &Tensor, axis: usize) -> Outcome<Tensor> {
    let fits = index.shape.len() == x.shape.len()
        && axis < x.shape.len()
        && (0..x.shape.len()).all(|other| other == axis || index.shape[other] <= x.shape[other]);
    if !fits {
        return Err(format!("{:?} can't be gathered by {:?}", x.shape, index.shape));
    }
    let mut own = strides(&x.shape);
    let along = own[axis];
    own[axis] = 0;
    let firsts = offsets(0, &index.shape, &own);
    let extent = x.shape[axis];
    let places =
        ints(index)?.iter().zip(firsts).map(|(&i, first)| Ok(first + inside(i, extent)? * along));
    Ok(picked(x, &index.shape, &places.collect::<Outcome<Vec<_>>>()?))
}

fn index(x: &Tensor, indices: &[&Tensor]) -> Outcome<Tensor> {
    if indices.is_empty() || indices.len() > x.shape.len() {
        return Err(format!("expected 1 to {} indices, found {}", x.shape.len(), indices.len()));
    }
    let shapes: Vec<_> = indices.iter().map(|index| index.shape.as_slice()).collect();
    let mut shape = broadcast(&shapes)?;
    let own = strides(&x.shape);
    let mut firsts = vec![0; count(&shape)?];
    for (axis, index) in indices.iter().enumerate() {
        let index = expanded(index, &shape)?;
        for (first, &i) in firsts.iter_mut().zip(ints(&index)?) {
            *first += inside(i, x.shape[axis])? * own[axis];
        }
    }
    let inner: usize = x.shape[indices.len()..].iter().product();
    let places: Vec<_> = firsts.into_iter().flat_map(|first| first..first + inner).collect();
    shape.extend(&x.shape[indices.len()..]);
    count(&shape)?;
    Ok(picked(x, &shape, &places))
}
