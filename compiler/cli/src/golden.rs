//! `bytec golden`: random samples of a model with the outputs that it should give, computed in f64.

use std::collections::{BTreeMap, BTreeSet};

use bytec_compiler::front::{self, Loaded};
use bytec_compiler::{CompileError, file};
use bytec_ir::dim::Bindings;
use bytec_ir::eval::{Data, Rounding, Tensor, eval};
use bytec_ir::{Graph, sample};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::json;

use crate::Outcome;
use crate::args::{GoldenArgs, Sizes};
use crate::failure::Failure;
use crate::progress::Bar;

/// A tensor by its key, as the file holds it.
struct Held {
    key: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// How far f32 is from f64 in one output, over all samples.
#[derive(Clone, Copy, Default)]
struct Error {
    largest: f64,
    scale: f64,
}

pub(crate) fn golden(args: &GoldenArgs) -> Outcome {
    args.model.refuse_as_output(&args.output)?;
    file::check(&args.output)?;
    let model = front::load(&args.model.source, &args.model.front()).map_err(CompileError::from)?;
    check_names(&model.graph)?;
    // All sizes are looked at before the first, perhaps long, evaluation.
    let sizes: Result<Vec<_>, _> =
        args.lengths.iter().map(|sizes| bindings(&model.graph, sizes)).collect();
    let sizes = sizes?;
    let mut bar = Bar::new(sizes.len() as u64, false);
    let mut held = Vec::new();
    let mut errors = BTreeMap::new();
    for (i, bindings) in sizes.iter().enumerate() {
        let seed = args.seed.wrapping_mul(1 << 20).wrapping_add(i as u64);
        held.extend(evaluate(&model, i, bindings, seed, &mut errors)?);
        let shown: Vec<_> = args.lengths[i].0.iter().map(u64::to_string).collect();
        bar.advance(&format!("sample {i} of size {}", shown.join("x")));
    }
    bar.finish();
    write(args, &held, &errors)
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
fn evaluate(
    model: &Loaded,
    number: usize,
    bindings: &Bindings,
    seed: u64,
    errors: &mut BTreeMap<String, Error>,
) -> Result<Vec<Held>, Failure> {
    let inputs = sample::inputs(&model.graph, bindings, seed);
    let run = |rounding| {
        eval(&model.graph, &inputs, &model.weights, rounding).map_err(|error| {
            Failure::bad_input(anyhow::Error::new(error).context(format!("sample {number}")))
        })
    };
    let (exact, single) = (run(Rounding::Exact)?, run(Rounding::F32)?);
    for (name, exact) in &exact {
        let (Data::Float(exact), Data::Float(single)) = (&exact.data, &single[name].data) else {
            continue;
        };
        let error = errors.entry(name.clone()).or_default();
        for (exact, single) in exact.iter().zip(single) {
            error.largest = error.largest.max((exact - single).abs());
            error.scale = error.scale.max(exact.abs());
        }
    }
    Ok(inputs.iter().chain(&exact).map(|(name, tensor)| hold(number, name, tensor)).collect())
}

fn hold(number: usize, name: &str, tensor: &Tensor) -> Held {
    let (dtype, bytes) = match &tensor.data {
        Data::Int(values) => (Dtype::I64, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Float(values) => {
            (Dtype::F32, values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect())
        }
    };
    Held { key: format!("{number}.{name}"), dtype, shape: tensor.shape.clone(), bytes }
}

fn write(args: &GoldenArgs, held: &[Held], errors: &BTreeMap<String, Error>) -> Outcome {
    let errors: serde_json::Map<_, _> = errors
        .iter()
        .map(|(name, error)| {
            (name.clone(), json!({"max_abs": error.largest, "scale": error.scale}))
        })
        .collect();
    let about = json!({
        "reference": concat!("bytec ", env!("CARGO_PKG_VERSION"), ", f64"),
        "seed": args.seed,
        "f32_vs_f64": errors,
    });
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
