//! A part of a part, a part of values put together, and parts put together again become one part; values put together in
//! two steps are put together in one.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %z: f32[L, 8]
//! %left: f32[L, 4] = slice(%x) {axis = 1, start = 0, end = 4}
//! %right: f32[L, 4] = slice(%x) {axis = 1, start = 4, end = 8}
//! %whole: f32[L, 8] = concat(%left, %right) {axis = 1}
//! %both: f32[L, 16] = concat(%whole, %z) {axis = 1}
//! %part: f32[L, 6] = slice(%both) {axis = 1, start = 8, end = 14}
//! %inner: f32[L, 2] = slice(%part) {axis = 1, start = 1, end = 3}
//! output whole = %whole
//! output y = %inner
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %z: f32[L, 8]
//! %inner: f32[L, 2] = slice(%z) {axis = 1, start = 1, end = 3}
//! output whole = %x
//! output y = %inner
//! ```
//!
//! It does not apply where a part reaches over several of the values that are put together, nor to a first step whose
//! result is needed as well.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::{Op, OpKind};

use super::super::pattern::{fixed, only_for, operands_of};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The rule of this file.
pub(in super::super) struct JoinParts;

impl Rule for JoinParts {
    fn name(&self) -> &'static str {
        "join_parts"
    }

    fn summary(&self) -> &'static str {
        "a part of a part, of joined values, and joined parts become one part"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let found = match graph.op(at) {
            Some(&Op::Slice { axis, start, end }) => {
                from(graph, graph.operands(at)[0], axis, start, end).map(|(x, start)| {
                    (x, Some(Op::Slice { axis, start, end: start + end_of(graph, at, axis) }))
                })
            }
            Some(&Op::Select { axis, index }) => {
                from(graph, graph.operands(at)[0], axis, index, index + 1)
                    .map(|(x, index)| (x, Some(Op::Select { axis, index })))
            }
            Some(&Op::Concat { axis }) => match neighbours(graph, at, axis) {
                None => return in_one_step(graph, at, axis),
                found => found,
            },
            _ => None,
        };
        let Some((x, op)) = found else { return Outcome::NoMatch };
        let mut rewrite = Rewrite::new(graph);
        let part = match op {
            Some(op) => rewrite.op(graph.name(at), op, &[x]),
            None => Ok(x),
        };
        part.map(|part| {
            rewrite.replace(at, part);
            rewrite.finish()
        })
        .into()
    }
}

/// Puts together at once what is put together along the same axis first.
fn in_one_step(graph: &Graph, at: NodeId, axis: usize) -> Outcome {
    let first = |id: &NodeId| matches!(graph.op(*id), Some(Op::Concat { axis: of }) if *of == axis);
    let operands = graph.operands(at);
    let Some(inner) = operands.iter().copied().find(first) else { return Outcome::NoMatch };
    if let Err(reason) = only_for(graph, inner, at) {
        return Outcome::Refused(reason);
    }
    let parts = operands.into_iter().flat_map(|id| match id == inner {
        true => graph.operands(inner),
        false => vec![id],
    });
    let parts: Vec<_> = parts.collect();
    let mut rewrite = Rewrite::new(graph);
    rewrite
        .op(graph.name(at), Op::Concat { axis }, &parts)
        .map(|whole| {
            rewrite.replace(at, whole);
            rewrite.finish()
        })
        .into()
}

/// How long a value is along a fixed axis.
fn end_of(graph: &Graph, id: NodeId, axis: usize) -> usize {
    fixed(&graph.ty(id).shape[axis]).unwrap_or_default()
}

/// The value that `start..end` of `id` is a part of, one step further back, and where the part begins in it.
fn from(
    graph: &Graph,
    id: NodeId,
    axis: usize,
    start: usize,
    end: usize,
) -> Option<(NodeId, usize)> {
    match *graph.op(id)? {
        Op::Slice { axis: inner, start: before, .. } if inner == axis => {
            Some((graph.operands(id)[0], before.checked_add(start)?))
        }
        Op::Concat { axis: joined } if joined == axis => {
            let mut offset = 0;
            for x in graph.operands(id) {
                let length = fixed(&graph.ty(x).shape[axis])?;
                if start >= offset && end <= offset + length {
                    return Some((x, start - offset));
                }
                offset += length;
            }
            None
        }
        _ => None,
    }
}

/// The one part, or the whole value, that neighbouring parts of it make when put together.
fn neighbours(graph: &Graph, at: NodeId, axis: usize) -> Option<(NodeId, Option<Op>)> {
    let mut whole: Option<(NodeId, usize, usize)> = None;
    for part in graph.operands(at) {
        let [x] = operands_of(graph, part, OpKind::Slice)?;
        let &Op::Slice { axis: sliced, start, end } = graph.op(part)? else { return None };
        whole = match whole {
            _ if sliced != axis => return None,
            None => Some((x, start, end)),
            Some((first, begin, last)) if first == x && last == start => Some((x, begin, end)),
            Some(_) => return None,
        };
    }
    let (x, start, end) = whole?;
    let all = graph.ty(x) == graph.ty(at);
    Some((x, (!all).then_some(Op::Slice { axis, start, end })))
}
