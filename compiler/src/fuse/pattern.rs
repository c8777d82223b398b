//! What rules look for, as small typed questions about a node.

use std::collections::BTreeSet;

use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::dim::Dim;
use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::ops::{Op, OpKind};

/// A value as the text form writes it, for reasons.
pub(super) fn shown(graph: &Graph, id: NodeId) -> String {
    let sigil = if graph.node(id).def == Def::Weight { '@' } else { '%' };
    format!("{sigil}{}", graph.name(id))
}

/// The operands of a node of this kind, whatever its attributes, if there are `N`.
pub(super) fn operands_of<const N: usize>(
    graph: &Graph,
    id: NodeId,
    kind: OpKind,
) -> Option<[NodeId; N]> {
    if graph.op(id)?.kind() == kind { graph.operands(id).try_into().ok() } else { None }
}

/// `a` and `b` of `f(a, b)`.
pub(super) fn binary(graph: &Graph, id: NodeId, f: BinaryFn) -> Option<[NodeId; 2]> {
    match graph.op(id)? {
        Op::Binary { f: found } if *found == f => graph.operands(id).try_into().ok(),
        _ => None,
    }
}

/// `x` and `f` of `f(x)`.
pub(super) fn unary(graph: &Graph, id: NodeId) -> Option<(UnaryFn, NodeId)> {
    match graph.op(id)? {
        Op::Unary { f } => Some((*f, *graph.operands(id).first()?)),
        _ => None,
    }
}

/// True if `f(a, b)` is `f(b, a)`.
pub(super) fn commutes(f: BinaryFn) -> bool {
    match f {
        BinaryFn::Add | BinaryFn::Mul | BinaryFn::Max | BinaryFn::Min => true,
        BinaryFn::Sub | BinaryFn::Div => false,
    }
}

/// What `test` makes of `(a, b)`, or else of `(b, a)`.
pub(super) fn either_way<T>(
    [a, b]: [NodeId; 2],
    mut test: impl FnMut(NodeId, NodeId) -> Option<T>,
) -> Option<T> {
    test(a, b).or_else(|| test(b, a))
}

/// `x` and `c` of `f(x, c)` with a constant `c`; of `f(c, x)` too if `f` commutes.
pub(super) fn with_constant(graph: &Graph, id: NodeId, f: BinaryFn) -> Option<(NodeId, f64)> {
    let pair = binary(graph, id, f)?;
    let constant_last = |x, c| graph.constant(c).map(|value| (x, value));
    if commutes(f) { either_way(pair, constant_last) } else { constant_last(pair[0], pair[1]) }
}

/// A linear layer and its parts.
pub(super) struct Linear<'g> {
    pub(super) x: NodeId,
    pub(super) weight: NodeId,
    pub(super) bias: Option<NodeId>,
    pub(super) epilogue: &'g [UnaryFn],
}

/// The parts of a linear layer.
pub(super) fn linear(graph: &Graph, id: NodeId) -> Option<Linear<'_>> {
    match graph.op(id)? {
        Op::Linear { epilogue } => {
            let operands = graph.operands(id);
            Some(Linear {
                x: *operands.first()?,
                weight: *operands.get(1)?,
                bias: operands.get(2).copied(),
                epilogue,
            })
        }
        _ => None,
    }
}

/// The permutation and operand of a transpose.
pub(super) fn transpose(graph: &Graph, id: NodeId) -> Option<(&[usize], NodeId)> {
    match graph.op(id)? {
        Op::Transpose { perm } => Some((perm, *graph.operands(id).first()?)),
        _ => None,
    }
}

/// The only node that uses a value.
///
/// The error is a reason for a refusal: it names what else needs the value.
pub(super) fn sole_user(graph: &Graph, id: NodeId) -> Result<NodeId, String> {
    if graph.is_output(id) {
        return Err(format!("{} is an output", shown(graph, id)));
    }
    match graph.users(id)[..] {
        [] => Err(format!("{} has no user", shown(graph, id))),
        [user] => Ok(user),
        [first, second, ..] if first == second => {
            Err(format!("{} is used twice by {}", shown(graph, id), shown(graph, first)))
        }
        [.., other] => Err(format!("{} is also used by {}", shown(graph, id), shown(graph, other))),
    }
}

/// Nothing but `user` uses the value, and that once.
///
/// The error is a reason for a refusal: it names what else needs the value.
pub(super) fn only_for(graph: &Graph, id: NodeId, user: NodeId) -> Result<(), String> {
    if let Some(other) = graph.users(id).into_iter().find(|&other| other != user)
        && !graph.is_output(id)
    {
        return Err(format!("{} is also used by {}", shown(graph, id), shown(graph, other)));
    }
    sole_user(graph, id).map(|_| ())
}

/// Nothing but `users` uses the value, however often.
///
/// The error is a reason for a refusal: it names what else needs the value.
pub(super) fn only_within(graph: &Graph, id: NodeId, users: &[NodeId]) -> Result<(), String> {
    if graph.is_output(id) {
        return Err(format!("{} is an output", shown(graph, id)));
    }
    match graph.users(id).into_iter().find(|user| !users.contains(user)) {
        None => Ok(()),
        Some(other) => Err(format!("{} is also used by {}", shown(graph, id), shown(graph, other))),
    }
}

/// How many nodes [`is_shared`] looks at before it takes a value for one that depends on the sample.
const MAX_SHARED: usize = 100;

/// True if the value is the same for every sample: computed from weights and constants alone.
///
/// An answer costs a bounded time, whatever the graph: a larger expression on weights counts as one on the sample.
pub(super) fn is_shared(graph: &Graph, id: NodeId) -> bool {
    let mut seen = BTreeSet::from([id]);
    let mut waiting = vec![id];
    while let Some(id) = waiting.pop() {
        let symbolic = graph.ty(id).shape.iter().any(|dim| dim.as_fixed().is_none());
        let input = matches!(graph.node(id).def, Def::Input { .. });
        if symbolic || input || seen.len() > MAX_SHARED {
            return false;
        }
        waiting.extend(graph.operands(id).into_iter().filter(|&operand| seen.insert(operand)));
    }
    true
}

/// A fixed extent as a number that fits an attribute.
pub(super) fn fixed(dim: &Dim) -> Option<usize> {
    usize::try_from(dim.as_fixed()?).ok()
}
