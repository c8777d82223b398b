//! Two values with one definition become one value.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %z: f32[L, 8]
//! %sum: f32[L, 8] = binary(%x, %z) {f = add}
//! %same: f32[L, 8] = binary(%z, %x) {f = add}
//! %a: f32[L, 8] = unary(%sum) {f = exp}
//! %b: f32[L, 8] = unary(%same) {f = exp}
//! %y: f32[L, 8] = binary(%a, %b) {f = mul}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %z: f32[L, 8]
//! %sum: f32[L, 8] = binary(%x, %z) {f = add}
//! %a: f32[L, 8] = unary(%sum) {f = exp}
//! %y: f32[L, 8] = binary(%a, %a) {f = mul}
//! output y = %y
//! ```
//!
//! The same definition means the same op, attributes and operands (in any order where the op commutes), or the same
//! constant. Of two such values the one that came first stays.

use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::commutes;
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct CommonSubexpressions;

impl Rule for CommonSubexpressions {
    fn name(&self) -> &'static str {
        "common_subexpressions"
    }

    fn summary(&self) -> &'static str {
        "values with the same definition become one"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let operands = sorted_operands(graph, at);
        let candidates = match operands.first() {
            Some(&operand) => graph.users(operand),
            None => graph.ids().collect(),
        };
        let twin = candidates.into_iter().take_while(|&other| other < at).find(|&other| {
            matches!(graph.node(at).def, Def::Op(_) | Def::Const(_))
                && graph.node(other).def == graph.node(at).def
                && graph.ty(other) == graph.ty(at)
                && sorted_operands(graph, other) == operands
        });
        let Some(twin) = twin else { return Outcome::NoMatch };
        let mut rewrite = Rewrite::new(graph);
        rewrite.replace(at, twin);
        Outcome::Applied(rewrite.finish())
    }
}

/// The operands, in one order for all that mean the same.
fn sorted_operands(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    let mut operands = graph.operands(id);
    if matches!(graph.op(id), Some(Op::Binary { f }) if commutes(*f)) {
        operands.sort_unstable();
    }
    operands
}
