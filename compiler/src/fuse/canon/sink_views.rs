//! Reshapes and transposes move behind what treats each element, or each row, alone.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[8, 8]
//! const %half = 0.5
//! %rows: f32[1, L, 8] = reshape(%x) {shape = [1, L, 8]}
//! %q: f32[1, L, 8] = linear(%rows, @w) {epilogue = []}
//! %split: f32[L, 2, 4] = reshape(%q) {shape = [L, 2, 4]}
//! %heads: f32[2, L, 4] = transpose(%split) {perm = [1, 0, 2]}
//! %scaled: f32[2, L, 4] = binary(%heads, %half) {f = mul}
//! output y = %scaled
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @w: f32[8, 8]
//! const %half = 0.5
//! %q: f32[L, 8] = linear(%x, @w) {epilogue = []}
//! %scaled: f32[L, 8] = binary(%q, %half) {f = mul}
//! %rows: f32[1, L, 8] = reshape(%scaled) {shape = [1, L, 8]}
//! %split: f32[L, 2, 4] = reshape(%rows) {shape = [L, 2, 4]}
//! %heads: f32[2, L, 4] = transpose(%split) {perm = [1, 0, 2]}
//! output y = %heads
//! ```
//!
//! Behind the arithmetic they meet other views and become one with them, or nothing; and the arithmetic is beside what made
//! its operands, where the other rules look for it.
//!
//! It is applied at a function of one value, of a value and a number, or of two values that are views in the same way; and
//! for a reshape that only adds or takes away axes of 1 at what treats rows alone, or a transpose of those rows at a norm. It does not apply to a view that
//! something else needs as well.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::super::pattern::{is_shared, only_within};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct SinkViews;

impl Rule for SinkViews {
    fn name(&self) -> &'static str {
        "sink_views"
    }

    fn summary(&self) -> &'static str {
        "reshapes and transposes move behind what treats each element or row alone"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        match moved(graph, at) {
            Some(moved) => build(graph, at, &moved).into(),
            None => Outcome::NoMatch,
        }
    }
}

/// An op that can come before the views of its operands.
struct Moved {
    /// The operands before the views.
    operands: Vec<NodeId>,
    /// The views that then come after it, in order.
    views: Vec<View>,
}

/// A view by its name.
type View = (NodeId, Op);

fn moved(graph: &Graph, at: NodeId) -> Option<Moved> {
    let operands = graph.operands(at);
    let (place, wanted): (usize, fn(&Graph, NodeId) -> bool) = match graph.op(at)? {
        Op::Unary { .. } => (0, any),
        Op::Linear { .. } => (0, units_before_last),
        Op::LayerNorm { .. } | Op::RmsNorm { .. } | Op::L2Normalize { .. } | Op::Softmax {} => {
            (0, last_kept)
        }
        Op::Gather {} => (1, units),
        Op::Binary { .. } => {
            let pair = [operands[0], operands[1]];
            let of_one = [(0, 1), (1, 0)].into_iter().find_map(|(x, other)| {
                let wanted = beside(graph, at, operands[x], operands[other])?;
                of_one(graph, at, &operands, x, wanted)
            });
            return of_one.or_else(|| of_two(graph, at, pair));
        }
        _ => return None,
    };
    of_one(graph, at, &operands, place, wanted)
}

/// Which views of `x` a function of it and `other` can come before.
fn beside(
    graph: &Graph,
    at: NodeId,
    x: NodeId,
    other: NodeId,
) -> Option<fn(&Graph, NodeId) -> bool> {
    match graph.ty(other).rank() {
        _ if graph.ty(x) != graph.ty(at) => None,
        0 => Some(any),
        1 if is_shared(graph, other) => Some(units_before_last),
        _ => None,
    }
}

/// The op before the views of one of its operands.
fn of_one(
    graph: &Graph,
    at: NodeId,
    operands: &[NodeId],
    place: usize,
    wanted: fn(&Graph, NodeId) -> bool,
) -> Option<Moved> {
    let found = views(graph, operands[place], at, wanted);
    let first = graph.operands(*found.first()?)[0];
    // A view of weights is made when the plan is written.
    if is_shared(graph, first) {
        return None;
    }
    let mut operands = operands.to_vec();
    operands[place] = first;
    let same = graph.ty(found[found.len() - 1]) == graph.ty(at);
    let views = match same {
        true => found.into_iter().filter_map(|id| Some((id, graph.op(id)?.clone()))).collect(),
        // The op changes the width of a row: all those axes of 1 are put in, or left out, at once.
        false => {
            let shape = graph.ty(at).shape.clone();
            vec![(found[found.len() - 1], Op::Reshape { shape })]
        }
    };
    Some(Moved { operands, views })
}

/// A function of two values that are views in the same way, before as many of the views as both have.
fn of_two(graph: &Graph, at: NodeId, operands: [NodeId; 2]) -> Option<Moved> {
    let [a, b] = operands.map(|id| views(graph, id, at, any));
    let same = a.iter().rev().zip(b.iter().rev());
    let same = same.take_while(|&(&a, &b)| graph.op(a) == graph.op(b)).count();
    let before = |views: &[NodeId], count| graph.operands(views[views.len() - count])[0];
    let fits = |count: &usize| graph.ty(before(&a, *count)) == graph.ty(before(&b, *count));
    let count = (1..=same).rev().find(fits)?;
    let operands = vec![before(&a, count), before(&b, count)];
    if operands.iter().all(|&id| is_shared(graph, id)) {
        return None;
    }
    let views = a[a.len() - count..].iter();
    let views = views.filter_map(|&id| Some((id, graph.op(id)?.clone()))).collect();
    Some(Moved { operands, views })
}

/// The wanted views between a value and `user`, which nothing else uses, the one next to the user last.
fn views(
    graph: &Graph,
    mut id: NodeId,
    mut user: NodeId,
    wanted: fn(&Graph, NodeId) -> bool,
) -> Vec<NodeId> {
    let mut found = Vec::new();
    while any(graph, id) && wanted(graph, id) && only_within(graph, id, &[user]).is_ok() {
        found.push(id);
        (user, id) = (id, graph.operands(id)[0]);
    }
    found.reverse();
    found
}

/// A view.
fn any(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.op(id), Some(Op::Reshape { .. } | Op::Transpose { .. }))
}

/// A reshape that changes nothing but axes of 1.
fn units(graph: &Graph, id: NodeId) -> bool {
    let others = |id: NodeId| -> Vec<_> {
        graph.ty(id).shape.iter().filter(|dim| dim.as_fixed() != Some(1)).cloned().collect()
    };
    matches!(graph.op(id), Some(Op::Reshape { .. })) && others(id) == others(graph.operands(id)[0])
}

/// A reshape that changes nothing but axes of 1 before the last.
fn units_before_last(graph: &Graph, id: NodeId) -> bool {
    let last = |id: NodeId| graph.ty(id).shape.last();
    units(graph, id) && last(id) == last(graph.operands(id)[0])
}

/// A transpose that leaves the last axis where it is, or a reshape that changes nothing but axes of 1 before it.
fn last_kept(graph: &Graph, id: NodeId) -> bool {
    match graph.op(id) {
        Some(Op::Transpose { perm }) => perm.last() == Some(&(perm.len() - 1)),
        _ => units_before_last(graph, id),
    }
}

fn build(graph: &Graph, at: NodeId, moved: &Moved) -> Result<Change, InferError> {
    let Some(op) = graph.op(at) else { unreachable!("the rule is applied at an op") };
    let mut rewrite = Rewrite::new(graph);
    let mut last = rewrite.op(graph.name(at), op.clone(), &moved.operands)?;
    for (view, op) in &moved.views {
        last = rewrite.op(graph.name(*view), op.clone(), &[last])?;
    }
    rewrite.replace(at, last);
    Ok(rewrite.finish())
}
