//! The model families that bytec knows by name, each as the forward pass of one sample.
//!
//! In goes a [`Config`] (the fields of a `config.json`), a [`Checkpoint`] (the names, element types and shapes of its
//! tensors) and a [`Request`]; out comes a [`Model`]: the graph, whose weights carry the names that the file uses.
//! Nothing is guessed. A field or tensor that is missing is an error that names it and the option that supplies it.

pub mod activation;
pub mod albert;
pub mod bert;
pub mod checkpoint;
pub mod config;
pub mod deberta;
pub mod deit;
pub mod dinov2;
pub mod distilbert;
pub mod electra;
pub mod encoder;
pub mod error;
pub mod heads;
pub mod jina;
pub mod keys;
pub mod labels;
pub mod layers;
pub mod modernbert;
pub mod mpnet;
pub mod net;
pub mod nomic;
pub mod patches;
pub mod roberta;
pub mod t5;
pub mod task;
pub mod tiny;
pub mod vit;

use bytec_ir::attrs::{PoolKind, UnaryFn};
use bytec_ir::graph::Graph;

pub use checkpoint::{Checkpoint, TensorInfo};
pub use config::Config;
pub use error::{FieldError, ModelError, TensorProblem, TensorProblems};
pub use task::{Scores, Task};

/// A model family: one line of [`MODELS`].
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name in reports.
    pub name: &'static str,
    /// The values of `model_type` that mean it.
    pub model_types: &'static [&'static str],
    /// What it is, in one line.
    pub summary: &'static str,
    /// The architectures it builds, by the names that `architectures` in a config uses.
    pub architectures: fn() -> Vec<&'static str>,
    /// Builds the graph.
    pub build: fn(&Config, &Checkpoint, &Request) -> Result<Model, ModelError>,
}

/// Every family.
pub static MODELS: &[Family] = &[
    bert::FAMILY,
    roberta::FAMILY,
    distilbert::FAMILY,
    albert::FAMILY,
    electra::FAMILY,
    mpnet::FAMILY,
    deberta::V1,
    deberta::V2,
    t5::FAMILY,
    modernbert::FAMILY,
    nomic::FAMILY,
    jina::FAMILY,
    vit::FAMILY,
    deit::FAMILY,
    dinov2::FAMILY,
    dinov2::WITH_REGISTERS,
];

/// What the caller wants beyond what the config says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The architecture, in place of the config's `architectures`.
    pub architecture: Option<String>,
    /// A sentence embedding made of the rows of the encoder's result.
    pub pooling: Option<Pooling>,
}

/// How the rows of a sample become its embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// How rows become one; the results of several ways are put side by side, in this order.
    pub kinds: Vec<PoolKind>,
    /// What then becomes of it, in order.
    pub steps: Vec<Step>,
}

impl Pooling {
    /// Rows become one in this way, which is then divided by its L2 norm if `normalize` is set.
    pub fn new(kind: PoolKind, normalize: bool) -> Self {
        Self {
            kinds: vec![kind],
            steps: if normalize { vec![Step::Normalize] } else { Vec::new() },
        }
    }

    /// The ways in which rows become one, as an option names them: `cls,mean`.
    pub fn names(&self) -> String {
        self.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
    }
}

/// What becomes of a pooled row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is divided by its L2 norm.
    Normalize,
    /// It goes through a linear layer.
    Dense(Dense),
}

/// `act(W x + b)`, of a module beside the encoder with tensors of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dense {
    /// The module's config, which errors name.
    pub config: String,
    /// What the checkpoint puts before the names of its tensors `linear.weight` and `linear.bias`, without a dot.
    pub prefix: String,
    /// Columns of x.
    pub inputs: u64,
    /// Columns of the result.
    pub outputs: u64,
    /// Whether there is a bias.
    pub bias: bool,
    /// The activation, if there is one.
    pub function: Option<UnaryFn>,
}

/// What a family makes of a config and a checkpoint.
#[derive(Clone, Debug)]
pub struct Model {
    /// The forward pass of one sample. A weight's name is the tensor's name in the file, prefix included.
    pub graph: Graph,
    /// The family's name.
    pub family: &'static str,
    /// The architecture that was built.
    pub architecture: String,
    /// Class names by index; empty when there are no classes.
    pub labels: Vec<String>,
    /// The inputs that a tokenizer feeds, if the model reads text.
    pub text: Option<TextInputs>,
    /// The extent of a row of the encoder's result.
    pub width: u64,
    /// Tensors found under another name than today's.
    pub aliases: Vec<Alias>,
    /// Tensors of the file that the model has no use for by design: they aren't to be reported as unused.
    pub ignored: Vec<String>,
    /// Fields of the config that have no effect on the forward pass.
    pub ignored_fields: Vec<String>,
    /// Pairs of tensors that the config calls one. Whoever holds the data has to check that they are equal.
    pub tied: Vec<Tied>,
    /// Anything else worth knowing.
    pub notes: Vec<String>,
}

/// The inputs that a tokenizer feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextInputs {
    /// The input of token ids.
    pub ids: String,
    /// The input of segment ids, if there is one.
    pub type_ids: Option<String>,
    /// The most tokens that the model can take, special tokens included.
    pub max_tokens: u64,
    /// The config field that says so.
    pub max_tokens_from: String,
}

/// A tensor found under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name that was looked for first.
    pub wanted: String,
    /// The name in the file, which is also the weight's name in the graph.
    pub found: String,
}

/// Two tensors that have to hold the same values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tied {
    /// The one the graph uses.
    pub used: String,
    /// The other one.
    pub other: String,
    /// What to do if they differ.
    pub help: String,
}

/// The family that the config's `model_type` names.
///
/// # Errors
/// A missing or unknown `model_type`.
pub fn family(config: &Config) -> Result<&'static Family, ModelError> {
    let name = config.text("model_type", "a model family's name", MODELS[0].model_types[0])?;
    // Jina's checkpoints call themselves `bert`.
    let alibi = config.get("position_embedding_type").is_some_and(|value| value == "alibi");
    let name = if name == "bert" && alibi { jina::FAMILY.name } else { name };
    MODELS.iter().find(|family| family.model_types.contains(&name)).ok_or_else(|| {
        let known: Vec<_> = MODELS.iter().flat_map(|family| family.model_types).copied().collect();
        ModelError::UnknownModelType {
            file: config.file().to_owned(),
            found: name.to_owned(),
            known: known.join(", "),
        }
    })
}

/// Builds the graph of the family that the config names.
///
/// # Errors
/// Every way in which the config, the checkpoint and the request don't fit.
pub fn build(
    config: &Config,
    checkpoint: &Checkpoint,
    request: &Request,
) -> Result<Model, ModelError> {
    (family(config)?.build)(config, checkpoint, request)
}
