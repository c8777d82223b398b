//! Traced models compiled to plans, run packed, and compared with candle sample by sample.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytec_compiler::{CompileError, FrontOptions, Progress};
use bytec_ir::eval::{Rounding, Tensor as Value, eval};
use bytec_ir::graph::Graph;
use bytec_runtime::{Elements, Engine, PackedBatch, Sample};
use bytec_trace_candle::models::{ENCODERS, Forward};
use bytec_trace_candle::{Holds, MadeUp, Options, Source, graph, random_inputs, trace, value};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::configs::TINY;

pub(crate) struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &'static str) {}
    fn done(&mut self, _: String) {}
}

/// The plan of a graph and its weights, opened.
pub(crate) fn plan(graph: &Graph, weights: &Path, folder: &Path) -> Result<Engine> {
    let file = folder.join("model.graph");
    bytec_trace_candle::write(&file, &graph.to_string())?;
    let front = FrontOptions { graph: Some(file), ..FrontOptions::default() };
    let options =
        bytec_compiler::Options { front, threads: Some(2), ..bytec_compiler::Options::default() };
    let plan = folder.join("model.plan");
    bytec_compiler::compile(weights, &options, &mut Silent, |emitted, _| {
        emitted.write_file(&plan)?;
        Ok::<_, CompileError>(())
    })?;
    Ok(Engine::open(&plan)?)
}

/// The elements of a tensor, as the runtime takes them.
enum Numbers {
    Ints(Vec<i64>),
    Floats(Vec<f32>),
}

/// One sample: candle's inputs with a batch of one, and what the plan takes of them.
pub(crate) struct Held {
    inputs: Vec<Tensor>,
    taken: Vec<(String, Vec<u64>, Numbers)>,
}

impl Held {
    pub(crate) fn new(options: &Options, length: u64, seed: u64) -> Result<Self> {
        let at = options.sizes(1, &[length]);
        let inputs = random_inputs(options, &at, seed)?;
        let mut taken = Vec::new();
        for (input, tensor) in options.inputs.iter().zip(&inputs) {
            if !matches!(input.holds, Holds::Floats | Holds::Ids { .. }) {
                continue;
            }
            let shape = tensor.dims().iter().skip(1).map(|&n| n as u64).collect();
            let flat = tensor.flatten_all()?;
            let elements = match input.holds {
                Holds::Floats => Numbers::Floats(flat.to_vec1()?),
                _ => Numbers::Ints(flat.to_dtype(DType::I64)?.to_vec1()?),
            };
            taken.push((input.name.clone(), shape, elements));
        }
        Ok(Self { inputs, taken })
    }

    /// As the interpreter of graphs takes it.
    fn values(&self) -> Result<BTreeMap<String, Value>> {
        let value = |(name, shape, numbers): &(String, Vec<u64>, Numbers)| {
            let shape: Vec<_> = shape.iter().map(|&n| n as usize).collect();
            let value = match numbers {
                Numbers::Ints(data) => Value::ints(&shape, data.clone())?,
                Numbers::Floats(data) => {
                    Value::floats(&shape, data.iter().map(|&x| f64::from(x)).collect())?
                }
            };
            Ok((name.clone(), value))
        };
        self.taken.iter().map(value).collect()
    }

    pub(crate) fn sample(&self) -> Sample<'_> {
        self.taken.iter().fold(Sample::new(), |sample, (name, shape, elements)| {
            let elements = match elements {
                Numbers::Ints(data) => Elements::I64(data),
                Numbers::Floats(data) => Elements::F32(data),
            };
            sample.with(name, shape, elements)
        })
    }
}

/// The output of every sample of a batch.
pub(crate) fn run(engine: &Engine, held: &[&Held], output: &str) -> Result<Vec<Vec<f32>>> {
    let mut batch = PackedBatch::new(engine);
    for held in held {
        batch.push(&held.sample())?;
    }
    let mut session = engine.session();
    let outputs = session.run(&batch)?;
    let output = outputs.get(output).context("the plan has the output")?;
    (0..held.len()).map(|i| Ok(output.sample(i).context("of every sample")?.to_vec())).collect()
}

/// The largest difference of a plan from candle, as a part of an output's largest number, over samples of these lengths;
/// that a sample gives the same bits alone and in the batch.
fn apart(
    engine: &Engine,
    options: &Options,
    forward: &mut Forward,
    lengths: &[u64],
) -> Result<f64> {
    let held: Vec<_> = (1..)
        .zip(lengths)
        .map(|(seed, &length)| Held::new(options, length, 100 + seed))
        .collect::<Result<_>>()?;
    let output = &options.outputs[0];
    let packed = run(engine, &held.iter().collect::<Vec<_>>(), output)?;
    let mut worst = 0f64;
    for (held, found) in held.iter().zip(&packed) {
        let alone = run(engine, &[held], output)?;
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        ensure!(bits(&alone[0]) == bits(found), "alone and packed differ in their bits");
        let expected = forward(&held.inputs)?[0].flatten_all()?.to_vec1::<f32>()?;
        ensure!(
            expected.len() == found.len(),
            "{} numbers, expected {}",
            found.len(),
            expected.len()
        );
        let scale = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
        for (x, y) in found.iter().zip(&expected) {
            ensure!(x.is_finite(), "found {x}");
            worst = worst.max(f64::from((x - y).abs() / scale));
        }
    }
    Ok(worst)
}

/// The difference of a tiny encoder's graph in f64, and as [`apart`] that of its plan.
fn tiny(name: &str) -> Result<(f64, f64)> {
    let (_, config, longest) =
        TINY.iter().find(|(known, ..)| *known == name).context("it has a config")?;
    let encoder = ENCODERS.iter().find(|encoder| encoder.name == name).context("it is known")?;
    let (options, build) = encoder.prepare(config, *longest)?;
    let traced = trace(build, Box::new(MadeUp), &options)?;
    let lifted = graph(&traced, &options)?;
    let source: Source = Box::new(MadeUp);
    let vars = VarBuilder::from_backend(source, DType::F32, Device::Cpu);
    let mut forward = encoder.prepare(config, *longest)?.1(vars)?;

    let held = Held::new(&options, 13, 99)?;
    let weights = traced.weights.iter().map(|(name, tensor)| Ok((name.clone(), value(tensor)?)));
    let weights = weights.collect::<Result<BTreeMap<_, _>>>()?;
    let found = eval(&lifted.graph, &held.values()?, &weights, Rounding::Exact)?;
    let expected = value(&forward(&held.inputs)?[0])?;
    let (found, expected) = (found[&options.outputs[0]].as_floats(), expected.as_floats());
    let (found, expected) = found.zip(expected).context("floats")?;
    ensure!(found.len() == expected.len(), "{} numbers, expected {}", found.len(), expected.len());
    let scale = expected.iter().fold(0f64, |most, x| most.max(x.abs()));
    let exact = found.iter().zip(expected).map(|(x, y)| (x - y).abs() / scale).fold(0.0, f64::max);
    let folder = tempfile::tempdir()?;
    let weights = folder.path().join("model.safetensors");
    let tensors: BTreeMap<_, _> = traced.weights.iter().collect();
    safetensors::serialize_to_file(tensors, None, &weights)?;
    let engine = plan(&lifted.graph, &weights, folder.path())?;
    Ok((exact, apart(&engine, &options, &mut forward, &[10, 3, 1, 40, 17])?))
}

#[test]
fn every_encoder_compiled_gives_candles_numbers_at_other_lengths_alone_and_packed() {
    let mut failed = BTreeMap::new();
    for (name, ..) in TINY {
        match tiny(name) {
            Ok((exact, packed)) => {
                let found = format!("{exact:.1e} as a graph in f64, {packed:.1e} as a plan");
                println!("{name}: {found}");
                if exact.is_nan() || packed.is_nan() || exact.max(packed) > 1e-5 {
                    failed.insert(name, found);
                }
            }
            Err(error) => {
                failed.insert(name, format!("{error:#}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
