//! A patch that takes away what it makes superfluous.

use std::collections::BTreeSet;

use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::{Change, Patch};

/// A change under construction: new ops, replacements, and the removal of all that only the replaced nodes needed.
///
/// The removed nodes free their names for the new ones, and no longer count as users when the next rule asks.
pub(super) struct Rewrite<'g> {
    graph: &'g Graph,
    patch: Patch<'g>,
    needed: BTreeSet<NodeId>,
    replaced: Vec<NodeId>,
}

impl<'g> Rewrite<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        Self { graph, patch: Patch::new(graph), needed: BTreeSet::new(), replaced: Vec::new() }
    }

    /// A new op on values of the graph or of this rewrite.
    pub(super) fn op(
        &mut self,
        name: &str,
        op: Op,
        operands: &[NodeId],
    ) -> Result<NodeId, InferError> {
        self.needed.extend(operands);
        self.patch.op(name, op, operands)
    }

    /// A new constant.
    pub(super) fn constant(&mut self, name: &str, value: f64) -> NodeId {
        self.patch.constant(name, value)
    }

    /// Every use of `old` becomes a use of `new`, which must have the same type and not depend on `old`.
    pub(super) fn replace(&mut self, old: NodeId, new: NodeId) {
        self.needed.insert(new);
        self.replaced.push(old);
        self.patch.replace(old, new);
    }

    /// The change: what was asked for, and the removal of what nothing uses once it is made.
    pub(super) fn finish(mut self) -> Change {
        for id in dying(self.graph, &self.replaced, &self.needed) {
            self.patch.remove(id);
        }
        self.patch.finish()
    }
}

/// The nodes that nothing uses once `gone` are unused: those, and what only they use, in turn.
/// Inputs stay, and so does everything in `needed`.
pub(super) fn dying(graph: &Graph, gone: &[NodeId], needed: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut dead = BTreeSet::new();
    let mut waiting = gone.to_vec();
    while let Some(id) = waiting.pop() {
        let kept = matches!(graph.node(id).def, Def::Input { .. })
            || needed.contains(&id)
            || dead.contains(&id);
        let unused = gone.contains(&id)
            || !graph.is_output(id) && graph.users(id).iter().all(|user| dead.contains(user));
        if unused && !kept {
            dead.insert(id);
            waiting.extend(graph.operands(id));
        }
    }
    dead
}
