//! A transpose that moves only axes of 1, or a reduction of an axis of 1, becomes a reshape.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 1, 8]
//! %y: f32[1, L, 8] = transpose(%x) {perm = [1, 0, 2]}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 1, 8]
//! %y: f32[1, L, 8] = reshape(%x) {shape = [1, L, 8]}
//! output y = %y
//! ```
//!
//! A reshape copies nothing, and becomes one with those beside it. It does not apply when axes of several elements change
//! places, nor to weights, which are copied when the plan is written.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::super::pattern::{is_shared, transpose};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct UnitAxes;

impl Rule for UnitAxes {
    fn name(&self) -> &'static str {
        "unit_axes"
    }

    fn summary(&self) -> &'static str {
        "a transpose or reduction of axes of 1 becomes a reshape"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(x) = moves_only_units(graph, at).or_else(|| reduces_a_unit(graph, at)) else {
            return Outcome::NoMatch;
        };
        if is_shared(graph, x) {
            return Outcome::NoMatch;
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Reshape { shape: graph.ty(at).shape.clone() }, &[x])
            .map(|view| {
                rewrite.replace(at, view);
                rewrite.finish()
            })
            .into()
    }
}

/// What a transpose moves, if all axes of several elements stay in their order.
fn moves_only_units(graph: &Graph, at: NodeId) -> Option<NodeId> {
    let (perm, x) = transpose(graph, at)?;
    let shape = &graph.ty(x).shape;
    let several = perm.iter().filter(|&&axis| shape[axis].as_fixed() != Some(1));
    several.is_sorted().then_some(x)
}

/// What a reduction of one element reduces: a sum, mean or largest of one is that one.
fn reduces_a_unit(graph: &Graph, at: NodeId) -> Option<NodeId> {
    let Some(Op::Reduce { axis, .. }) = graph.op(at) else { return None };
    let x = graph.operands(at)[0];
    (graph.ty(x).shape[*axis].as_fixed() == Some(1)).then_some(x)
}
