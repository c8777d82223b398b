//! `bytec run --inputs`: safetensors in, safetensors out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytec_compiler::file;
use bytec_compiler::front::header::{self, Entry};
use bytec_plan::program::Program;
use bytec_runtime::Engine;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::Outcome;
use crate::args::RunArgs;
use crate::batches::{Batching, Item, Tensor, Values, in_batches};
use crate::failure::Failure;
use crate::outputs;

/// A result: its key, shape and bytes.
struct Computed {
    key: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub(crate) fn run(args: &RunArgs, engine: &Engine, inputs: &Path) -> Outcome {
    let Some(output) = &args.output else {
        return Err(Failure::bad_input(anyhow::anyhow!(
            "--inputs: expected --output FILE, for the results, found none"
        )));
    };
    outputs::refuse_inputs(output, [inputs, args.plan.as_path()], None)?;
    file::check(output)?;
    let (keys, items) = read_inputs(inputs, [engine.program()])?;
    let mut results = Vec::new();
    let batching =
        Batching { alone: args.alone, max_tokens: args.source.max_batch_tokens, bar: true };
    in_batches(engine, &items, batching, |first, outputs| {
        for name in outputs.names() {
            let Some(values) = outputs.get(name) else { continue };
            for sample in 0..values.len() {
                let (Some(data), Some(shape)) = (values.sample(sample), values.shape(sample))
                else {
                    continue;
                };
                results.push(Computed {
                    key: format!("{}.{name}", keys[first + sample]),
                    shape: shape.iter().map(|&extent| extent as usize).collect(),
                    bytes: data.iter().flat_map(|value| value.to_le_bytes()).collect(),
                });
            }
        }
        Ok(())
    })?;
    let views: Result<Vec<_>, _> = results
        .iter()
        .map(|result| {
            let view = TensorView::new(Dtype::F32, result.shape.clone(), &result.bytes)?;
            Ok::<_, safetensors::SafeTensorError>((&result.key, view))
        })
        .collect();
    let bytes = views.and_then(|views| serialize(views, None)).map_err(Failure::internal)?;
    file::replace(output, |out| {
        out.write_all(&bytes)
            .map_err(|source| file::FileError { path: output.clone(), source }.into())
    })
}

/// The samples' inputs. A file that also holds what these programs should give is taken as well.
pub(crate) fn read_inputs<'p>(
    path: &Path,
    programs: impl IntoIterator<Item = &'p Program>,
) -> Result<(Vec<String>, Vec<Item>), Failure> {
    let names = Names::of(programs);
    let left_out = |name: &str| names.outputs.contains(name) && !names.inputs.contains(name);
    read(path, left_out).map(|samples| (samples.keys, samples.items))
}

/// The names of what programs take and give.
pub(crate) struct Names<'p> {
    pub(crate) inputs: BTreeSet<&'p str>,
    pub(crate) outputs: BTreeSet<&'p str>,
}

impl<'p> Names<'p> {
    pub(crate) fn of(programs: impl IntoIterator<Item = &'p Program>) -> Self {
        let mut names = Self { inputs: BTreeSet::new(), outputs: BTreeSet::new() };
        for program in programs {
            names.inputs.extend(program.inputs.iter().map(|input| input.name.as_str()));
            names.outputs.extend(program.outputs.iter().map(|output| output.name.as_str()));
        }
        names
    }
}

/// What a file holds.
pub(crate) struct Samples {
    pub(crate) keys: Vec<String>,
    pub(crate) items: Vec<Item>,
    /// The free text beside them.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The samples of a file, in the order of their keys: numbers by value, then other names. Tensors whose names are to be
/// left out don't count.
pub(crate) fn read(path: &Path, left_out: impl Fn(&str) -> bool) -> Result<Samples, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::reading(path, &error))?;
    let bad =
        |problem: String| Failure::bad_input(anyhow::anyhow!("{}: {problem}", path.display()));
    let header = header::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    let mut samples: BTreeMap<(u64, String), Vec<Tensor>> = BTreeMap::new();
    for (key, entry) in &header.tensors {
        let (sample, name) = key
            .split_once('.')
            .filter(|(sample, name)| !sample.is_empty() && !name.is_empty())
            .ok_or_else(|| bad(format!("expected keys <sample>.<input name>, found {key:?}")))?;
        if left_out(name) {
            continue;
        }
        let tensor = Tensor {
            name: name.to_owned(),
            shape: entry.shape.clone(),
            values: values(key, entry, &bytes[entry.bytes.clone()]).map_err(&bad)?,
        };
        let number = sample.parse().unwrap_or(u64::MAX);
        samples.entry((number, sample.to_owned())).or_default().push(tensor);
    }
    if samples.is_empty() {
        return Err(bad("expected samples with keys <sample>.<input name>, found none".to_owned()));
    }
    let keys: Vec<String> = samples.keys().map(|(_, sample)| sample.clone()).collect();
    let items = samples
        .into_iter()
        .map(|((_, sample), tensors)| Item { label: format!("sample {sample}"), tensors })
        .collect();
    Ok(Samples { keys, items, metadata: header.metadata })
}

fn values(key: &str, entry: &Entry, bytes: &[u8]) -> Result<Values, String> {
    match entry.dtype.as_str() {
        "I64" => {
            Ok(Values::I64(bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()))
        }
        "I32" => {
            Ok(Values::I32(bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b)).collect()))
        }
        "F32" => {
            Ok(Values::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()))
        }
        other => Err(format!("{key}: expected elements of I64, I32 or F32, found {other}")),
    }
}
