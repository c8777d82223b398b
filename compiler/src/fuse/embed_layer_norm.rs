//! The sum of embeddings before a layer normalisation is gathered and added inside it.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %input_ids: i64[L]
//! input %token_type_ids: i64[L] = 0
//! weight @words: f32[100, 8]
//! weight @types: f32[2, 8]
//! weight @positions: f32[512, 8]
//! weight @gamma: f32[8]
//! weight @beta: f32[8]
//! %word: f32[L, 8] = gather(@words, %input_ids)
//! %type: f32[L, 8] = gather(@types, %token_type_ids)
//! %word_and_type: f32[L, 8] = binary(%word, %type) {f = add}
//! %places: i64[L] = iota() {extent = L, start = 0}
//! %position: f32[L, 8] = gather(@positions, %places)
//! %sum: f32[L, 8] = binary(%word_and_type, %position) {f = add}
//! %embeddings: f32[L, 8] = layer_norm(%sum, @gamma, @beta) {eps = 1e-12}
//! output y = %embeddings
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %input_ids: i64[L]
//! input %token_type_ids: i64[L] = 0
//! weight @words: f32[100, 8]
//! weight @types: f32[2, 8]
//! weight @positions: f32[512, 8]
//! weight @gamma: f32[8]
//! weight @beta: f32[8]
//! %places: i64[L] = iota() {extent = L, start = 0}
//! %embeddings: f32[L, 8] = embed_layer_norm(@gamma, @beta, @words, %input_ids, @types, %token_type_ids, @positions, %places) {eps = 1e-12}
//! output y = %embeddings
//! ```
//!
//! The additions may be nested in any way; the tables stay in the order in which they are written. Ids are an integer
//! input, or the positions of a sample's rows.
//!
//! It does not apply when an addend is no gather of one row for each id, when a table is not a weight, or when the sum or
//! an addend is needed as well.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::ops::{Op, OpKind};

use super::pattern::{binary, is_shared, only_for, operands_of, shown};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct EmbedLayerNorm;

impl Rule for EmbedLayerNorm {
    fn name(&self) -> &'static str {
        "embed_layer_norm"
    }

    fn summary(&self) -> &'static str {
        "the sum of embeddings before a layer normalisation is gathered and added inside it"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::LayerNorm { eps }) = graph.op(at) else { return Outcome::NoMatch };
        let [sum, gamma, beta] = graph.operands(at)[..] else { return Outcome::NoMatch };
        let addends = addends(graph, sum, at);
        if !addends.leaves.iter().any(|&leaf| graph.op(leaf) == Some(&Op::Gather {})) {
            return Outcome::NoMatch;
        }
        let mut operands = vec![gamma, beta];
        match pairs(graph, &addends) {
            Ok(pairs) => operands.extend(pairs),
            Err(reason) => return Outcome::Refused(reason),
        }
        let mut rewrite = Rewrite::new(graph);
        rewrite
            .op(graph.name(at), Op::EmbedLayerNorm { eps: *eps }, &operands)
            .map(|whole| {
                rewrite.replace(at, whole);
                rewrite.finish()
            })
            .into()
    }
}

/// A sum of any number of values.
struct Addends {
    /// The values, in the order in which they are written.
    leaves: Vec<NodeId>,
    /// Every value of the sum, partial sums too, with its user.
    uses: Vec<(NodeId, NodeId)>,
}

/// The sum that ends in `sum`, through all partial sums that nothing else needs.
fn addends(graph: &Graph, sum: NodeId, user: NodeId) -> Addends {
    let mut found = Addends { leaves: Vec::new(), uses: Vec::new() };
    let mut waiting = vec![(sum, user)];
    while let Some((id, user)) = waiting.pop() {
        found.uses.push((id, user));
        match binary(graph, id, BinaryFn::Add) {
            Some([a, b]) if id == sum || graph.use_count(id) == 1 => {
                waiting.extend([(b, id), (a, id)]);
            }
            _ => found.leaves.push(id),
        }
    }
    found
}

/// Table and ids of each addend, or why they can't be gathered inside the normalisation.
fn pairs(graph: &Graph, addends: &Addends) -> Result<Vec<NodeId>, String> {
    let mut pairs = Vec::new();
    for &leaf in &addends.leaves {
        let name = shown(graph, leaf);
        let Some([table, ids]) = operands_of(graph, leaf, OpKind::Gather) else {
            return Err(format!("the addend {name} is no gather"));
        };
        if graph.ty(leaf).rank() != 2 {
            return Err(format!("{name} is {}, expected one row for each id", graph.ty(leaf)));
        }
        let input = matches!(graph.node(ids).def, Def::Input { .. });
        if !input && !matches!(graph.op(ids), Some(Op::Iota { .. } | Op::Places { .. })) {
            return Err(format!(
                "the ids {} are neither an input nor positions",
                shown(graph, ids)
            ));
        }
        if !is_shared(graph, table) {
            return Err(format!("the table {} is computed for each sample", shown(graph, table)));
        }
        pairs.extend([table, ids]);
    }
    for &(id, user) in &addends.uses {
        only_for(graph, id, user)?;
    }
    Ok(pairs)
}
