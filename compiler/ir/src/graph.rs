//! The graph of one sample. petgraph is private to this file.
//!
//! Nodes are the definitions of values; each defines exactly one. An edge leads from a value to a use of it and carries
//! the operand's position. Ids are never given out twice, so a report can name a node that a rule has since replaced.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::attrs::Real;
use crate::ops::Op;
use crate::types::{SymbolRange, TensorType};

/// A value of one graph, and the node that defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What defines a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Def {
    /// A tensor that comes with each sample, under the node's name.
    Input {
        /// The value of every element when a sample leaves the tensor out; `None` if it may not.
        default: Option<i64>,
    },
    /// A tensor of the checkpoint; the node's name is the tensor's.
    Weight,
    /// A number, the same for every sample: a scalar of type f32.
    Const(Real),
    /// The result of an op on other values.
    Op(Op),
}

/// A node: a named, typed value and what defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique among the graph's values of the same sort (weights, or all others); taken from the source where it has one.
    pub name: String,
    /// Element type and extents.
    pub ty: TensorType,
    /// Its definition.
    pub def: Def,
}

/// A value that the model gives out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name users see, such as `last_hidden_state`.
    pub name: String,
    /// The value.
    pub value: NodeId,
}

/// The forward pass of one unpadded sample. Changed only through [`crate::builder`] and [`crate::patch`].
#[derive(Clone, Debug, Default)]
pub struct Graph {
    graph: StableDiGraph<(NodeId, Node), usize>,
    index: Vec<Option<NodeIndex>>,
    symbols: Vec<SymbolRange>,
    outputs: Vec<Output>,
    weights: BTreeMap<String, NodeId>,
    values: BTreeMap<String, NodeId>,
}

impl Graph {
    /// The symbols that samples bind, with their limits.
    pub fn symbols(&self) -> &[SymbolRange] {
        &self.symbols
    }

    /// The outputs, in order of declaration.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// True if `id` is a node of this graph that has not been removed.
    pub fn contains(&self, id: NodeId) -> bool {
        self.index.get(id.0 as usize).is_some_and(Option::is_some)
    }

    fn at(&self, id: NodeId) -> NodeIndex {
        self.index[id.0 as usize].expect("a NodeId is only used while its node exists")
    }

    /// The node `id`.
    ///
    /// # Panics
    /// If the node has been removed.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.graph[self.at(id)].1
    }

    /// The type of a value.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.node(id).ty
    }

    /// The name of a value.
    pub fn name(&self, id: NodeId) -> &str {
        &self.node(id).name
    }

    /// The value called `name` that is not a weight.
    pub fn value(&self, name: &str) -> Option<NodeId> {
        self.values.get(name).copied()
    }

    /// The weight called `name`.
    pub fn weight(&self, name: &str) -> Option<NodeId> {
        self.weights.get(name).copied()
    }

    /// The op that defines a value, if an op does.
    pub fn op(&self, id: NodeId) -> Option<&Op> {
        match &self.node(id).def {
            Def::Op(op) => Some(op),
            _ => None,
        }
    }

    /// The number, if the value is a constant.
    pub fn constant(&self, id: NodeId) -> Option<f64> {
        match self.node(id).def {
            Def::Const(Real(value)) => Some(value),
            _ => None,
        }
    }

    /// The operands of a node, in order.
    pub fn operands(&self, id: NodeId) -> Vec<NodeId> {
        let mut edges: Vec<_> = self
            .graph
            .edges_directed(self.at(id), Direction::Incoming)
            .map(|edge| (*edge.weight(), self.graph[edge.source()].0))
            .collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, id)| id).collect()
    }

    /// The nodes that use a value, in order of id, once for each use. An output is not a use.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let mut users: Vec<_> = self
            .graph
            .neighbors_directed(self.at(id), Direction::Outgoing)
            .map(|user| self.graph[user].0)
            .collect();
        users.sort_unstable();
        users
    }

    /// True if the model gives this value out.
    pub fn is_output(&self, id: NodeId) -> bool {
        self.outputs.iter().any(|output| output.value == id)
    }

    /// How often a value is used, outputs included.
    pub fn use_count(&self, id: NodeId) -> usize {
        self.users(id).len() + self.outputs.iter().filter(|output| output.value == id).count()
    }

    /// All nodes in order of id.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.index
            .iter()
            .enumerate()
            .filter(|(_, index)| index.is_some())
            .map(|(i, _)| NodeId(i as u32))
    }

    /// All nodes, operands before users; among nodes that could come next, the smallest id first.
    pub fn topological(&self) -> Vec<NodeId> {
        let mut missing: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut ready = BinaryHeap::new();
        for id in self.ids() {
            match self.operands(id).len() {
                0 => ready.push(Reverse(id)),
                n => {
                    missing.insert(id, n);
                }
            }
        }
        let mut order = Vec::with_capacity(self.graph.node_count());
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for user in self.users(id) {
                let left = missing.get_mut(&user).expect("a user has operands");
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
        order
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// True if there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nodes defined by `Def::Input`, in order of id.
    pub fn inputs(&self) -> Vec<NodeId> {
        self.ids().filter(|&id| matches!(self.node(id).def, Def::Input { .. })).collect()
    }

    /// The nodes defined by `Def::Weight`, in order of id.
    pub fn weights(&self) -> Vec<NodeId> {
        self.ids().filter(|&id| self.node(id).def == Def::Weight).collect()
    }

    /// The id that the next node will get.
    pub(crate) fn next_id(&self, ahead: usize) -> NodeId {
        NodeId((self.index.len() + ahead) as u32)
    }

    pub(crate) fn add_symbol(&mut self, range: SymbolRange) {
        self.symbols.push(range);
    }

    pub(crate) fn add_output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// For tests of the verifier.
    #[cfg(test)]
    pub(crate) fn remove_outputs(&mut self) {
        self.outputs.clear();
    }

    pub(crate) fn add_node(&mut self, node: Node, operands: &[NodeId]) -> NodeId {
        let id = self.next_id(0);
        self.names_of(node.def == Def::Weight).entry(node.name.clone()).or_insert(id);
        let index = self.graph.add_node((id, node));
        self.index.push(Some(index));
        for (position, &operand) in operands.iter().enumerate() {
            self.graph.add_edge(self.at(operand), index, position);
        }
        id
    }

    /// Makes every use of `old`, outputs included, a use of `new`; the nodes of `except` keep their operands.
    pub(crate) fn redirect(&mut self, old: NodeId, new: NodeId, except: &[NodeId]) {
        let uses: Vec<_> = self
            .graph
            .edges_directed(self.at(old), Direction::Outgoing)
            .filter(|edge| !except.contains(&self.graph[edge.target()].0))
            .map(|edge| (edge.id(), edge.target(), *edge.weight()))
            .collect();
        for (edge, user, position) in uses {
            self.graph.remove_edge(edge);
            self.graph.add_edge(self.at(new), user, position);
        }
        for output in self.outputs.iter_mut().filter(|output| output.value == old) {
            output.value = new;
        }
    }

    pub(crate) fn remove_node(&mut self, id: NodeId) {
        self.forget_name(id);
        let index = self.at(id);
        self.graph.remove_node(index);
        self.index[id.0 as usize] = None;
    }

    /// Gives `id` the name `wanted`, or `wanted.2`, `wanted.3`, .. if another node of its sort has it.
    pub(crate) fn name_apart(&mut self, id: NodeId, wanted: &str) {
        let weight = self.node(id).def == Def::Weight;
        let mut name = wanted.to_owned();
        let mut count = 1;
        while self.names_of(weight).get(&name).is_some_and(|&holder| holder != id) {
            count += 1;
            name = format!("{wanted}.{count}");
        }
        self.rename(id, name);
    }

    /// As [`Graph::name_apart`], but an op that nothing uses any more yields its name and becomes `wanted.old`.
    pub(crate) fn take_name(&mut self, id: NodeId, wanted: &str) {
        let weight = self.node(id).def == Def::Weight;
        if let Some(&holder) = self.names_of(weight).get(wanted)
            && holder != id
            && self.use_count(holder) == 0
            && self.op(holder).is_some()
        {
            self.name_apart(holder, &format!("{wanted}.old"));
        }
        self.name_apart(id, wanted);
    }

    fn names_of(&mut self, weight: bool) -> &mut BTreeMap<String, NodeId> {
        if weight { &mut self.weights } else { &mut self.values }
    }

    fn forget_name(&mut self, id: NodeId) {
        let Node { name, def, .. } = self.node(id).clone();
        let names = self.names_of(def == Def::Weight);
        if names.get(&name) == Some(&id) {
            names.remove(&name);
        }
    }

    fn rename(&mut self, id: NodeId, name: String) {
        self.forget_name(id);
        let weight = self.node(id).def == Def::Weight;
        self.names_of(weight).entry(name.clone()).or_insert(id);
        let index = self.at(id);
        self.graph[index].1.name = name;
    }
}
