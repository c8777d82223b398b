//! The normalisation of a pooled row to length 1 moves into the pooling.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %mean: f32[8] = pool(%x) {kind = mean, normalize = none}
//! %unit: f32[8] = l2_normalize(%mean) {eps = 1e-12}
//! output embedding = %unit
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %unit: f32[8] = pool(%x) {kind = mean, normalize = 1e-12}
//! output embedding = %unit
//! ```
//!
//! It does not apply when the row before the normalisation is needed as well.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::only_for;
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct PoolNormalize;

impl Rule for PoolNormalize {
    fn name(&self) -> &'static str {
        "pool_normalize"
    }

    fn summary(&self) -> &'static str {
        "the normalisation of a pooled row to length 1 moves into the pooling"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::L2Normalize { eps }) = graph.op(at) else { return Outcome::NoMatch };
        let pooled = graph.operands(at)[0];
        let Some(Op::Pool { kind, normalize: None }) = graph.op(pooled) else {
            return Outcome::NoMatch;
        };
        if let Err(reason) = only_for(graph, pooled, at) {
            return Outcome::Refused(reason);
        }
        let op = Op::Pool { kind: *kind, normalize: Some(*eps) };
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), op, &graph.operands(pooled))
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}
