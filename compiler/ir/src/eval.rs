//! The naive interpreter: one sample, one value after the other, in f64.
//!
//! It is the yardstick for every rule, kernel and front end, so it is written as the formulas of the op table read, with
//! sums in ascending order. With a [`Rounding`] every float, inputs and weights included, is rounded to an element type
//! after each op, which is what the smallest unfused kernels in that type would give; attention counts as the ops that it
//! stands for.

mod attention;
mod erf;
mod function;
mod op;
mod rounding;
mod tensor;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

pub use erf::{erf, erfc};
pub use function::{binary, expression, unary};
pub use op::eval_node;
pub use rounding::Rounding;
pub use tensor::{Data, Tensor};

use crate::dim::{Bindings, DimError, Symbol};
use crate::graph::{Def, Graph, NodeId};
use crate::infer::InferError;
use crate::types::{DType, TensorType};

/// Why a graph or an op could not be evaluated.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum EvalError {
    /// At a node of a graph.
    #[error("at {at}: {source}")]
    At {
        /// The node, as the text form writes it.
        at: String,
        /// What went wrong.
        source: Box<EvalError>,
    },
    /// The sample brings a tensor that the graph does not take.
    #[error("unknown input {name:?}, expected one of {expected}")]
    UnknownInput {
        /// The tensor's name.
        name: String,
        /// The names of the graph's inputs.
        expected: String,
    },
    /// The sample leaves out a tensor that has no default.
    #[error("the sample leaves it out, and it has no default")]
    MissingInput,
    /// The weight source has no such tensor.
    #[error("no weight is called {0:?}")]
    MissingWeight(String),
    /// A tensor that does not have the type that the graph declares, for this sample.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The declared type.
        expected: String,
        /// The tensor's.
        found: String,
    },
    /// Two inputs give a symbol different sizes.
    #[error("symbol {symbol} is {first} by an earlier input and {second} by this one")]
    Disagreement {
        /// The symbol.
        symbol: Symbol,
        /// The earlier size.
        first: u64,
        /// The other.
        second: u64,
    },
    /// A symbol's size is outside its limits.
    #[error("symbol {symbol} must be in {min}..={max}, found {found}")]
    SymbolRange {
        /// The symbol.
        symbol: Symbol,
        /// Its least size.
        min: u64,
        /// Its largest size.
        max: u64,
        /// The sample's.
        found: u64,
    },
    /// An extent without a value.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// Operands that the op can't take.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// An id that is not a row of its table.
    #[error("id {id} is not a row of a table of {rows} rows")]
    Id {
        /// The id.
        id: i64,
        /// The table's rows.
        rows: usize,
    },
    /// A tensor with more elements than the interpreter is willing to hold, or than its data.
    #[error("{0}")]
    Size(String),
}

impl EvalError {
    fn at(self, graph: &Graph, id: NodeId) -> Self {
        let node = graph.node(id);
        let sigil = if node.def == Def::Weight { '@' } else { '%' };
        EvalError::At { at: format!("{sigil}{}", node.name), source: Box::new(self) }
    }
}

/// Where the tensors of a checkpoint come from.
pub trait WeightSource {
    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`EvalError::MissingWeight`] if there is none.
    fn tensor(&self, name: &str) -> Result<Tensor, EvalError>;
}

impl WeightSource for BTreeMap<String, Tensor> {
    fn tensor(&self, name: &str) -> Result<Tensor, EvalError> {
        self.get(name).cloned().ok_or_else(|| EvalError::MissingWeight(name.to_owned()))
    }
}

/// The outputs of `graph` for one sample, by name.
///
/// # Errors
/// Inputs that do not fit the graph or each other, weights that are missing or misshapen, ids outside their tables.
pub fn eval(
    graph: &Graph,
    inputs: &BTreeMap<String, Tensor>,
    weights: &dyn WeightSource,
    rounding: Rounding,
) -> Result<BTreeMap<String, Tensor>, EvalError> {
    let mut uses: BTreeMap<NodeId, usize> =
        graph.ids().map(|id| (id, graph.use_count(id))).collect();
    let values = run(graph, inputs, weights, rounding, |id, values| {
        // A value is dropped after its last use: an output never is.
        for operand in graph.operands(id) {
            let left = uses.entry(operand).or_insert(0);
            *left = left.saturating_sub(1);
            if *left == 0 {
                values.remove(&operand);
            }
        }
    })?;
    graph
        .outputs()
        .iter()
        .map(|output| match values.get(&output.value) {
            Some(tensor) => Ok((output.name.clone(), tensor.clone())),
            None => Err(EvalError::Size(format!("output {} is on a cycle", output.name))),
        })
        .collect()
}

/// Every value of `graph` for one sample, to find where two graphs part.
///
/// # Errors
/// As [`eval`].
pub fn eval_all(
    graph: &Graph,
    inputs: &BTreeMap<String, Tensor>,
    weights: &dyn WeightSource,
    rounding: Rounding,
) -> Result<BTreeMap<NodeId, Tensor>, EvalError> {
    run(graph, inputs, weights, rounding, |_, _| {})
}

fn run(
    graph: &Graph,
    inputs: &BTreeMap<String, Tensor>,
    weights: &dyn WeightSource,
    rounding: Rounding,
    mut done: impl FnMut(NodeId, &mut BTreeMap<NodeId, Tensor>),
) -> Result<BTreeMap<NodeId, Tensor>, EvalError> {
    let bindings = bind(graph, inputs)?;
    let mut values = BTreeMap::new();
    for id in graph.topological() {
        let value = value(graph, id, inputs, weights, &bindings, &values, rounding);
        let mut tensor = value.map_err(|error| error.at(graph, id))?;
        rounding.apply(&mut tensor);
        values.insert(id, tensor);
        done(id, &mut values);
    }
    Ok(values)
}

fn value(
    graph: &Graph,
    id: NodeId,
    inputs: &BTreeMap<String, Tensor>,
    weights: &dyn WeightSource,
    bindings: &Bindings,
    values: &BTreeMap<NodeId, Tensor>,
    rounding: Rounding,
) -> Result<Tensor, EvalError> {
    let node = graph.node(id);
    match &node.def {
        Def::Input { default } => match (inputs.get(&node.name), default) {
            (Some(tensor), _) => {
                expect_type(tensor, &node.ty, bindings)?;
                Ok(tensor.clone())
            }
            (None, Some(n)) => Tensor::filled(&node.ty, *n, bindings),
            (None, None) => Err(EvalError::MissingInput),
        },
        Def::Weight => {
            let tensor = weights.tensor(&node.name)?;
            expect_type(&tensor, &node.ty, bindings)?;
            Ok(tensor)
        }
        Def::Const(number) => Ok(Tensor { shape: Vec::new(), data: Data::Float(vec![number.0]) }),
        Def::Op(op) => {
            let operands: Vec<_> =
                graph.operands(id).iter().filter_map(|operand| values.get(operand)).collect();
            op::eval_rounded(op, &operands, bindings, rounding)
        }
    }
}

/// What the symbols are worth for a sample: the sizes of the axes that are a bare symbol, checked against each other and
/// against the limits.
///
/// # Errors
/// Unknown inputs, ranks that differ, sizes that disagree or are outside their limits.
pub fn bind(graph: &Graph, inputs: &BTreeMap<String, Tensor>) -> Result<Bindings, EvalError> {
    let declared = graph.inputs();
    let mut bindings = Bindings::new();
    for (name, tensor) in inputs {
        let Some(&id) = declared.iter().find(|&&id| graph.name(id) == name) else {
            let names: Vec<_> = declared.iter().map(|&id| graph.name(id)).collect();
            let expected = names.join(", ");
            return Err(EvalError::UnknownInput { name: name.clone(), expected });
        };
        bind_input(graph, graph.ty(id), tensor, &mut bindings)
            .map_err(|error| error.at(graph, id))?;
    }
    Ok(bindings)
}

fn bind_input(
    graph: &Graph,
    ty: &TensorType,
    tensor: &Tensor,
    bindings: &mut Bindings,
) -> Result<(), EvalError> {
    if tensor.shape.len() != ty.rank() {
        return Err(mismatch(tensor, ty.to_string()));
    }
    for range in graph.symbols() {
        let bare = crate::dim::Dim::symbol(range.symbol.name());
        for (dim, &size) in ty.shape.iter().zip(&tensor.shape) {
            if *dim != bare {
                continue;
            }
            let (symbol, found) = (range.symbol.clone(), size as u64);
            let (min, max) = (range.min, range.max);
            if !(min..=max).contains(&found) {
                return Err(EvalError::SymbolRange { symbol, min, max, found });
            }
            let first = *bindings.entry(symbol.clone()).or_insert(found);
            if first != found {
                return Err(EvalError::Disagreement { symbol, first, second: found });
            }
        }
    }
    Ok(())
}

fn mismatch(tensor: &Tensor, expected: String) -> EvalError {
    EvalError::Type { expected, found: tensor.describe() }
}

fn expect_type(tensor: &Tensor, ty: &TensorType, bindings: &Bindings) -> Result<(), EvalError> {
    tensor.check()?;
    let shape = tensor::sizes(&ty.shape, bindings)?;
    let integers = matches!(tensor.data, Data::Int(_));
    if shape != tensor.shape || integers != (ty.dtype == DType::I64) {
        return Err(mismatch(tensor, tensor::describe(ty.dtype == DType::I64, &shape)));
    }
    Ok(())
}
