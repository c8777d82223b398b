//! Axes of 1 before all others go where broadcasting puts them back.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @bias: f32[8]
//! weight @scale: f32[1, 8]
//! %row: f32[1, 8] = reshape(@bias) {shape = [1, 8]}
//! %sum: f32[L, 8] = binary(%x, %row) {f = add}
//! %y: f32[L, 8] = binary(%sum, @scale) {f = mul}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @bias: f32[8]
//! weight @scale: f32[1, 8]
//! %sum: f32[L, 8] = binary(%x, @bias) {f = add}
//! %scale.vector: f32[8] = reshape(@scale) {shape = [8]}
//! %y: f32[L, 8] = binary(%sum, %scale.vector) {f = mul}
//! output y = %y
//! ```
//!
//! Traces and checkpoints hold vectors as rows of a matrix; the rules look for vectors. It does not apply to a value of the
//! sample itself, whose axes may be rows.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::{Op, OpKind};

use super::super::pattern::{is_shared, operands_of};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct LeadingUnits;

impl Rule for LeadingUnits {
    fn name(&self) -> &'static str {
        "leading_units"
    }

    fn summary(&self) -> &'static str {
        "axes of 1 before all others go where broadcasting puts them back"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(op @ Op::Binary { .. }) = graph.op(at) else { return Outcome::NoMatch };
        if is_shared(graph, at) {
            return Outcome::NoMatch;
        }
        let operands = graph.operands(at);
        let Some(place) = operands.iter().position(|&id| wide(graph, id, at)) else {
            return Outcome::NoMatch;
        };
        let shape = graph.ty(operands[place]).shape[units(graph, operands[place])..].to_vec();
        let mut rewrite = Rewrite::new(graph);
        let narrow = match operands_of(graph, operands[place], OpKind::Reshape) {
            Some([x]) if graph.ty(x).shape == shape => Ok(x),
            _ => {
                let name = format!("{}.vector", graph.name(operands[place]));
                rewrite.op(&name, Op::Reshape { shape }, &[operands[place]])
            }
        };
        narrow
            .and_then(|narrow| {
                let mut operands = operands;
                operands[place] = narrow;
                let same = rewrite.op(graph.name(at), op.clone(), &operands)?;
                rewrite.replace(at, same);
                Ok(rewrite.finish())
            })
            .into()
    }
}

/// How many axes of 1 a value has before all others. The last axis is none of them.
fn units(graph: &Graph, id: NodeId) -> usize {
    let shape = &graph.ty(id).shape;
    shape[..shape.len().saturating_sub(1)]
        .iter()
        .take_while(|dim| dim.as_fixed() == Some(1))
        .count()
}

/// True for weights with axes of 1 in front that the result has from the other operand, or does without.
fn wide(graph: &Graph, id: NodeId, at: NodeId) -> bool {
    let others = graph.operands(at).into_iter().filter(|&other| other != id);
    let kept = others.into_iter().any(|other| graph.ty(other).rank() == graph.ty(at).rank());
    units(graph, id) > 0 && kept && is_shared(graph, id)
}
