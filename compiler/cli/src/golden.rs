//! `bytec golden`: samples of a model, random or given, with the outputs that it should give, computed in f64.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytec_compiler::front::{self, Loaded};
use bytec_compiler::{CompileError, file};
use bytec_ir::dim::Bindings;
use bytec_ir::eval::{Data, EvalError, Rounding, Tensor, bind, eval};
use bytec_ir::{Graph, sample};
use bytec_plan::program::DType;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::json;

use crate::args::{GoldenArgs, Sizes};
use crate::batches::{self, Values};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::tensors::Samples;
use crate::verify::errors_key;
use crate::{Outcome, outputs, tensors};

/// The sizes of samples, unless the caller says.
const LENGTHS: [u64; 7] = [1, 2, 7, 8, 9, 16, 17];
/// How many samples of a model that takes one size alone.
const SAMPLES: usize = 3;

/// A sample before it is evaluated.
struct Sample {
    /// What its keys in the file begin with.
    key: String,
    /// What the progress bar calls it.
    label: String,
    inputs: BTreeMap<String, Tensor>,
}

/// A tensor by its key, as the file holds it.
struct Held {
    key: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// How far an element type is from f64 in one output, over all samples.
#[derive(Clone, Copy, Default)]
struct Error {
    /// Infinite where the element type has no number for what f64 has one for.
    largest: f64,
    scale: f64,
}

/// The errors of each element type, by output.
type Errors = BTreeMap<&'static str, BTreeMap<String, Error>>;

/// The element types that targets compute in.
const ELEMENTS: [(DType, Rounding); 3] =
    [(DType::F32, Rounding::F32), (DType::F16, Rounding::F16), (DType::Bf16, Rounding::Bf16)];

pub(crate) fn golden(args: &GoldenArgs) -> Outcome {
    args.model.refuse_as_output(&args.output)?;
    outputs::refuse_inputs(&args.output, args.inputs.as_deref(), None)?;
    file::check(&args.output)?;
    let model = front::load(&args.model.source, &args.model.front()).map_err(CompileError::from)?;
    check_names(&model.graph)?;
    // All samples are looked at before the first, perhaps long, evaluation.
    let samples = match &args.inputs {
        Some(inputs) => given(&model.graph, inputs)?,
        None => drawn(&model.graph, args)?,
    };
    let mut bar = Bar::new(samples.len() as u64, false);
    let mut held = Vec::new();
    let mut errors = Errors::new();
    for sample in &samples {
        held.extend(evaluate(&model, sample, &mut errors)?);
        bar.advance(&sample.label);
    }
    bar.finish();
    write(args, &held, &errors)
}

impl Error {
    fn add(&mut self, exact: &[f64], rounded: &[f64]) {
        for (&exact, &rounded) in exact.iter().zip(rounded) {
            if exact.is_finite() {
                let error = (exact - rounded).abs();
                self.largest = self.largest.max(if error.is_nan() { f64::INFINITY } else { error });
                self.scale = self.scale.max(exact.abs());
            }
        }
    }
}

/// A random sample of every size asked for.
fn drawn(graph: &Graph, args: &GoldenArgs) -> Result<Vec<Sample>, Failure> {
    let draw = |(i, sizes): (usize, &Sizes)| {
        let seed = args.seed.wrapping_mul(1 << 20).wrapping_add(i as u64);
        let shown: Vec<_> = sizes.0.iter().map(u64::to_string).collect();
        let size = if shown.is_empty() {
            "its one size".to_owned()
        } else {
            format!("size {}", shown.join("x"))
        };
        Ok(Sample {
            key: i.to_string(),
            label: format!("sample {i} of {size}"),
            inputs: sample::inputs(graph, &bindings(graph, sizes)?, seed),
        })
    };
    let usual = match graph.symbols().len() {
        0 => vec![Sizes(Vec::new()); SAMPLES],
        _ => LENGTHS.map(|length| Sizes(vec![length])).to_vec(),
    };
    let sizes = if args.lengths.is_empty() { &usual } else { &args.lengths };
    sizes.iter().enumerate().map(draw).collect()
}

/// The samples of a file, each held against what the model takes. Outputs that the file also has are passed over.
fn given(graph: &Graph, path: &Path) -> Result<Vec<Sample>, Failure> {
    let is_output = |name: &str| graph.outputs().iter().any(|output| output.name == name);
    let Samples { keys, items, .. } = tensors::read(path, is_output)?;
    let sample = |(key, item): (String, batches::Item)| {
        let bad = |error: EvalError| {
            let at = format!("{}: {}", path.display(), item.label);
            Failure::bad_input(anyhow::Error::new(error).context(at))
        };
        let inputs = item.tensors.into_iter().map(|tensor| {
            let shape: Vec<_> = tensor.shape.iter().map(|&extent| extent as usize).collect();
            let value = match tensor.values {
                Values::I64(values) => Tensor::ints(&shape, values),
                Values::I32(values) => {
                    Tensor::ints(&shape, values.into_iter().map(i64::from).collect())
                }
                Values::F32(values) => {
                    Tensor::floats(&shape, values.into_iter().map(f64::from).collect())
                }
            };
            value.map(|value| (tensor.name, value))
        });
        let inputs = inputs.collect::<Result<_, _>>().map_err(bad)?;
        bind(graph, &inputs).map_err(bad)?;
        Ok(Sample { key, label: item.label.clone(), inputs })
    };
    keys.into_iter().zip(items).map(sample).collect()
}

/// One file holds inputs and outputs, so no two of them may have the same name.
fn check_names(graph: &Graph) -> Outcome {
    let inputs: BTreeSet<_> = graph.inputs().into_iter().map(|id| graph.name(id)).collect();
    match graph.outputs().iter().find(|output| inputs.contains(output.name.as_str())) {
        None => Ok(()),
        Some(output) => Err(Failure::bad_input(anyhow::anyhow!(
            "expected outputs of other names than the inputs', found {} as both",
            output.name
        ))),
    }
}

/// The symbols' sizes.
fn bindings(graph: &Graph, sizes: &Sizes) -> Result<Bindings, Failure> {
    let symbols = graph.symbols();
    let bad = |problem: String| Failure::bad_input(anyhow::anyhow!("--lengths: {problem}"));
    if sizes.0.len() != symbols.len() {
        let names: Vec<_> = symbols.iter().map(|range| range.symbol.name()).collect();
        return Err(bad(format!(
            "expected the sizes of {} joined by x, found {} numbers",
            if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") },
            sizes.0.len()
        )));
    }
    for (range, &size) in symbols.iter().zip(&sizes.0) {
        if !(range.min..=range.max).contains(&size) {
            let (name, min, max) = (range.symbol.name(), range.min, range.max);
            return Err(bad(format!("expected {name} from {min} to {max}, found {size}")));
        }
    }
    Ok(symbols.iter().zip(&sizes.0).map(|(range, &size)| (range.symbol.clone(), size)).collect())
}

/// One sample's inputs and outputs.
fn evaluate(model: &Loaded, sample: &Sample, errors: &mut Errors) -> Result<Vec<Held>, Failure> {
    let Sample { key, label, inputs } = sample;
    let run = |rounding| {
        eval(&model.graph, inputs, &model.weights, rounding)
            .map_err(|error| Failure::bad_input(anyhow::Error::new(error).context(label.clone())))
    };
    let exact = run(Rounding::Exact)?;
    for (dtype, rounding) in ELEMENTS {
        let rounded = run(rounding)?;
        let errors = errors.entry(dtype.name()).or_default();
        for (name, exact) in &exact {
            let (Data::Float(exact), Data::Float(rounded)) = (&exact.data, &rounded[name].data)
            else {
                continue;
            };
            errors.entry(name.clone()).or_default().add(exact, rounded);
        }
    }
    Ok(inputs.iter().chain(&exact).map(|(name, tensor)| hold(key, name, tensor)).collect())
}

fn hold(sample: &str, name: &str, tensor: &Tensor) -> Held {
    let (dtype, bytes) = match &tensor.data {
        Data::Int(values) => (Dtype::I64, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Float(values) => {
            (Dtype::F32, values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect())
        }
    };
    Held { key: format!("{sample}.{name}"), dtype, shape: tensor.shape.clone(), bytes }
}

fn write(args: &GoldenArgs, held: &[Held], errors: &Errors) -> Outcome {
    let mut about = json!({"reference": concat!("bytec ", env!("CARGO_PKG_VERSION"), ", f64")});
    for (dtype, _) in ELEMENTS {
        let of_outputs = errors.get(dtype.name()).into_iter().flatten();
        let of_outputs: serde_json::Map<_, _> = of_outputs
            .map(|(name, error)| {
                (name.clone(), json!({"max_abs": error.largest, "scale": error.scale}))
            })
            .collect();
        about[errors_key(dtype)] = of_outputs.into();
    }
    if args.inputs.is_none() {
        about["seed"] = args.seed.into();
    }
    // One entry: several would be written in any order.
    let metadata = std::iter::once(("golden".to_owned(), about.to_string())).collect();
    let views: Result<Vec<_>, _> = held
        .iter()
        .map(|held| {
            let view = TensorView::new(held.dtype, held.shape.clone(), &held.bytes)?;
            Ok::<_, safetensors::SafeTensorError>((&held.key, view))
        })
        .collect();
    let bytes =
        views.and_then(|views| serialize(views, Some(metadata))).map_err(Failure::internal)?;
    file::replace(&args.output, |out| {
        out.write_all(&bytes)
            .map_err(|source| file::FileError { path: args.output.clone(), source }.into())
    })
}
