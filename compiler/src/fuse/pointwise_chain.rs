//! Functions of elements that feed only each other become one generated op, which reads and writes memory once.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %z: f32[L, 8]
//! weight @scale: f32[8]
//! %sum: f32[L, 8] = binary(%x, %z) {f = add}
//! %gate: f32[L, 8] = unary(%sum) {f = sigmoid}
//! %gated: f32[L, 8] = binary(%sum, %gate) {f = mul}
//! %scaled: f32[L, 8] = binary(%gated, @scale) {f = mul}
//! const %half = 0.5
//! %y: f32[L, 8] = binary(%scaled, %half) {f = add}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! input %z: f32[L, 8]
//! weight @scale: f32[8]
//! %y: f32[L, 8] = pointwise(%x, %z, @scale) {expr = add(mul(mul(add(x0, x1), sigmoid(add(x0, x1))), x2), 0.5)}
//! output y = %y
//! ```
//!
//! A value joins the op of its users when nothing else uses it and it has the shape of the result; one that several of
//! them use stands in the expression several times, and the generated code computes it once. Constants become part of the
//! expression. A function that stands alone becomes a chain of one, so that later stages know one pointwise op.
//!
//! It does not apply to values made of weights alone, which are computed when the plan is written, nor past 8 operands or
//! 64 functions, where a kernel would run out of registers: what does not fit becomes an op of its own.

use std::collections::{BTreeSet, VecDeque};

use bytec_ir::attrs::{Expr, Real};
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::pattern::is_shared;
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The most operands that a chain may have.
const MAX_OPERANDS: usize = 8;
/// The most functions that a chain's expression may have.
const MAX_FUNCTIONS: usize = 64;

/// The rule of this file.
pub(super) struct PointwiseChain;

impl Rule for PointwiseChain {
    fn name(&self) -> &'static str {
        "pointwise_chain"
    }

    fn summary(&self) -> &'static str {
        "functions of elements that feed only each other become one generated op"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        if !is_pointwise(graph, at) || is_shared(graph, at) || joins_its_user(graph, at) {
            return Outcome::NoMatch;
        }
        let members = grow(graph, at);
        if members.len() == 1 && matches!(graph.op(at), Some(Op::Pointwise { .. })) {
            return Outcome::NoMatch;
        }
        let mut operands = Vec::new();
        let expr = expression(graph, at, &members, &mut operands);
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Pointwise { expr }, &operands)
            .map(|chain| {
                rewrite.replace(at, chain);
                rewrite.finish()
            })
            .into()
    }
}

/// True for a function of elements.
fn is_pointwise(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.op(id), Some(Op::Unary { .. } | Op::Binary { .. } | Op::Pointwise { .. }))
}

/// True if the one op that uses the value can take it in, which is then for the rule to do there.
fn joins_its_user(graph: &Graph, at: NodeId) -> bool {
    graph.users(at).first().is_some_and(|&user| {
        let members = BTreeSet::from([user]);
        is_pointwise(graph, user)
            && may_join(graph, at, user, &members)
            && fits(graph, user, &BTreeSet::from([user, at]))
    })
}

/// True if nothing but `members` uses the value, and it has the shape of their result.
fn may_join(graph: &Graph, id: NodeId, last: NodeId, members: &BTreeSet<NodeId>) -> bool {
    is_pointwise(graph, id)
        && graph.ty(id) == graph.ty(last)
        && !graph.is_output(id)
        && graph.users(id).iter().all(|user| members.contains(user))
}

/// The nodes that one op ending in `last` can compute, nearest first as long as they fit.
fn grow(graph: &Graph, last: NodeId) -> BTreeSet<NodeId> {
    let mut members = BTreeSet::from([last]);
    let mut waiting = VecDeque::from(graph.operands(last));
    while let Some(id) = waiting.pop_front() {
        let joins = !members.contains(&id) && may_join(graph, id, last, &members);
        if !joins || is_shared(graph, id) {
            continue;
        }
        members.insert(id);
        if fits(graph, last, &members) {
            waiting.extend(graph.operands(id));
        } else {
            members.remove(&id);
        }
    }
    members
}

/// True if one op for all members stays within the limits.
fn fits(graph: &Graph, last: NodeId, members: &BTreeSet<NodeId>) -> bool {
    let mut operands = Vec::new();
    let expr = expression(graph, last, members, &mut operands);
    operands.len() <= MAX_OPERANDS && functions(&expr) <= MAX_FUNCTIONS
}

/// How many functions an expression has.
fn functions(expr: &Expr) -> usize {
    match expr {
        Expr::Arg(_) | Expr::Const(_) => 0,
        Expr::Unary(_, x) => 1 + functions(x),
        Expr::Binary(_, a, b) => 1 + functions(a) + functions(b),
    }
}

/// The expression of `id` over what its chain reads; operands are numbered in the order in which they are met.
fn expression(
    graph: &Graph,
    id: NodeId,
    members: &BTreeSet<NodeId>,
    operands: &mut Vec<NodeId>,
) -> Expr {
    let inputs = graph.operands(id);
    let mut read = |i: usize| {
        let x = inputs[i];
        if members.contains(&x) {
            return expression(graph, x, members, operands);
        }
        if let Some(value) = graph.constant(x) {
            return Expr::Const(Real(value));
        }
        let place = operands.iter().position(|&operand| operand == x).unwrap_or_else(|| {
            operands.push(x);
            operands.len() - 1
        });
        Expr::Arg(place)
    };
    match graph.op(id) {
        Some(Op::Unary { f }) => Expr::Unary(*f, Box::new(read(0))),
        Some(Op::Binary { f }) => {
            let a = read(0);
            Expr::Binary(*f, Box::new(a), Box::new(read(1)))
        }
        Some(Op::Pointwise { expr }) => substitute(expr, &mut read),
        _ => unreachable!("members of a chain are pointwise ops"),
    }
}

/// `expr` with each operand read anew.
fn substitute(expr: &Expr, read: &mut impl FnMut(usize) -> Expr) -> Expr {
    match expr {
        Expr::Arg(i) => read(*i),
        Expr::Const(value) => Expr::Const(*value),
        Expr::Unary(f, x) => Expr::Unary(*f, Box::new(substitute(x, read))),
        Expr::Binary(f, a, b) => {
            let a = substitute(a, read);
            Expr::Binary(*f, Box::new(a), Box::new(substitute(b, read)))
        }
    }
}
