//! The first stage: a source in, the graph of one sample and its weights out.
//!
//! A source is a folder in Hugging Face layout, a `.safetensors` file, a `.safetensors.index.json` or an archive of
//! `torch.export`, which is told by its first bytes and says everything itself. The forward pass of the others comes
//! from the first of these: `--graph`; `bytec.graph` in the file's metadata; a config, by the family that its
//! `model_type` names. The config is the first of `--config`, `bytec.config` in the metadata, and `config.json` beside
//! the weights. Pooling, text limits and the tokenizer come from the other files of the folder. Nothing is guessed, and
//! nothing is read but the source, files beside it and the files that options name.

pub mod config;
mod dense;
pub mod error;
mod folder;
pub mod graph_file;
pub mod header;
mod json;
pub mod pt2;
mod sentence;
mod texts;
pub mod weights;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytec_ir::attrs::PoolKind;
use bytec_ir::graph::Graph;
use bytec_models::{Model, Request, Step, Tied};
use bytec_plan::manifest::{PoolingSpec, PoolingStep, Task, TextSpec};

use crate::schedule::functions::{pooling, unary};

pub use error::FrontError;
use folder::Folder;
use sentence::Found;
use texts::Texts;
use weights::Weights;

/// What the source doesn't say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrontOptions {
    /// A config in place of the one beside the weights (`--config`).
    pub config: Option<PathBuf>,
    /// Fields of the config and their values, as JSON or plain text (`--set FIELD=VALUE`).
    pub set: Vec<(String, String)>,
    /// The architecture, in place of the config's (`--architecture`).
    pub architecture: Option<String>,
    /// A graph in bytec's text form, in place of a config (`--graph`).
    pub graph: Option<PathBuf>,
    /// The pooling, in place of the folder's (`--pooling`).
    pub pooling: Option<PoolingChoice>,
    /// Whether embeddings are normalised, in place of what the folder says (`--normalize`).
    pub normalize: Option<bool>,
    /// The names of the outputs of a `torch.export` archive, which has none (`--outputs`); by default `output.0` and so
    /// on.
    pub outputs: Vec<String>,
    /// The most of every size of a `torch.export` archive that follows the sample (`--max-length`); by default what the
    /// archive says.
    pub max_length: Option<u64>,
}

impl FrontOptions {
    /// Refuses options that shape a forward pass, for a source that says the whole of it.
    fn refuse_shaping(&self, source: &str) -> Result<(), FrontError> {
        let pooled = matches!(self.pooling, Some(PoolingChoice::Kinds(_)));
        let given = [
            ("--config", self.config.is_some()),
            ("--set", !self.set.is_empty()),
            ("--architecture", self.architecture.is_some()),
            ("--pooling", pooled),
            ("--normalize", self.normalize.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(FrontError::Options(format!(
                "{option} has no effect on {source}, which says the whole forward pass; leave it out"
            ))),
        }
    }
}

/// A choice of pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolingChoice {
    /// Rows become one in these ways, at least one; the results are put side by side in this order.
    Kinds(Vec<PoolKind>),
    /// No sentence embedding, whatever the folder says.
    None,
}

impl PoolingChoice {
    /// The way of this name, which is that of sentence-transformers: `mean`, `lasttoken`.
    ///
    /// # Errors
    /// The names there are.
    pub fn kind(name: &str) -> Result<PoolKind, String> {
        sentence::kind(name).ok_or_else(|| {
            format!("expected ways to pool ({}) or none, found {name:?}", sentence::modes())
        })
    }
}

/// A model, ready to be compiled.
#[derive(Debug)]
pub struct Loaded {
    /// The forward pass of one sample. Its weights' names are tensors of `weights`, of the declared shapes.
    pub graph: Graph,
    /// The tensors.
    pub weights: Weights,
    /// Which front end read it: `safetensors`, `bytec graph` or `torch.export`.
    pub front: &'static str,
    /// The model family; empty for a graph.
    pub family: String,
    /// The architecture; empty for a graph.
    pub architecture: String,
    /// Class names by index.
    pub labels: Vec<String>,
    /// What the outputs say about a text, if the architecture has such a reading.
    pub task: Option<Task>,
    /// How texts become inputs, if there is a tokenizer.
    pub text: Option<TextSpec>,
    /// The content of `tokenizer.json`.
    pub tokenizer: Option<Vec<u8>>,
    /// The sentence pooling that is part of the graph.
    pub pooling: Option<PoolingSpec>,
    /// Tensors of the file that the graph doesn't use.
    pub unused_tensors: Vec<String>,
    /// Fields of the config that have no effect on the forward pass.
    pub ignored_fields: Vec<String>,
    /// Anything else worth knowing.
    pub notes: Vec<String>,
}

/// Reads the model at `path`.
///
/// # Errors
/// Whatever is missing, malformed, contradictory or not built, by file and field, with the option that supplies it.
pub fn load(path: &Path, options: &FrontOptions) -> Result<Loaded, FrontError> {
    if pt2::is_archive(path)? {
        return pt2::load(path, options);
    }
    if !options.outputs.is_empty() {
        return Err(FrontError::Options(
            "--outputs names the results of a torch.export archive; this source has names of its own"
                .to_owned(),
        ));
    }
    if options.max_length.is_some() {
        return Err(FrontError::Options(
            "--max-length limits the sizes of a torch.export archive; this source has limits of its own"
                .to_owned(),
        ));
    }
    let folder = Folder::find(path)?;
    let weights = folder.weights()?;
    match graph_file::find(options.graph.as_deref(), &weights)? {
        Some(graph) => load_graph(graph, weights, &folder, options),
        None => load_model(weights, &folder, options),
    }
}

/// A graph says the whole forward pass, so options that shape one are refused.
fn load_graph(
    graph: Graph,
    weights: Weights,
    folder: &Folder,
    options: &FrontOptions,
) -> Result<Loaded, FrontError> {
    options.refuse_shaping("a graph")?;
    let texts = match graph_file::text_inputs(&graph) {
        Some(inputs) => texts::read(&folder.model, &inputs)?,
        None => Texts::default(),
    };
    Ok(Loaded {
        unused_tensors: unused(&graph, &weights, &[]),
        ignored_fields: Vec::new(),
        graph,
        weights,
        front: "bytec graph",
        family: String::new(),
        architecture: String::new(),
        labels: Vec::new(),
        task: None,
        text: texts.spec,
        tokenizer: texts.tokenizer,
        pooling: None,
        notes: texts.notes,
    })
}

fn load_model(
    mut weights: Weights,
    folder: &Folder,
    options: &FrontOptions,
) -> Result<Loaded, FrontError> {
    let config = config::find(&folder.model, &weights, options)?;
    let found = sentence::pooling(folder.modules.as_ref(), options)?;
    let request = Request {
        architecture: options.architecture.clone(),
        pooling: found.as_ref().map(|found| found.pooling.clone()),
    };
    for (prefix, module) in found.iter().flat_map(|found| &found.dense) {
        weights.join(prefix, folder::open_in(module)?)?;
    }
    let model = bytec_models::build(&config, &weights.checkpoint(), &request)?;
    if let Some(found) = &found {
        found.check_width(model.width)?;
    }
    check_tied(&weights, &model.tied)?;
    let texts = match &model.text {
        Some(inputs) => texts::read(&folder.model, inputs)?,
        None => Texts::default(),
    };
    let task = bytec_models::task::of(&model.architecture, &config, model.labels.len())?;
    Ok(Loaded {
        unused_tensors: unused(&model.graph, &weights, &model.ignored),
        notes: notes(&model, texts.notes),
        ignored_fields: model.ignored_fields,
        graph: model.graph,
        weights,
        front: "safetensors",
        family: model.family.to_owned(),
        architecture: model.architecture,
        labels: model.labels,
        task: task.map(planned_task),
        text: texts.spec,
        tokenizer: texts.tokenizer,
        pooling: found.as_ref().map(pooling_spec),
    })
}

fn planned_task(task: bytec_models::Task) -> Task {
    use bytec_models::{Scores, Task as Read};
    match task {
        Read::SequenceClassification { scores } => Task::SequenceClassification {
            scores: match scores {
                Scores::Softmax => bytec_plan::manifest::Scores::Softmax,
                Scores::Sigmoid => bytec_plan::manifest::Scores::Sigmoid,
                Scores::Identity => bytec_plan::manifest::Scores::Identity,
            },
        },
        Read::TokenClassification => Task::TokenClassification,
        Read::MaskedLm => Task::MaskedLm,
        Read::QuestionAnswering => Task::QuestionAnswering,
    }
}

fn pooling_spec(found: &Found) -> PoolingSpec {
    let step = |step: &Step| match step {
        Step::Normalize => PoolingStep::Normalize,
        Step::Dense(layer) => PoolingStep::Dense {
            outputs: layer.outputs,
            bias: layer.bias,
            function: layer.function.map(unary),
        },
    };
    PoolingSpec {
        kinds: found.pooling.kinds.iter().copied().map(pooling).collect(),
        steps: found.pooling.steps.iter().map(step).collect(),
        from: found.from,
    }
}

fn notes(model: &Model, from_texts: Vec<String>) -> Vec<String> {
    let mut notes = model.notes.clone();
    if let Some(first) = model.aliases.first() {
        notes.push(format!(
            "{} tensors go by older names, such as {} for {}",
            model.aliases.len(),
            first.found,
            first.wanted
        ));
    }
    notes.extend(from_texts);
    notes
}

/// Checks that tensors which the config calls one hold the same values, bit for bit.
fn check_tied(weights: &Weights, tied: &[Tied]) -> Result<(), FrontError> {
    for Tied { used, other, help } in tied {
        let same_shape =
            weights.info(used).map(|info| info.shape) == weights.info(other).map(|info| info.shape);
        let (a, b) = (weights.f32(used)?, weights.f32(other)?);
        if !same_shape || a.iter().map(|x| x.to_bits()).ne(b.iter().map(|x| x.to_bits())) {
            return Err(FrontError::NotTied {
                file: weights.source().to_owned(),
                used: used.clone(),
                other: other.clone(),
                help: help.clone(),
            });
        }
    }
    Ok(())
}

fn unused(graph: &Graph, weights: &Weights, ignored: &[String]) -> Vec<String> {
    let used: BTreeSet<&str> = graph.weights().into_iter().map(|id| graph.name(id)).collect();
    let wanted = |name: &&str| !used.contains(name) && !ignored.iter().any(|other| other == name);
    weights.names().filter(wanted).map(str::to_owned).collect()
}
