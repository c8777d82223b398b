//! The invariants of a graph. The compiler checks them after every stage, and its tests after every rule.
//!
//! 1. **Acyclic**: no value depends on itself.
//! 2. **Types**: an op has the operands that its row of the table takes, and its type is the inferred one; a constant is
//!    a scalar of type f32; inputs, weights and constants have no operands.
//! 3. **Names**: every value has one, unique among the weights or among all other values.
//! 4. **Outputs**: there is at least one; their names are unique and not empty; each is a value of floats in this graph
//!    that depends on the sample, by an input or by a symbol.
//! 5. **Symbols**: each is declared once, is an identifier, has limits `1 <= min <= max`, and is declared if a type or
//!    an attribute uses it.
//! 6. **Binding**: each symbol is an axis of an input without default, so that every sample says what it is worth.
//! 7. **Sizes**: a value has at most [`MAX_RANK`] axes; within the symbols' limits no extent is below 1 and no value has
//!    more than [`MAX_ELEMENTS`] elements. The extents are bounded by [`crate::dim::Dim::bounds`].
//! 8. **Sources**: only an integer input has a default; a weight is of floats and of a fixed shape.
//! 9. **Indices**: within the symbols' limits, what is selected is inside its axis, and an id that an `iota` or a default
//!    gives is a row of the table that it reaches.
//! 10. **Numbers**: an eps is finite and not negative, a scale and a slope are finite, a rotation's base is finite and
//!     above 0.

mod numbers;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::attrs::Real;
use crate::dim::Dim;
use crate::graph::{Def, Graph, NodeId};
use crate::ids::{Lookup, lookups};
use crate::infer::infer;
use crate::ops::Op;
use crate::text::is_identifier;
use crate::types::{DType, MAX_RANK, SymbolRange, TensorType};

/// The most elements of a value.
pub const MAX_ELEMENTS: i128 = 1 << 48;

/// An invariant, by its number in the [module's](self) list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No value depends on itself.
    Acyclic = 1,
    /// Operands fit, and types are the inferred ones.
    Types,
    /// Names are unique.
    Names,
    /// Outputs are floats that depend on the sample.
    Outputs,
    /// Symbols are declared, with limits.
    Symbols,
    /// Every sample gives every symbol a size.
    Binding,
    /// Extents and elements are within limits.
    Sizes,
    /// Inputs and weights are what they may be.
    Sources,
    /// Indices and ids are inside.
    Indices,
    /// Attributes that are numbers are usable.
    Numbers,
}

impl Invariant {
    /// All of them, in order.
    pub const ALL: [Invariant; 10] = [
        Invariant::Acyclic,
        Invariant::Types,
        Invariant::Names,
        Invariant::Outputs,
        Invariant::Symbols,
        Invariant::Binding,
        Invariant::Sizes,
        Invariant::Sources,
        Invariant::Indices,
        Invariant::Numbers,
    ];

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// One place where a graph breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: Invariant,
    /// The value, output or symbol.
    pub at: String,
    /// What was expected and what was found.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} at {}: {}", self.invariant.number(), self.at, self.problem)
    }
}

/// A graph that breaks invariants: all violations, in order of the invariants.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct VerifyError {
    /// At least one.
    pub violations: Vec<Violation>,
}

/// One line for each violation.
impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.violations.iter().enumerate() {
            write!(f, "{}{violation}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Checks all invariants.
///
/// # Errors
/// All violations. A broken invariant can hide violations of later ones.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut check = Check { graph, violations: Vec::new() };
    check.acyclic();
    check.types();
    check.names();
    check.outputs();
    check.symbols();
    check.binding();
    check.sizes();
    check.sources();
    // The rest reads operands and extents, which only a graph that is sound so far has.
    if check.violations.is_empty() {
        check.indices();
        check.numbers();
    }
    if check.violations.is_empty() {
        return Ok(());
    }
    Err(VerifyError { violations: check.violations })
}

/// Whether a value of this type is within limits for samples of these symbols, as [`Invariant::Sizes`] demands.
///
/// # Errors
/// What is not.
pub fn sized(ty: &TensorType, symbols: &[SymbolRange]) -> Result<(), String> {
    if ty.rank() > MAX_RANK {
        return Err(format!("expected at most {MAX_RANK} axes, found {ty}"));
    }
    for dim in &ty.shape {
        match dim.bounds(symbols) {
            Some((1.., _)) => {}
            Some((low, _)) => {
                return Err(format!(
                    "expected extents of at least 1, found {dim} in {ty}, which may be {low}"
                ));
            }
            None => return Err(format!("{dim} in {ty} does not always have a value")),
        }
    }
    let elements = ty.checked_elements().and_then(|elements| elements.bounds(symbols));
    match elements {
        Some((_, ..=MAX_ELEMENTS)) => Ok(()),
        Some((_, high)) => {
            Err(format!("expected at most {MAX_ELEMENTS} elements, found {ty} with up to {high}"))
        }
        None => Err(format!("{ty} has too many elements to count")),
    }
}

struct Check<'g> {
    graph: &'g Graph,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn report(&mut self, invariant: Invariant, at: impl fmt::Display, problem: impl Into<String>) {
        self.violations.push(Violation { invariant, at: at.to_string(), problem: problem.into() });
    }

    /// The value as the text form writes it.
    fn at(&self, id: NodeId) -> String {
        let node = self.graph.node(id);
        format!("{}{}", if node.def == Def::Weight { '@' } else { '%' }, node.name)
    }

    fn acyclic(&mut self) {
        let ordered: BTreeSet<_> = self.graph.topological().into_iter().collect();
        for id in self.graph.ids().filter(|id| !ordered.contains(id)).collect::<Vec<_>>() {
            let at = self.at(id);
            self.report(Invariant::Acyclic, at, "is on a cycle, or depends on one");
        }
    }

    fn types(&mut self) {
        for id in self.graph.ids().collect::<Vec<_>>() {
            if let Err(problem) = self.typed(id) {
                let at = self.at(id);
                self.report(Invariant::Types, at, problem);
            }
        }
    }

    fn typed(&self, id: NodeId) -> Result<(), String> {
        let node = self.graph.node(id);
        let operands = self.graph.operands(id);
        let expected = match &node.def {
            Def::Op(op) => {
                let types: Vec<_> = operands.iter().map(|&id| self.graph.ty(id)).collect();
                infer(op, &types).map_err(|error| error.to_string())?
            }
            _ if !operands.is_empty() => {
                return Err(format!("expected no operands, found {}", operands.len()));
            }
            Def::Const(_) => TensorType { dtype: DType::F32, shape: Vec::new() },
            Def::Input { .. } | Def::Weight => return Ok(()),
        };
        if node.ty == expected {
            return Ok(());
        }
        Err(format!("expected the type {expected}, found {}", node.ty))
    }

    fn names(&mut self) {
        let mut seen = BTreeSet::new();
        for id in self.graph.ids().collect::<Vec<_>>() {
            let at = self.at(id);
            if self.graph.name(id).is_empty() {
                self.report(Invariant::Names, at, format!("node {id} has no name"));
            } else if !seen.insert(at.clone()) {
                self.report(Invariant::Names, at, "expected a unique name, found it twice");
            }
        }
    }

    fn outputs(&mut self) {
        if self.graph.outputs().is_empty() {
            self.report(
                Invariant::Outputs,
                "the graph",
                "expected at least one output, found none",
            );
        }
        let fed = self.depends_on_sample();
        let mut seen = BTreeSet::new();
        for output in self.graph.outputs() {
            let mut report = |problem: String| {
                self.violations.push(Violation {
                    invariant: Invariant::Outputs,
                    at: format!("output {}", output.name),
                    problem,
                });
            };
            if output.name.is_empty() || !seen.insert(&output.name) {
                report("expected a name of its own that is not empty".to_owned());
            }
            if !self.graph.contains(output.value) {
                report(format!("its value {} is no longer in the graph", output.value));
                continue;
            }
            let ty = self.graph.ty(output.value);
            if !ty.dtype.is_float() {
                report(format!("expected floats, found {ty}"));
            }
            if !fed.contains(&output.value) {
                report(
                    "expected a value that depends on the sample, found one that is always the same"
                        .to_owned(),
                );
            }
        }
    }

    /// The values that differ from sample to sample, in elements or in size.
    fn depends_on_sample(&self) -> BTreeSet<NodeId> {
        let mut fed = BTreeSet::new();
        for id in self.graph.topological() {
            let node = self.graph.node(id);
            let own = matches!(node.def, Def::Input { .. })
                || node.ty.shape.iter().any(|dim| dim.as_fixed().is_none());
            if own || self.graph.operands(id).iter().any(|operand| fed.contains(operand)) {
                fed.insert(id);
            }
        }
        fed
    }

    fn symbols(&mut self) {
        let mut declared = BTreeSet::new();
        for range in self.graph.symbols() {
            let at = format!("symbol {}", range.symbol);
            if !is_identifier(range.symbol.name()) {
                self.report(
                    Invariant::Symbols,
                    &at,
                    "expected a name of letters, digits and _, not a digit first",
                );
            }
            if !declared.insert(&range.symbol) {
                self.report(Invariant::Symbols, &at, "expected one declaration, found two");
            }
            if range.min == 0 || range.min > range.max {
                let problem =
                    format!("expected 1 <= min <= max, found {}..={}", range.min, range.max);
                self.report(Invariant::Symbols, &at, problem);
            }
        }
        for id in self.graph.ids() {
            let node = self.graph.node(id);
            let attribute = match &node.def {
                Def::Op(op) => op.dims(),
                _ => &[],
            };
            let used = node.ty.shape.iter().chain(attribute).flat_map(Dim::symbols);
            for symbol in used.filter(|symbol| !declared.contains(symbol)).collect::<BTreeSet<_>>()
            {
                self.report(
                    Invariant::Symbols,
                    self.at(id),
                    format!("symbol {symbol} is not declared"),
                );
            }
        }
    }

    fn binding(&mut self) {
        let binding: BTreeSet<_> = self
            .graph
            .inputs()
            .into_iter()
            .filter(|&id| self.graph.node(id).def == Def::Input { default: None })
            .flat_map(|id| self.graph.ty(id).shape.clone())
            .collect();
        for range in self.graph.symbols() {
            if !binding.contains(&Dim::symbol(range.symbol.name())) {
                self.report(
                    Invariant::Binding,
                    format!("symbol {}", range.symbol),
                    "expected an input without default that has it as an axis, found none",
                );
            }
        }
    }

    fn sizes(&mut self) {
        for id in self.graph.ids().collect::<Vec<_>>() {
            if let Err(problem) = sized(self.graph.ty(id), self.graph.symbols()) {
                let at = self.at(id);
                self.report(Invariant::Sizes, at, problem);
            }
        }
    }

    fn sources(&mut self) {
        for id in self.graph.ids().collect::<Vec<_>>() {
            let node = self.graph.node(id);
            let fixed = node.ty.shape.iter().all(|dim| dim.as_fixed().is_some());
            let problem = match node.def {
                Def::Input { default: Some(n) } if node.ty.dtype != DType::I64 => {
                    format!("expected integers for the default {n}, found {}", node.ty)
                }
                Def::Weight if !node.ty.dtype.is_float() || !fixed => {
                    format!("expected floats of a fixed shape, found {}", node.ty)
                }
                _ => continue,
            };
            let at = self.at(id);
            self.report(Invariant::Sources, at, problem);
        }
    }

    fn numbers(&mut self) {
        for id in self.graph.ids().collect::<Vec<_>>() {
            let Some(op) = self.graph.op(id) else { continue };
            for (name, Real(number), range) in numbers::of(op) {
                if !range.holds(number) {
                    let at = self.at(id);
                    let problem =
                        format!("expected {} for {name}, found {number:?}", range.in_words());
                    self.report(Invariant::Numbers, at, problem);
                }
            }
        }
    }

    fn indices(&mut self) {
        for id in self.graph.ids().collect::<Vec<_>>() {
            if let Some(Op::Select { axis, index }) = self.graph.op(id) {
                let extent = &self.graph.ty(self.graph.operands(id)[0]).shape[*axis];
                let least = extent.bounds(self.graph.symbols()).map(|(least, _)| least);
                if least.is_none_or(|least| least <= *index as i128) {
                    let problem = format!(
                        "expected an axis longer than the index {index}, found {extent}, which may be shorter"
                    );
                    self.report(Invariant::Indices, self.at(id), problem);
                }
            }
        }
        for lookup in lookups(self.graph) {
            if let Some(problem) = self.outside(&lookup) {
                self.report(Invariant::Indices, self.at(lookup.at), problem);
            }
        }
    }

    /// What is wrong with the ids that an `iota`, `places` or a default gives. What a sample brings is checked when it comes.
    fn outside(&self, lookup: &Lookup) -> Option<String> {
        let (start, extent) = match &self.graph.node(lookup.source).def {
            Def::Op(Op::Iota { extent, start }) => (*start, extent.clone()),
            // The id itself is one before the first place.
            Def::Op(Op::Places { skip }) => (
                i64::try_from(*skip).unwrap_or(i64::MAX).saturating_add(1),
                self.graph.ty(lookup.source).shape[0].clone(),
            ),
            Def::Input { default: Some(n) } => (*n, Dim::fixed(1)),
            _ => return None,
        };
        let rows = &self.graph.ty(lookup.table).shape[0];
        // What is left of the table past the last id, but for the start.
        let left = rows.checked_sub(&extent).and_then(|left| left.bounds(self.graph.symbols()));
        let inside = start >= 0 && left.is_some_and(|(least, _)| least >= i128::from(start));
        (!inside).then(|| {
            format!(
                "expected ids that are rows of {}, which has {rows}; {} gives {start} to {start} + {extent} - 1",
                self.at(lookup.table),
                self.at(lookup.source),
            )
        })
    }
}
