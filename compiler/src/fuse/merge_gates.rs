//! The two linears of a gated layer, whose results are multiplied, become one linear on the concatenated weights, then
//! slices.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @mlp.gate.weight: f32[6, 8]
//! weight @mlp.up.weight: f32[6, 8]
//! %mlp.gate: f32[L, 6] = linear(%x, @mlp.gate.weight) {epilogue = []}
//! %mlp.act: f32[L, 6] = unary(%mlp.gate) {f = silu}
//! %mlp.up: f32[L, 6] = linear(%x, @mlp.up.weight) {epilogue = []}
//! %mlp.gated: f32[L, 6] = binary(%mlp.act, %mlp.up) {f = mul}
//! output y = %mlp.gated
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @mlp.gate.weight: f32[6, 8]
//! weight @mlp.up.weight: f32[6, 8]
//! %mlp.gate_up.weight: f32[12, 8] = concat(@mlp.gate.weight, @mlp.up.weight) {axis = 0}
//! %mlp.gate_up: f32[L, 12] = linear(%x, %mlp.gate_up.weight) {epilogue = []}
//! %mlp.gate: f32[L, 6] = slice(%mlp.gate_up) {axis = 1, start = 0, end = 6}
//! %mlp.act: f32[L, 6] = unary(%mlp.gate) {f = silu}
//! %mlp.up: f32[L, 6] = slice(%mlp.gate_up) {axis = 1, start = 6, end = 12}
//! %mlp.gated: f32[L, 6] = binary(%mlp.act, %mlp.up) {f = mul}
//! output y = %mlp.gated
//! ```
//!
//! The rule is applied at the product, of a linear that a function was applied to and another of the same rows. One pass
//! over the rows makes both, and the function and the product become one step over the columns of its result.
//!
//! It does not apply where linears can't be merged; `merge_linears` says when that is.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::graph::{Graph, NodeId};

use super::merge_linears::{Part, merge};
use super::pattern::{binary, either_way, linear, unary};
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct MergeGates;

impl Rule for MergeGates {
    fn name(&self) -> &'static str {
        "merge_gates"
    }

    fn summary(&self) -> &'static str {
        "the two linears of a gated layer become one, then slices"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(pair) = binary(graph, at, BinaryFn::Mul) else { return Outcome::NoMatch };
        let group = either_way(pair, |acted, up| {
            let (_, gate) = unary(graph, acted)?;
            let (first, second) = (linear(graph, gate)?, linear(graph, up)?);
            (first.x == second.x && gate != up).then_some([
                Part { id: gate, user: acted, role: "gate" },
                Part { id: up, user: at, role: "_up" },
            ])
        });
        group.map_or(Outcome::NoMatch, |group| merge(graph, &group))
    }
}
