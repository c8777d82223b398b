//! What a plan says about itself: where it came from, how its texts are prepared, what was fused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::{PoolKind, UnaryFn};

/// The plan's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The compiler's name and version.
    pub compiler: String,
    /// The front end that read the model: `safetensors`, `bytec graph` or `torch.export`.
    pub front: String,
    /// The model family, such as `bert`; empty for a graph.
    pub family: String,
    /// The architecture, such as `BertForSequenceClassification`; empty for a graph.
    pub architecture: String,
    /// How texts become inputs; `None` when the source has no tokenizer.
    pub text: Option<TextSpec>,
    /// The sentence pooling built in, if any.
    pub pooling: Option<PoolingSpec>,
    /// Class names by index; empty when the model has none.
    pub labels: Vec<String>,
    /// What the outputs say about a text; `None` when the architecture has no such reading.
    pub task: Option<Task>,
    /// What the compiler did.
    pub report: Report,
}

/// What a model's outputs say about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Task {
    /// `logits` `[labels]`: a number for each class of the text.
    SequenceClassification {
        /// How numbers become scores.
        scores: Scores,
    },
    /// `logits` `[L, labels]`: a number for each token and class.
    TokenClassification,
    /// `logits` `[L, vocab]`: a number for each token and each word that could stand in its place.
    MaskedLm,
    /// `start_logits` and `end_logits` `[L]`: where in the second text an answer to the first begins and ends.
    QuestionAnswering,
}

/// How a classifier's numbers become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// `e^x_i / sum_j e^x_j`: one class out of several.
    Softmax,
    /// `1 / (1 + e^-x)` of each: classes that hold or not, each for itself.
    Sigmoid,
    /// The numbers themselves: a regression.
    Identity,
}

/// How texts become inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSpec {
    /// Texts are cut to this many tokens, special tokens included.
    pub max_tokens: u64,
    /// Where `max_tokens` was found.
    pub max_tokens_from: String,
    /// The input that takes token ids.
    pub ids: String,
    /// The input that takes segment ids, if the model has one.
    pub type_ids: Option<String>,
    /// The token that stands for a word to be guessed, if the tokenizer names one.
    pub mask: Option<String>,
}

/// Sentence pooling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolingSpec {
    /// How rows become one; the results of several ways are put side by side.
    pub kinds: Vec<PoolKind>,
    /// What then becomes of it, in order.
    pub steps: Vec<PoolingStep>,
    /// Where this was found, such as `1_Pooling/config.json` or `--pooling`.
    pub from: PoolingSource,
}

/// What becomes of a pooled row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolingStep {
    /// It is divided by its L2 norm.
    Normalize,
    /// It goes through a linear layer.
    Dense {
        /// Columns of the result.
        outputs: u64,
        /// Whether there is a bias.
        bias: bool,
        /// The activation, if there is one.
        function: Option<UnaryFn>,
    },
}

/// Where the pooling was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolingSource {
    /// The folder's `modules.json`.
    Folder,
    /// The caller's option.
    Option,
}

/// What the compiler did, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Ops by kind in the source graph.
    pub ops_before: BTreeMap<String, u64>,
    /// Ops by kind in the fused graph, weight expressions left out.
    pub ops_after: BTreeMap<String, u64>,
    /// Ops on weights alone, done at compile time.
    pub ops_folded: BTreeMap<String, u64>,
    /// Each op of the source graph, in the order in which it is computed, and what became of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<OpOrigin>,
    /// Each rule in order.
    pub rules: Vec<RuleReport>,
    /// Tensors of the checkpoint that the model does not use.
    pub unused_tensors: Vec<String>,
    /// Fields of the config that have no effect on the forward pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_fields: Vec<String>,
    /// Weights that hold NaN or infinity, and how many elements do.
    pub non_finite: BTreeMap<String, u64>,
    /// Anything else worth knowing.
    pub notes: Vec<String>,
}

/// What became of one op of the source graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpOrigin {
    /// The value's name.
    pub name: String,
    /// The op's mnemonic.
    pub op: String,
    /// The value's type.
    #[serde(rename = "type")]
    pub ty: String,
    /// The rules that took it into others, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The values of the fused graph that it is part of. A step bears the name of the value that it gives; a value without
    /// a step is read in place from another's, or counted by the kernel that needs it. Empty if no output needs the op, or
    /// if its result is another value.
    pub became: Vec<String>,
    /// Whether those depend on weights alone, and were computed when the plan was written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weights: bool,
}

/// What one rule did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// The rule's name.
    pub rule: String,
    /// The values it was applied at.
    pub applied: Vec<String>,
    /// The values that looked right but were refused, with the reason.
    pub refused: Vec<Refusal>,
}

/// Why a rule left a near miss alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    /// The value.
    pub at: String,
    /// The guard that failed.
    pub reason: String,
}
