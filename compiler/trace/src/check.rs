//! What must hold of a trace before anything reads it: every op gives the type that its node has ([`misfit`]).
//!
//! Front ends that read types from a file ask for every node that they make; the proof of the batch axis asks for every
//! node that an output needs, wherever the trace comes from. What comes after relies on it.
//!
//! Extents are compared as dimensions, so two that are equal at every size but written in different ways do not fit.
//! Places within an axis (slices, selections, gathered indices) are not looked at: the graph's verifier does that.

#[cfg(test)]
mod tests;

use bytec_ir::dim::Dim;

use crate::constant::Values;
use crate::op::{Op, ReduceOp};
use crate::program::{Kind, Type};

/// What is wrong with a node of this type; `None` if the op gives it for such operands.
pub fn misfit(op: &Op, operands: &[&Type], result: &Type) -> Option<String> {
    let (least, most) = op.arity();
    if !(least..=most).contains(&operands.len()) {
        return Some(format!("expected {least} to {most} operands, found {}", operands.len()));
    }
    fits(op, operands, result).err()
}

type Outcome = Result<(), String>;

fn fits(op: &Op, x: &[&Type], result: &Type) -> Outcome {
    match op {
        Op::Input { .. } | Op::Weight { .. } => Ok(()),
        Op::Constant(constant) => {
            let elements = constant.shape.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent));
            let found = constant.values.len();
            demand(elements == Some(found as u64), || {
                format!("expected as many elements as {:?} has, found {found}", constant.shape)
            })?;
            let floats = matches!(constant.values, Values::Float(_));
            demand(floats == (constant.kind == Kind::Float), || {
                let held = if floats { "floats" } else { "integers" };
                format!("expected elements of kind {}, found {held}", constant.kind)
            })?;
            same(&Type::new(constant.kind, constant.shape.iter().copied()), result)
        }
        Op::Arange { .. } => {
            demand(result.kind == Kind::Int, || format!("expected integers, found {result}"))?;
            rank(result, 1)
        }
        Op::Full => rank(x[0], 0),
        Op::Unary(_) | Op::Cast | Op::Places { .. } => shaped(&x[0].shape, result),
        Op::Binary(_) => shaped(&broadcast([x[0], x[1]])?, result),
        Op::Where => {
            demand(x[0].kind == Kind::Bool, || format!("expected truth values, found {}", x[0]))?;
            shaped(&broadcast([x[0], x[1], x[2]])?, result)
        }
        Op::Reshape => {
            let of = |ty: &Type| elements(ty).ok_or_else(|| format!("{ty} has too many elements"));
            demand(of(x[0])? == of(result)?, || {
                format!("expected as many elements as {} has, found {result}", x[0])
            })
        }
        Op::Permute { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            demand(sorted.into_iter().eq(0..x[0].shape.len()), || {
                format!("expected each axis of {} once, found {perm:?}", x[0])
            })?;
            let shape: Vec<Dim> = perm.iter().map(|&axis| x[0].shape[axis].clone()).collect();
            shaped(&shape, result)
        }
        Op::Expand => {
            let shape = broadcast([x[0], result])?;
            shaped(&shape, result)
        }
        Op::Repeat => {
            rank(result, x[0].shape.len())?;
            let repeats = x[0].shape.iter().zip(&result.shape).all(|(of, to)| repeats(of, to));
            demand(repeats, || format!("expected {} several times, found {result}", x[0]))
        }
        Op::Slice { axis, step, .. } => {
            along(x[0], *axis)?;
            demand(*step > 0, || "expected a step of at least 1, found 0".to_owned())?;
            let extent = result.shape.get(*axis).cloned();
            with_extent(x[0], *axis, extent.as_ref(), result)
        }
        Op::Select { axis, .. } => {
            along(x[0], *axis)?;
            with_extent(x[0], *axis, None, result)
        }
        Op::Concat { axis } => {
            let mut whole = Dim::fixed(0);
            for part in x {
                along(part, *axis)?;
                let extent = &part.shape[*axis];
                whole = whole.checked_add(extent).ok_or("the parts are too long to count")?;
                with_extent(x[0], *axis, Some(extent), part)?;
            }
            with_extent(x[0], *axis, Some(&whole), result)
        }
        Op::Flip { axis } | Op::CumSum { axis } => {
            along(x[0], *axis)?;
            shaped(&x[0].shape, result)
        }
        Op::Softmax { axis } => {
            floats(&[result])?;
            along(x[0], *axis)?;
            shaped(&x[0].shape, result)
        }
        Op::Diff { axis } => {
            along(x[0], *axis)?;
            let extent = x[0].shape[*axis].checked_sub(&Dim::fixed(1));
            let extent = extent.ok_or_else(|| format!("{} has too large an axis", x[0]))?;
            with_extent(x[0], *axis, Some(&extent), result)
        }
        Op::Gather { axis } => {
            integers(x[1])?;
            along(x[0], *axis)?;
            rank(x[1], x[0].shape.len())?;
            shaped(&x[1].shape, result)
        }
        Op::Index => {
            x[1..].iter().try_for_each(|index| integers(index))?;
            let left = x[0].shape.get(x.len() - 1..);
            let left = left.ok_or_else(|| {
                let (most, found) = (x[0].shape.len(), x.len() - 1);
                format!("expected at most {most} lists of indices, found {found}")
            })?;
            let mut shape = broadcast(x[1..].iter().copied())?;
            shape.extend_from_slice(left);
            shaped(&shape, result)
        }
        Op::IndexSelect { axis } => {
            integers(x[1])?;
            along(x[0], *axis)?;
            rank(x[1], 1)?;
            with_extent(x[0], *axis, Some(&x[1].shape[0]), result)
        }
        Op::Reduce { f, axes, keep } => reduced(*f, axes, *keep, x[0], result),
        Op::MatMul => product(x[0], x[1], result),
        Op::Linear => linear(x, result),
        Op::Conv { stride, padding, dilation, groups } => {
            let steps = stride.len() == padding.len() && stride.len() == dilation.len();
            demand(steps && !stride.contains(&0), || {
                format!(
                    "expected a stride above 0, a padding and a dilation for each axis, found {stride:?}, {padding:?}, {dilation:?}"
                )
            })?;
            convolution(stride.len(), *groups, x, result)
        }
        Op::LayerNorm { axes, .. } => normalized(*axes, x, result),
        Op::RmsNorm { .. } => normalized(1, x, result),
        Op::Attention { .. } => attention(x, result),
        Op::Rope { .. } => {
            floats(x)?;
            matrix(x[0])?;
            shaped(&x[0].shape, result)
        }
    }
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same(expected: &Type, found: &Type) -> Outcome {
    demand(expected == found, || format!("expected {expected}, found {found}"))
}

fn shaped(expected: &[Dim], found: &Type) -> Outcome {
    same(&Type { kind: found.kind, shape: expected.to_vec() }, found)
}

fn rank(ty: &Type, rank: usize) -> Outcome {
    demand(ty.shape.len() == rank, || format!("expected {rank} axes, found {ty}"))
}

fn along(ty: &Type, axis: usize) -> Outcome {
    demand(axis < ty.shape.len(), || format!("expected an axis {axis}, found {ty}"))
}

/// `found` is `x` with another extent of an axis, or without it.
fn with_extent(x: &Type, axis: usize, extent: Option<&Dim>, found: &Type) -> Outcome {
    let mut shape = x.shape.clone();
    match extent {
        Some(extent) => shape[axis] = extent.clone(),
        None => {
            shape.remove(axis);
        }
    }
    shaped(&shape, found)
}

fn integers(ty: &Type) -> Outcome {
    demand(ty.kind == Kind::Int, || format!("expected integers, found {ty}"))
}

fn floats(types: &[&Type]) -> Outcome {
    types.iter().try_for_each(|ty| {
        demand(ty.kind == Kind::Float, || format!("expected floats, found {ty}"))
    })
}

fn elements(ty: &Type) -> Option<Dim> {
    ty.shape.iter().try_fold(Dim::fixed(1), |product, dim| product.checked_mul(dim))
}

/// Extents of 1 and missing leading ones stretched to those of the others.
fn broadcast<'t>(types: impl IntoIterator<Item = &'t Type>) -> Result<Vec<Dim>, String> {
    let one = Dim::fixed(1);
    let mut shape: Vec<Dim> = Vec::new();
    for ty in types {
        let missing = ty.shape.len().saturating_sub(shape.len());
        shape.splice(0..0, std::iter::repeat_n(one.clone(), missing));
        let skipped = shape.len() - ty.shape.len();
        for (to, dim) in shape[skipped..].iter_mut().zip(&ty.shape) {
            if *to == one {
                to.clone_from(dim);
            } else if *dim != one && dim != to {
                return Err(format!("expected axes that broadcast, found {dim} and {to}, in {ty}"));
            }
        }
    }
    Ok(shape)
}

/// Whether `to` is `of` a fixed number of times, or `of` is a number of which every term of `to` is a multiple.
fn repeats(of: &Dim, to: &Dim) -> bool {
    if let Some(n) = of.as_fixed() {
        return n == 1 || n != 0 && to.terms().all(|(_, c)| c.unsigned_abs().is_multiple_of(n));
    }
    let (Some((_, own)), Some((_, whole))) = (of.terms().next(), to.terms().next()) else {
        return false;
    };
    let times = whole.checked_div(own).and_then(|times| u64::try_from(times).ok());
    times.is_some_and(|times| of.checked_mul(&Dim::fixed(times)).as_ref() == Some(to))
}

fn reduced(f: ReduceOp, axes: &[usize], keep: bool, x: &Type, result: &Type) -> Outcome {
    let ascending = axes.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = axes.last().is_none_or(|&last| last < x.shape.len());
    demand(ascending && inside, || format!("expected ascending axes of {x}, found {axes:?}"))?;
    demand(f != ReduceOp::ArgMax || axes.len() == 1, || {
        format!("expected one axis, found {axes:?}")
    })?;
    let mut shape = x.shape.clone();
    for &axis in axes.iter().rev() {
        if keep {
            shape[axis] = Dim::fixed(1);
        } else {
            shape.remove(axis);
        }
    }
    shaped(&shape, result)
}

/// All axes but the last two, and those.
fn matrix(ty: &Type) -> Result<(Type, &Dim, &Dim), String> {
    match &ty.shape[..] {
        [leading @ .., rows, columns] => {
            Ok((Type { kind: ty.kind, shape: leading.to_vec() }, rows, columns))
        }
        _ => Err(format!("expected a matrix, found {ty}")),
    }
}

fn product(a: &Type, b: &Type, result: &Type) -> Outcome {
    let (leading_a, rows, inner) = matrix(a)?;
    let (leading_b, other, columns) = matrix(b)?;
    floats(&[result])?;
    demand(inner == other, || {
        format!("expected as many columns of {a} as rows of {b}, found {inner} and {other}")
    })?;
    let mut shape = broadcast([&leading_a, &leading_b])?;
    shape.extend([rows.clone(), columns.clone()]);
    shaped(&shape, result)
}

fn linear(x: &[&Type], result: &Type) -> Outcome {
    floats(x)?;
    rank(x[1], 2)?;
    let (outputs, inputs) = (&x[1].shape[0], &x[1].shape[1]);
    let columns = x[0].shape.last();
    demand(columns == Some(inputs), || {
        format!("expected {inputs} columns for a weight {}, found {}", x[1], x[0])
    })?;
    let mut shape = x[0].shape.clone();
    shape.pop();
    shape.push(outputs.clone());
    if let Some(bias) = x.get(2) {
        shaped(std::slice::from_ref(outputs), bias)?;
    }
    shaped(&shape, result)
}

fn convolution(axes: usize, groups: u64, x: &[&Type], result: &Type) -> Outcome {
    floats(x)?;
    [x[0], x[1], result].into_iter().try_for_each(|ty| rank(ty, axes + 2))?;
    let (input, weight) = (&x[0].shape, &x[1].shape);
    let channels = weight[1].checked_mul(&Dim::fixed(groups));
    demand(channels.as_ref() == Some(&input[1]), || {
        format!("expected the channels of {groups} groups for a weight {}, found {}", x[1], x[0])
    })?;
    let divides = weight[0].as_fixed().is_some_and(|n| groups != 0 && n.is_multiple_of(groups));
    demand(divides, || format!("expected a multiple of {groups} outputs, found {}", x[1]))?;
    let fits = result.shape[0] == input[0] && result.shape[1] == weight[0];
    demand(fits, || {
        format!("expected the samples of {} and the outputs of {}, found {result}", x[0], x[1])
    })?;
    match x.get(2) {
        Some(bias) => shaped(&weight[..1], bias),
        None => Ok(()),
    }
}

fn normalized(axes: usize, x: &[&Type], result: &Type) -> Outcome {
    floats(x)?;
    let first = x[0].shape.len().checked_sub(axes).filter(|_| axes > 0);
    let first = first.ok_or_else(|| {
        format!("expected to normalise 1 to {} axes, found {axes}", x[0].shape.len())
    })?;
    x[1..].iter().try_for_each(|weight| shaped(&x[0].shape[first..], weight))?;
    shaped(&x[0].shape, result)
}

fn attention(x: &[&Type], result: &Type) -> Outcome {
    floats(&x[..3])?;
    let ((leading, rows, size), (of_k, keys, size_k), (of_v, keys_v, columns)) =
        (matrix(x[0])?, matrix(x[1])?, matrix(x[2])?);
    let sizes = size == size_k && size == columns;
    let fits = leading == of_k && of_k == of_v && sizes && keys == keys_v;
    demand(fits, || {
        format!("expected queries, keys and values that fit, found {}, {}, {}", x[0], x[1], x[2])
    })?;
    let mut shape = leading.shape;
    if let Some(mask) = x.get(3) {
        demand(mask.kind != Kind::Int, || format!("expected a mask, found {mask}"))?;
        let scores = [shape.as_slice(), &[rows.clone(), keys.clone()]].concat();
        let scores = Type { kind: mask.kind, shape: scores };
        let spread = broadcast([&scores, *mask])?;
        demand(spread == scores.shape, || format!("expected a mask for {scores}, found {mask}"))?;
    }
    shape.extend([rows.clone(), columns.clone()]);
    shaped(&shape, result)
}
