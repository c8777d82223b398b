//! What a program takes and gives.

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::dim::{Atom, Dim, Symbol};
use bytec_ir::types::SymbolRange;

use super::super::super::FrontOptions;
use super::super::archive::Archive;
use super::super::error::Pt2Error;
use super::super::expr;
use super::super::schema::{Argument, InputSpec, OutputSpec, SymInt};

/// Upper limits from here on stand for none.
const UNBOUNDED: i64 = 1 << 48;

/// The limit of a batch that has none.
const BATCH: u64 = 1 << 16;

/// A program's inputs, outputs and symbols.
pub(super) struct Signature<'a> {
    /// The names of the user's inputs, in order.
    pub(super) inputs: Vec<&'a str>,
    /// The public name of each output and its value's name, in order.
    pub(super) outputs: Vec<(String, String)>,
    /// The symbols in the order in which the inputs' axes show them.
    pub(super) symbols: Vec<SymbolRange>,
    /// Their names.
    pub(super) names: BTreeSet<&'a str>,
    /// The symbol that is axis 0 of every input.
    pub(super) batch: Option<Symbol>,
}

pub(super) fn read<'a>(
    archive: &'a Archive,
    options: &FrontOptions,
) -> Result<Signature<'a>, Pt2Error> {
    let inputs = inputs(archive)?;
    let ranges = &archive.program.range_constraints;
    let known: BTreeSet<&str> = ranges.keys().map(String::as_str).collect();
    let shapes: Result<Vec<Vec<Dim>>, _> =
        inputs.iter().map(|name| shape(archive, name, &known)).collect();
    let shapes = shapes?;
    let batch = batch(&shapes);
    let (mut symbols, mut names) = (Vec::new(), BTreeSet::new());
    for (input, dim) in inputs
        .iter()
        .zip(&shapes)
        .flat_map(|(name, shape)| shape.iter().map(move |dim| (name, dim)))
    {
        for symbol in dim.symbols() {
            let (name, _) = ranges
                .get_key_value(symbol.name())
                .ok_or_else(|| limits(&symbol, input, "anything".to_owned()))?;
            if names.insert(name.as_str()) {
                let is_batch = batch.as_ref() == Some(&symbol);
                let longest = options.max_length.filter(|_| !is_batch);
                symbols.push(range(archive, symbol, input, is_batch, longest)?);
            }
        }
    }
    let outputs = outputs(archive, &options.outputs)?;
    Ok(Signature { outputs, inputs, symbols, names, batch })
}

fn inputs(archive: &Archive) -> Result<Vec<&str>, Pt2Error> {
    let mut names = Vec::new();
    for (i, spec) in archive.program.graph_module.signature.input_specs.iter().enumerate() {
        let refused = |found: &str| Pt2Error::Signature {
            what: format!("input {i}"),
            problem: format!("expected a tensor, found {found}"),
        };
        match spec {
            InputSpec::UserInput { arg: Argument::Tensor(tensor) } => {
                names.push(tensor.name.as_str());
            }
            // A constant that the trace has been specialised to; no node reads it.
            InputSpec::UserInput {
                arg:
                    Argument::None(_)
                    | Argument::Int(_)
                    | Argument::Float(_)
                    | Argument::Bool(_)
                    | Argument::String(_),
            }
            | InputSpec::ConstantInput(_)
            | InputSpec::Parameter { .. }
            | InputSpec::Buffer { .. }
            | InputSpec::TensorConstant { .. } => {}
            InputSpec::UserInput { .. } => {
                return Err(refused("another argument, such as a number that varies"));
            }
            InputSpec::CustomObj(_) => return Err(refused("an object")),
            InputSpec::Token(_) => return Err(refused("a token of side effects")),
        }
    }
    Ok(names)
}

fn shape(archive: &Archive, input: &str, known: &BTreeSet<&str>) -> Result<Vec<Dim>, Pt2Error> {
    let meta = archive.program.graph_module.graph.tensor_values.get(input).ok_or_else(|| {
        let problem = "the program doesn't give its type".to_owned();
        Pt2Error::Value { value: input.to_owned(), problem }
    })?;
    let bound = BTreeMap::new();
    let scope = expr::Scope { symbols: known, bound: &bound, ranges: &[] };
    let dim = |size: &SymInt| match size {
        SymInt::Int(n) => Ok(expr::number(*n)),
        SymInt::Expr(of) => expr::parse(&of.expr_str, scope)
            .map_err(|problem| Pt2Error::Size { value: input.to_owned(), problem }),
    };
    meta.sizes.iter().map(dim).collect()
}

/// The symbol that is the first axis of all inputs.
fn batch(shapes: &[Vec<Dim>]) -> Option<Symbol> {
    let (first, rest) = shapes.split_first()?;
    let symbol = plain(first.first()?)?;
    rest.iter().all(|shape| shape.first() == first.first()).then_some(symbol)
}

fn plain(dim: &Dim) -> Option<Symbol> {
    let mut terms = dim.terms();
    let (monomial, 1) = terms.next()? else { return None };
    match (monomial.iter().next()?, monomial.len(), terms.next()) {
        ((Atom::Symbol(symbol), 1), 1, None) => Some(symbol.clone()),
        _ => None,
    }
}

fn limits(symbol: &Symbol, input: &str, found: String) -> Pt2Error {
    let (symbol, input) = (symbol.name().to_owned(), input.to_owned());
    Pt2Error::Limits { symbol, input, found }
}

fn range(
    archive: &Archive,
    symbol: Symbol,
    input: &str,
    is_batch: bool,
    longest: Option<u64>,
) -> Result<SymbolRange, Pt2Error> {
    let range = archive.program.range_constraints.get(symbol.name());
    let min = range.and_then(|range| range.min_val).unwrap_or(1).max(1).unsigned_abs();
    let max = range.and_then(|range| range.max_val).filter(|&max| max < UNBOUNDED);
    let max = match (max.map(|max| u64::try_from(max).unwrap_or(0)), longest) {
        (Some(max), Some(longest)) => max.min(longest),
        (Some(max), None) | (None, Some(max)) => max,
        (None, None) if is_batch => BATCH.max(min),
        (None, None) => return Err(limits(&symbol, input, format!("{min} or anything above"))),
    };
    if max < min {
        return Err(limits(&symbol, input, format!("from {min} to {max}")));
    }
    Ok(SymbolRange { symbol, min, max })
}

fn outputs(archive: &Archive, names: &[String]) -> Result<Vec<(String, String)>, Pt2Error> {
    let mut values = Vec::new();
    for (i, spec) in archive.program.graph_module.signature.output_specs.iter().enumerate() {
        let refused = |found: &str| Pt2Error::Signature {
            what: format!("result {i}"),
            problem: format!("expected a tensor that is returned, found {found}"),
        };
        match spec {
            OutputSpec::UserOutput { arg: Argument::Tensor(tensor) } => {
                values.push(tensor.name.clone());
            }
            OutputSpec::UserOutput { arg: Argument::None(_) } => {}
            OutputSpec::UserOutput { .. } => return Err(refused("a value that is no tensor")),
            OutputSpec::LossOutput(_) => return Err(refused("a loss")),
            OutputSpec::BufferMutation(_) => return Err(refused("a buffer's new value")),
            OutputSpec::ParameterMutation(_) => return Err(refused("a parameter's new value")),
            OutputSpec::UserInputMutation(_) => return Err(refused("an input's new value")),
            OutputSpec::GradientToParameter(_) | OutputSpec::GradientToUserInput(_) => {
                return Err(refused("a gradient"));
            }
            OutputSpec::Token(_) => return Err(refused("a token of side effects")),
        }
    }
    if !names.is_empty() && names.len() != values.len() {
        return Err(Pt2Error::Signature {
            what: "--outputs".to_owned(),
            problem: format!(
                "expected {} names, one for each result ({}), found {}",
                values.len(),
                values.join(", "),
                names.len()
            ),
        });
    }
    if let Some(i) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        return Err(Pt2Error::Signature {
            what: "--outputs".to_owned(),
            problem: format!("expected names that differ, found {} twice", names[i]),
        });
    }
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| format!("output.{i}"));
    Ok(values.into_iter().enumerate().map(|(i, value)| (name(i), value)).collect())
}
