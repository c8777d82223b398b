//! The residual sum before a layer normalisation is computed inside it.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %residual: f32[L, 8]
//! weight @gamma: f32[8]
//! weight @beta: f32[8]
//! %sum: f32[L, 8] = binary(%x, %residual) {f = add}
//! %norm: f32[L, 8] = layer_norm(%sum, @gamma, @beta) {eps = 1e-12}
//! output y = %norm
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %residual: f32[L, 8]
//! weight @gamma: f32[8]
//! weight @beta: f32[8]
//! %norm: f32[L, 8] = add_layer_norm(%x, %residual, @gamma, @beta) {eps = 1e-12}
//! output y = %norm
//! ```
//!
//! It does not apply when the sum itself is needed as well, as in layers that normalise first, or when one addend is
//! repeated over the rows of the other, or is made of weights.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::{binary, is_shared, only_for, shown};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct AddLayerNorm;

impl Rule for AddLayerNorm {
    fn name(&self) -> &'static str {
        "add_layer_norm"
    }

    fn summary(&self) -> &'static str {
        "the residual sum before a layer normalisation is computed inside it"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::LayerNorm { eps }) = graph.op(at) else { return Outcome::NoMatch };
        let [sum, gamma, beta] = graph.operands(at)[..] else { return Outcome::NoMatch };
        let Some([x, residual]) = binary(graph, sum, BinaryFn::Add) else {
            return Outcome::NoMatch;
        };
        if graph.ty(x) != graph.ty(residual) {
            return Outcome::Refused(format!(
                "the addends of {} are {} and {}, expected one type",
                shown(graph, sum),
                graph.ty(x),
                graph.ty(residual)
            ));
        }
        if let Some(shared) = [x, residual].into_iter().find(|&addend| is_shared(graph, addend)) {
            return Outcome::Refused(format!(
                "{} is made of weights, expected rows of the sample",
                shown(graph, shared)
            ));
        }
        if let Err(reason) = only_for(graph, sum, at) {
            return Outcome::Refused(reason);
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::AddLayerNorm { eps: *eps }, &[x, residual, gamma, beta])
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}
