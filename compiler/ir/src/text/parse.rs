//! Reads a graph.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::VERSION;
use super::attr::Attr;
use super::cursor::{Cursor, ParseError};
use crate::attrs::Real;
use crate::dim::{Dim, Symbol};
use crate::graph::{Def, Graph, Node, NodeId, Output};
use crate::infer::infer;
use crate::ops::{Op, OpKind, TABLE};
use crate::types::{DType, MAX_RANK, SymbolRange, TensorType};

/// The graph that `text` describes. [`crate::verify::verify`] says whether it keeps the other invariants.
///
/// # Errors
/// The first place that is not as the [text form](super) says: syntax, unknown or repeated names, a use before the
/// definition, operands that do not fit, a type other than the inferred one.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut cursor = Cursor::new(text);
    header(&mut cursor)?;
    let mut reader = Reader::default();
    while !cursor.skip_lines() {
        reader.statement(&mut cursor)?;
        cursor.end_of_line()?;
    }
    Ok(reader.graph)
}

impl FromStr for Graph {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text)
    }
}

fn header(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    cursor.skip_lines();
    let begin = cursor.position();
    if !matches!(cursor.word("\"bytec\" and a version"), Ok("bytec")) {
        return Err(cursor.error_at(
            begin,
            format!("expected the first line of a bytec graph, \"bytec {VERSION}\""),
        ));
    }
    let begin = cursor.position();
    let version: u32 = cursor.integer("a version")?;
    if version != VERSION {
        let message = format!("expected version {VERSION} of the text form, found {version}");
        return Err(cursor.error_at(begin, message));
    }
    cursor.end_of_line()
}

#[derive(Default)]
struct Reader {
    graph: Graph,
    symbols: BTreeSet<Symbol>,
    outputs: BTreeSet<String>,
}

impl Reader {
    fn statement(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        if cursor.peek() == Some('%') {
            return self.op(cursor);
        }
        let begin = cursor.position();
        match cursor.word("a statement")? {
            "symbol" => self.symbol(cursor),
            "input" => self.input(cursor),
            "weight" => self.weight(cursor),
            "const" => self.constant(cursor),
            "output" => self.output(cursor),
            word => {
                let known = "symbol, input, weight, const, output or a value's %name";
                Err(cursor.error_at(begin, format!("expected {known}, found {word:?}")))
            }
        }
    }

    fn symbol(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let begin = cursor.position();
        let name = match cursor.peek() {
            Some('"') => cursor.quoted()?,
            Some(c) if c.is_ascii_digit() => return Err(cursor.expected("a symbol's name")),
            _ => cursor.word("a symbol's name")?.to_owned(),
        };
        let symbol = Symbol::new(&name);
        if !self.symbols.insert(symbol.clone()) {
            return Err(cursor.error_at(begin, format!("symbol {symbol} is declared twice")));
        }
        if !matches!(cursor.word("\"in\"")?, "in") {
            return Err(
                cursor.error_at(begin, format!("expected \"symbol {symbol} in MIN..=MAX\""))
            );
        }
        let min = cursor.integer("the smallest size")?;
        cursor.expect("..=")?;
        let max = cursor.integer("the largest size")?;
        self.graph.add_symbol(SymbolRange { symbol, min, max });
        Ok(())
    }

    fn input(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let name = self.new_name('%', cursor)?;
        let ty = self.ty(cursor)?;
        let default = if cursor.eat("=") { Some(cursor.integer("a whole number")?) } else { None };
        self.graph.add_node(Node { name, ty, def: Def::Input { default } }, &[]);
        Ok(())
    }

    fn weight(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let name = self.new_name('@', cursor)?;
        let ty = self.ty(cursor)?;
        self.graph.add_node(Node { name, ty, def: Def::Weight }, &[]);
        Ok(())
    }

    fn constant(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let name = self.new_name('%', cursor)?;
        cursor.expect("=")?;
        let value = Real::read(cursor)?;
        let ty = TensorType { dtype: DType::F32, shape: Vec::new() };
        self.graph.add_node(Node { name, ty, def: Def::Const(value) }, &[]);
        Ok(())
    }

    fn op(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let name = self.new_name('%', cursor)?;
        let type_at = cursor.position();
        let ty = self.ty(cursor)?;
        cursor.expect("=")?;
        let op_at = cursor.position();
        let kind = op_kind(cursor)?;
        let mut operands = Vec::new();
        cursor.list("(", ")", |cursor| {
            operands.push(self.value(cursor)?);
            Ok(())
        })?;
        let attributes_at = cursor.position();
        let op = Op::read(kind, cursor)?;
        self.declared(op.dims(), attributes_at, cursor)?;
        let types: Vec<_> = operands.iter().map(|&id| self.graph.ty(id)).collect();
        let inferred =
            infer(&op, &types).map_err(|error| cursor.error_at(op_at, error.to_string()))?;
        if inferred != ty {
            let message = format!("{kind} gives {inferred}, but the type written here is {ty}");
            return Err(cursor.error_at(type_at, message));
        }
        self.graph.add_node(Node { name, ty, def: Def::Op(op) }, &operands);
        Ok(())
    }

    fn output(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let begin = cursor.position();
        let name = cursor.name("an output's name")?;
        if !self.outputs.insert(name.clone()) {
            return Err(cursor.error_at(begin, format!("output {name:?} is declared twice")));
        }
        cursor.expect("=")?;
        let value = self.value(cursor)?;
        self.graph.add_output(Output { name, value });
        Ok(())
    }

    fn find(&self, sigil: char, name: &str) -> Option<NodeId> {
        if sigil == '@' { self.graph.weight(name) } else { self.graph.value(name) }
    }

    /// Reads the name of a value that is being defined. After it comes `:` or, for a constant, `=`.
    fn new_name(&self, sigil: char, cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
        let begin = cursor.position();
        cursor.expect(sigil.encode_utf8(&mut [0; 4]))?;
        let name = cursor.name("a name")?;
        if self.find(sigil, &name).is_some() {
            return Err(cursor.error_at(begin, format!("{sigil}{name} is defined twice")));
        }
        Ok(name)
    }

    /// Reads the use of a value.
    fn value(&self, cursor: &mut Cursor<'_>) -> Result<NodeId, ParseError> {
        let begin = cursor.position();
        let sigil = match cursor.peek() {
            Some(sigil @ ('%' | '@')) => sigil,
            _ => return Err(cursor.expected("a value such as %x or @weight")),
        };
        cursor.expect(sigil.encode_utf8(&mut [0; 4]))?;
        let name = cursor.name("a name")?;
        self.find(sigil, &name).ok_or_else(|| {
            cursor.error_at(begin, format!("{sigil}{name} is not defined before this use"))
        })
    }

    /// Reads `: f32[L, 48]`.
    fn ty(&self, cursor: &mut Cursor<'_>) -> Result<TensorType, ParseError> {
        cursor.expect(":")?;
        let begin = cursor.position();
        let dtype = cursor.named("an element type")?;
        let shape = Vec::<Dim>::read(cursor)?;
        self.declared(&shape, begin, cursor)?;
        let ty = TensorType { dtype, shape };
        if ty.rank() > MAX_RANK {
            let message = format!("expected at most {MAX_RANK} axes, found {}", ty.rank());
            return Err(cursor.error_at(begin, message));
        }
        if ty.checked_elements().is_none() {
            return Err(cursor.error_at(begin, format!("{ty} has too many elements to count")));
        }
        Ok(ty)
    }

    /// Refuses symbols that are not declared.
    fn declared(&self, dims: &[Dim], at: usize, cursor: &Cursor<'_>) -> Result<(), ParseError> {
        match dims.iter().flat_map(Dim::symbols).find(|symbol| !self.symbols.contains(symbol)) {
            None => Ok(()),
            Some(symbol) => {
                Err(cursor.error_at(at, format!("symbol {symbol} is not declared before this use")))
            }
        }
    }
}

fn op_kind(cursor: &mut Cursor<'_>) -> Result<OpKind, ParseError> {
    let begin = cursor.position();
    let mnemonic = cursor.word("an op")?;
    TABLE.iter().find(|row| row.mnemonic == mnemonic).map(|row| row.kind).ok_or_else(|| {
        let message = format!("unknown op {mnemonic:?}; `bytec list ops` names them all");
        cursor.error_at(begin, message)
    })
}
