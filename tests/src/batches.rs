//! Samples in, results out: a packed batch through a session, and results compared bit by bit.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytec_runtime::{Elements, Engine, PackedBatch, Sample, Session};

use crate::tensors::Tensor;

/// A sample's inputs by name.
pub type Inputs = BTreeMap<String, Tensor>;

/// A sample's outputs by name.
pub type Outputs = BTreeMap<String, Vec<f32>>;

/// Runs these samples in one batch.
///
/// # Errors
/// A sample that the engine refuses.
pub fn run<'a>(
    engine: &Engine,
    session: &mut Session,
    samples: impl IntoIterator<Item = &'a Inputs>,
) -> Result<Vec<Outputs>> {
    let mut batch = PackedBatch::new(engine);
    for inputs in samples {
        let sample = inputs.iter().fold(Sample::new(), |sample, (name, tensor)| match tensor {
            Tensor::I64(values, shape) => sample.with(name, shape, Elements::I64(values)),
            Tensor::F32(values, shape) => sample.with(name, shape, Elements::F32(values)),
        });
        batch.push(&sample)?;
    }
    let outputs = session.run(&batch)?;
    let of_sample = |i: usize| -> Result<Outputs> {
        let named = outputs.names().map(|name| {
            let values = outputs.get(name).and_then(|output| output.sample(i));
            Ok((name.to_owned(), values.context("every sample has every output")?.to_vec()))
        });
        named.collect()
    };
    (0..batch.len()).map(of_sample).collect()
}

/// Runs each sample in a batch of its own.
///
/// # Errors
/// A sample that the engine refuses.
pub fn run_alone<'a>(
    engine: &Engine,
    session: &mut Session,
    samples: impl IntoIterator<Item = &'a Inputs>,
) -> Result<Vec<Outputs>> {
    let mut results = Vec::new();
    for inputs in samples {
        results.append(&mut run(engine, session, [inputs])?);
    }
    Ok(results)
}

/// True if both have the same bits; which NaN a NaN is does not count.
pub fn same_bits(a: &Outputs, b: &Outputs) -> bool {
    let same = |x: &f32, y: &f32| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
    let equal =
        |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y));
    a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| equal(a, b))
}

/// Asserts that both runs gave every sample the same bits.
///
/// # Panics
/// If they did not, naming the first sample.
pub fn assert_same_bits<'a>(
    found: &[Outputs],
    expected: impl IntoIterator<Item = &'a Outputs>,
    what: &str,
) {
    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{what}: samples");
    let differs = found.iter().zip(expected).position(|(a, b)| !same_bits(a, b));
    assert_eq!(differs, None, "{what}: the first sample whose bits differ");
}
