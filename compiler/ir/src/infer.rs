//! The type of an op's result, from the types of its operands. Refuses operands that do not fit.

mod attention;

use thiserror::Error;

use crate::attrs::MAX_EXPR_DEPTH;
use crate::dim::Dim;
use crate::ops::{Op, OpKind};
use crate::types::{DType, Shape, TensorType};

/// Operands that an op can't take.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{op}: {problem}")]
pub struct InferError {
    /// The op.
    pub op: OpKind,
    /// What was expected and what was found.
    pub problem: String,
}

/// Shorthand inside this file: a problem still without its op.
type Outcome = Result<TensorType, String>;

/// The type of `op` applied to operands of these types.
///
/// # Errors
/// Wrong operand count, element type, rank, or extents that do not agree.
pub fn infer(op: &Op, operands: &[&TensorType]) -> Result<TensorType, InferError> {
    let row = op.kind().row();
    let outcome = if row.accepts(operands.len()) {
        result_type(op, operands)
    } else {
        Err(format!("takes {}, got {} operands", row.signature(), operands.len()))
    };
    outcome.map_err(|problem| InferError { op: op.kind(), problem })
}

fn result_type(op: &Op, xs: &[&TensorType]) -> Outcome {
    match op {
        Op::Iota { extent, .. } => Ok(TensorType::new(DType::I64, [extent.clone()])),
        Op::Places { .. } => match xs[0].dtype {
            DType::I64 if xs[0].rank() == 1 => Ok(xs[0].clone()),
            _ => Err(format!("expected i64 ids [rows], found {}", xs[0])),
        },
        Op::Gather {} => gather(xs[0], xs[1]),
        Op::Linear { .. } => linear(xs[0], xs[1], xs.get(2).copied()),
        Op::MatMul {} => matmul(xs[0], xs[1]),
        Op::Unary { .. } | Op::L2Normalize { .. } | Op::Softmax {} => {
            float(xs[0])?;
            if !matches!(op, Op::Unary { .. }) {
                last(xs[0])?;
            }
            Ok(xs[0].clone())
        }
        Op::Binary { .. } => broadcast(xs),
        Op::Pointwise { expr } => {
            if expr.arity() > xs.len() || expr.depth() > MAX_EXPR_DEPTH {
                return Err(format!(
                    "expr takes {} operands, nested {} deep; expected at most {} operands and {MAX_EXPR_DEPTH} levels",
                    expr.arity(),
                    expr.depth(),
                    xs.len()
                ));
            }
            broadcast(xs)
        }
        Op::LayerNorm { .. } => layer_norm(xs[0], xs[1], xs[2]),
        Op::RmsNorm { .. } => {
            scaled_by(xs[0], xs[1], "gamma")?;
            Ok(xs[0].clone())
        }
        Op::AddLayerNorm { .. } => {
            same(xs[0], xs[1], "x and residual")?;
            layer_norm(xs[0], xs[2], xs[3])
        }
        Op::EmbedLayerNorm { .. } => embed_layer_norm(xs),
        Op::Reduce { axis, .. } => {
            float(xs[0])?;
            without_axis(xs[0], *axis)
        }
        Op::Select { axis, index } => {
            let extent = xs[0].shape.get(*axis).and_then(Dim::as_fixed);
            if extent.is_some_and(|extent| *index as u64 >= extent) {
                return Err(format!("index {index} is outside axis {axis} of {}", xs[0]));
            }
            without_axis(xs[0], *axis)
        }
        Op::Slice { axis, start, end } => slice(xs[0], *axis, *start, *end),
        Op::Concat { axis } => concat(xs, *axis),
        Op::Reshape { shape } => reshape(xs[0], shape),
        Op::Transpose { perm } => transpose(xs[0], perm),
        Op::Attention { heads, head_size, group, scale: _, mask, bias, rotary } => {
            attention::attention(xs, *heads, *head_size, *group)?;
            if let Some(rotary) = rotary {
                attention::turns(rotary, *head_size)?;
            }
            attention::options(xs, *heads, *mask, bias)
        }
        Op::Rotary { heads, head_size, rotary } => {
            attention::rotary(xs[0], *heads, *head_size, rotary)
        }
        Op::Unfold { size, before } => unfold(xs[0], *size, *before),
        Op::Pool { .. } => {
            float(xs[0])?;
            if xs[0].rank() != 2 {
                return Err(format!("x must be [rows, width], found {}", xs[0]));
            }
            without_axis(xs[0], 0)
        }
    }
}

fn float(x: &TensorType) -> Result<(), String> {
    if x.dtype.is_float() { Ok(()) } else { Err(format!("expected a float operand, found {x}")) }
}

fn last(x: &TensorType) -> Result<&Dim, String> {
    x.shape.last().ok_or_else(|| format!("expected at least one axis, found {x}"))
}

fn same(a: &TensorType, b: &TensorType, what: &str) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what} must have one type, found {a} and {b}")) }
}

fn without_axis(x: &TensorType, axis: usize) -> Outcome {
    if axis >= x.rank() {
        return Err(format!("axis {axis} is not one of the {} axes of {x}", x.rank()));
    }
    let mut shape = x.shape.clone();
    shape.remove(axis);
    Ok(TensorType { dtype: x.dtype, shape })
}

fn gather(table: &TensorType, ids: &TensorType) -> Outcome {
    float(table)?;
    if table.rank() != 2 || ids.dtype != DType::I64 {
        return Err(format!(
            "expected a float table [rows, width] and i64 ids, found {table} and {ids}"
        ));
    }
    let mut shape = ids.shape.clone();
    shape.push(table.shape[1].clone());
    Ok(TensorType { dtype: table.dtype, shape })
}

fn linear(x: &TensorType, weight: &TensorType, bias: Option<&TensorType>) -> Outcome {
    float(x)?;
    let k = last(x)?;
    if weight.dtype != x.dtype || weight.rank() != 2 || weight.shape[1] != *k {
        return Err(format!("weight must be {}[N, {k}] for x {x}, found {weight}", x.dtype));
    }
    let n = &weight.shape[0];
    if let Some(bias) = bias
        && (bias.dtype != x.dtype || bias.shape != [n.clone()])
    {
        return Err(format!("bias must be {}[{n}], found {bias}", x.dtype));
    }
    let mut shape = x.shape.clone();
    *shape.last_mut().ok_or("x has no axis")? = n.clone();
    Ok(TensorType { dtype: x.dtype, shape })
}

fn matmul(a: &TensorType, b: &TensorType) -> Outcome {
    float(a)?;
    let rank = a.rank();
    let fits = rank >= 2
        && b.rank() == rank
        && a.dtype == b.dtype
        && a.shape[..rank - 2] == b.shape[..rank - 2]
        && a.shape[rank - 1] == b.shape[rank - 2];
    if !fits {
        return Err(format!("expected [.., M, K] and [.., K, N], found {a} and {b}"));
    }
    let mut shape = a.shape.clone();
    shape[rank - 1] = b.shape[rank - 1].clone();
    Ok(TensorType { dtype: a.dtype, shape })
}

/// The common type of pointwise operands: axes align from the last; 1 and missing axes repeat.
fn broadcast(xs: &[&TensorType]) -> Outcome {
    let first = xs.first().ok_or("expected at least one operand")?;
    for x in xs {
        float(x)?;
        if x.dtype != first.dtype {
            return Err(format!("operands must share one element type, found {first} and {x}"));
        }
    }
    let rank = xs.iter().map(|x| x.rank()).max().unwrap_or(0);
    let mut shape: Shape = vec![Dim::fixed(1); rank];
    for x in xs {
        let offset = rank - x.rank();
        for (i, dim) in x.shape.iter().enumerate() {
            let target = &mut shape[offset + i];
            if *target == Dim::fixed(1) {
                *target = dim.clone();
            } else if *dim != Dim::fixed(1) && dim != target {
                return Err(format!("{x} does not broadcast with an axis of {target}"));
            }
        }
    }
    Ok(TensorType { dtype: first.dtype, shape })
}

fn layer_norm(x: &TensorType, gamma: &TensorType, beta: &TensorType) -> Outcome {
    scaled_by(x, gamma, "gamma")?;
    scaled_by(x, beta, "beta")?;
    Ok(x.clone())
}

/// A vector has an element for each of the last axis of x.
fn scaled_by(x: &TensorType, vector: &TensorType, name: &str) -> Result<(), String> {
    float(x)?;
    let width = last(x)?;
    if vector.dtype != x.dtype || vector.shape != [width.clone()] {
        return Err(format!("{name} must be {}[{width}] for x {x}, found {vector}", x.dtype));
    }
    Ok(())
}

fn embed_layer_norm(xs: &[&TensorType]) -> Outcome {
    let pairs = &xs[2..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(format!(
            "expected pairs of table and ids, found {} operands after beta",
            pairs.len()
        ));
    }
    let first = gather(pairs[0], pairs[1])?;
    for pair in pairs.chunks(2).skip(1) {
        same(&first, &gather(pair[0], pair[1])?, "all gathered rows")?;
    }
    layer_norm(&first, xs[0], xs[1])
}

fn slice(x: &TensorType, axis: usize, start: usize, end: usize) -> Outcome {
    let extent = x
        .shape
        .get(axis)
        .and_then(Dim::as_fixed)
        .ok_or_else(|| format!("axis {axis} of {x} must be a number to be sliced"))?;
    if start >= end || end as u64 > extent {
        return Err(format!("{start}..{end} is not a part of axis {axis} of {x}"));
    }
    let mut shape = x.shape.clone();
    shape[axis] = Dim::from(end - start);
    Ok(TensorType { dtype: x.dtype, shape })
}

fn concat(xs: &[&TensorType], axis: usize) -> Outcome {
    let first = *xs.first().ok_or("expected at least one operand")?;
    let rest = without_axis(first, axis)?;
    let mut extent = Dim::fixed(0);
    for x in xs {
        if x.rank() != first.rank() || without_axis(x, axis)? != rest {
            return Err(format!("operands must agree outside axis {axis}, found {first} and {x}"));
        }
        extent = extent
            .checked_add(&x.shape[axis])
            .ok_or_else(|| format!("axis {axis} of the result is too large"))?;
    }
    let mut shape = first.shape.clone();
    shape[axis] = extent;
    Ok(TensorType { dtype: first.dtype, shape })
}

fn reshape(x: &TensorType, shape: &[Dim]) -> Outcome {
    let result = TensorType { dtype: x.dtype, shape: shape.to_vec() };
    let (Some(before), Some(after)) = (x.checked_elements(), result.checked_elements()) else {
        return Err(format!("{x} or {result} has too many elements to count"));
    };
    if before != after {
        return Err(format!("{x} has {before} elements, {result} has {after}"));
    }
    Ok(result)
}

fn transpose(x: &TensorType, perm: &[usize]) -> Outcome {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return Err(format!("{perm:?} is not a permutation of the axes of {x}"));
    }
    let shape = perm.iter().map(|&axis| x.shape[axis].clone()).collect();
    Ok(TensorType { dtype: x.dtype, shape })
}

fn unfold(x: &TensorType, size: usize, before: usize) -> Outcome {
    float(x)?;
    if x.rank() != 2 {
        return Err(format!("x must be [rows, width], found {x}"));
    }
    if before >= size {
        return Err(format!("expected fewer rows before than the {size} in all, found {before}"));
    }
    let width = Dim::from(size)
        .checked_mul(&x.shape[1])
        .ok_or_else(|| format!("{size} rows of {x} are too many columns"))?;
    Ok(TensorType { dtype: x.dtype, shape: vec![x.shape[0].clone(), width] })
}
