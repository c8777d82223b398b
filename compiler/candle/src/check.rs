//! A trace held against candle, where it was not made.

use std::collections::BTreeMap;

use bytec_ir::dim::{Bindings, Symbol};
use bytec_ir::eval::{EvalError, Tensor as Value, WeightSource};
use bytec_trace::{Op, Trace};
use candle_core::{DType, Tensor};

use crate::error::Error;
use crate::options::{self, BATCH, Holds};
use crate::program::{Program, sizes};
use crate::trace::Model;
use crate::weights::Names;

/// How far a trace in f64 may be from candle in f32, as a part of the largest number of the output. A wrong trace is
/// wrong by far more, and a right one of a deep model by less.
const BOUND: f64 = 1e-4;

/// Weights as the evaluator of traces asks for them.
struct Weights(BTreeMap<String, Tensor>);

impl WeightSource for Weights {
    fn tensor(&self, name: &str) -> Result<Value, EvalError> {
        let missing = || EvalError::MissingWeight(name.to_owned());
        let tensor = self.0.get(name).ok_or_else(missing)?;
        value(tensor).map_err(|_| missing())
    }
}

/// A tensor of candle's as the evaluators of traces and graphs take it.
///
/// # Errors
/// If candle can't read it.
pub fn value(tensor: &Tensor) -> Result<Value, Error> {
    let failed = || Error::candle("read a tensor");
    let flat = tensor.flatten_all().map_err(failed())?;
    let made = if tensor.dtype().is_float() {
        Value::floats(
            tensor.dims(),
            flat.to_dtype(DType::F64).and_then(|x| x.to_vec1()).map_err(failed())?,
        )
    } else {
        Value::ints(
            tensor.dims(),
            flat.to_dtype(DType::I64).and_then(|x| x.to_vec1()).map_err(failed())?,
        )
    };
    made.map_err(|error| Error::Options(error.to_string()))
}

/// The weights that a model has asked for, for the evaluator of traces and graphs.
fn weights(names: &Names) -> Weights {
    Weights(names.all().into_iter().map(|(_, name, tensor)| (name, tensor)).collect())
}

/// Runs the trace at these sizes and compares it with the model.
pub(crate) fn replay<F>(model: &mut Model<'_, F>, trace: &Trace, at: &Bindings) -> Result<(), Error>
where
    F: FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
{
    let differences = differences(model, trace, at, 4)?;
    for (name, difference) in model.options.outputs.iter().zip(differences) {
        if !within(difference) {
            let (sizes, output) = (sizes(at), name.clone());
            return Err(Error::Replay { sizes, output, difference, bound: BOUND });
        }
    }
    Ok(())
}

/// Whether a difference is small enough; one that is not a number is not.
fn within(difference: f64) -> bool {
    difference <= BOUND
}

/// For every output the largest difference of the trace in f64 from the model in f32, as a part of the output's largest
/// number.
pub(crate) fn differences<F>(
    model: &mut Model<'_, F>,
    trace: &Trace,
    at: &Bindings,
    seed: u64,
) -> Result<Vec<f64>, Error>
where
    F: FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
{
    let inputs = options::inputs(model.options, at, seed)?;
    let expected = model.run(&inputs, at)?;
    let taken = |name: &str| {
        trace.nodes().any(|(_, node)| matches!(&node.op, Op::Input { name: own } if own == name))
    };
    let named = model.options.inputs.iter().zip(&inputs).filter(|(input, _)| taken(&input.name));
    let values = named
        .map(|(input, tensor)| Ok((input.name.clone(), value(tensor)?)))
        .collect::<Result<BTreeMap<_, _>, Error>>()?;
    let found =
        bytec_trace::eval::eval(trace, &values, &weights(&model.names)).map_err(|error| {
            Error::Options(format!("the trace can't be run at {}: {error}", sizes(at)))
        })?;
    let outputs = model.options.outputs.iter().zip(&expected);
    let difference = |(name, expected): (&String, &Tensor)| {
        let expected = value(expected)?;
        Ok(found.get(name).map_or(f64::INFINITY, |found| apart(found, &expected)))
    };
    outputs.map(difference).collect()
}

/// The largest difference of two tensors as a part of the second's largest number; infinite if their shapes differ, not a
/// number if an element is none.
fn apart(a: &Value, b: &Value) -> f64 {
    let (Some(x), Some(y)) = (a.as_floats(), b.as_floats()) else { return f64::INFINITY };
    if a.shape != b.shape {
        return f64::INFINITY;
    }
    let worse =
        |most: f64, d: f64| if d.is_nan() || most.is_nan() { f64::NAN } else { most.max(d) };
    let most = x.iter().zip(y).fold(0.0, |most, (x, y)| worse(most, (x - y).abs()));
    let scale = y.iter().fold(0f64, |most, x| most.max(x.abs()));
    // Equal tensors differ by nothing, be they all zeros.
    if most == 0.0 { 0.0 } else { most / scale }
}

/// Runs a padded batch, and its rows alone, and compares them.
pub(crate) fn padding<F>(model: &mut Model<'_, F>, program: &Program) -> Result<(), Error>
where
    F: FnMut(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
{
    let Some(mask) = model.options.mask().cloned() else { return Ok(()) };
    let Some(range) =
        model.options.symbols.iter().find(|range| range.symbol.name() == "S").cloned()
    else {
        return Ok(());
    };
    let padded = range.max.min(9);
    let lengths = [padded, padded.saturating_sub(3).max(range.min), range.min.max(1)];
    let at = |batch: u64, length: u64| {
        let mut at: Bindings = program.at[0].clone();
        at.insert(Symbol::new(BATCH), batch);
        at.insert(range.symbol.clone(), length);
        at
    };
    let failed = || Error::candle("cut a row out of a padded batch");
    let all = at(3, padded);
    let mut inputs = options::inputs(model.options, &all, 5)?;
    for (input, tensor) in model.options.inputs.iter().zip(&mut inputs) {
        if input.name == mask.name {
            let rows = lengths.map(|length| {
                (0..padded)
                    .map(|i| u32::from((i < length) == (mask.holds == Holds::Mask)))
                    .collect::<Vec<_>>()
            });
            let flags = Tensor::new(rows.to_vec(), tensor.device())
                .and_then(|flags| flags.to_dtype(input.dtype));
            *tensor = flags.map_err(failed())?;
        }
    }
    let together = model.run(&inputs, &all)?;
    for (row, &length) in lengths.iter().enumerate() {
        let one = at(1, length);
        let mut own = Vec::new();
        for (input, tensor) in model.options.inputs.iter().zip(&inputs) {
            let shape = options::extents(&input.shape, &one)?;
            own.push(first(tensor, row, &shape).map_err(failed())?);
        }
        let alone = model.run(&own, &one)?;
        for (name, (together, alone)) in
            model.options.outputs.iter().zip(together.iter().zip(&alone))
        {
            let same = first(together, row, alone.dims()).map_err(failed())?;
            let difference = apart(&value(&same)?, &value(alone)?);
            if !within(difference) {
                let (mask, output) = (mask.name.clone(), name.clone());
                return Err(Error::Padding { mask, output, length, padded, difference });
            }
        }
    }
    Ok(())
}

/// One row of the batch, and the first part of every other axis.
fn first(tensor: &Tensor, row: usize, shape: &[usize]) -> candle_core::Result<Tensor> {
    let mut part = tensor.narrow(0, row, 1)?;
    for (axis, &extent) in shape.iter().enumerate().skip(1) {
        part = part.narrow(axis, 0, extent)?;
    }
    part.contiguous()
}
