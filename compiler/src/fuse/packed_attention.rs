//! Scores, scale, softmax and value become one attention, which never writes the scores.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %q: f32[L, 8]
//! input %k: f32[L, 8]
//! input %v: f32[L, 8]
//! %q.split: f32[L, 2, 4] = reshape(%q) {shape = [L, 2, 4]}
//! %q.heads: f32[2, L, 4] = transpose(%q.split) {perm = [1, 0, 2]}
//! %k.split: f32[L, 2, 4] = reshape(%k) {shape = [L, 2, 4]}
//! %k.heads: f32[2, 4, L] = transpose(%k.split) {perm = [1, 2, 0]}
//! %v.split: f32[L, 2, 4] = reshape(%v) {shape = [L, 2, 4]}
//! %v.heads: f32[2, L, 4] = transpose(%v.split) {perm = [1, 0, 2]}
//! %scores: f32[2, L, L] = matmul(%q.heads, %k.heads)
//! const %scale = 0.5
//! %scaled: f32[2, L, L] = binary(%scores, %scale) {f = mul}
//! %softmax: f32[2, L, L] = softmax(%scaled)
//! %context: f32[2, L, 4] = matmul(%softmax, %v.heads)
//! %context.rows: f32[L, 2, 4] = transpose(%context) {perm = [1, 0, 2]}
//! %merged: f32[L, 8] = reshape(%context.rows) {shape = [L, 8]}
//! output y = %merged
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %q: f32[L, 8]
//! input %k: f32[L, 8]
//! input %v: f32[L, 8]
//! %merged: f32[L, 8] = attention(%q, %k, %v) {heads = 2, head_size = 4, scale = 0.5}
//! output y = %merged
//! ```
//!
//! The rule is applied at the product with the value. The scale may be a product with or a quotient by a constant, of the
//! scores or of the query or key at any place before them; without one it is 1. One head needs no splitting.
//!
//! It does not apply when the scores, the weights or the context are needed as well, when anything but a constant factor
//! changes the scores (a mask is an attribute of attention), or when the heads are laid out otherwise.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::dim::Dim;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::{Op, OpKind};
use bytec_ir::patch::Change;

use super::pattern::{fixed, only_for, operands_of, shown, sole_user, transpose, with_constant};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct PackedAttention;

impl Rule for PackedAttention {
    fn name(&self) -> &'static str {
        "packed_attention"
    }

    fn summary(&self) -> &'static str {
        "scores, scale, softmax and value become one attention"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some([weights, value]) = operands_of(graph, at, OpKind::MatMul) else {
            return Outcome::NoMatch;
        };
        let Some([scores]) = operands_of(graph, weights, OpKind::Softmax) else {
            return Outcome::NoMatch;
        };
        match recognise(graph, at, [scores, weights, value]) {
            Ok(found) => build(graph, &found).into(),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// An attention in plain ops.
struct Found {
    q: NodeId,
    k: NodeId,
    v: NodeId,
    heads: usize,
    head_size: usize,
    scale: f64,
    /// What attention takes the place of.
    result: NodeId,
}

/// The parts of the attention that ends in the product `at` of `weights`, the softmax of `scores`, and `value`; or why it
/// is none.
fn recognise(
    graph: &Graph,
    at: NodeId,
    [mut scores, weights, value]: [NodeId; 3],
) -> Result<Found, String> {
    only_for(graph, weights, at)?;
    let mut scale = 1.0;
    let mut user = weights;
    while let Some((unscaled, factor)) = scaled(graph, scores) {
        only_for(graph, scores, user)?;
        scale *= factor;
        user = scores;
        scores = unscaled;
    }
    let Some([q, k]) = operands_of(graph, scores, OpKind::MatMul) else {
        return Err(format!(
            "the softmax is over {}, {}; expected scores, a matmul times at most a constant",
            shown(graph, scores),
            what(graph, scores)
        ));
    };
    only_for(graph, scores, user)?;
    let rank = graph.ty(at).rank();
    let mut bare = |id| unscale(graph, id, &mut scale);
    let (q, k, v, (heads, head_size), result) = match rank {
        2 => {
            let q = bare(q);
            let k = bare(k);
            let k = bare(moved(graph, k, "key", &[1, 0])?);
            let head_size = fixed(&graph.ty(q).shape[1]).ok_or("the head size is not a number")?;
            (q, k, value, (1, head_size), at)
        }
        3 => {
            let (q, query_heads) = split(graph, q, "query", [1, 0, 2], &mut bare)?;
            let (k, key_heads) = split(graph, k, "key", [1, 2, 0], &mut bare)?;
            let (v, value_heads) = split(graph, value, "value", [1, 0, 2], &mut |id| id)?;
            for (role, found) in [("key", key_heads), ("value", value_heads)] {
                if found != query_heads {
                    return Err(format!(
                        "the {role} has {} heads of {} columns, the query {} of {}",
                        found.0, found.1, query_heads.0, query_heads.1
                    ));
                }
            }
            (q, k, v, query_heads, merged(graph, at)?)
        }
        _ => {
            return Err(format!(
                "{} has {rank} axes, expected heads, rows and head size: a graph is one sample, without a batch axis",
                shown(graph, at)
            ));
        }
    };
    if !scale.is_finite() {
        return Err(format!("the scale is {scale}"));
    }
    Ok(Found { q, k, v, heads, head_size, scale, result })
}

/// `x` and the factor of a value that is `x` times a constant.
fn scaled(graph: &Graph, id: NodeId) -> Option<(NodeId, f64)> {
    with_constant(graph, id, BinaryFn::Mul)
        .or_else(|| with_constant(graph, id, BinaryFn::Div).map(|(x, c)| (x, 1.0 / c)))
}

/// The value before constant factors, which go into `scale`. A scaled value that is needed as well stays as it is.
fn unscale(graph: &Graph, mut id: NodeId, scale: &mut f64) -> NodeId {
    while let Some((x, factor)) = scaled(graph, id)
        && graph.use_count(id) == 1
    {
        *scale *= factor;
        id = x;
    }
    id
}

/// What a value is, for a reason.
fn what(graph: &Graph, id: NodeId) -> String {
    match graph.op(id) {
        Some(Op::Binary { f }) => format!("a binary {f}"),
        Some(op) => format!("a {}", op.kind()),
        None => "no op's result".to_owned(),
    }
}

/// The operand of a transpose by `perm`.
fn moved(graph: &Graph, id: NodeId, role: &str, perm: &[usize]) -> Result<NodeId, String> {
    match transpose(graph, id) {
        Some((found, x)) if found == perm => Ok(x),
        Some((found, _)) => Err(format!(
            "the {role} {} is transposed by {found:?}, expected {perm:?}",
            shown(graph, id)
        )),
        None => Err(format!(
            "the {role} {} is {}, expected a transpose by {perm:?}",
            shown(graph, id),
            what(graph, id)
        )),
    }
}

/// The rows `[rows, heads * head_size]` whose heads `id` has split and moved by `perm`; the heads and their size.
fn split(
    graph: &Graph,
    id: NodeId,
    role: &str,
    perm: [usize; 3],
    bare: &mut impl FnMut(NodeId) -> NodeId,
) -> Result<(NodeId, (usize, usize)), String> {
    let id = bare(id);
    let split = bare(moved(graph, id, role, &perm)?);
    let Some([rows]) = operands_of(graph, split, OpKind::Reshape) else {
        return Err(format!(
            "the {role} {} is {}, expected a reshape of rows into heads",
            shown(graph, split),
            what(graph, split)
        ));
    };
    let shape = &graph.ty(split).shape;
    let heads = fixed(&shape[1]).ok_or("the number of heads is not a number")?;
    let head_size = fixed(&shape[2]).ok_or("the head size is not a number")?;
    if graph.ty(rows).shape != [shape[0].clone(), Dim::from(heads * head_size)] {
        return Err(format!(
            "the {role} {} splits {} into {}, expected [rows, heads * head size] into [rows, heads, head size]",
            shown(graph, split),
            graph.ty(rows),
            graph.ty(split)
        ));
    }
    Ok((bare(rows), (heads, head_size)))
}

/// Where the heads of the context are beside each other in rows again: the reshape, or the transpose if that is used
/// otherwise.
fn merged(graph: &Graph, context: NodeId) -> Result<NodeId, String> {
    let moved_back = sole_user(graph, context)?;
    let perm = transpose(graph, moved_back).map(|(perm, _)| perm);
    if perm != Some(&[1, 0, 2]) {
        return Err(format!(
            "{} goes to {}, {}; expected a transpose by [1, 0, 2] back to rows",
            shown(graph, context),
            shown(graph, moved_back),
            what(graph, moved_back)
        ));
    }
    let merge = sole_user(graph, moved_back).ok().filter(|&user| {
        let kind = graph.op(user).map(Op::kind);
        kind == Some(OpKind::Reshape) && graph.ty(user).rank() == 2
    });
    let rows = &graph.ty(moved_back).shape[0];
    Ok(merge.filter(|&merge| graph.ty(merge).shape[0] == *rows).unwrap_or(moved_back))
}

fn build(graph: &Graph, found: &Found) -> Result<Change, InferError> {
    let Found { q, k, v, heads, head_size, scale, result } = *found;
    let mut rewrite = Rewrite::new(graph);
    let op = Op::attention(heads, head_size, scale);
    let mut attention = rewrite.op(graph.name(result), op, &[q, k, v])?;
    let shape = &graph.ty(result).shape;
    if shape.len() == 3 {
        let name = graph.name(result);
        attention = rewrite.op(name, Op::Reshape { shape: shape.clone() }, &[attention])?;
    }
    rewrite.replace(result, attention);
    Ok(rewrite.finish())
}
