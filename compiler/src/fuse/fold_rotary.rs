//! Rotations of q and k go into the attention, which turns them where it reads them.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %q: f32[L, 8]
//! input %k: f32[L, 8]
//! input %v: f32[L, 8]
//! %q.turned: f32[L, 8] = rotary(%q) {heads = 2, head_size = 4, rotary = half(4, 10000.0)}
//! %k.turned: f32[L, 8] = rotary(%k) {heads = 2, head_size = 4, rotary = half(4, 10000.0)}
//! %y: f32[L, 8] = attention(%q.turned, %k.turned, %v) {heads = 2, head_size = 4, scale = 0.5}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %q: f32[L, 8]
//! input %k: f32[L, 8]
//! input %v: f32[L, 8]
//! %y: f32[L, 8] = attention(%q, %k, %v) {heads = 2, head_size = 4, scale = 0.5, rotary = half(4, 10000.0)}
//! output y = %y
//! ```
//!
//! The rule is applied at the attention. It does not apply when only one of q and k is turned, when they are turned
//! otherwise, or when a turned value is needed as well.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::{only_for, shown};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct FoldRotary;

impl Rule for FoldRotary {
    fn name(&self) -> &'static str {
        "fold_rotary"
    }

    fn summary(&self) -> &'static str {
        "rotations of q and k go into the attention"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::Attention { heads, head_size, group, scale, mask, bias, rotary: None }) =
            graph.op(at)
        else {
            return Outcome::NoMatch;
        };
        let mut operands = graph.operands(at);
        let turned = [operands[0], operands[1]];
        let turn = turned.map(|id| graph.op(id).filter(|op| matches!(op, Op::Rotary { .. })));
        let (q, k) = match turn {
            [None, None] => return Outcome::NoMatch,
            [Some(q), Some(k)] => (q, k),
            [Some(_), None] | [None, Some(_)] => {
                return Outcome::Refused("only one of q and k is turned".to_owned());
            }
        };
        let &Op::Rotary { rotary, heads: count, head_size: size } = q else {
            return Outcome::NoMatch;
        };
        let of_k = Op::Rotary { rotary, heads: count / group, head_size: size };
        if *k != of_k || (count, size) != (*heads, *head_size) {
            return Outcome::Refused(format!(
                "{} and {} are not turned as the attention's heads are",
                shown(graph, turned[0]),
                shown(graph, turned[1])
            ));
        }
        for (operand, id) in turned.into_iter().enumerate() {
            if let Err(reason) = only_for(graph, id, at) {
                return Outcome::Refused(reason);
            }
            operands[operand] = graph.operands(id)[0];
        }
        let (heads, head_size, group) = (*heads, *head_size, *group);
        let (scale, mask) = (*scale, *mask);
        let (bias, rotary) = (bias.clone(), Some(rotary));
        let mut rewrite = Rewrite::new(graph);
        let op = Op::Attention { heads, head_size, group, scale, mask, bias, rotary };
        let built = rewrite.op(graph.name(at), op, &operands);
        built
            .map(|attention| {
                rewrite.replace(at, attention);
                rewrite.finish()
            })
            .into()
    }
}
