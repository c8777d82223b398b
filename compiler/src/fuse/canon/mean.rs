//! A sum divided by how many were summed becomes a mean.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %sums: f32[L] = reduce(%x) {f = sum, axis = 1}
//! const %width = 8.0
//! %mean: f32[L] = binary(%sums, %width) {f = div}
//! output y = %mean
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %mean: f32[L] = reduce(%x) {f = mean, axis = 1}
//! output y = %mean
//! ```
//!
//! A product with the reciprocal of the number, as near as f32 comes to it, is the same. It does not apply when the sum is
//! needed as well.

use bytec_ir::attrs::{BinaryFn, ReduceFn};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::super::pattern::{only_for, with_constant};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct Mean;

impl Rule for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn summary(&self) -> &'static str {
        "a sum divided by how many were summed becomes a mean"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let product = with_constant(graph, at, BinaryFn::Mul);
        let quotient = || with_constant(graph, at, BinaryFn::Div).map(|(x, c)| (x, 1.0 / c));
        let Some((sum, factor)) = product.or_else(quotient) else { return Outcome::NoMatch };
        let Some(&Op::Reduce { f: ReduceFn::Sum, axis }) = graph.op(sum) else {
            return Outcome::NoMatch;
        };
        let operands = graph.operands(sum);
        let extent = graph.ty(operands[0]).shape[axis].as_fixed();
        let whole =
            extent.is_some_and(|n| (factor * n as f64 - 1.0).abs() <= f64::from(f32::EPSILON));
        if !whole {
            return Outcome::NoMatch;
        }
        if let Err(reason) = only_for(graph, sum, at) {
            return Outcome::Refused(reason);
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Reduce { f: ReduceFn::Mean, axis }, &operands)
            .map(|mean| {
                rewrite.replace(at, mean);
                rewrite.finish()
            })
            .into()
    }
}
