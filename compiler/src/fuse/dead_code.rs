//! Ops that no output needs are removed, with the weights and constants that only they use.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %unused: i64[L]
//! weight @w: f32[8, 8]
//! weight @v: f32[8, 8]
//! %kept: f32[L, 8] = linear(%x, @w) {epilogue = []}
//! %lost: f32[L, 8] = linear(%kept, @v) {epilogue = []}
//! %gone: f32[L, 8] = unary(%lost) {f = tanh}
//! output y = %kept
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %unused: i64[L]
//! weight @w: f32[8, 8]
//! %kept: f32[L, 8] = linear(%x, @w) {epilogue = []}
//! output y = %kept
//! ```
//!
//! Inputs stay, used or not: they are the model's signature.

use std::collections::BTreeSet;

use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::patch::Patch;

use super::rewrite::dying;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct DeadCode;

impl Rule for DeadCode {
    fn name(&self) -> &'static str {
        "dead_code"
    }

    fn summary(&self) -> &'static str {
        "values that no output needs are removed"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let input = matches!(graph.node(at).def, Def::Input { .. });
        if input || graph.use_count(at) > 0 {
            return Outcome::NoMatch;
        }
        let mut patch = Patch::new(graph);
        for id in dying(graph, &[at], &BTreeSet::new()) {
            patch.remove(id);
        }
        Outcome::Applied(patch.finish())
    }
}
