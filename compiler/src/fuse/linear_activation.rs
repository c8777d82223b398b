//! A function of a linear's result moves into the linear's epilogue, after those that are there.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! weight @b: f32[16]
//! %up: f32[L, 16] = linear(%x, @w, @b) {epilogue = []}
//! %act: f32[L, 16] = unary(%up) {f = gelu_erf}
//! %bounded: f32[L, 16] = unary(%act) {f = tanh}
//! output y = %bounded
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! weight @b: f32[16]
//! %bounded: f32[L, 16] = linear(%x, @w, @b) {epilogue = [gelu_erf, tanh]}
//! output y = %bounded
//! ```
//!
//! It does not apply when the result before the function is needed as well.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::{linear, only_for, unary};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct LinearActivation;

impl Rule for LinearActivation {
    fn name(&self) -> &'static str {
        "linear_activation"
    }

    fn summary(&self) -> &'static str {
        "a function of a linear's result moves into the linear's epilogue"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some((f, sum)) = unary(graph, at) else { return Outcome::NoMatch };
        let Some(layer) = linear(graph, sum) else { return Outcome::NoMatch };
        if let Err(reason) = only_for(graph, sum, at) {
            return Outcome::Refused(reason);
        }
        let epilogue = layer.epilogue.iter().copied().chain([f]).collect();
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Linear { epilogue }, &graph.operands(sum))
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}
