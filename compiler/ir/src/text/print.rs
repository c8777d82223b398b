//! Prints a graph.

use std::fmt::{self, Write};

use super::VERSION;
use crate::graph::{Def, Graph, NodeId};

/// True for the characters of a name that needs no quotes.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

/// True for a symbol that needs no quotes.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Writes a name in quotes.
pub(crate) fn quote(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            _ if c.is_control() => write!(f, "{}", c.escape_unicode())?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// A name as it is written.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_name_char) {
            f.write_str(self.0)
        } else {
            quote(self.0, f)
        }
    }
}

/// A value as it is used.
struct Value<'a>(&'a Graph, NodeId);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0.node(self.1);
        write!(f, "{}{}", if node.def == Def::Weight { '@' } else { '%' }, Name(&node.name))
    }
}

/// The text form. Nodes on a cycle, which the verifier refuses, are left out.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bytec {VERSION}")?;
        for range in self.symbols() {
            writeln!(f, "symbol {} in {}..={}", range.symbol, range.min, range.max)?;
        }
        for id in self.topological() {
            definition(self, id, f)?;
        }
        for output in self.outputs() {
            writeln!(f, "output {} = {}", Name(&output.name), Value(self, output.value))?;
        }
        Ok(())
    }
}

fn definition(graph: &Graph, id: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (node, value) = (graph.node(id), Value(graph, id));
    match &node.def {
        Def::Input { default: None } => writeln!(f, "input {value}: {}", node.ty),
        Def::Input { default: Some(n) } => writeln!(f, "input {value}: {} = {n}", node.ty),
        Def::Weight => writeln!(f, "weight {value}: {}", node.ty),
        Def::Const(number) => writeln!(f, "const {value} = {number}"),
        Def::Op(op) => {
            let operands: Vec<_> =
                graph.operands(id).into_iter().map(|id| Value(graph, id).to_string()).collect();
            write!(f, "{value}: {} = {}({})", node.ty, op.kind(), operands.join(", "))?;
            let attributes = op.attributes();
            if !attributes.is_empty() {
                let texts: Vec<_> =
                    attributes.iter().map(|(name, text)| format!("{name} = {text}")).collect();
                write!(f, " {{{}}}", texts.join(", "))?;
            }
            writeln!(f)
        }
    }
}
