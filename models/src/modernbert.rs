//! ModernBERT (Warner et al. 2024): rotary positions, layers that see everything and layers that see a window, gated
//! feed-forward parts, normalisation first.

use bytec_ir::attention::{Band, Pairs, Rotary};
use bytec_ir::attrs::{BinaryFn, Real, ReduceFn, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use serde_json::Value;

use crate::activation::activation;
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{Vocabulary, classify, multiple_choice, rows, spans};
use crate::layers::{Attention, Gate, first_row, lookup, token_ids};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "modernbert",
    model_types: &["modernbert"],
    summary: "ModernBERT encoders (Warner et al. 2024), every head of transformers, and sentence embeddings",
    architectures: architectures::<ModernBert>,
    build: build::<ModernBert>,
};

/// The sizes and functions of a ModernBERT.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernBert {
    hidden: u64,
    heads: u64,
    intermediate: u64,
    vocab: u64,
    positions: u64,
    activation: UnaryFn,
    eps: f64,
    /// Which linears and normalisations have a bias.
    biases: Biases,
    /// Each layer's attention.
    layers: Vec<Sight>,
    /// The head's activation.
    head: UnaryFn,
    tied: bool,
}

/// Which parts have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Biases {
    norm: bool,
    attention: bool,
    mlp: bool,
    head: bool,
    decoder: bool,
}

/// Who sees whom in a layer, and how fast positions turn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sight {
    mask: Band,
    base: f64,
}

impl Encoder for ModernBert {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["ModernBertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "attention_bias",
        "classifier_activation",
        "classifier_bias",
        "classifier_pooling",
        "decoder_bias",
        "global_attn_every_n_layers",
        "global_rope_theta",
        "hidden_activation",
        "hidden_size",
        "intermediate_size",
        "layer_types",
        "local_attention",
        "local_rope_theta",
        "max_position_embeddings",
        "mlp_bias",
        "norm_bias",
        "norm_eps",
        "num_attention_heads",
        "num_hidden_layers",
        "rope_parameters",
        "tie_word_embeddings",
        "vocab_size",
    ];
    const IDLE: &'static [&'static str] = &[
        "deterministic_flash_attn",
        "initializer_cutoff_factor",
        // Older configs have it beside `norm_eps`.
        "layer_norm_eps",
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_pred_ignore_index",
        // Which logits are computed in training.
        "sparse_prediction",
    ];
    const PREFIX: &'static str = "model";
    const WORDS: &'static str = "embeddings.tok_embeddings";

    fn read(config: &Config) -> Result<Self, FieldError> {
        let hidden = config.size("hidden_size", 1..=1 << 16, 768)?;
        let heads = config.divisor("num_attention_heads", "hidden_size", hidden, 12)?;
        if !(hidden / heads).is_multiple_of(2) {
            let expected =
                format!("a number by which hidden_size ({hidden}) gives heads of even size");
            return Err(config.error("num_attention_heads", expected, "12"));
        }
        let layers = config.size("num_hidden_layers", 1..=512, 22)?;
        let biases = Biases {
            norm: config.flag("norm_bias", false)?,
            attention: config.flag("attention_bias", false)?,
            mlp: config.flag("mlp_bias", false)?,
            head: config.flag("classifier_bias", false)?,
            decoder: config.flag("decoder_bias", true)?,
        };
        let head = match config.get("classifier_activation") {
            None => UnaryFn::GeluErf,
            Some(_) => activation(config, "classifier_activation")?,
        };
        Ok(Self {
            hidden,
            heads,
            intermediate: config.size("intermediate_size", 1..=1 << 20, 1152)?,
            vocab: config.size("vocab_size", 1..=1 << 24, 50368)?,
            positions: config.size("max_position_embeddings", 1..=1 << 20, 8192)?,
            activation: activation(config, "hidden_activation")?,
            eps: config.positive("norm_eps", 0.1, "1e-5")?,
            biases,
            layers: sights(config, layers)?,
            head,
            tied: config.flag("tie_word_embeddings", true)?,
        })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let ids = token_ids(net, self.positions);
        let words = base.child(Self::WORDS);
        let x = lookup(net, &words, [self.vocab, self.hidden], ids)?;
        let mut x = self.norm(net, &base.child("embeddings.norm"), x)?;
        for (i, sight) in self.layers.iter().enumerate() {
            let at = base.child(&format!("layers.{i}"));
            // The embeddings have been normalised already.
            let normed = match i {
                0 => x,
                _ => self.norm(net, &at.child("attn_norm"), x)?,
            };
            let attended = self.attention(net, &at.child("attn"), *sight, normed)?;
            let sum = at.child("attn.residual");
            x = net.builder.binary(sum.name(), BinaryFn::Add, x, attended)?;
            let normed = self.norm(net, &at.child("mlp_norm"), x)?;
            let fed = self.feed_forward(net, &at.child("mlp"), normed)?;
            let sum = at.child("mlp.residual");
            x = net.builder.binary(sum.name(), BinaryFn::Add, x, fed)?;
        }
        self.norm(net, &base.child("final_norm"), x)
    }

    fn width(&self) -> u64 {
        self.hidden
    }

    fn words(&self) -> [u64; 2] {
        [self.vocab, self.hidden]
    }

    fn tied(&self) -> bool {
        self.tied
    }

    fn segments(&self) -> bool {
        false
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.positions, "max_position_embeddings"))
    }
}

impl ModernBert {
    fn norm(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        match self.biases.norm {
            true => net.layer_norm(at, x, self.hidden, self.eps),
            false => net.layer_norm_without_bias(at, x, self.hidden, self.eps),
        }
    }

    fn attention(&self, net: &mut Net<'_>, at: &Module, sight: Sight, x: NodeId) -> Built {
        let (width, bias) = (self.hidden, self.biases.attention);
        let packed = net.linear_with(&at.child("Wqkv"), x, [3 * width, width], bias)?;
        let qkv = net.columns(&at.child("Wqkv"), packed, ["query", "key", "value"], width)?;
        let dims = (width / self.heads) as usize;
        let rotary = Rotary { pairs: Pairs::Half, dims, base: Real(sight.base) };
        let part = Attention {
            mask: sight.mask,
            rotary: Some(rotary),
            ..Attention::of(width, self.heads)
        };
        let attended = part.build(net, at, qkv, &[])?;
        net.linear_with(&at.child("Wo"), attended, [width, width], bias)
    }

    /// `Wo (act(a) * b)` with `[a; b] = Wi x`.
    fn feed_forward(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let (wide, bias) = (self.intermediate, self.biases.mlp);
        let both = net.linear_with(&at.child("Wi"), x, [2 * wide, self.hidden], bias)?;
        let [gate, up] = net.columns(&at.child("Wi"), both, ["gate", "up"], wide)?;
        let inner = Gate { function: self.activation }.build(net, at, gate, up)?;
        net.linear_with(&at.child("Wo"), inner, [self.hidden, wide], bias)
    }

    /// `LN(act(dense(x)))`, before every classifier.
    fn head(&self, net: &mut Net<'_>, x: NodeId) -> Built {
        let at = Module::at("head");
        let dense = at.child("dense");
        let product = net.linear_with(&dense, x, [self.hidden, self.hidden], self.biases.head)?;
        let acted = net.builder.unary(dense.child("act").name(), self.head, product)?;
        self.norm(net, &at.child("norm"), acted)
    }
}

/// Each layer's attention: all tokens every `global_attn_every_n_layers` layers, a window in those between, unless
/// `layer_types` says it layer by layer.
fn sights(config: &Config, layers: u64) -> Result<Vec<Sight>, FieldError> {
    let window = config.size("local_attention", 1..=1 << 20, 128)? / 2;
    let global = Sight {
        mask: Band::ALL,
        base: theta(config, "full_attention", "global_rope_theta", 160_000.0)?,
    };
    let local = Sight {
        mask: Band::within(window),
        base: theta(config, "sliding_attention", "local_rope_theta", 10_000.0)?,
    };
    let field = "layer_types";
    if config.get(field).is_none() {
        let every = config.size("global_attn_every_n_layers", 1..=512, 3)?;
        let sight = |i: u64| if i.is_multiple_of(every) { global } else { local };
        return Ok((0..layers).map(sight).collect());
    }
    let expected =
        format!("a list of {layers} names, each \"full_attention\" or \"sliding_attention\"");
    let wrong = || config.refusal(field, expected.as_str(), "correct the config");
    let names = config.get(field).and_then(Value::as_array).ok_or_else(wrong)?;
    if names.len() as u64 != layers {
        return Err(wrong());
    }
    let sight = |name: &Value| match name.as_str() {
        Some("full_attention") => Ok(global),
        Some("sliding_attention") => Ok(local),
        _ => Err(wrong()),
    };
    names.iter().map(sight).collect()
}

/// The base of a kind of layer's rotations: from `rope_parameters`, or from a field of its own in older configs.
fn theta(config: &Config, kind: &str, older: &str, default: f64) -> Result<f64, FieldError> {
    const MOST: f64 = 1e12;
    let Some(all) = config.get("rope_parameters") else {
        return match config.get(older) {
            None => Ok(default),
            Some(_) => config.positive(older, MOST, "10000.0"),
        };
    };
    rope_theta(config, "rope_parameters", all.get(kind), default)
}

/// The base in one entry of rotary parameters.
///
/// # Errors
/// An entry that scales positions, or whose base is no number above 0.
pub(crate) fn rope_theta(
    config: &Config,
    field: &str,
    entry: Option<&Value>,
    default: f64,
) -> Result<f64, FieldError> {
    let Some(entry) = entry.filter(|entry| !entry.is_null()) else { return Ok(default) };
    let kind = entry.get("rope_type").and_then(Value::as_str);
    if kind.is_some_and(|kind| kind != "default") {
        let help = "scaled rotary positions aren't built for this family";
        return Err(config.refusal(field, "of rope_type \"default\"", help));
    }
    match entry.get("rope_theta") {
        None => Ok(default),
        Some(theta) => {
            theta.as_f64().filter(|&theta| theta > 0.0 && theta <= 1e12).ok_or_else(|| {
                config.refusal(field, "with a rope_theta above 0", "correct the config")
            })
        }
    }
}

const HEADS: &[Head<ModernBert>] = &[
    Head { architecture: "ModernBertModel", build: rows },
    Head { architecture: "ModernBertForSequenceClassification", build: sequence_classification },
    Head { architecture: "ModernBertForTokenClassification", build: token_classification },
    Head { architecture: "ModernBertForMaskedLM", build: masked_lm },
    Head { architecture: "ModernBertForQuestionAnswering", build: question_answering },
    Head { architecture: "ModernBertForMultipleChoice", build: choice },
];

fn sequence_classification(model: &mut Draft<'_, ModernBert>) -> Result<(), ModelError> {
    let x = pooled(model)?;
    classify(model, "classifier", x)
}

fn choice(model: &mut Draft<'_, ModernBert>) -> Result<(), ModelError> {
    let x = pooled(model)?;
    multiple_choice(model, x)
}

/// The head of the first row or of the rows' mean, as `classifier_pooling` says.
fn pooled(model: &mut Draft<'_, ModernBert>) -> Result<NodeId, ModelError> {
    let (field, expected) = ("classifier_pooling", "\"cls\" or \"mean\"");
    let (at, last, net) = (Module::at("head"), model.last, &mut model.net);
    let row = match model.fields.get(field).map(Value::as_str) {
        None | Some(Some("cls")) => first_row(net, &at, last)?,
        Some(Some("mean")) => {
            net.builder.reduce(at.child("mean").name(), ReduceFn::Mean, last, 0)?
        }
        Some(_) => return Err(model.fields.error(field, expected, "cls").into()),
    };
    Ok(model.encoder.head(net, row)?)
}

fn token_classification(model: &mut Draft<'_, ModernBert>) -> Result<(), ModelError> {
    let x = model.encoder.head(&mut model.net, model.last)?;
    classify(model, "classifier", x)
}

fn question_answering(model: &mut Draft<'_, ModernBert>) -> Result<(), ModelError> {
    let x = model.encoder.head(&mut model.net, model.last)?;
    spans(model, "classifier", x)
}

/// `logits` `[L, vocab]`.
fn masked_lm(model: &mut Draft<'_, ModernBert>) -> Result<(), ModelError> {
    let x = model.encoder.head(&mut model.net, model.last)?;
    let biases: &[&str] = if model.encoder.biases.decoder { &["decoder.bias"] } else { &[] };
    let vocabulary = Vocabulary { decoder: "decoder", biases, words_only: false };
    let logits = vocabulary.build(model, x)?;
    model.net.builder.output("logits", logits);
    Ok(())
}
