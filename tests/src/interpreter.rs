//! The interpreter as a yardstick: what f64 gives, and how far f32 may be from it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bytec_ir::eval::{Rounding, eval};
use bytec_ir::{Data, Graph, Tensor, WeightSource};

use crate::batches::{Inputs, Outputs};
use crate::golden::max_difference;
use crate::tensors;

/// A sample's inputs as the runtime takes them; floats have to be f32 numbers.
pub fn inputs(sample: &BTreeMap<String, Tensor>) -> Inputs {
    let tensor = |tensor: &Tensor| {
        let shape = tensor.shape.iter().map(|&n| n as u64).collect();
        match &tensor.data {
            Data::Int(values) => tensors::Tensor::I64(values.clone(), shape),
            Data::Float(values) => tensors::Tensor::F32(single(values), shape),
        }
    };
    sample.iter().map(|(name, x)| (name.clone(), tensor(x))).collect()
}

/// The inverse of [`inputs`].
///
/// # Errors
/// A tensor whose extents do not suit its elements.
pub fn sample(inputs: &Inputs) -> Result<BTreeMap<String, Tensor>> {
    let tensor = |tensor: &tensors::Tensor| {
        let shape = |shape: &[u64]| shape.iter().map(|&n| n as usize).collect::<Vec<_>>();
        match tensor {
            tensors::Tensor::I64(values, extents) => Tensor::ints(&shape(extents), values.clone()),
            tensors::Tensor::F32(values, extents) => {
                Tensor::floats(&shape(extents), values.iter().map(|&x| f64::from(x)).collect())
            }
        }
    };
    inputs.iter().map(|(name, x)| Ok((name.clone(), tensor(x)?))).collect()
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

/// Checks a sample's results against the graph in f64.
///
/// The bound is that of reference data: twice the error of rounding to f32 after each op, and no less than 2e-6 of the
/// output's scale. A scale below 1 counts as 1, since what cancels out was not small before.
///
/// # Errors
/// An output that is missing, misshapen or past the bound, or a graph that can't be interpreted.
pub fn check(
    graph: &Graph,
    weights: &dyn WeightSource,
    sample: &BTreeMap<String, Tensor>,
    found: &Outputs,
) -> Result<()> {
    let exact = eval(graph, sample, weights, Rounding::Exact)?;
    let rounded = eval(graph, sample, weights, Rounding::F32)?;
    ensure!(exact.keys().eq(found.keys()), "outputs {:?}", found.keys());
    for (name, exact) in &exact {
        let exact = single(exact.as_floats().context("outputs are floats")?);
        let rounded = single(rounded[name].as_floats().context("outputs are floats")?);
        ensure!(exact.len() == found[name].len(), "{name}: {} elements", found[name].len());
        let scale = exact.iter().fold(1.0, |scale: f64, x| scale.max(f64::from(x.abs())));
        let bound = (2.0 * max_difference(&rounded, &exact)).max(2e-6 * scale);
        let difference = max_difference(&found[name], &exact);
        ensure!(difference <= bound, "{name}: {difference:e} is past {bound:e}");
    }
    Ok(())
}
