//! Where ids come from, and the tables whose rows they name.
//!
//! Integers are moved or counted, never computed: an id comes, through `concat`, `slice` and the like, from an `iota`,
//! from `places`, or from an input.

use std::collections::{BTreeMap, BTreeSet};

use crate::dim::Dim;
use crate::graph::{Graph, NodeId};
use crate::ops::Op;

/// One use of ids: a table, and one of the places its ids come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    /// The op that looks up: a `gather` or an `embed_layer_norm`.
    pub at: NodeId,
    /// The table.
    pub table: NodeId,
    /// An `iota`, `places` or an input whose elements are among the ids.
    pub source: NodeId,
}

/// All lookups of a graph, in topological order of the ops.
pub fn lookups(graph: &Graph) -> Vec<Lookup> {
    let mut sources: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    let mut found = Vec::new();
    for at in graph.topological() {
        let operands = graph.operands(at);
        if !graph.ty(at).dtype.is_float() {
            let counted = matches!(graph.op(at), Some(Op::Places { .. }));
            let own = if operands.is_empty() || counted {
                BTreeSet::from([at])
            } else {
                operands.iter().filter_map(|id| sources.get(id)).flatten().copied().collect()
            };
            sources.insert(at, own);
        }
        let pairs = match graph.op(at) {
            Some(Op::Gather {}) => &operands[..],
            Some(Op::EmbedLayerNorm { .. }) => operands.get(2..).unwrap_or_default(),
            _ => continue,
        };
        for pair in pairs.chunks_exact(2) {
            let (table, ids) = (pair[0], pair[1]);
            let of_ids = sources.get(&ids).into_iter().flatten();
            found.extend(of_ids.map(|&source| Lookup { at, table, source }));
        }
    }
    found
}

/// How many rows the smallest table has that an input's ids index, for each integer input that indexes one.
/// Its ids must be below that.
pub fn input_limits(graph: &Graph) -> BTreeMap<NodeId, Dim> {
    let mut limits: BTreeMap<NodeId, Dim> = BTreeMap::new();
    for Lookup { table, source, .. } in lookups(graph) {
        if graph.op(source).is_some() {
            continue;
        }
        let rows = &graph.ty(table).shape[0];
        let limit = limits.entry(source).or_insert_with(|| rows.clone());
        let least = |dim: &Dim| dim.bounds(graph.symbols()).map_or(i128::MAX, |(low, _)| low);
        if least(rows) < least(limit) {
            *limit = rows.clone();
        }
    }
    limits
}
