//! The mean, the maximum or the first of a sample's rows becomes a pooling, which works on rows of any number.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %mean: f32[8] = reduce(%x) {f = mean, axis = 0}
//! %first: f32[8] = select(%x) {axis = 0, index = 0}
//! output mean = %mean
//! output cls = %first
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %mean: f32[8] = pool(%x) {kind = mean, normalize = none}
//! %first: f32[8] = pool(%x) {kind = cls, normalize = none}
//! output mean = %mean
//! output cls = %first
//! ```
//!
//! It does not apply to values with other than two axes, or whose rows are the same number for every sample.

use bytec_ir::attrs::{PoolKind, ReduceFn};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct Pool;

impl Rule for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn summary(&self) -> &'static str {
        "the mean, the maximum or the first of a sample's rows becomes a pooling"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let kind = match graph.op(at) {
            Some(Op::Reduce { f: ReduceFn::Mean, axis: 0 }) => PoolKind::Mean,
            Some(Op::Reduce { f: ReduceFn::Max, axis: 0 }) => PoolKind::Max,
            Some(Op::Select { axis: 0, index: 0 }) => PoolKind::Cls,
            _ => return Outcome::NoMatch,
        };
        let operands = graph.operands(at);
        let ty = graph.ty(operands[0]);
        let ragged = ty.rank() == 2
            && ty.dtype.is_float()
            && ty.shape[0].as_fixed().is_none()
            && ty.shape[1].as_fixed().is_some();
        if !ragged {
            return Outcome::NoMatch;
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Pool { kind, normalize: None }, &operands)
            .map(|pooled| {
                rewrite.replace(at, pooled);
                rewrite.finish()
            })
            .into()
    }
}
