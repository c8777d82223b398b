//! What is known at compile time is computed, and ops that change nothing go.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! const %nine = 9.0
//! %root: f32[] = unary(%nine) {f = sqrt}
//! const %two = 2.0
//! %one: f32[] = binary(%root, %two) {f = sub}
//! %same: f32[L, 8] = binary(%x, %one) {f = mul}
//! %turned: f32[8, L] = transpose(%same) {perm = [1, 0]}
//! %back: f32[L, 8] = transpose(%turned) {perm = [1, 0]}
//! %split: f32[L, 2, 4] = reshape(%back) {shape = [L, 2, 4]}
//! %finer: f32[L, 2, 2, 2] = reshape(%split) {shape = [L, 2, 2, 2]}
//! output y = %finer
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %finer: f32[L, 2, 2, 2] = reshape(%x) {shape = [L, 2, 2, 2]}
//! output y = %finer
//! ```
//!
//! Numbers are folded, and so are `x * 1`, `x / 1`, `x + 0`, `x - 0`; a reshape or transpose of another becomes one, and
//! goes if nothing is left of it; so do a slice of everything and a concat of one. It does not apply to ops on weights:
//! those are computed when the plan is written, where the weights are.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::eval;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::{operands_of, transpose, with_constant};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct FoldConstants;

impl Rule for FoldConstants {
    fn name(&self) -> &'static str {
        "fold_constants"
    }

    fn summary(&self) -> &'static str {
        "what is known at compile time is computed, and ops that change nothing go"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(op) = graph.op(at) else { return Outcome::NoMatch };
        let mut rewrite = Rewrite::new(graph);
        if let Some(value) = number(graph, op, at) {
            let number = rewrite.constant(graph.name(at), value);
            rewrite.replace(at, number);
        } else if let Some(x) = unchanged(graph, op, at) {
            rewrite.replace(at, x);
        } else if let Some((op, x)) = one_of_two(graph, op, at) {
            match rewrite.op(graph.name(at), op, &[x]) {
                Ok(view) => rewrite.replace(at, view),
                Err(error) => return Outcome::from(Err(error)),
            }
        } else {
            return Outcome::NoMatch;
        }
        Outcome::Applied(rewrite.finish())
    }
}

/// The number that the op makes of numbers.
fn number(graph: &Graph, op: &Op, at: NodeId) -> Option<f64> {
    let operands = graph.operands(at);
    let numbers = operands.iter().map(|&x| graph.constant(x)).collect::<Option<Vec<_>>>()?;
    match (op, &numbers[..]) {
        (Op::Unary { f }, [x]) => Some(eval::unary(*f, *x)),
        (Op::Binary { f }, [a, b]) => Some(eval::binary(*f, *a, *b)),
        (Op::Pointwise { expr }, [_, ..]) => Some(eval::expression(expr, &numbers)),
        _ => None,
    }
}

/// The operand that the op gives out unchanged.
fn unchanged(graph: &Graph, op: &Op, at: NodeId) -> Option<NodeId> {
    let x = *graph.operands(at).first()?;
    match op {
        Op::Binary { f } => {
            let neutral = match f {
                BinaryFn::Mul | BinaryFn::Div => 1.0,
                BinaryFn::Add | BinaryFn::Sub => 0.0,
                BinaryFn::Max | BinaryFn::Min => return None,
            };
            let (x, c) = with_constant(graph, at, *f)?;
            (c == neutral).then_some(x)
        }
        Op::Transpose { perm } => perm.iter().copied().eq(0..perm.len()).then_some(x),
        Op::Concat { .. } => (graph.operands(at).len() == 1).then_some(x),
        Op::Reshape { .. } | Op::Slice { .. } => (graph.ty(x) == graph.ty(at)).then_some(x),
        _ => None,
    }
}

/// The one view that does what this view of a view does, and what it is a view of.
fn one_of_two(graph: &Graph, op: &Op, at: NodeId) -> Option<(Op, NodeId)> {
    match op {
        Op::Reshape { shape } => {
            let [inner] = operands_of(graph, at, op.kind())?;
            let [x] = operands_of(graph, inner, op.kind())?;
            Some((Op::Reshape { shape: shape.clone() }, x))
        }
        Op::Transpose { perm } => {
            let (inner, x) = transpose(graph, *graph.operands(at).first()?)?;
            let perm = perm.iter().map(|&axis| inner[axis]).collect();
            Some((Op::Transpose { perm }, x))
        }
        _ => None,
    }
}
