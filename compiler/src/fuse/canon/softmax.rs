//! A softmax written out becomes one.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %most: f32[L] = reduce(%x) {f = max, axis = 1}
//! %largest: f32[L, 1] = reshape(%most) {shape = [L, 1]}
//! %below: f32[L, 8] = binary(%x, %largest) {f = sub}
//! %weights: f32[L, 8] = unary(%below) {f = exp}
//! %sum: f32[L] = reduce(%weights) {f = sum, axis = 1}
//! %total: f32[L, 1] = reshape(%sum) {shape = [L, 1]}
//! %y: f32[L, 8] = binary(%weights, %total) {f = div}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %y: f32[L, 8] = softmax(%x)
//! output y = %y
//! ```
//!
//! The rule is applied at the quotient. It does not apply when the exponentials or their sum are needed as well, nor where
//! the largest is not subtracted first, which overflows where a softmax does not.

use bytec_ir::attrs::{BinaryFn, ReduceFn, UnaryFn};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::super::pattern::{binary, only_within, shown};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};
use super::rows::{function, private, reduced, spread};

/// The rule of this file.
pub(in super::super) struct Softmax;

impl Rule for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn summary(&self) -> &'static str {
        "a softmax written out becomes one"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some((exponentials, total, sum)) = share(graph, at) else { return Outcome::NoMatch };
        let Some(below) = function(graph, exponentials, UnaryFn::Exp) else {
            return Outcome::NoMatch;
        };
        let Some(x) = less_largest(graph, below) else {
            return Outcome::Refused(format!(
                "{} is not a value less the largest of its row",
                shown(graph, below)
            ));
        };
        let alone = private(graph, at, &[total, sum])
            .and_then(|()| only_within(graph, exponentials, &[at, sum]))
            .and_then(|()| only_within(graph, below, &[exponentials]));
        if let Err(reason) = alone {
            return Outcome::Refused(reason);
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Softmax {}, &[x])
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}

/// `e`, and its sum, spread and plain, of `e / sum(e)`.
fn share(graph: &Graph, at: NodeId) -> Option<(NodeId, NodeId, NodeId)> {
    let [x, total] = binary(graph, at, BinaryFn::Div)?;
    let sum = spread(graph, total, x)?;
    (reduced(graph, sum, ReduceFn::Sum)? == x).then_some((x, total, sum))
}

/// `x` of `x - max(x)`.
fn less_largest(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let [x, largest] = binary(graph, id, BinaryFn::Sub)?;
    let of_rows = spread(graph, largest, x)?;
    (reduced(graph, of_rows, ReduceFn::Max)? == x).then_some(x)
}
