//! A constant factor of an attention's query or key goes into its scale.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %q: f32[L, 8]
//! input %k: f32[L, 8]
//! input %v: f32[L, 8]
//! const %half = 0.5
//! %q.scaled: f32[L, 8] = binary(%q, %half) {f = mul}
//! %y: f32[L, 8] = attention(%q.scaled, %k, %v) {heads = 2, head_size = 4, scale = 1.0}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %q: f32[L, 8]
//! input %k: f32[L, 8]
//! input %v: f32[L, 8]
//! %y: f32[L, 8] = attention(%q, %k, %v) {heads = 2, head_size = 4, scale = 0.5}
//! output y = %y
//! ```
//!
//! It does not apply when the scaled value is needed as well, or when the attention adds terms of the query or key alone to
//! the scores, which the factor would change too.

use bytec_ir::attention::Bias;
use bytec_ir::attrs::{BinaryFn, Real};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::super::pattern::{only_for, shown, with_constant};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct ScaledAttention;

impl Rule for ScaledAttention {
    fn name(&self) -> &'static str {
        "scaled_attention"
    }

    fn summary(&self) -> &'static str {
        "a constant factor of an attention's query or key goes into its scale"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::Attention { heads, head_size, group, scale, mask, bias, rotary }) =
            graph.op(at)
        else {
            return Outcome::NoMatch;
        };
        let mut operands = graph.operands(at);
        let factor = |id| {
            let product = with_constant(graph, id, BinaryFn::Mul);
            product.or_else(|| with_constant(graph, id, BinaryFn::Div).map(|(x, c)| (x, 1.0 / c)))
        };
        let scaled = (0..2).find_map(|i| Some((i, factor(operands[i])?)));
        let Some((place, (x, factor))) = scaled else { return Outcome::NoMatch };
        if matches!(bias, Bias::Disentangled { .. }) {
            return Outcome::Refused(format!(
                "{} is also scored against positions, which the factor does not scale",
                shown(graph, operands[place])
            ));
        }
        if let Err(reason) = only_for(graph, operands[place], at) {
            return Outcome::Refused(reason);
        }
        let scale = Real(scale.0 * factor);
        if !scale.0.is_finite() {
            return Outcome::Refused(format!("the scale would be {}", scale.0));
        }
        operands[place] = x;
        let (heads, head_size, group, mask) = (*heads, *head_size, *group, *mask);
        let (bias, rotary) = (bias.clone(), *rotary);
        let mut rewrite = Rewrite::new(graph);
        let op = Op::Attention { heads, head_size, group, scale, mask, bias, rotary };
        rewrite
            .op(graph.name(at), op, &operands)
            .map(|attention| {
                rewrite.replace(at, attention);
                rewrite.finish()
            })
            .into()
    }
}
