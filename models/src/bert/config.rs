//! The typed config of a BERT model.

use bytec_ir::attrs::UnaryFn;
use serde_json::Value;

use crate::Config;
use crate::error::FieldError;

/// The values of `hidden_act` that are built, and what they mean.
pub const ACTIVATIONS: &[(&str, UnaryFn)] = &[
    ("gelu", UnaryFn::GeluErf),
    ("gelu_new", UnaryFn::GeluTanh),
    ("gelu_pytorch_tanh", UnaryFn::GeluTanh),
    ("gelu_fast", UnaryFn::GeluTanh),
    ("relu", UnaryFn::Relu),
    ("silu", UnaryFn::Silu),
    ("swish", UnaryFn::Silu),
    ("tanh", UnaryFn::Tanh),
];

/// The sizes and functions of a BERT model.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Width of a row.
    pub hidden: u64,
    /// Encoder layers.
    pub layers: u64,
    /// Attention heads; they divide `hidden`.
    pub heads: u64,
    /// Width of the feed-forward part.
    pub intermediate: u64,
    /// Rows of the word table.
    pub vocab: u64,
    /// Rows of the position table: the most tokens a sample may have.
    pub positions: u64,
    /// Rows of the segment table.
    pub types: u64,
    /// Added to the variance in every layer normalisation.
    pub eps: f64,
    /// The feed-forward part's activation.
    pub activation: UnaryFn,
    /// Whether the word table is also the output matrix of the masked language model.
    pub tied: bool,
}

impl BertConfig {
    /// Reads the fields, and refuses what this family doesn't build.
    ///
    /// Every size must be there, since a checkpoint's shapes don't tell the heads, the epsilon or the activation.
    /// `tie_word_embeddings` may be missing: configs leave it out where it is true.
    ///
    /// # Errors
    /// The first field that is missing, of the wrong type, out of range, or asks for what isn't built.
    pub fn read(config: &Config) -> Result<Self, FieldError> {
        refuse_other_models(config)?;
        let read = Self {
            hidden: config.size("hidden_size", 1..=1 << 16, 384)?,
            layers: config.size("num_hidden_layers", 1..=512, 6)?,
            heads: config.size("num_attention_heads", 1..=1 << 12, 12)?,
            intermediate: config.size("intermediate_size", 1..=1 << 20, 1536)?,
            vocab: config.size("vocab_size", 1..=1 << 24, 30522)?,
            positions: config.size("max_position_embeddings", 1..=1 << 20, 512)?,
            types: config.size("type_vocab_size", 1..=1 << 16, 2)?,
            eps: config.positive("layer_norm_eps", 0.1, "1e-12")?,
            activation: activation(config)?,
            tied: config.flag("tie_word_embeddings", true)?,
        };
        if !read.hidden.is_multiple_of(read.heads) {
            let expected = format!("a divisor of hidden_size ({})", read.hidden);
            return Err(config.error("num_attention_heads", expected, "12"));
        }
        Ok(read)
    }

    /// Columns of one head.
    pub fn head_size(&self) -> u64 {
        self.hidden / self.heads
    }
}

fn activation(config: &Config) -> Result<UnaryFn, FieldError> {
    let names: Vec<_> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
    let expected = format!("one of {}", names.join(", "));
    let name = config.text("hidden_act", &expected, "gelu")?;
    ACTIVATIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, function)| *function)
        .ok_or_else(|| config.error("hidden_act", expected, "gelu"))
}

/// Settings under which the same tensors mean another forward pass.
fn refuse_other_models(config: &Config) -> Result<(), FieldError> {
    let position = config.get("position_embedding_type");
    if position.is_some_and(|value| value != "absolute") {
        let help = "relative positions and ALiBi aren't built for this family";
        return Err(config.refusal("position_embedding_type", "\"absolute\"", help));
    }
    for field in ["is_decoder", "add_cross_attention"] {
        if config.flag(field, false)? {
            let help = "decoders aren't built for this family";
            return Err(config.refusal(field, "false", help));
        }
    }
    if config.get("auto_map").is_some() {
        let help = "the model brings its own code, which may differ from this family's; if it doesn't, pass --set auto_map=null";
        return Err(config.refusal("auto_map", "absent", help));
    }
    let pruned = config.get("pruned_heads").and_then(Value::as_object);
    if pruned.is_some_and(|heads| !heads.is_empty()) {
        let help = "save the model with its remaining heads as a model of its own";
        return Err(config.refusal("pruned_heads", "empty", help));
    }
    Ok(())
}
