//! What became of each op of a source: followed through every change, by what it takes away and what it puts there.

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::patch::Change;

/// The ops of a source, with what has become of them so far.
#[derive(Clone, Debug)]
pub struct Origins {
    /// For each op that is there now, the ops of the source that it was made of.
    of: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// For each op of the source, the rules that took it into another, in the order in which they did.
    rules: BTreeMap<NodeId, Vec<&'static str>>,
}

impl Origins {
    /// Every op is itself.
    pub(super) fn new(source: &Graph) -> Self {
        let ops = || source.ids().filter(|&id| source.op(id).is_some());
        Self {
            of: ops().map(|id| (id, BTreeSet::from([id]))).collect(),
            rules: ops().map(|id| (id, Vec::new())).collect(),
        }
    }

    /// The ops of the source that an op is made of.
    pub fn of(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.of.get(&id).into_iter().flatten().copied()
    }

    /// The ops that an op of the source is part of now; none if it is gone.
    pub fn became(&self, source: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.of.iter().filter(move |(_, of)| of.contains(&source)).map(|(&id, _)| id)
    }

    /// The rules that took an op of the source into another, in the order in which they did.
    pub fn rules(&self, source: NodeId) -> &[&'static str] {
        self.rules.get(&source).map_or(&[], Vec::as_slice)
    }

    /// Follows a change that `rule` is about to make to `graph`.
    ///
    /// A new value that takes over the name of one that goes is made of what that was made of; what is left over goes into
    /// the values that take over nobody's name, or else into all new ones. If nothing is new, it goes into what is used in
    /// its place.
    pub(super) fn follow(&mut self, graph: &Graph, change: &Change, rule: &'static str) {
        let mut going: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        let replaced = change.replaced().iter().map(|&(old, _)| old);
        for id in change.removed().iter().copied().chain(replaced) {
            if let Some(sources) = self.of.get(&id) {
                going.insert(id, sources.clone());
            }
        }
        let added: Vec<_> = change.added(graph).collect();
        for source in going.values().flatten() {
            let rules = self.rules.entry(*source).or_default();
            // An op that is only taken away was needed by nothing.
            if (!added.is_empty() || !change.replaced().is_empty()) && rules.last() != Some(&rule) {
                rules.push(rule);
            }
        }
        let mut claimed = BTreeSet::new();
        let mut free = Vec::new();
        for &(id, name) in &added {
            match going.iter().find(|&(&old, _)| graph.name(old) == name) {
                Some((&old, sources)) => {
                    self.of.insert(id, sources.clone());
                    claimed.insert(old);
                }
                None => free.push(id),
            }
        }
        let left = going.iter().filter(|(old, _)| !claimed.contains(*old));
        let left: BTreeSet<NodeId> = left.flat_map(|(_, sources)| sources).copied().collect();
        let all: BTreeSet<NodeId> = going.values().flatten().copied().collect();
        for &id in &free {
            self.of.insert(id, all.clone());
        }
        let heirs: Vec<NodeId> = match (free.is_empty(), added.is_empty()) {
            (false, _) => Vec::new(),
            (true, false) => added.iter().map(|&(id, _)| id).collect(),
            (true, true) => change.replaced().iter().map(|&(_, new)| new).collect(),
        };
        for heir in heirs {
            if let Some(sources) = self.of.get_mut(&heir) {
                sources.extend(left.iter().copied());
            }
        }
        for &id in change.removed() {
            self.of.remove(&id);
        }
    }
}
