//! A transpose that moves only axes of 1 becomes a reshape.
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
        "a transpose that moves only axes of 1 becomes a reshape"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some((perm, x)) = transpose(graph, at) else { return Outcome::NoMatch };
        let shape = &graph.ty(x).shape;
        let several: Vec<_> =
            perm.iter().filter(|&&axis| shape[axis].as_fixed() != Some(1)).collect();
        if !several.is_sorted() || is_shared(graph, x) {
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
