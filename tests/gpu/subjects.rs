//! What goes into a pack: every kernel, the models of the golden data, one with NaN neighbours, and MiniLM.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytec_compiler::FrontOptions;
use bytec_compiler::front::PoolingChoice;
use bytec_ir::{Def, Graph, PoolKind, sample};
use bytec_models::tiny::{SplitMix64, TinyBert, TinyCheckpoint, TinyTensor};
use bytec_tests::batches::Inputs;
use bytec_tests::golden;
use bytec_tests::minilm;
use bytec_tests::tensors::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::kernels::{self, KernelCase};
use crate::options::Options;
use crate::pack::Subject;
use crate::pack_file::{Kind, read_json, write_json};

/// Every target: the CPU, and each architecture in each element type.
pub(crate) const TARGETS: [&str; 7] =
    ["cpu:f32", "sm_80:f32", "sm_80:f16", "sm_80:bf16", "sm_90a:f32", "sm_90a:f16", "sm_90a:bf16"];

/// Those of MiniLM: each plan has a copy of the weights.
const MINILM_TARGETS: [&str; 2] = ["sm_80:f16", "sm_90a:f16"];
/// How many of MiniLM's texts are run.
const SENTENCES: usize = 6;

/// Every wanted subject. Sources that have to be made are written into `sources`.
pub(crate) fn all(sources: &Path, options: &Options) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for case in kernels::all()? {
        if options.wants(&case.name) {
            subjects.push(kernel(&case, sources)?);
        }
    }
    for case in golden::Case::all()? {
        let name = format!("model {}", case.name);
        if options.wants(&name) {
            let outputs = case.outputs.values().next().into_iter().flat_map(|sample| sample.keys());
            // Beside the outputs there are values from within the model, which have no bound.
            let bound = |output: &String| Some((output.clone(), case.f32_bound(output).ok()?));
            let f32_bounds = outputs.filter_map(bound).collect();
            let samples = case.inputs.values().cloned().collect();
            let subject = model(name, case.folder, samples, Vec::new());
            subjects.push(Subject { f32_bounds, ..subject });
        }
    }
    let name = "model beside NaN";
    if options.wants(name) {
        subjects.push(beside_nan(name.to_owned(), sources)?);
    }
    let name = "model minilm/sentences";
    if options.wants(name) {
        let minilm = minilm::fetch().context("MiniLM is a part of a pack; --only leaves it out")?;
        subjects.push(real(name.to_owned(), &minilm, sources)?);
    }
    for subject in &mut subjects {
        subject.targets.retain(|target| options.packs(target));
    }
    Ok(subjects)
}

/// MiniLM with the words of a few texts alone: all layers, and little of the word table, which is half of the model.
fn real(name: String, minilm: &Path, sources: &Path) -> Result<Subject> {
    let case = golden::Case::load("minilm/sentences")?;
    let mut samples: Vec<Inputs> = case.inputs.into_values().take(SENTENCES).collect();
    let mut words: Vec<i64> = samples.iter().flat_map(|sample| ids(sample).to_vec()).collect();
    words.sort_unstable();
    words.dedup();
    for sample in &mut samples {
        if let Some(Tensor::I64(ids, _)) = sample.get_mut("input_ids") {
            for id in ids {
                *id = words.partition_point(|word| word < id) as i64;
            }
        }
    }
    let folder = sources.join("minilm");
    std::fs::create_dir_all(&folder)?;
    let bytes = std::fs::read(minilm.join("model.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut tensors = file.tensors();
    let table = "embeddings.word_embeddings.weight";
    let all = file.tensor(table)?;
    let row = all.data().len() / all.shape()[0];
    let rows: Vec<u8> =
        words.iter().flat_map(|word| &all.data()[*word as usize * row..][..row]).copied().collect();
    let shape = vec![words.len(), all.shape()[1]];
    tensors.retain(|(name, _)| name != table);
    tensors.push((table.to_owned(), TensorView::new(all.dtype(), shape, &rows)?));
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(tensors, None)?)?;
    let mut config: Value = read_json(&minilm.join("config.json"))?;
    config["vocab_size"] = words.len().into();
    write_json(&folder.join("config.json"), &config)?;
    let pooling = Some(PoolingChoice::Kinds(vec![PoolKind::Mean]));
    let front = FrontOptions { pooling, normalize: Some(true), ..FrontOptions::default() };
    let targets = MINILM_TARGETS.map(str::to_owned).to_vec();
    Ok(Subject { front, targets, ..model(name, folder, samples, Vec::new()) })
}

fn ids(sample: &Inputs) -> &[i64] {
    match sample.get("input_ids") {
        Some(Tensor::I64(ids, _)) => ids,
        _ => &[],
    }
}

fn model(name: String, source: PathBuf, samples: Vec<Inputs>, poison: Vec<Inputs>) -> Subject {
    let targets = TARGETS.map(str::to_owned).to_vec();
    let front = FrontOptions::default();
    let f32_bounds = BTreeMap::new();
    let (kind, kernel) = (Kind::Model, None);
    Subject { name, kind, source, front, kernel, samples, poison, f32_bounds, targets }
}

fn kernel(case: &KernelCase, sources: &Path) -> Result<Subject> {
    let folder = sources.join(case.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    std::fs::create_dir_all(&folder)?;
    let (source, text) = (folder.join("model.safetensors"), folder.join("graph.ir"));
    let weights = sample::weights(&case.graph, 1).into_iter().map(|(name, tensor)| {
        let values = tensor.as_floats().context("weights are floats")?;
        let values = values.iter().map(|x| *x as f32).collect();
        Ok((name, TinyTensor { shape: tensor.shape, values }))
    });
    let mut tensors = weights.collect::<Result<BTreeMap<_, _>>>()?;
    // Only poisoned samples name the last word.
    if let Some(words) = tensors.get_mut("words") {
        let width = words.shape[1];
        let last = words.values.len() - width;
        words.values[last..].fill(f32::NAN);
    }
    let checkpoint = TinyCheckpoint { config: serde_json::Value::Null, tensors };
    std::fs::write(&source, checkpoint.safetensors())?;
    std::fs::write(&text, case.graph.to_string())?;
    let mut random = SplitMix64(2);
    let mut drawn = |poison: bool, lengths: &[u64]| -> Vec<Inputs> {
        lengths.iter().map(|length| inputs(&case.graph, *length, poison, &mut random)).collect()
    };
    Ok(Subject {
        name: case.name.clone(),
        kind: Kind::Kernel,
        source,
        front: FrontOptions { graph: Some(text), ..FrontOptions::default() },
        kernel: Some(case.kernel),
        samples: drawn(false, case.lengths),
        poison: drawn(true, &[3, 18, 1]),
        f32_bounds: BTreeMap::new(),
        targets: TARGETS.map(str::to_owned).to_vec(),
    })
}

/// A sample of this length: normal numbers, and any word but the last; or NaN, and the last word.
fn inputs(graph: &Graph, length: u64, poison: bool, random: &mut SplitMix64) -> Inputs {
    let limits = bytec_ir::ids::input_limits(graph);
    let mut inputs = Inputs::new();
    for id in graph.inputs() {
        let Def::Input { .. } = graph.node(id).def else { continue };
        let ty = graph.ty(id);
        let shape: Vec<u64> = ty.shape.iter().map(|dim| dim.as_fixed().unwrap_or(length)).collect();
        let count: u64 = shape.iter().product();
        let tensor = if ty.dtype.is_float() {
            let value = |_| if poison { f32::NAN } else { 1.5 * random.normal() };
            Tensor::F32((0..count).map(value).collect(), shape)
        } else {
            let words = limits.get(&id).and_then(|dim| dim.as_fixed()).unwrap_or(2);
            let value = |_| if poison { words as i64 - 1 } else { random.below(words - 1) as i64 };
            Tensor::I64((0..count).map(value).collect(), shape)
        };
        inputs.insert(graph.name(id).to_owned(), tensor);
    }
    inputs
}

/// A tiny BERT whose last word is NaN, and samples with and without it.
fn beside_nan(name: String, sources: &Path) -> Result<Subject> {
    let tiny = TinyBert { positions: 160, tied: false, ..TinyBert::default() };
    let mut checkpoint = tiny.checkpoint();
    let table = "embeddings.word_embeddings.weight";
    let table = checkpoint.tensors.get_mut(table).context("the model has words")?;
    let last = table.values.len() - tiny.hidden;
    table.values[last..].fill(f32::NAN);
    let folder = sources.join("beside_nan");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("config.json"), checkpoint.config_json())?;
    std::fs::write(folder.join("model.safetensors"), checkpoint.safetensors())?;
    let mut random = SplitMix64(3);
    let mut draw = |length: u64, poison: bool| -> Inputs {
        let words = tiny.vocab as u64 - 1;
        let mut ids: Vec<i64> = (0..length).map(|_| random.below(words) as i64).collect();
        if poison {
            ids[random.below(length) as usize] = words as i64;
        }
        [("input_ids".to_owned(), Tensor::I64(ids, vec![length]))].into()
    };
    let lengths = [1, 2, 15, 16, 17, 31, 64, 65, 127, 129, 160, 7];
    let samples = lengths.iter().map(|length| draw(*length, false)).collect();
    let poison = [1, 33, 100, 16].iter().map(|length| draw(*length, true)).collect();
    Ok(model(name, folder, samples, poison))
}
