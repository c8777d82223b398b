//! A traced program: nodes in the order in which they were computed.

use std::fmt;

use bytec_ir::dim::{Dim, Symbol};
use bytec_ir::types::SymbolRange;
use thiserror::Error;

use crate::op::Op;

/// What the elements of a value are. Widths are not kept: floats are computed in the plan's dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Floating-point numbers.
    Float,
    /// Integers, at most 64 bits wide.
    Int,
    /// Truth values.
    Bool,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// What its elements are.
    pub kind: Kind,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<Dim>,
}

impl Type {
    /// A value of this kind and these extents.
    pub fn new(kind: Kind, shape: impl IntoIterator<Item = impl Into<Dim>>) -> Self {
        Self { kind, shape: shape.into_iter().map(Into::into).collect() }
    }
}

/// Prints `float[B, S, 384]`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{}[{}]", self.kind, shape.join(", "))
    }
}

/// A value of a trace: the result of the node of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(usize);

impl ValueId {
    /// The number of its node.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Where a node comes from, for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// What the library calls the op, such as `aten.gelu.default`.
    pub op: String,
    /// The path of the module that called it, such as `encoder.layer.0.attention`; empty if unknown.
    pub module: String,
    /// The value's name in the library, such as `linear_3`; empty if it has none.
    pub name: String,
}

/// An op, its operands and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Values of earlier nodes.
    pub operands: Vec<ValueId>,
    /// The type of its result.
    pub ty: Type,
    /// Where it comes from.
    pub source: Source,
}

impl Node {
    /// The op as the library calls it, its value and its module: `aten.gelu.default gelu_3 in encoder.layer.0`.
    pub fn place(&self) -> String {
        let Source { op, module, name } = &self.source;
        let mut place = if op.is_empty() { self.op.name().to_owned() } else { op.clone() };
        if !name.is_empty() {
            place.push_str(&format!(" {name}"));
        }
        if !module.is_empty() {
            place.push_str(&format!(" in {module}"));
        }
        place
    }
}

/// A node that can't be part of a trace.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TraceError {
    /// An operand is no earlier node's value.
    #[error("operand {operand} of {op} at {place:?} is no earlier value")]
    Order {
        /// The op.
        op: &'static str,
        /// Its name in the library.
        place: String,
        /// The operand's number.
        operand: usize,
    },
}

/// A traced program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The symbols and the sizes that they may take; the batch is one of them.
    pub symbols: Vec<SymbolRange>,
    /// The symbol of the batch axis, which is axis 0 of every input; `None` for a program that has none.
    pub batch: Option<Symbol>,
    nodes: Vec<Node>,
    /// The results, in order, by the names that the caller reads them by.
    pub outputs: Vec<(String, ValueId)>,
}

impl Trace {
    /// A program without nodes.
    pub fn new(symbols: Vec<SymbolRange>, batch: Option<Symbol>) -> Self {
        Self { symbols, batch, nodes: Vec::new(), outputs: Vec::new() }
    }

    /// Appends a node.
    ///
    /// # Errors
    /// If an operand is not the value of an earlier node.
    pub fn push(
        &mut self,
        op: Op,
        operands: Vec<ValueId>,
        ty: Type,
        source: Source,
    ) -> Result<ValueId, TraceError> {
        if let Some(operand) = operands.iter().find(|operand| operand.0 >= self.nodes.len()) {
            let (op, place) = (op.name(), source.name);
            return Err(TraceError::Order { op, place, operand: operand.0 });
        }
        self.nodes.push(Node { op, operands, ty, source });
        Ok(ValueId(self.nodes.len() - 1))
    }

    /// The node that a value is the result of.
    pub fn node(&self, value: ValueId) -> &Node {
        &self.nodes[value.0]
    }

    /// All nodes with their values, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (ValueId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (ValueId(i), node))
    }
}
