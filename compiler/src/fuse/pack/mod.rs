//! Lifts the graph of one sample over a batch: every value becomes shared, per sample or ragged, and an op that would mix
//! rows across a ragged axis is refused by name.
//!
//! There is no padding to remove: a ragged value is each sample's own dense block, one sample after the other. So an op is
//! liftable if it treats each row alone, or knows where a sample's rows begin and end:
//!
//! - row by row: pointwise ops, linear, gather, the normalisations and softmax along a fixed last axis, views and
//!   concatenations that leave the rows as they are;
//! - by segment: attention, rotation by position, unfolding, pooling, a reduction or selection over the rows of `[rows, ..]`,
//!   a concatenation of rows, positions;
//! - by block, if every sample has as many rows: any view of a sample's elements.

mod lift;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use bytec_ir::dim::{Atom, Bindings, Dim};
use bytec_ir::graph::{Def, Graph, NodeId};
use bytec_ir::types::{DType, TensorType};
use thiserror::Error;

/// Where a value lives in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Made of weights and constants alone: computed once, when the plan is written.
    Shared,
    /// Stored `[samples, ..]`, one row for each: no axis depends on the sample, and there is one axis at most, or the
    /// first is 1.
    PerSample,
    /// Each sample's dense block of rows, one sample after the other.
    Ragged {
        /// The rows of one sample: the product of its leading symbolic axes, or the first axis of a value whose axes are
        /// all numbers. The axes after them are numbers, and make up the width.
        extent: Dim,
    },
}

/// A graph that runs on packed batches.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The graph, unchanged.
    pub graph: Graph,
    /// Where each of its values lives.
    pub placement: BTreeMap<NodeId, Placement>,
}

/// The values that stand against running a graph on packed batches, all of them.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub struct PackError {
    /// In topological order; at least one.
    pub refusals: Vec<PackRefusal>,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.refusals.len();
        let values = if count == 1 { "value" } else { "values" };
        write!(f, "{count} {values} can't be computed on samples side by side")?;
        for refusal in &self.refusals {
            write!(f, "\n  {refusal}")?;
        }
        Ok(())
    }
}

/// A value that can't be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRefusal {
    /// The value's name.
    pub at: String,
    /// The mnemonic of its op, or `input`.
    pub op: &'static str,
    /// Its type.
    pub ty: TensorType,
    /// What stands against it.
    pub reason: String,
    /// For a value that grows faster than the rows: what it would take for the largest sample.
    pub largest: Option<Largest>,
}

/// What a value takes for the largest sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Largest {
    /// Bytes; `None` past 64 bits.
    pub bytes: Option<u64>,
    /// The symbols at their maximum, such as `L = 512`.
    pub sample: String,
}

impl fmt::Display for PackRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{} = {}: {}: {}", self.at, self.op, self.ty, self.reason)?;
        match &self.largest {
            Some(Largest { bytes: Some(bytes), sample }) => {
                write!(f, " ({bytes} bytes at {sample})")
            }
            Some(Largest { bytes: None, sample }) => write!(f, " (past 64 bits at {sample})"),
            None => Ok(()),
        }
    }
}

/// Places every value of a graph in a batch.
///
/// # Errors
/// Every value whose op would mix rows, or whose type is no block of rows of a fixed width.
pub fn pack(graph: &Graph) -> Result<Packed, PackError> {
    let mut placement: BTreeMap<NodeId, Placement> = BTreeMap::new();
    let mut refusals = Vec::new();
    for id in graph.topological() {
        let operands = graph.operands(id);
        let shared = |operand: &NodeId| placement[operand] == Placement::Shared;
        let all_shared = operands.iter().all(shared);
        let here = match &graph.node(id).def {
            Def::Weight | Def::Const(_) => Placement::Shared,
            Def::Op(_) if all_shared && is_fixed(graph.ty(id)) => Placement::Shared,
            Def::Op(_) | Def::Input { .. } => placed(graph.ty(id)),
        };
        if here != Placement::Shared {
            let reason = block_of_rows(graph.ty(id)).and_then(|()| match graph.op(id) {
                Some(op) => lift::check(graph, op, id, &operands, &placement),
                None => Ok(()),
            });
            if let Err(reason) = reason {
                refusals.push(refusal(graph, id, reason));
            }
        }
        placement.insert(id, here);
    }
    if refusals.is_empty() {
        Ok(Packed { graph: graph.clone(), placement })
    } else {
        Err(PackError { refusals })
    }
}

/// How many of the first axes count the rows: those that are symbolic, or the first of several that are all numbers.
pub(crate) fn row_axes(ty: &TensorType) -> usize {
    let symbolic = ty.shape.iter().take_while(|dim| dim.as_fixed().is_none()).count();
    match symbolic {
        0 if ty.rank() > 1 && ty.shape[0] != Dim::fixed(1) && is_fixed(ty) => 1,
        count => count,
    }
}

/// No axis depends on the sample.
pub(crate) fn is_fixed(ty: &TensorType) -> bool {
    ty.shape.iter().all(|dim| dim.as_fixed().is_some())
}

/// The rows of a sample: the product of the axes that count them.
fn extent(ty: &TensorType) -> Dim {
    let rows = ty.shape[..row_axes(ty)].iter().cloned();
    rows.fold(Dim::fixed(1), |product, dim| product * dim)
}

/// Where a value of this type lives that depends on the sample.
pub(crate) fn placed(ty: &TensorType) -> Placement {
    match row_axes(ty) {
        0 => Placement::PerSample,
        _ => Placement::Ragged { extent: extent(ty) },
    }
}

/// The type is rows of a fixed width, and no more rows than a sample has.
fn block_of_rows(ty: &TensorType) -> Result<(), String> {
    let lead = row_axes(ty);
    if let Some(axis) = (lead..ty.rank()).find(|&axis| ty.shape[axis].as_fixed().is_none()) {
        return Err(format!(
            "axis {axis} depends on the sample, expected rows first and then a fixed width"
        ));
    }
    match grows_faster(&extent(ty)) {
        true => Err(format!("it holds {} rows, more than in proportion to the sample", extent(ty))),
        false => Ok(()),
    }
}

/// True if a symbol is multiplied by itself.
fn grows_faster(dim: &Dim) -> bool {
    dim.terms().any(|(monomial, _)| {
        let mut seen = std::collections::BTreeSet::new();
        monomial.iter().any(|(atom, &power)| {
            let symbols = match atom {
                Atom::Symbol(symbol) => [symbol.clone()].into(),
                Atom::CeilDiv(dim, _) | Atom::FloorDiv(dim, _) => dim.symbols(),
            };
            let nested = match atom {
                Atom::Symbol(_) => false,
                Atom::CeilDiv(dim, _) | Atom::FloorDiv(dim, _) => grows_faster(dim),
            };
            power > 1 || nested || symbols.into_iter().any(|symbol| !seen.insert(symbol))
        })
    })
}

fn refusal(graph: &Graph, id: NodeId, reason: String) -> PackRefusal {
    let node = graph.node(id);
    let elements = node.ty.elements();
    let largest = grows_faster(&elements).then(|| {
        let used = elements.symbols();
        let ranges = graph.symbols().iter().filter(|range| used.contains(&range.symbol));
        let sample: Vec<_> =
            ranges.clone().map(|range| format!("{} = {}", range.symbol, range.max)).collect();
        let bindings: Bindings = ranges.map(|range| (range.symbol.clone(), range.max)).collect();
        let bytes = elements.eval(&bindings).ok();
        let size = match node.ty.dtype {
            DType::F32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::I64 => 8,
        };
        Largest { bytes: bytes.and_then(|n| n.checked_mul(size)), sample: sample.join(", ") }
    });
    let op = graph.op(id).map_or("input", |op| op.kind().row().mnemonic);
    PackRefusal { at: node.name.clone(), op, ty: node.ty.clone(), reason, largest }
}
