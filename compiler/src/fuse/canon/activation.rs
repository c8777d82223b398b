//! Arithmetic that comes to a named function, such as GELU or SiLU, becomes that function.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! const %half = 0.5
//! const %root = 1.4142135381698608
//! const %one = 1.0
//! %halved: f32[L, 8] = binary(%x, %half) {f = mul}
//! %inner: f32[L, 8] = binary(%x, %root) {f = div}
//! %erf: f32[L, 8] = unary(%inner) {f = erf}
//! %share: f32[L, 8] = binary(%erf, %one) {f = add}
//! %y: f32[L, 8] = binary(%halved, %share) {f = mul}
//! output y = %y
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! %y: f32[L, 8] = unary(%x) {f = gelu_erf}
//! output y = %y
//! ```
//!
//! The functions can be written in many ways, so they are recognised by what they give: the arithmetic between one value and
//! `at` is evaluated at some hundred points, from tiny to huge, and must agree with the function at each of them, up to
//! constants that were rounded to f32. Both sides are made of a few elementary functions, which don't agree there by chance.
//!
//! It does not apply when something between is needed as well.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytec_ir::attrs::UnaryFn;
use bytec_ir::eval;
use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::ops::Op;

use super::super::pattern::{is_shared, only_within};
use super::super::rewrite::Rewrite;
use super::super::{Outcome, Rule};

/// The most ops that a function is written in.
const MAX_OPS: usize = 20;

/// The rule of this file.
pub(in super::super) struct Activation;

impl Rule for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn summary(&self) -> &'static str {
        "arithmetic that comes to a named function, such as GELU or SiLU, becomes that function"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        if !matches!(graph.op(at), Some(Op::Binary { .. })) || is_shared(graph, at) {
            return Outcome::NoMatch;
        }
        let ops = arithmetic(graph, at);
        let Some((f, x, between)) = named(graph, at, &ops) else { return Outcome::NoMatch };
        let users: Vec<_> = between.iter().copied().chain([at]).collect();
        let alone = between.iter().try_for_each(|&id| only_within(graph, id, &users));
        if let Err(reason) = alone {
            return Outcome::Refused(reason);
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::Unary { f }, &[x])
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}

/// The functions of elements that `at` is made of, nearest first.
fn arithmetic(graph: &Graph, at: NodeId) -> Vec<NodeId> {
    let mut found = vec![at];
    let mut waiting = VecDeque::from(graph.operands(at));
    while let Some(id) = waiting.pop_front() {
        let pointwise = matches!(graph.op(id), Some(Op::Unary { .. } | Op::Binary { .. }));
        if pointwise
            && graph.ty(id) == graph.ty(at)
            && !found.contains(&id)
            && found.len() < MAX_OPS
        {
            found.push(id);
            waiting.extend(graph.operands(id));
        }
    }
    found
}

/// The function that `at` is of another value, and the ops between them.
fn named(graph: &Graph, at: NodeId, ops: &[NodeId]) -> Option<(UnaryFn, NodeId, BTreeSet<NodeId>)> {
    let mut tried = BTreeSet::from([at]);
    let operands = ops.iter().flat_map(|&id| graph.operands(id));
    for x in operands {
        if graph.ty(x) != graph.ty(at) || !tried.insert(x) {
            continue;
        }
        let mut known = vec![true; UnaryFn::ALL.len()];
        for point in points() {
            let mut values = BTreeMap::from([(x, point)]);
            let Some(found) = value(graph, at, ops, &mut values) else { break };
            for (f, known) in UnaryFn::ALL.iter().zip(&mut known) {
                *known &= agrees(found, eval::unary(*f, point), point);
            }
            if !known.contains(&true) {
                break;
            }
            if point == LAST {
                let f = UnaryFn::ALL.iter().zip(&known).find(|(_, known)| **known)?;
                values.retain(|&id, _| id != x && id != at && graph.op(id).is_some());
                return Some((*f.0, x, values.into_keys().collect()));
            }
        }
    }
    None
}

/// The value of `id`, given that of one value before it; `None` if it depends on anything else.
fn value(
    graph: &Graph,
    id: NodeId,
    ops: &[NodeId],
    values: &mut BTreeMap<NodeId, f64>,
) -> Option<f64> {
    if let Some(value) = values.get(&id).copied().or_else(|| graph.constant(id)) {
        return Some(value);
    }
    if !ops.contains(&id) {
        return None;
    }
    let operands = graph.operands(id);
    let mut operand = |i: usize| value(graph, operands[i], ops, values);
    let result = match graph.op(id)? {
        Op::Unary { f } => eval::unary(*f, operand(0)?),
        Op::Binary { f } => eval::binary(*f, operand(0)?, operand(1)?),
        _ => return None,
    };
    values.insert(id, result);
    Some(result)
}

/// The last of [`points`].
const LAST: f64 = f32::MAX as f64;

/// Where functions are compared: every sixteenth up to 16, and powers of 2 from tiny to huge, of both signs.
fn points() -> impl Iterator<Item = f64> {
    let near = (-256..=256).map(|i| f64::from(i) / 16.0);
    let far = (-40..=127).flat_map(|i| [-f64::exp2(f64::from(i)), f64::exp2(f64::from(i))]);
    near.chain(far).chain([-LAST, LAST])
}

/// True if a value at `x` is the function's, with constants as f32 has them. The sum of 1 and a function near -1 has lost
/// its digits.
fn agrees(found: f64, expected: f64, x: f64) -> bool {
    found == expected
        || found.is_nan() && expected.is_nan()
        || (found - expected).abs() <= 4e-6 * expected.abs() + 4e-15 * x.abs()
}
