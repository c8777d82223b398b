//! What the decomposed normalisations are made of: one number for each row, spread over it again.

use bytec_ir::attrs::{BinaryFn, Real, ReduceFn, UnaryFn};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::{Op, OpKind};

use super::super::pattern::{
    binary, either_way, is_shared, only_for, operands_of, unary, with_constant,
};
use super::super::rewrite::Rewrite;

/// The values, one for each row of `like`, of a value that repeats them along its last axis: a reshape that appends an axis
/// of 1, or for a single row the number itself.
pub(super) fn spread(graph: &Graph, id: NodeId, like: NodeId) -> Option<NodeId> {
    let (_, lead) = graph.ty(like).shape.split_last()?;
    if lead.is_empty() && graph.ty(id).rank() == 0 {
        return Some(id);
    }
    let [x] = operands_of(graph, id, OpKind::Reshape)?;
    let shape = &graph.ty(id).shape;
    let column = shape.len() == lead.len() + 1
        && shape.starts_with(lead)
        && shape.last().and_then(|dim| dim.as_fixed()) == Some(1);
    (column && graph.ty(x).shape == lead).then_some(x)
}

/// `x` of `f` over the last axis of `x`.
pub(super) fn reduced(graph: &Graph, id: NodeId, f: ReduceFn) -> Option<NodeId> {
    match graph.op(id)? {
        Op::Reduce { f: found, axis } if *found == f => {
            let x = *graph.operands(id).first()?;
            (axis + 1 == graph.ty(x).rank()).then_some(x)
        }
        _ => None,
    }
}

/// `x` of `x * x`.
pub(super) fn squared(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let [a, b] = binary(graph, id, BinaryFn::Mul)?;
    (a == b).then_some(a)
}

/// `x` of `f(x)`.
pub(super) fn function(graph: &Graph, id: NodeId, f: UnaryFn) -> Option<NodeId> {
    unary(graph, id).filter(|(found, _)| *found == f).map(|(_, x)| x)
}

/// A row divided by the root of a number of its own.
pub(super) struct OverRoot {
    /// The row.
    pub(super) x: NodeId,
    /// What the root is of, one number for each row.
    pub(super) radicand: NodeId,
    /// The root or its reciprocal, and it spread over the row: with the radicand all that lies between.
    pub(super) between: Vec<NodeId>,
}

/// `x / sqrt(v)`, or `x * rsqrt(v)`.
pub(super) fn over_root(graph: &Graph, id: NodeId) -> Option<OverRoot> {
    let found = |x: NodeId, root: NodeId, f: UnaryFn| {
        let of_rows = spread(graph, root, x)?;
        let radicand = function(graph, of_rows, f)?;
        Some(OverRoot { x, radicand, between: vec![root, of_rows] })
    };
    if let Some([x, root]) = binary(graph, id, BinaryFn::Div) {
        return found(x, root, UnaryFn::Sqrt);
    }
    either_way(binary(graph, id, BinaryFn::Mul)?, |x, root| found(x, root, UnaryFn::Rsqrt))
}

/// `x` and `eps` of `mean(x^2) + eps`, and what lies between.
pub(super) fn mean_square(graph: &Graph, id: NodeId) -> Option<(NodeId, f64, [NodeId; 2])> {
    let (mean, eps) = with_constant(graph, id, BinaryFn::Add)?;
    let square = reduced(graph, mean, ReduceFn::Mean)?;
    Some((squared(graph, square)?, eps, [mean, square]))
}

/// What follows a normalised row: times one vector of weights, plus another, as far as nothing else needs what is between.
pub(super) struct Affine {
    pub(super) gamma: Option<NodeId>,
    pub(super) beta: Option<NodeId>,
    /// The last value, which has it all.
    pub(super) result: NodeId,
}

/// The vectors that scale and shift `id`; `shifts` says whether the second is looked for.
pub(super) fn affine(graph: &Graph, id: NodeId, shifts: bool) -> Affine {
    let mut found = Affine { gamma: None, beta: None, result: id };
    if let Some((gamma, result)) = with_vector(graph, found.result, BinaryFn::Mul) {
        (found.gamma, found.result) = (Some(gamma), result);
    }
    if shifts && let Some((beta, result)) = with_vector(graph, found.result, BinaryFn::Add) {
        (found.beta, found.result) = (Some(beta), result);
    }
    found
}

/// The vector of weights that the only user of `id` adds or multiplies with, and that user.
fn with_vector(graph: &Graph, id: NodeId, f: BinaryFn) -> Option<(NodeId, NodeId)> {
    let user = super::super::pattern::sole_user(graph, id).ok()?;
    let width = graph.ty(id).shape.last()?;
    let vector = either_way(binary(graph, user, f)?, |x, vector| {
        let fits = x == id && graph.ty(vector).shape == std::slice::from_ref(width);
        (fits && is_shared(graph, vector)).then_some(vector)
    })?;
    Some((vector, user))
}

/// Nothing needs the values between but the pattern itself: each is used only by the value before it in the list, the
/// first by `at`.
pub(super) fn private(graph: &Graph, at: NodeId, chain: &[NodeId]) -> Result<(), String> {
    let mut user = at;
    for &id in chain {
        if id != user {
            only_for(graph, id, user)?;
        }
        user = id;
    }
    Ok(())
}

/// A vector of `width` times `value`, made of nothing else: for a normalisation without weights of its own.
pub(super) fn filled(
    rewrite: &mut Rewrite<'_>,
    name: &str,
    value: f64,
    width: usize,
) -> Result<NodeId, InferError> {
    let number = rewrite.constant(&format!("{name}.number"), value);
    let one = Op::Reshape { shape: vec![1u64.into()] };
    let mut part = rewrite.op(&format!("{name}.one"), one, &[number])?;
    let mut length = 1;
    while length < width {
        let double = rewrite.op(&format!("{name}.part"), Op::Concat { axis: 0 }, &[part, part])?;
        length *= 2;
        part = match length > width {
            true => {
                let slice = Op::Slice { axis: 0, start: 0, end: width };
                rewrite.op(&format!("{name}.part"), slice, &[double])?
            }
            false => double,
        };
    }
    Ok(part)
}

/// As many zeros, or ones, as `vector` has elements, computed from it.
pub(super) fn filled_like(
    rewrite: &mut Rewrite<'_>,
    name: &str,
    value: f64,
    vector: NodeId,
) -> Result<NodeId, InferError> {
    let zero = rewrite.constant(&format!("{name}.zero"), 0.0);
    let zeros = rewrite.op(name, Op::Binary { f: BinaryFn::Mul }, &[vector, zero])?;
    if value == 0.0 {
        return Ok(zeros);
    }
    let number = rewrite.constant(&format!("{name}.number"), value);
    rewrite.op(name, Op::Binary { f: BinaryFn::Add }, &[zeros, number])
}

/// `eps` as an attribute, if it is one that a normalisation may have.
pub(super) fn epsilon(eps: f64) -> Result<Real, String> {
    if eps.is_finite() && eps >= 0.0 {
        Ok(Real(eps))
    } else {
        Err(format!("{eps} is added to the mean of the squares, expected a number of 0 or more"))
    }
}
