//! Why a trace can't become the graph of one sample.

use std::fmt;

use thiserror::Error;

use crate::program::Node;

/// One node that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The op, as the library calls it.
    pub op: String,
    /// The path of the module that called it; empty if unknown.
    pub module: String,
    /// The value's name in the library; empty if it has none.
    pub name: String,
    /// What was expected and what was found.
    pub reason: String,
}

impl Refusal {
    /// A node and the reason.
    pub(crate) fn of(node: &Node, reason: impl Into<String>) -> Self {
        let source = &node.source;
        let named = if source.op.is_empty() { node.op.name() } else { &source.op };
        Self {
            op: named.to_owned(),
            module: source.module.clone(),
            name: source.name.clone(),
            reason: reason.into(),
        }
    }
}

/// Prints `aten.flip.default flip_3 in encoder.layer.0: ...`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.op)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.module.is_empty() {
            write!(f, " in {}", self.module)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Every node that stands in the way, in the order of the program.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

/// One line for each.
impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, refusal) in self.0.iter().enumerate() {
            write!(f, "{}{refusal}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
