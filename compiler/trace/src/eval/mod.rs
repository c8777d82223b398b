//! The naive evaluator of a trace: one node after the other, as PyTorch computes them, in f64 and i64.
//!
//! It is what a front end's trace is compared with the library by, and what a lifted graph is compared with. Truth values
//! are integers 0 and 1. Integers wrap. Values that the sizes alone decide are rounded to f32 after each op, because some
//! of them name a row of a table by a logarithm, where the last bit counts; all others are not rounded.
//!
//! ```
//! use std::collections::BTreeMap;
//! use bytec_ir::eval::Tensor;
//! use bytec_ir::{Dim, Symbol, SymbolRange};
//! use bytec_trace::{Kind, Op, Source, Trace, Type, UnaryOp, eval::eval};
//!
//! let length = SymbolRange { symbol: Symbol::new("S"), min: 1, max: 8 };
//! let mut trace = Trace::new(vec![length], None);
//! let ty = Type::new(Kind::Float, [Dim::symbol("S")]);
//! let x = trace.push(Op::Input { name: "x".into() }, vec![], ty.clone(), Source::default())?;
//! let y = trace.push(Op::Unary(UnaryOp::Neg), vec![x], ty, Source::default())?;
//! trace.outputs.push(("y".into(), y));
//! let inputs = BTreeMap::from([("x".to_owned(), Tensor::floats(&[2], vec![1.0, -3.0])?)]);
//! let outputs = eval(&trace, &inputs, &BTreeMap::new())?;
//! assert_eq!(outputs["y"].as_floats(), Some(&[-1.0, 3.0][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod elementwise;
mod layout;
mod product;
mod reduce;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::dim::{Bindings, Dim};
use bytec_ir::eval::{Data, Rounding, Tensor, WeightSource};
use thiserror::Error;

use crate::constant::{Constant, Values};
use crate::op::Op;
use crate::origin::origins;
use crate::program::{Kind, Node, Trace, ValueId};

/// The most elements of a tensor that the evaluator makes: 1 GiB of f64.
const MAX_ELEMENTS: usize = 1 << 27;

/// A trace that could not be evaluated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("at {at}: {problem}")]
pub struct EvalError {
    /// The node, as the library names it, or what else is wrong.
    pub at: String,
    /// What was expected and what was found.
    pub problem: String,
}

/// Shorthand inside this folder: a problem still without its node.
type Outcome<T> = Result<T, String>;

/// The outputs of `trace`, by name. The symbols are bound by the inputs' shapes, the batch like any other.
///
/// # Errors
/// Inputs and weights that are missing or do not fit, indices outside their axes, operands that an op can't take,
/// results whose shape is not the declared one.
pub fn eval(
    trace: &Trace,
    inputs: &BTreeMap<String, Tensor>,
    weights: &dyn WeightSource,
) -> Result<BTreeMap<String, Tensor>, EvalError> {
    let bindings = bind(trace, inputs)?;
    let wanted: Vec<_> = trace.outputs.iter().map(|(_, value)| *value).collect();
    let run = Run { trace, bindings: &bindings, inputs, weights };
    let found = run.values(&wanted, BTreeMap::new())?;
    Ok(trace.outputs.iter().map(|(name, _)| name.clone()).zip(found).collect())
}

/// What the symbols are worth: the sizes of the inputs' axes that are a bare symbol.
///
/// # Errors
/// Sizes that disagree or are outside their limits, inputs of another rank, a symbol that no input binds.
pub fn bind(trace: &Trace, inputs: &BTreeMap<String, Tensor>) -> Result<Bindings, EvalError> {
    let mut bindings = Bindings::new();
    for (_, node) in trace.nodes() {
        let Op::Input { name } = &node.op else { continue };
        let Some(tensor) = inputs.get(name) else { continue };
        let wrong = |problem: String| EvalError { at: format!("input {name}"), problem };
        if tensor.shape.len() != node.ty.shape.len() {
            return Err(wrong(format!("expected {}, found {:?}", node.ty, tensor.shape)));
        }
        for range in &trace.symbols {
            let bare = Dim::symbol(range.symbol.name());
            for (_, &size) in node.ty.shape.iter().zip(&tensor.shape).filter(|(d, _)| **d == bare) {
                let size = size as u64;
                let (symbol, min, max) = (&range.symbol, range.min, range.max);
                if !(min..=max).contains(&size) {
                    return Err(wrong(format!("{symbol} must be in {min}..={max}, found {size}")));
                }
                let first = *bindings.entry(symbol.clone()).or_insert(size);
                if first != size {
                    let problem = format!("{symbol} is {first} by an earlier input, here {size}");
                    return Err(wrong(problem));
                }
            }
        }
    }
    match trace.symbols.iter().find(|range| !bindings.contains_key(&range.symbol)) {
        None => Ok(bindings),
        Some(range) => Err(EvalError {
            at: format!("symbol {}", range.symbol),
            problem: "expected an input that has it as an axis, found none".to_owned(),
        }),
    }
}

/// One evaluation of a trace.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The program.
    pub trace: &'a Trace,
    /// What its symbols are worth.
    pub bindings: &'a Bindings,
    /// The tensors that the caller brings, by name; those that no wanted value needs may be missing.
    pub inputs: &'a BTreeMap<String, Tensor>,
    /// The checkpoint.
    pub weights: &'a dyn WeightSource,
}

impl Run<'_> {
    /// The values `wanted`, in order. Those of `given` are taken as they are instead of being computed.
    ///
    /// # Errors
    /// As [`eval`].
    pub fn values(
        &self,
        wanted: &[ValueId],
        given: BTreeMap<ValueId, Tensor>,
    ) -> Result<Vec<Tensor>, EvalError> {
        let mut uses: BTreeMap<ValueId, usize> = BTreeMap::new();
        wanted.iter().for_each(|&value| *uses.entry(value).or_insert(0) += 1);
        let nodes: Vec<_> = self.trace.nodes().collect();
        for (value, node) in nodes.iter().rev() {
            if uses.contains_key(value) && !given.contains_key(value) {
                node.operands.iter().for_each(|&o| *uses.entry(o).or_insert(0) += 1);
            }
        }
        let origins = origins(self.trace);
        let mut values = given;
        for (value, node) in nodes {
            if !uses.contains_key(&value) || values.contains_key(&value) {
                continue;
            }
            let mut tensor = self
                .node(node, &values)
                .map_err(|problem| EvalError { at: node.place(), problem })?;
            if origins[value.index()].is_sizes_only()
                && computes(&node.op)
                && let Data::Float(elements) = &mut tensor.data
            {
                elements.iter_mut().for_each(|x| *x = Rounding::F32.round(*x));
            }
            for operand in node.operands.iter().collect::<BTreeSet<_>>() {
                let count = node.operands.iter().filter(|o| *o == operand).count();
                let left = uses.entry(*operand).or_insert(0);
                *left = left.saturating_sub(count);
                if *left == 0 {
                    values.remove(operand);
                }
            }
            values.insert(value, tensor);
        }
        let missing = |value: &ValueId| EvalError {
            at: format!("value {}", value.index()),
            problem: "it is not a value of this trace".to_owned(),
        };
        wanted.iter().map(|v| values.get(v).cloned().ok_or_else(|| missing(v))).collect()
    }

    fn node(&self, node: &Node, values: &BTreeMap<ValueId, Tensor>) -> Outcome<Tensor> {
        let shape = sizes(&node.ty.shape, self.bindings)?;
        let xs: Vec<&Tensor> = node.operands.iter().filter_map(|o| values.get(o)).collect();
        let (least, most) = node.op.arity();
        if xs.len() < least || xs.len() > most {
            return Err(format!("expected {least} to {most} operands, found {}", xs.len()));
        }
        let tensor = match &node.op {
            Op::Input { name } => {
                let tensor = self.inputs.get(name).ok_or("no such input is given")?;
                self.of_kind(tensor, node.ty.kind)?
            }
            Op::Weight { name } => {
                let tensor = self.weights.tensor(name).map_err(|error| error.to_string())?;
                self.of_kind(&tensor, node.ty.kind)?
            }
            Op::Constant(constant) => constant_tensor(constant)?,
            op => self.op(op, node.ty.kind, &xs, &shape)?,
        };
        if tensor.shape != shape {
            return Err(format!("expected the shape {shape:?}, found {:?}", tensor.shape));
        }
        Ok(tensor)
    }

    fn op(&self, op: &Op, kind: Kind, xs: &[&Tensor], shape: &[usize]) -> Outcome<Tensor> {
        match op {
            Op::Arange { .. }
            | Op::Full
            | Op::Reshape
            | Op::Permute { .. }
            | Op::Expand
            | Op::Repeat
            | Op::Slice { .. }
            | Op::Select { .. }
            | Op::Concat { .. }
            | Op::Flip { .. }
            | Op::Gather { .. }
            | Op::Index
            | Op::IndexSelect { .. } => layout::moved(op, xs, shape, self.bindings),
            Op::Unary(f) => elementwise::unary(*f, xs[0], kind),
            Op::Binary(f) => elementwise::binary(*f, xs[0], xs[1], kind),
            Op::Where => elementwise::select(xs[0], xs[1], xs[2], kind),
            Op::Cast => Ok(elementwise::cast(xs[0], kind)),
            Op::Reduce { f, axes, keep } => reduce::reduce(*f, axes, *keep, xs[0], kind),
            Op::CumSum { axis } => reduce::cumsum(xs[0], *axis),
            Op::Places { skip } => reduce::places(xs[0], *skip),
            Op::Diff { axis } => reduce::diff(xs[0], *axis),
            Op::Softmax { axis } => reduce::softmax(xs[0], *axis),
            Op::LayerNorm { axes, eps } => reduce::layer_norm(xs, *axes, *eps),
            Op::RmsNorm { eps } => reduce::rms_norm(xs[0], xs[1], *eps),
            Op::MatMul => product::matmul(xs[0], xs[1]),
            Op::Linear => product::linear(xs),
            Op::Conv { stride, padding, dilation, groups } => {
                product::Conv { stride, padding, dilation, groups: *groups }.run(xs)
            }
            Op::Attention { scale, causal } => product::attention(xs, *scale, *causal),
            Op::Rope { interleaved } => product::rope(xs, *interleaved),
            Op::Input { .. } | Op::Weight { .. } | Op::Constant(_) => {
                Err("it has no operands".to_owned())
            }
        }
    }

    /// A tensor from outside, which has to hold what the trace says.
    fn of_kind(&self, tensor: &Tensor, kind: Kind) -> Outcome<Tensor> {
        if count(&tensor.shape)? != tensor.len() {
            return Err(format!("{:?} can't hold {} elements", tensor.shape, tensor.len()));
        }
        if tensor.as_floats().is_some() != (kind == Kind::Float) {
            return Err(format!("expected {kind} elements, found the other sort"));
        }
        Ok(tensor.clone())
    }
}

/// Whether an op makes numbers that were not there before.
fn computes(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::Cast
            | Op::Reduce { .. }
            | Op::CumSum { .. }
            | Op::Diff { .. }
            | Op::MatMul
            | Op::Linear
            | Op::Conv { .. }
            | Op::Softmax { .. }
            | Op::LayerNorm { .. }
            | Op::RmsNorm { .. }
            | Op::Attention { .. }
            | Op::Rope { .. }
    )
}

fn constant_tensor(constant: &Constant) -> Outcome<Tensor> {
    let shape: Option<Vec<usize>> =
        constant.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.ok_or("its extents are too large")?;
    if count(&shape)? != constant.values.len() {
        return Err(format!("{shape:?} can't hold {} elements", constant.values.len()));
    }
    let data = match &constant.values {
        Values::Float(values) => Data::Float(values.clone()),
        Values::Int(values) => Data::Int(values.clone()),
    };
    Ok(Tensor { shape, data })
}

/// Extents in numbers.
pub(crate) fn sizes(shape: &[Dim], bindings: &Bindings) -> Outcome<Vec<usize>> {
    let size = |dim: &Dim| {
        let size = dim.eval(bindings).map_err(|error| error.to_string())?;
        usize::try_from(size).map_err(|_| format!("{dim} is too large"))
    };
    let sizes = shape.iter().map(size).collect::<Outcome<Vec<_>>>()?;
    count(&sizes).map(|_| sizes)
}

/// The number of elements, if the evaluator is willing to hold so many. An empty axis counts as
/// one: the extents beside it are multiplied without it when a tensor is walked by blocks.
fn count(shape: &[usize]) -> Outcome<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, &extent| count.checked_mul(extent.max(1)))
        .filter(|&count| count <= MAX_ELEMENTS)
        .map(|_| shape.iter().product())
        .ok_or_else(|| format!("expected at most {MAX_ELEMENTS} elements, found {shape:?}"))
}

/// How far apart neighbours along each axis lie.
fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Where the elements of `shape` lie, in order, for these strides and this place of the first.
fn offsets(first: usize, shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut places = vec![first];
    for (&extent, &stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|p| (0..extent).map(move |i| p + i * stride)).collect();
    }
    places
}

/// The elements of `x` at these places.
fn picked(x: &Tensor, shape: &[usize], places: &[usize]) -> Tensor {
    let data = match &x.data {
        Data::Float(x) => Data::Float(places.iter().map(|&place| x[place]).collect()),
        Data::Int(x) => Data::Int(places.iter().map(|&place| x[place]).collect()),
    };
    Tensor { shape: shape.to_vec(), data }
}

/// The elements as floats.
fn floats(x: &Tensor) -> Vec<f64> {
    match &x.data {
        Data::Float(x) => x.clone(),
        Data::Int(x) => x.iter().map(|&x| x as f64).collect(),
    }
}

/// The elements as integers, if they are.
fn ints(x: &Tensor) -> Outcome<&[i64]> {
    x.as_ints().ok_or_else(|| "expected integers, found floats".to_owned())
}
