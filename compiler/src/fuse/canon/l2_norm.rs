//! A division by the L2 norm, written out, becomes one op.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %squares: f32[L, 8] = binary(%x, %x) {f = mul}
//! %sum: f32[L] = reduce(%squares) {f = sum, axis = 1}
//! %root: f32[L] = unary(%sum) {f = sqrt}
//! const %eps = 1e-12
//! %safe: f32[L] = binary(%root, %eps) {f = max}
//! %norm: f32[L, 1] = reshape(%safe) {shape = [L, 1]}
//! %y: f32[L, 8] = binary(%x, %norm) {f = div}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %y: f32[L, 8] = l2_normalize(%x) {eps = 1e-12}
//! output y = %y
//! ```
//!
//! The rule is applied at the quotient, or the product with the reciprocal root. Without a smallest norm it is 0. It does
//! not apply when the norm is needed as well.

use bytec_ir::attrs::{BinaryFn, ReduceFn, UnaryFn};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::super::pattern::{binary, with_constant};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};
use super::rows::{epsilon, function, over_root, private, reduced, spread, squared};

/// The rule of this file.
pub(in super::super) struct L2Norm;

impl Rule for L2Norm {
    fn name(&self) -> &'static str {
        "l2_norm"
    }

    fn summary(&self) -> &'static str {
        "a division by the L2 norm, written out, becomes one op"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Found { x, eps, between }) = bounded(graph, at).or_else(|| bare(graph, at)) else {
            return Outcome::NoMatch;
        };
        let checked = private(graph, at, &between).and_then(|()| epsilon(eps));
        let eps = match checked {
            Ok(eps) => eps,
            Err(reason) => return Outcome::Refused(reason),
        };
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::L2Normalize { eps }, &[x])
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}

/// A row divided by its norm.
struct Found {
    x: NodeId,
    eps: f64,
    /// From the divisor down to the squares.
    between: Vec<NodeId>,
}

/// `x / max(sqrt(sum(x^2)), eps)`
fn bounded(graph: &Graph, at: NodeId) -> Option<Found> {
    let [x, norm] = binary(graph, at, BinaryFn::Div)?;
    let safe = spread(graph, norm, x)?;
    let (root, eps) = with_constant(graph, safe, BinaryFn::Max)?;
    let sum = function(graph, root, UnaryFn::Sqrt)?;
    let squares = sum_of_squares(graph, sum, x)?;
    Some(Found { x, eps, between: vec![norm, safe, root, sum, squares] })
}

/// `x / sqrt(sum(x^2))`
fn bare(graph: &Graph, at: NodeId) -> Option<Found> {
    let found = over_root(graph, at)?;
    let squares = sum_of_squares(graph, found.radicand, found.x)?;
    let between = found.between.into_iter().chain([found.radicand, squares]).collect();
    Some(Found { x: found.x, eps: 0.0, between })
}

/// `x * x`, of which `id` is the sum over the last axis.
fn sum_of_squares(graph: &Graph, id: NodeId, x: NodeId) -> Option<NodeId> {
    let squares = reduced(graph, id, ReduceFn::Sum)?;
    (squared(graph, squares)? == x).then_some(squares)
}
