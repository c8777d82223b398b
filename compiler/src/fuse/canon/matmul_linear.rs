//! A product of rows with a matrix of weights becomes a linear layer.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! %w.turned: f32[8, 16] = transpose(@w) {perm = [1, 0]}
//! %y: f32[L, 16] = matmul(%x, %w.turned)
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[16, 8]
//! %y: f32[L, 16] = linear(%x, @w) {epilogue = []}
//! output y = %y
//! ```
//!
//! A matrix that is not a transpose is transposed, which is done when the plan is written. It does not apply when both
//! factors depend on the sample, as in attention, or both are weights.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::{Op, OpKind};

use super::super::pattern::{is_shared, operands_of, transpose};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct MatmulLinear;

impl Rule for MatmulLinear {
    fn name(&self) -> &'static str {
        "matmul_linear"
    }

    fn summary(&self) -> &'static str {
        "a product of rows with a matrix of weights becomes a linear layer"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some([x, matrix]) = operands_of(graph, at, OpKind::MatMul) else {
            return Outcome::NoMatch;
        };
        if graph.ty(matrix).rank() != 2 || !is_shared(graph, matrix) || is_shared(graph, x) {
            return Outcome::NoMatch;
        }
        let mut rewrite = Rewrite::new(graph);
        // The only other permutation of two axes is none.
        let weight = match transpose(graph, matrix) {
            Some((&[1, 0], weight)) => Ok(weight),
            _ => {
                let name = format!("{}.weight", graph.name(at));
                rewrite.op(&name, Op::Transpose { perm: vec![1, 0] }, &[matrix])
            }
        };
        weight
            .and_then(|w| rewrite.op(graph.name(at), Op::Linear { epilogue: Vec::new() }, &[x, w]))
            .map(|linear| {
                rewrite.replace(at, linear);
                rewrite.finish()
            })
            .into()
    }
}
