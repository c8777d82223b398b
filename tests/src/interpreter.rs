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

/// Checks samples' results against the graph in f64, by the largest error over all of them.
///
/// With a `slack` of 2 the bound is that of reference data: twice the error of rounding to f32 after each op, and no less
/// than 2e-6 of the output's scale; other values make it larger in proportion. A scale below 1 counts as 1, since what
/// cancels out was not small before.
///
/// # Errors
/// An output that is missing, misshapen or past the bound, or a graph that can't be interpreted.
pub fn check_all<'a>(
    graph: &Graph,
    weights: &dyn WeightSource,
    samples: impl IntoIterator<Item = (&'a BTreeMap<String, Tensor>, &'a Outputs)>,
    slack: f64,
) -> Result<()> {
    #[derive(Default)]
    struct Worst {
        found: f64,
        rounded: f64,
        scale: f64,
    }
    let mut worst: BTreeMap<String, Worst> = BTreeMap::new();
    for (sample, found) in samples {
        let exact = eval(graph, sample, weights, Rounding::Exact)?;
        let rounded = eval(graph, sample, weights, Rounding::F32)?;
        ensure!(exact.keys().eq(found.keys()), "outputs {:?}", found.keys());
        for (name, exact) in &exact {
            let exact = single(exact.as_floats().context("outputs are floats")?);
            let rounded = single(rounded[name].as_floats().context("outputs are floats")?);
            ensure!(exact.len() == found[name].len(), "{name}: {} elements", found[name].len());
            let worst = worst.entry(name.clone()).or_default();
            worst.found = worst.found.max(max_difference(&found[name], &exact));
            worst.rounded = worst.rounded.max(max_difference(&rounded, &exact));
            worst.scale = exact.iter().fold(worst.scale, |scale, x| scale.max(f64::from(x.abs())));
        }
    }
    for (name, Worst { found, rounded, scale }) in worst {
        let bound = slack * rounded.max(1e-6 * scale.max(1.0));
        ensure!(found <= bound, "{name}: {found:e} is past {bound:e}");
    }
    Ok(())
}
