//! The only way to change a graph: a list of new nodes and replacements, checked as it is made, applied at once.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::attrs::Real;
use crate::graph::{Def, Graph, Node, NodeId};
use crate::infer::{InferError, infer};
use crate::ops::Op;
use crate::types::{DType, TensorType};

/// A change to one graph, not yet made.
#[derive(Debug)]
pub struct Patch<'g> {
    graph: &'g Graph,
    added: Vec<(Node, Vec<NodeId>)>,
    replaced: Vec<(NodeId, NodeId)>,
    removed: Vec<NodeId>,
}

/// A patch that no longer borrows its graph.
#[derive(Debug)]
pub struct Change {
    first: NodeId,
    added: Vec<(Node, Vec<NodeId>)>,
    replaced: Vec<(NodeId, NodeId)>,
    removed: Vec<NodeId>,
}

impl<'g> Patch<'g> {
    /// An empty change to `graph`.
    pub fn new(graph: &'g Graph) -> Self {
        Self { graph, added: Vec::new(), replaced: Vec::new(), removed: Vec::new() }
    }

    /// The type of a value of the graph or of this patch.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        if self.graph.contains(id) {
            return self.graph.ty(id);
        }
        let ahead = (0..self.added.len()).find(|&i| self.graph.next_id(i) == id);
        &self.added[ahead.expect("the value belongs to the graph or to this patch")].0.ty
    }

    fn add(&mut self, node: Node, operands: Vec<NodeId>) -> NodeId {
        let id = self.graph.next_id(self.added.len());
        self.added.push((node, operands));
        id
    }

    /// A new op on values of the graph or of this patch. `name` should come from a node that it replaces.
    ///
    /// # Errors
    /// If the operands do not fit the op.
    pub fn op(&mut self, name: &str, op: Op, operands: &[NodeId]) -> Result<NodeId, InferError> {
        let types: Vec<_> = operands.iter().map(|&id| self.ty(id)).collect();
        let ty = infer(&op, &types)?;
        Ok(self.add(Node { name: name.to_owned(), ty, def: Def::Op(op) }, operands.to_vec()))
    }

    /// A new constant.
    pub fn constant(&mut self, name: &str, value: f64) -> NodeId {
        let ty = TensorType { dtype: DType::F32, shape: Vec::new() };
        self.add(Node { name: name.to_owned(), ty, def: Def::Const(Real(value)) }, Vec::new())
    }

    /// Every use of `old`, outputs included, becomes a use of `new`; only the patch's own nodes keep the operands that
    /// they were made with, so that `new` may be computed from `old`. `old` stays until dead code is removed.
    /// Replacements are made in order.
    ///
    /// # Panics
    /// If the two differ in type: a rule must keep the type of what it replaces.
    pub fn replace(&mut self, old: NodeId, new: NodeId) {
        assert_eq!(self.graph.ty(old), self.ty(new), "a replacement keeps the type");
        self.replaced.push((old, new));
    }

    /// Removes a node. Once the replacements are made nothing else that stays may use it.
    pub fn remove(&mut self, id: NodeId) {
        self.removed.push(id);
    }

    /// The change, free of the borrow of the graph.
    pub fn finish(self) -> Change {
        let first = self.graph.next_id(0);
        Change { first, added: self.added, replaced: self.replaced, removed: self.removed }
    }
}

impl Change {
    /// The values that it adds to `graph`, for which it was made and which it has not changed yet, and the names that they
    /// ask for.
    pub fn added<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = (NodeId, &'a str)> {
        let added = self.added.iter().enumerate();
        added.map(|(i, (node, _))| (graph.next_id(i), node.name.as_str()))
    }

    /// The types of the values that it adds.
    pub fn added_types(&self) -> impl Iterator<Item = &TensorType> {
        self.added.iter().map(|(node, _)| &node.ty)
    }

    /// Each value whose uses become those of another, and the other.
    pub fn replaced(&self) -> &[(NodeId, NodeId)] {
        &self.replaced
    }

    /// The values that it takes away.
    pub fn removed(&self) -> &[NodeId] {
        &self.removed
    }
}

impl Graph {
    /// Makes the change. A new node takes over the name of an op that nothing uses any more, which becomes `name.old`;
    /// if another node has the name, the new one becomes `name.2`, `name.3`, ..
    ///
    /// # Panics
    /// If the graph has grown since the patch was begun, or if a removed node is still used.
    pub fn apply(&mut self, change: Change) {
        assert_eq!(self.next_id(0), change.first, "a change is for the graph that it was made of");
        let names: Vec<_> = change.added.iter().map(|(node, _)| node.name.clone()).collect();
        let added: Vec<_> = change
            .added
            .into_iter()
            .map(|(node, operands)| self.add_node(node, &operands))
            .collect();
        for (old, new) in change.replaced {
            self.redirect(old, new, &added);
        }
        let removed: BTreeSet<_> = change.removed.into_iter().collect();
        for &id in &removed {
            let used =
                self.is_output(id) || self.users(id).iter().any(|user| !removed.contains(user));
            assert!(!used, "{} is removed but still used", self.name(id));
        }
        for id in removed {
            self.remove_node(id);
        }
        for (id, name) in added.into_iter().zip(names) {
            if self.contains(id) {
                self.take_name(id, &name);
            }
        }
    }
}
