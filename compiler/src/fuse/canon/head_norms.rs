//! A norm of every head of a row becomes a norm of each head's columns, put side by side again.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 2, 4]
//! weight @gamma: f32[4]
//! %y: f32[L, 2, 4] = rms_norm(%x, @gamma) {eps = 1e-6}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 2, 4]
//! weight @gamma: f32[4]
//! %y.0: f32[L, 4] = select(%x) {axis = 1, index = 0}
//! %y.0.norm: f32[L, 4] = rms_norm(%y.0, @gamma) {eps = 1e-6}
//! %y.1: f32[L, 4] = select(%x) {axis = 1, index = 1}
//! %y.1.norm: f32[L, 4] = rms_norm(%y.1, @gamma) {eps = 1e-6}
//! %y.rows: f32[L, 8] = concat(%y.0.norm, %y.1.norm) {axis = 1}
//! %y: f32[L, 2, 4] = reshape(%y.rows) {shape = [L, 2, 4]}
//! output y = %y
//! ```
//!
//! A head is columns of its row, which kernels of norms read where they lie; a row of several heads is none that they know.
//! The rule is applied at a layer, RMS or L2 norm with one axis of heads between the rows and the last axis, of at most 256.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::super::pack::row_axes;
use super::super::pattern::{fixed, is_shared};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The most values that a kernel puts side by side.
const MOST: usize = 256;

/// The rule of this file.
pub(in super::super) struct HeadNorms;

impl Rule for HeadNorms {
    fn name(&self) -> &'static str {
        "head_norms"
    }

    fn summary(&self) -> &'static str {
        "a norm of every head of a row becomes a norm of each head's columns"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let norm = matches!(
            graph.op(at),
            Some(Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::L2Normalize { .. })
        );
        let ty = graph.ty(at);
        let axis = row_axes(ty);
        if !norm || is_shared(graph, at) || ty.rank() != axis + 2 {
            return Outcome::NoMatch;
        }
        match fixed(&ty.shape[axis]) {
            Some(heads) if (2..=MOST).contains(&heads) => build(graph, at, axis, heads).into(),
            Some(heads) if heads > MOST => {
                Outcome::Refused(format!("{heads} heads, of which at most {MOST} are put together"))
            }
            _ => Outcome::NoMatch,
        }
    }
}

fn build(graph: &Graph, at: NodeId, axis: usize, heads: usize) -> Result<Change, InferError> {
    let (name, shape) = (graph.name(at), graph.ty(at).shape.clone());
    let Some(norm) = graph.op(at) else { unreachable!("the rule is applied at an op") };
    let mut operands = graph.operands(at);
    let x = operands[0];
    let mut rewrite = Rewrite::new(graph);
    let mut parts = Vec::new();
    for index in 0..heads {
        let part = format!("{name}.{index}");
        operands[0] = rewrite.op(&part, Op::Select { axis, index }, &[x])?;
        parts.push(rewrite.op(&format!("{part}.norm"), norm.clone(), &operands)?);
    }
    let rows = rewrite.op(&format!("{name}.rows"), Op::Concat { axis }, &parts)?;
    let whole = rewrite.op(name, Op::Reshape { shape }, &[rows])?;
    rewrite.replace(at, whole);
    Ok(rewrite.finish())
}
