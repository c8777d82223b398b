//! How each op moves the batch axis.

use bytec_ir::dim::{Dim, Symbol};

use super::Batch;
use crate::dims::{mentions, product, without};
use crate::op::Op;
use crate::program::Node;

/// What a rule knows of an operand.
pub(super) struct Operand<'a> {
    pub(super) batch: Batch,
    pub(super) shape: &'a [Dim],
}

type Outcome = Result<Batch, String>;

/// Where the batch lies in the result of a node, or why that can't be said.
pub(super) fn axis(node: &Node, xs: &[Operand<'_>], batch: &Symbol) -> Outcome {
    let (least, most) = node.op.arity();
    if xs.len() < least || xs.len() > most {
        return Err(format!("expected {least} to {most} operands, found {}", xs.len()));
    }
    let shape = &node.ty.shape;
    let bare = Dim::symbol(batch.name());
    match &node.op {
        Op::Input { .. } => match shape.first() {
            Some(first) if *first == bare => Ok(Batch::Along(0)),
            _ => Err(format!(
                "expected an input whose first axis is the batch {batch}, found {}",
                node.ty
            )),
        },
        Op::Weight { .. } | Op::Constant(_) => Ok(Batch::Nowhere),
        Op::Arange { start: 0, step: 1 } if *shape == [bare] => Ok(Batch::Numbers(0)),
        Op::Arange { .. } => Ok(Batch::Nowhere),
        Op::Full | Op::Expand => expand(&xs[0], shape, batch),
        Op::Cast => Ok(xs[0].batch),
        Op::Unary(_) => plain(&xs[0]),
        Op::Binary(_) | Op::Where => broadcast(xs, shape.len()),
        Op::Reshape => reshape(&xs[0], shape, batch),
        Op::Permute { perm } => Ok(moved(xs[0].batch, |axis| {
            perm.iter().position(|&from| from == axis).unwrap_or(axis)
        })),
        Op::Repeat => repeat(&xs[0], shape, batch),
        Op::Slice { axis, start, step } => {
            let all =
                *start == Dim::fixed(0) && *step == 1 && shape.get(*axis) == xs[0].shape.get(*axis);
            if !all {
                apart(&xs[0], *axis, "takes some of the samples")?;
            }
            free_of(start, batch)?;
            Ok(xs[0].batch)
        }
        Op::Select { axis, index } => {
            apart(&xs[0], *axis, "takes one of the samples")?;
            free_of(index, batch)?;
            Ok(moved(xs[0].batch, |own| own - usize::from(own > *axis)))
        }
        Op::Concat { axis } => {
            for x in xs {
                apart(x, *axis, "puts samples one after the other")?;
                if x.batch != xs[0].batch {
                    return Err("it joins values whose batches lie along different axes".to_owned());
                }
            }
            Ok(xs[0].batch)
        }
        Op::Flip { axis } => along(&xs[0], *axis, "reverses the samples' order"),
        Op::CumSum { axis } => along(&xs[0], *axis, "adds up samples"),
        Op::Places { .. } => along(&xs[0], xs[0].shape.len().saturating_sub(1), "counts samples"),
        Op::Diff { axis } => along(&xs[0], *axis, "takes differences of samples"),
        Op::Softmax { axis } => along(&xs[0], *axis, "normalises over the samples"),
        Op::Gather { axis } => gather(&xs[0], &xs[1], *axis),
        Op::Index => index(&xs[0], &xs[1..]),
        Op::IndexSelect { axis } => match (plain(&xs[0])?, plain(&xs[1])?) {
            (found, Batch::Nowhere) => {
                apart(&xs[0], *axis, "picks samples")?;
                Ok(found)
            }
            (Batch::Nowhere, Batch::Along(_)) => Ok(Batch::Along(*axis)),
            _ => Err("each sample would pick its own indices of every sample".to_owned()),
        },
        Op::Reduce { axes, keep, .. } => {
            plain(&xs[0])?;
            for &axis in axes {
                apart(&xs[0], axis, "reduces over the samples")?;
            }
            Ok(moved(xs[0].batch, |own| match keep {
                true => own,
                false => own - axes.iter().filter(|&&axis| axis < own).count(),
            }))
        }
        Op::MatMul => matmul(&xs[0], &xs[1], shape.len()),
        Op::Linear => {
            shared(&xs[1..])?;
            along(&xs[0], xs[0].shape.len().saturating_sub(1), "contracts over the samples")
        }
        Op::Conv { .. } => {
            shared(&xs[1..])?;
            match plain(&xs[0])? {
                Batch::Along(axis) if axis > 0 => Err("it convolves over the samples".to_owned()),
                found => Ok(found),
            }
        }
        Op::LayerNorm { axes, .. } => normalised(xs, *axes),
        Op::RmsNorm { .. } => normalised(xs, 1),
        Op::Attention { .. } => attention(xs, shape.len()),
        Op::Rope { .. } => {
            shared(&xs[1..])?;
            for back in 1..=2 {
                apart(&xs[0], xs[0].shape.len().saturating_sub(back), "takes samples for rows")?;
            }
            plain(&xs[0])
        }
    }
}

/// The batch along another axis.
fn moved(batch: Batch, to: impl Fn(usize) -> usize) -> Batch {
    match batch {
        Batch::Nowhere => Batch::Nowhere,
        Batch::Along(axis) => Batch::Along(to(axis)),
        Batch::Numbers(axis) => Batch::Numbers(to(axis)),
    }
}

/// The elements of a value that is computed with must not be the numbers of samples.
fn plain(x: &Operand<'_>) -> Outcome {
    match x.batch {
        Batch::Numbers(_) => {
            Err("the result would depend on a sample's number in the batch".to_owned())
        }
        found => Ok(found),
    }
}

/// What is done along `axis` is not done along the batch.
fn apart(x: &Operand<'_>, axis: usize, what: &str) -> Result<(), String> {
    match x.batch.axis() == Some(axis) {
        true => Err(format!("it {what}: axis {axis} carries the batch")),
        false => Ok(()),
    }
}

fn along(x: &Operand<'_>, axis: usize, what: &str) -> Outcome {
    apart(x, axis, what)?;
    plain(x)
}

fn shared(xs: &[Operand<'_>]) -> Result<(), String> {
    match xs.iter().any(|x| x.batch != Batch::Nowhere) {
        true => Err("expected the same weights for every sample, found a batch of them".to_owned()),
        false => Ok(()),
    }
}

fn free_of(dim: &Dim, batch: &Symbol) -> Result<(), String> {
    match mentions(dim, batch) {
        true => Err(format!("the index {dim} depends on the size of the batch")),
        false => Ok(()),
    }
}

/// Operands that broadcast: their batches lie along one axis of the result.
fn broadcast(xs: &[Operand<'_>], rank: usize) -> Outcome {
    let mut found: Option<(usize, &Dim)> = None;
    let place = |x: &Operand<'_>, axis: usize| (axis + rank).checked_sub(x.shape.len());
    for x in xs {
        let Batch::Along(own) = plain(x)? else { continue };
        let axis = place(x, own).ok_or("an operand has more axes than the result")?;
        match found {
            Some((first, _)) if first != axis => {
                return Err(format!(
                    "it pairs every sample with every other: the batch lies along axis {first} of one operand and axis {axis} of another"
                ));
            }
            Some((_, extent)) if *extent != x.shape[own] => {
                return Err(format!("it pairs an axis of {extent} with one of {}", x.shape[own]));
            }
            _ => found = Some((axis, &x.shape[own])),
        }
    }
    let Some((axis, _)) = found else { return Ok(Batch::Nowhere) };
    for x in xs.iter().filter(|x| x.batch == Batch::Nowhere) {
        let own = (axis + x.shape.len()).checked_sub(rank);
        if own.and_then(|own| x.shape.get(own)).is_some_and(|extent| *extent != Dim::fixed(1)) {
            return Err(format!("it pairs the batch with axis {own:?} of a shared operand"));
        }
    }
    Ok(Batch::Along(axis))
}

fn expand(x: &Operand<'_>, shape: &[Dim], batch: &Symbol) -> Outcome {
    let ahead = shape.len().checked_sub(x.shape.len()).ok_or("the result has fewer axes")?;
    let found = moved(x.batch, |axis| axis + ahead);
    if found != Batch::Nowhere {
        return Ok(found);
    }
    let repeated = shape.iter().position(|dim| mentions(dim, batch));
    Ok(repeated.map_or(Batch::Nowhere, Batch::Along))
}

/// The batch stays outermost in an axis with as many elements before it.
fn reshape(x: &Operand<'_>, shape: &[Dim], batch: &Symbol) -> Outcome {
    let Some(own) = x.batch.axis() else { return Ok(Batch::Nowhere) };
    let before = product(&x.shape[..own]).ok_or("its extents are too large")?;
    for (axis, dim) in shape.iter().enumerate() {
        let ahead = product(&shape[..axis]).ok_or("its extents are too large")?;
        if ahead == before && without(dim, batch).is_some() {
            return match x.batch {
                Batch::Numbers(_) if *dim != x.shape[own] => plain(x),
                found => Ok(moved(found, |_| axis)),
            };
        }
    }
    Err(format!(
        "it lays samples into one another: the batch, axis {own} of {}, is the outermost part of no axis of {}",
        listed(x.shape),
        listed(shape)
    ))
}

fn listed(shape: &[Dim]) -> String {
    let dims: Vec<_> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

fn repeat(x: &Operand<'_>, shape: &[Dim], batch: &Symbol) -> Outcome {
    let ahead = shape.len().checked_sub(x.shape.len()).ok_or("the result has fewer axes")?;
    let found = moved(x.batch, |axis| axis + ahead);
    match found.axis() {
        None => {
            let repeated = shape.iter().position(|dim| mentions(dim, batch));
            Ok(repeated.map_or(Batch::Nowhere, Batch::Along))
        }
        Some(axis) if shape.get(axis) == x.shape.get(axis - ahead) => Ok(found),
        Some(axis) => Err(format!("it repeats the samples along axis {axis}")),
    }
}

fn gather(x: &Operand<'_>, index: &Operand<'_>, axis: usize) -> Outcome {
    apart(x, axis, "gathers from other samples")?;
    apart(index, axis, "gathers for several samples at once")?;
    match (plain(x)?, plain(index)?) {
        (Batch::Along(own), Batch::Along(other))
            if own == other && x.shape[own] == index.shape[own] =>
        {
            Ok(Batch::Along(own))
        }
        (Batch::Nowhere, Batch::Nowhere) => Ok(Batch::Nowhere),
        _ => Err("expected values and indices whose batches lie along the same axis".to_owned()),
    }
}

fn index(x: &Operand<'_>, indices: &[Operand<'_>]) -> Outcome {
    let rank = indices.iter().map(|index| index.shape.len()).max().unwrap_or(0);
    let Some(own) = plain(x)?.axis() else { return broadcast(indices, rank) };
    let Some(numbers) = indices.get(own) else {
        return match broadcast(indices, rank)? {
            Batch::Nowhere => Ok(Batch::Along(own + rank - indices.len())),
            _ => Err("each sample would pick its own indices of every sample".to_owned()),
        };
    };
    let Batch::Numbers(axis) = numbers.batch else {
        return Err(format!("it picks samples: axis {own} carries the batch"));
    };
    if x.shape[own] != numbers.shape[axis] {
        return Err(format!("it picks parts of samples: axis {own} holds more than the batch"));
    }
    // The numbers pick each sample's own part; the other indices lie along the same axis, or are shared.
    let as_batch = indices.iter().enumerate().map(|(i, index)| Operand {
        batch: if i == own { Batch::Along(axis) } else { index.batch },
        shape: index.shape,
    });
    broadcast(&as_batch.collect::<Vec<_>>(), rank)
}

fn matmul(a: &Operand<'_>, b: &Operand<'_>, rank: usize) -> Outcome {
    let (last_a, last_b) = (a.shape.len().saturating_sub(1), b.shape.len().saturating_sub(1));
    if last_a == 0 || last_b == 0 {
        return Err("expected two operands of at least two axes".to_owned());
    }
    apart(a, last_a, "contracts over the samples")?;
    apart(b, last_b - 1, "contracts over the samples")?;
    match (plain(a)?, plain(b)?) {
        (Batch::Along(axis), Batch::Nowhere) if axis == last_a - 1 => {
            Ok(Batch::Along(rank.saturating_sub(2)))
        }
        (Batch::Nowhere, Batch::Along(axis)) if axis == last_b => {
            Ok(Batch::Along(rank.saturating_sub(1)))
        }
        (found_a, found_b) => {
            let rows = found_a.axis() == Some(last_a - 1) || found_b.axis() == Some(last_b);
            if rows {
                return Err("it multiplies every sample by every other".to_owned());
            }
            let leading = |x: &Operand<'_>| x.shape.len() - 2;
            let parts = [(a, leading(a)), (b, leading(b))]
                .map(|(x, n)| Operand { batch: x.batch, shape: &x.shape[..n] });
            broadcast(&parts, rank.saturating_sub(2))
        }
    }
}

fn normalised(xs: &[Operand<'_>], axes: usize) -> Outcome {
    shared(&xs[1..])?;
    let first = xs[0].shape.len().saturating_sub(axes);
    for axis in first..xs[0].shape.len() {
        apart(&xs[0], axis, "normalises over the samples")?;
    }
    plain(&xs[0])
}

fn attention(xs: &[Operand<'_>], rank: usize) -> Outcome {
    for x in xs {
        for back in 1..=2 {
            if let Some(axis) = x.shape.len().checked_sub(back) {
                apart(x, axis, "lets samples see one another")?;
            }
        }
    }
    let leading = xs
        .iter()
        .map(|x| Operand { batch: x.batch, shape: &x.shape[..x.shape.len().saturating_sub(2)] });
    broadcast(&leading.collect::<Vec<_>>(), rank.saturating_sub(2))
}
