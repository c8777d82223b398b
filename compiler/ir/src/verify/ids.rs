//! Where ids come from, and whether they are rows of the tables that they reach.

use std::collections::{BTreeMap, BTreeSet};

use crate::dim::Dim;
use crate::graph::{Def, Graph, NodeId};
use crate::ops::Op;

/// For each value of integers that has been looked at, the `iota`s and inputs that its elements come from.
pub(super) type Sources = BTreeMap<NodeId, BTreeSet<NodeId>>;

/// Refuses an index that an axis may be too short for.
pub(super) fn selected(graph: &Graph, index: usize, extent: &Dim) -> Result<(), String> {
    match extent.bounds(graph.symbols()) {
        Some((least, _)) if (index as i128) < least => Ok(()),
        _ => Err(format!(
            "expected an axis longer than {index}, found {extent}, which may be shorter"
        )),
    }
}

/// The problems of a table that these ids index. What a sample brings is checked when it comes.
pub(super) fn gathered(
    graph: &Graph,
    table: NodeId,
    ids: NodeId,
    known: &mut Sources,
) -> Vec<String> {
    let rows = &graph.ty(table).shape[0];
    sources(graph, ids, known)
        .into_iter()
        .filter_map(|source| {
            let (start, extent) = match &graph.node(source).def {
                Def::Op(Op::Iota { extent, start }) => (*start, extent.clone()),
                Def::Input { default: Some(n) } => (*n, Dim::fixed(1)),
                _ => return None,
            };
            // The least that is left of the table after the last id: rows - extent - start.
            let left = rows.checked_sub(&extent).and_then(|left| left.bounds(graph.symbols()));
            let inside = start >= 0 && left.is_some_and(|(least, _)| least >= i128::from(start));
            let name = graph.name(source);
            (!inside).then(|| {
                format!("%{name} gives ids {start}..{start}+{extent} for a table of {rows} rows")
            })
        })
        .collect()
}

fn sources(graph: &Graph, ids: NodeId, known: &mut Sources) -> BTreeSet<NodeId> {
    // Operands come before users, so a walk from the front needs no recursion.
    if !known.contains_key(&ids) {
        for id in graph.topological() {
            if graph.ty(id).dtype.is_float() {
                continue;
            }
            let operands = graph.operands(id);
            let own = if operands.is_empty() {
                BTreeSet::from([id])
            } else {
                operands
                    .iter()
                    .filter_map(|operand| known.get(operand))
                    .flatten()
                    .copied()
                    .collect()
            };
            known.insert(id, own);
        }
    }
    known.get(&ids).cloned().unwrap_or_default()
}
