//! Nomic BERT (Nussbaum et al. 2024): BERT's post-norm layers with rotary positions and a gated feed-forward part.

use bytec_ir::attention::{Pairs, Rotary};
use bytec_ir::attrs::{BinaryFn, Real, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use serde_json::{Value, json};

use crate::activation::activation;
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{Vocabulary, classify, pooler, rows, token_classification};
use crate::layers::{Attention, Gate, activated, lookup, segment_ids, token_ids};
use crate::modernbert::rope_theta;
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError, bert};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "nomic_bert",
    model_types: &["nomic_bert"],
    summary: "Nomic BERT encoders (Nussbaum et al. 2024), every head of transformers, and sentence embeddings",
    architectures: architectures::<Nomic>,
    build: build::<Nomic>,
};

/// The sizes and functions of a Nomic BERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Nomic {
    hidden: u64,
    layers: u64,
    heads: u64,
    head_size: u64,
    intermediate: u64,
    vocab: u64,
    positions: u64,
    /// The field that says so.
    positions_from: &'static str,
    types: u64,
    activation: UnaryFn,
    eps: f64,
    rotary: Rotary,
    tied: bool,
}

impl Encoder for Nomic {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["NomicBertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "activation_function",
        "head_dim",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "layer_norm_epsilon",
        "max_position_embeddings",
        "max_trained_positions",
        "n_embd",
        "n_head",
        "n_inner",
        "n_layer",
        "n_positions",
        "num_attention_heads",
        "num_hidden_layers",
        "rope_parameters",
        "rotary_emb_base",
        "rotary_scaling_factor",
        "tie_word_embeddings",
        "type_vocab_size",
        "vocab_size",
    ];
    const MORE_FIELDS: &'static [&'static str] = PLAIN;
    const IDLE: &'static [&'static str] = &[
        // How the checkpoints' own code computes and trains.
        "dense_seq_output",
        "expand_attention_mask",
        "pad_vocab_size_multiple",
        "reorder_and_upcast_attn",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "use_xentropy",
    ];
    const CODE: &'static [&'static str] = &["nomic-ai/nomic-bert-2048--"];
    const PREFIX: &'static str = "nomic_bert";
    const WORDS: &'static str = bert::WORDS;

    /// In transformers' fields, or, if there is `n_embd`, in those of the checkpoints' own code.
    fn read(config: &Config) -> Result<Self, FieldError> {
        for field in PLAIN {
            let plain = match *field {
                "rotary_emb_fraction" => json!(1.0),
                "scale_attn_weights" => json!(true),
                _ => json!(false),
            };
            let same = |value: &Value| {
                *value == plain || value.as_f64() == plain.as_f64() && plain.is_number()
            };
            if config.get(field).is_some_and(|value| !same(value)) {
                let help = "another layout isn't built for this family";
                return Err(config.refusal(field, plain.to_string(), help));
            }
        }
        match config.get("n_embd") {
            None => Self::read_fields(config, &TRANSFORMERS),
            Some(_) => Self::read_own(config),
        }
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let at = base.child("embeddings");
        let ids = token_ids(net, self.positions);
        let types = segment_ids(net);
        let words = lookup(net, &base.child(Self::WORDS), [self.vocab, self.hidden], ids)?;
        let segments = at.child("token_type_embeddings");
        let segments = lookup(net, &segments, [self.types, self.hidden], types)?;
        let sum = net.builder.binary(at.child("sum").name(), BinaryFn::Add, words, segments)?;
        let mut x = net.layer_norm(&base.child("emb_ln"), sum, self.hidden, self.eps)?;
        for i in 0..self.layers {
            let at = base.child(&format!("encoder.layers.{i}"));
            let attended = self.attention(net, &at.child("attn"), x)?;
            x = self.add_and_norm(net, &at.child("norm1"), x, attended)?;
            let fed = self.feed_forward(net, &at.child("mlp"), x)?;
            x = self.add_and_norm(net, &at.child("norm2"), x, fed)?;
        }
        Ok(x)
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
        true
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.positions, self.positions_from))
    }
}

/// What a config calls the sizes.
struct Fields {
    hidden: &'static str,
    layers: &'static str,
    heads: &'static str,
    intermediate: &'static str,
    positions: &'static str,
    eps: &'static str,
}

const TRANSFORMERS: Fields = Fields {
    hidden: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate: "intermediate_size",
    positions: "max_position_embeddings",
    eps: "layer_norm_eps",
};

const OWN: Fields = Fields {
    hidden: "n_embd",
    layers: "n_layer",
    heads: "n_head",
    intermediate: "n_inner",
    positions: "n_positions",
    eps: "layer_norm_epsilon",
};

/// Fields of the checkpoints' own code that have to say what the published models say.
const PLAIN: &[&str] = &[
    "causal",
    "mlp_fc1_bias",
    "mlp_fc2_bias",
    "parallel_block",
    "parallel_block_tied_norm",
    "prenorm",
    "qkv_proj_bias",
    "rotary_emb_fraction",
    "rotary_emb_interleaved",
    "rotary_emb_scale_base",
    "scale_attn_by_inverse_layer_idx",
    "scale_attn_weights",
    "use_rms_norm",
];

impl Nomic {
    fn read_fields(config: &Config, fields: &Fields) -> Result<Self, FieldError> {
        let hidden = config.size(fields.hidden, 1..=1 << 16, 768)?;
        let heads = config.size(fields.heads, 1..=1 << 12, 12)?;
        let head_size = match config.get("head_dim") {
            None => hidden / config.divisor(fields.heads, fields.hidden, hidden, 12)?,
            Some(_) => config.size("head_dim", 1..=1 << 12, 64)?,
        };
        if !head_size.is_multiple_of(2) {
            let expected = format!("a number of heads of even size, found a size of {head_size}");
            return Err(config.error(fields.heads, expected, "12"));
        }
        let theta = rope_theta(config, "rope_parameters", config.get("rope_parameters"), 1000.0)?;
        let rotary = Rotary { pairs: Pairs::Half, dims: head_size as usize, base: Real(theta) };
        let activation = match config.get("activation_function") {
            None => activation(config, "hidden_act")?,
            Some(_) => gate(config)?,
        };
        Ok(Self {
            hidden,
            layers: config.size(fields.layers, 1..=512, 12)?,
            heads,
            head_size,
            intermediate: config.size(fields.intermediate, 1..=1 << 20, 3072)?,
            vocab: config.size("vocab_size", 1..=1 << 24, 30528)?,
            positions: config.size(fields.positions, 1..=1 << 20, 2048)?,
            positions_from: fields.positions,
            types: config.size("type_vocab_size", 1..=1 << 16, 2)?,
            activation,
            eps: config.positive(fields.eps, 0.1, "1e-12")?,
            rotary,
            tied: config.flag("tie_word_embeddings", true)?,
        })
    }

    /// A config of the checkpoints' own code.
    fn read_own(config: &Config) -> Result<Self, FieldError> {
        let mut read = Self::read_fields(config, &OWN)?;
        read.rotary.base = Real(config.positive("rotary_emb_base", 1e12, "1000")?);
        // Positions are only scaled past those of training, which is where bytec stops.
        if config.get("rotary_scaling_factor").is_some() {
            let trained = config.size("max_trained_positions", 1..=1 << 20, 2048)?;
            if trained < read.positions {
                (read.positions, read.positions_from) = (trained, "max_trained_positions");
            }
        }
        Ok(read)
    }

    fn add_and_norm(&self, net: &mut Net<'_>, at: &Module, x: NodeId, y: NodeId) -> Built {
        let sum = net.builder.binary(at.child("residual").name(), BinaryFn::Add, y, x)?;
        net.layer_norm(at, sum, self.hidden, self.eps)
    }

    fn attention(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let inner = self.heads * self.head_size;
        let packed = net.linear_without_bias(&at.child("Wqkv"), x, 3 * inner, self.hidden)?;
        let qkv = net.columns(&at.child("Wqkv"), packed, ["query", "key", "value"], inner)?;
        let part = Attention { rotary: Some(self.rotary), ..Attention::of(inner, self.heads) };
        let attended = part.build(net, at, qkv, &[])?;
        net.linear_without_bias(&at.child("out_proj"), attended, self.hidden, inner)
    }

    /// `fc2 (act(fc12 x) * fc11 x)`.
    fn feed_forward(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let (wide, narrow) = (self.intermediate, self.hidden);
        let up = net.linear_without_bias(&at.child("fc11"), x, wide, narrow)?;
        let gate = net.linear_without_bias(&at.child("fc12"), x, wide, narrow)?;
        let inner = Gate { function: self.activation }.build(net, at, gate, up)?;
        net.linear_without_bias(&at.child("fc2"), inner, narrow, wide)
    }
}

/// The gate's activation: `swiglu`, `geglu` or `glu`.
fn gate(config: &Config) -> Result<UnaryFn, FieldError> {
    let (field, expected) = ("activation_function", "\"swiglu\", \"geglu\" or \"glu\"");
    match config.text(field, expected, "swiglu")? {
        "swiglu" => Ok(UnaryFn::Silu),
        "geglu" => Ok(UnaryFn::GeluErf),
        "glu" => Ok(UnaryFn::Sigmoid),
        _ => Err(config.error(field, expected, "swiglu")),
    }
}

const HEADS: &[Head<Nomic>] = &[
    Head { architecture: "NomicBertModel", build: rows },
    Head { architecture: "NomicBertForSequenceClassification", build: sequence_classification },
    Head { architecture: "NomicBertForTokenClassification", build: token_classification },
    Head { architecture: "NomicBertForMaskedLM", build: masked_lm },
];

/// `logits` `[labels]`: a linear of the pooler's result.
fn sequence_classification(nomic: &mut Draft<'_, Nomic>) -> Result<(), ModelError> {
    let pooled = pooler(nomic, bert::POOLER)?;
    classify(nomic, "classifier", pooled)
}

/// `logits` `[L, vocab]`: `decoder(LN(act(dense(x))))`.
fn masked_lm(nomic: &mut Draft<'_, Nomic>) -> Result<(), ModelError> {
    let at = Module::at("cls.predictions.transform");
    let Nomic { hidden, eps, activation, .. } = nomic.encoder;
    let (net, last) = (&mut nomic.net, nomic.last);
    let acted = activated(net, &at.child("dense"), last, [hidden, hidden], activation)?;
    let normed = net.layer_norm(&at.child("layer_norm"), acted, hidden, eps)?;
    let vocabulary = Vocabulary {
        decoder: "cls.predictions.decoder",
        biases: &["cls.predictions.bias", "cls.predictions.decoder.bias"],
        words_only: false,
    };
    let logits = vocabulary.build(nomic, normed)?;
    nomic.net.builder.output("logits", logits);
    Ok(())
}
