//! The linears that make q, k and v of the same rows become one linear on the concatenated weights, then slices.
//!
//! Before:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @self.query.weight: f32[8, 8]
//! weight @self.query.bias: f32[8]
//! weight @self.key.weight: f32[8, 8]
//! weight @self.key.bias: f32[8]
//! weight @self.value.weight: f32[8, 8]
//! weight @self.value.bias: f32[8]
//! %self.query: f32[L, 8] = linear(%x, @self.query.weight, @self.query.bias) {epilogue = []}
//! %self.key: f32[L, 8] = linear(%x, @self.key.weight, @self.key.bias) {epilogue = []}
//! %self.value: f32[L, 8] = linear(%x, @self.value.weight, @self.value.bias) {epilogue = []}
//! %merged: f32[L, 8] = attention(%self.query, %self.key, %self.value) {heads = 2, head_size = 4, scale = 0.5}
//! output y = %merged
//! ```
//! After:
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %x: f32[L, 8]
//! weight @self.query.weight: f32[8, 8]
//! weight @self.query.bias: f32[8]
//! weight @self.key.weight: f32[8, 8]
//! weight @self.key.bias: f32[8]
//! weight @self.value.weight: f32[8, 8]
//! weight @self.value.bias: f32[8]
//! %self.qkv.weight: f32[24, 8] = concat(@self.query.weight, @self.key.weight, @self.value.weight) {axis = 0}
//! %self.qkv.bias: f32[24] = concat(@self.query.bias, @self.key.bias, @self.value.bias) {axis = 0}
//! %self.qkv: f32[L, 24] = linear(%x, %self.qkv.weight, %self.qkv.bias) {epilogue = []}
//! %self.query: f32[L, 8] = slice(%self.qkv) {axis = 1, start = 0, end = 8}
//! %self.key: f32[L, 8] = slice(%self.qkv) {axis = 1, start = 8, end = 16}
//! %self.value: f32[L, 8] = slice(%self.qkv) {axis = 1, start = 16, end = 24}
//! %merged: f32[L, 8] = attention(%self.query, %self.key, %self.value) {heads = 2, head_size = 4, scale = 0.5}
//! output y = %merged
//! ```
//!
//! The rule is applied at the attention. One product with a wide weight reads the rows once and fills the machine better
//! than three; attention reads the slices in place. The concatenation is of weights alone, so it is done when the plan is
//! written. With other rows for the query, as in cross-attention, k and v are merged.
//!
//! It does not apply when some of the linears have a bias and others none, or when one of them has an epilogue, is an
//! output, or is used by anything but this attention, which would have to read it out of wider rows.

use bytec_ir::graph::{Graph, NodeId};
use bytec_ir::infer::InferError;
use bytec_ir::ops::Op;
use bytec_ir::patch::Change;

use super::pattern::{fixed, is_shared, linear, only_for, shown};
use super::rewrite::Rewrite;
use super::{Outcome, Rule};

/// The rule of this file.
pub(super) struct MergeLinears;

impl Rule for MergeLinears {
    fn name(&self) -> &'static str {
        "merge_linears"
    }

    fn summary(&self) -> &'static str {
        "the linears for q, k and v of the same rows become one, then slices"
    }

    fn apply(&self, graph: &Graph, at: NodeId) -> Outcome {
        let Some(Op::Attention { .. }) = graph.op(at) else { return Outcome::NoMatch };
        let layers: Vec<_> = graph
            .operands(at)
            .into_iter()
            .zip(["q", "k", "v"])
            .filter_map(|(id, role)| Some((Part { id, user: at, role }, linear(graph, id)?.x)))
            .collect();
        // At most three operands hold at most one group of two or more.
        let group: Vec<_> = layers
            .iter()
            .filter(|(_, x)| layers.iter().filter(|(_, other)| other == x).count() > 1)
            .map(|&(part, _)| part)
            .collect();
        if group.is_empty() { Outcome::NoMatch } else { merge(graph, &group) }
    }
}

/// One of the linears that become one.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// The linear.
    pub(super) id: NodeId,
    /// What uses it, and nothing else may.
    pub(super) user: NodeId,
    /// What it adds to the name.
    pub(super) role: &'static str,
}

/// One linear, and slices in place of the parts, which are all of the same rows.
pub(super) fn merge(graph: &Graph, group: &[Part]) -> Outcome {
    match guard(graph, group) {
        Ok(widths) => build(graph, group, &widths).into(),
        Err(reason) => Outcome::Refused(reason),
    }
}

/// The width of each linear of the group, or why they can't be merged.
fn guard(graph: &Graph, group: &[Part]) -> Result<Vec<usize>, String> {
    let has_bias = |id| linear(graph, id).is_some_and(|layer| layer.bias.is_some());
    let mut widths = Vec::new();
    for &Part { id, user, .. } in group {
        let name = shown(graph, id);
        let layer = linear(graph, id).ok_or("not a linear")?;
        only_for(graph, id, user)?;
        if !layer.epilogue.is_empty() {
            return Err(format!("{name} has an epilogue"));
        }
        let first = group[0].id;
        if has_bias(id) != has_bias(first) {
            let (with, without) = if has_bias(id) { (id, first) } else { (first, id) };
            return Err(format!(
                "{} has a bias, {} has none",
                shown(graph, with),
                shown(graph, without)
            ));
        }
        if !is_shared(graph, layer.weight) || !layer.bias.is_none_or(|bias| is_shared(graph, bias))
        {
            return Err(format!("the weight or bias of {name} is computed for each sample"));
        }
        let width = graph.ty(id).shape.last().and_then(fixed);
        widths.push(width.ok_or_else(|| format!("the width of {name} is not a number"))?);
    }
    Ok(widths)
}

fn build(graph: &Graph, group: &[Part], widths: &[usize]) -> Result<Change, InferError> {
    let mut rewrite = Rewrite::new(graph);
    let operands: Vec<_> = group.iter().map(|part| graph.operands(part.id)).collect();
    let roles: String = group.iter().map(|part| part.role).collect();
    let name = merged_name(group.iter().map(|part| graph.name(part.id)).collect(), &roles);
    let mut merged = vec![operands[0][0]];
    for (position, part) in (1..operands[0].len()).zip(["weight", "bias"]) {
        let parts: Vec<_> = operands.iter().map(|operands| operands[position]).collect();
        merged.push(rewrite.op(&format!("{name}.{part}"), Op::Concat { axis: 0 }, &parts)?);
    }
    let merged = rewrite.op(&name, Op::Linear { epilogue: Vec::new() }, &merged)?;
    let mut start = 0;
    for (&Part { id, .. }, width) in group.iter().zip(widths) {
        let axis = graph.ty(id).rank() - 1;
        let end = start + width;
        let slice = rewrite.op(graph.name(id), Op::Slice { axis, start, end }, &[merged])?;
        rewrite.replace(id, slice);
        start = end;
    }
    Ok(rewrite.finish())
}

/// The scope that the names have in common, then the roles: `self.query`, `self.key` and `self.value` give `self.qkv`.
fn merged_name(names: Vec<&str>, roles: &str) -> String {
    let scopes: Vec<Vec<&str>> = names.iter().map(|name| name.split('.').collect()).collect();
    let common = (0..scopes[0].len() - 1)
        .take_while(|&i| scopes.iter().all(|scope| i + 1 < scope.len() && scope[i] == scopes[0][i]))
        .count();
    let mut parts = scopes[0][..common].to_vec();
    parts.push(roles);
    parts.join(".")
}
