//! The batch axis: proved to be one, then erased.
//!
//! The proof is an abstract interpretation. For every value that an output needs it finds the axis along which the
//! batch lies, as the outermost factor of the axis' extent (`B`, or `4*B` after heads have been folded into it), or that
//! there is none. Every op has a rule that says how the axis moves; an op that would mix samples has none, and is refused.
//! A value whose elements name samples (`arange(B)`) may be moved about and used to pick each sample's own row, no more.
//!
//! What is proved holds for every batch, so also for a batch of one: the program of one sample is the program with the
//! batch's extent 1, whose inputs lack the axis and whose outputs lose it.

mod rules;
#[cfg(test)]
mod tests;

use bytec_ir::dim::{Dim, Symbol};

use crate::check::misfit;
use crate::dims::{mentions, with_one, without};
use crate::op::Op;
use crate::program::{Kind, Node, Source, Trace, Type, ValueId};
use crate::refusal::{Refusal, Refusals};

/// Where the batch lies in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Nowhere: the same for every sample.
    Nowhere,
    /// Along this axis, as the outermost factor of its extent.
    Along(usize),
    /// Along this axis, and the elements are the numbers of the samples.
    Numbers(usize),
}

impl Batch {
    /// The axis, if there is one.
    pub fn axis(self) -> Option<usize> {
        match self {
            Batch::Nowhere => None,
            Batch::Along(axis) | Batch::Numbers(axis) => Some(axis),
        }
    }
}

/// Which values the outputs need, in order.
pub fn needed(trace: &Trace) -> Vec<bool> {
    let mut needed = vec![false; trace.nodes().count()];
    trace.outputs.iter().for_each(|(_, value)| needed[value.index()] = true);
    let nodes: Vec<_> = trace.nodes().collect();
    for (value, node) in nodes.into_iter().rev() {
        if needed[value.index()] {
            node.operands.iter().for_each(|operand| needed[operand.index()] = true);
        }
    }
    needed
}

/// Where the batch lies in every value that an output needs, in order; [`Batch::Nowhere`] for the others.
///
/// # Errors
/// Every op that mixes samples, and every place where the batch can't be followed.
pub fn batch_axes(trace: &Trace, batch: &Symbol) -> Result<Vec<Batch>, Refusals> {
    let needed = needed(trace);
    let mut found: Vec<Batch> = Vec::new();
    let mut refusals = Vec::new();
    for (value, node) in trace.nodes() {
        if !needed[value.index()] {
            found.push(Batch::Nowhere);
            continue;
        }
        let operands = node.operands.iter().map(|&operand| rules::Operand {
            batch: found[operand.index()],
            shape: &trace.node(operand).ty.shape,
        });
        let operands: Vec<_> = operands.collect();
        let axis = rules::axis(node, &operands, batch).and_then(|axis| fits(node, axis, batch));
        found.push(axis.unwrap_or_else(|reason| {
            refusals.push(Refusal::of(node, reason));
            // Where the type says that it is, so that what follows is looked at as well.
            let of_batch = |dim: &Dim| mentions(dim, batch);
            node.ty.shape.iter().position(of_batch).map_or(Batch::Nowhere, Batch::Along)
        }));
    }
    if refusals.is_empty() { Ok(found) } else { Err(Refusals(refusals)) }
}

/// The type has the batch where the rule says that it lies.
fn fits(node: &Node, found: Batch, batch: &Symbol) -> Result<Batch, String> {
    if found.axis().is_some_and(|axis| axis >= node.ty.shape.len()) {
        return Err(format!("expected a batch axis, found {}", node.ty));
    }
    for (axis, dim) in node.ty.shape.iter().enumerate() {
        if Some(axis) == found.axis() {
            if without(dim, batch).is_none() {
                return Err(format!("axis {axis} of {} is not a multiple of the batch", node.ty));
            }
        } else if mentions(dim, batch) {
            return Err(format!("axis {axis} of {} depends on the size of the batch", node.ty));
        }
    }
    Ok(found)
}

/// Every needed node whose operands, attributes and type do not fit together.
fn malformed(trace: &Trace) -> Result<(), Refusals> {
    let needed = needed(trace);
    let nodes = trace.nodes().filter(|(value, _)| needed[value.index()]);
    let refusals = nodes.filter_map(|(_, node)| {
        let operands: Vec<_> =
            node.operands.iter().map(|&operand| &trace.node(operand).ty).collect();
        misfit(&node.op, &operands, &node.ty).map(|reason| Refusal::of(node, reason))
    });
    let refusals: Vec<_> = refusals.collect();
    if refusals.is_empty() { Ok(()) } else { Err(Refusals(refusals)) }
}

/// The program of one sample: its inputs and outputs lack the batch axis, the batch symbol is gone, and so is every value
/// that no output needs. A program without a batch stays as it is otherwise.
///
/// # Errors
/// Nodes that are not well formed; else as [`batch_axes`].
pub fn erase_batch(trace: &Trace) -> Result<Trace, Refusals> {
    malformed(trace)?;
    let axes = match &trace.batch {
        Some(batch) => batch_axes(trace, batch)?,
        None => vec![Batch::Nowhere; trace.nodes().count()],
    };
    let needed = needed(trace);
    let one = |dim: &Dim| match &trace.batch {
        Some(batch) => with_one(dim, batch),
        None => dim.clone(),
    };
    let kept = |symbol: &Symbol| Some(symbol) != trace.batch.as_ref();
    let symbols = trace.symbols.iter().filter(|range| kept(&range.symbol)).cloned().collect();
    let mut sample = Trace::new(symbols, None);
    let mut refusals = Vec::new();
    let mut moved: Vec<Option<ValueId>> = Vec::new();
    for (value, node) in trace.nodes() {
        if !needed[value.index()] {
            moved.push(None);
            continue;
        }
        let op = match &node.op {
            Op::Slice { axis, start, step } => {
                Op::Slice { axis: *axis, start: one(start), step: *step }
            }
            Op::Select { axis, index } => Op::Select { axis: *axis, index: one(index) },
            op => op.clone(),
        };
        let operands = node.operands.iter().filter_map(|operand| moved[operand.index()]).collect();
        let ty = Type { kind: node.ty.kind, shape: node.ty.shape.iter().map(one).collect() };
        let made = if matches!(op, Op::Input { .. }) && trace.batch.is_some() {
            let own = Type { kind: ty.kind, shape: ty.shape[1..].to_vec() };
            sample
                .push(op, operands, own, node.source.clone())
                .and_then(|input| sample.push(Op::Reshape, vec![input], ty, node.source.clone()))
        } else {
            sample.push(op, operands, ty, node.source.clone())
        };
        match made {
            Ok(made) => moved.push(Some(made)),
            Err(error) => {
                refusals.push(Refusal::of(node, error.to_string()));
                moved.push(None);
            }
        }
    }
    for (name, value) in &trace.outputs {
        let Some(mut made) = moved[value.index()] else { continue };
        let node = trace.node(*value);
        if let Some(axis) = axes[value.index()].axis() {
            let mut shape = sample.node(made).ty.shape.clone();
            if shape[axis] == Dim::fixed(1) {
                shape.remove(axis);
            }
            let ty = Type { kind: node.ty.kind, shape };
            let source = Source { name: name.clone(), ..node.source.clone() };
            match sample.push(Op::Reshape, vec![made], ty, source) {
                Ok(reshaped) => made = reshaped,
                Err(error) => refusals.push(Refusal::of(node, error.to_string())),
            }
        }
        if node.ty.kind != Kind::Float {
            let reason = format!("output {name} must hold floats, found {}", node.ty);
            refusals.push(Refusal::of(node, reason));
        }
        sample.outputs.push((name.clone(), made));
    }
    if refusals.is_empty() { Ok(sample) } else { Err(Refusals(refusals)) }
}
