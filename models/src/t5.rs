//! The encoders of T5 (Raffel et al. 2019), mT5 (Xue et al. 2020) and umT5 (Chung et al. 2023).

use bytec_ir::attention::Bias;
use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::buckets::Buckets;
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;

use crate::activation;
use crate::encoder::{Encoder, Head, architectures, build};
use crate::heads::{rows, token_classification};
use crate::layers::{ANY_LENGTH, Attention, token_ids};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "t5",
    model_types: &["t5", "mt5", "umt5"],
    summary: "T5, mT5 and umT5 encoders (Raffel et al. 2019), token classification, and sentence embeddings",
    architectures: architectures::<T5>,
    build: build::<T5>,
};

/// The sizes and functions of a T5 encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct T5 {
    hidden: u64,
    layers: u64,
    heads: u64,
    head_size: u64,
    intermediate: u64,
    vocab: u64,
    eps: f64,
    activation: UnaryFn,
    /// Whether the activation's result is multiplied by a second linear.
    gated: bool,
    buckets: Buckets,
    /// Whether every layer has a table of biases of its own, as umT5 has it; else the first layer's is everybody's.
    own_tables: bool,
}

impl Encoder for T5 {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] =
        &["T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "d_ff",
        "d_kv",
        "d_model",
        "feed_forward_proj",
        "layer_norm_epsilon",
        "num_heads",
        "num_layers",
        "relative_attention_max_distance",
        "relative_attention_num_buckets",
        "vocab_size",
    ];
    const IDLE: &'static [&'static str] = &[
        // What `feed_forward_proj` says, once more.
        "dense_act_fn",
        "is_gated_act",
        // The decoder.
        "is_encoder_decoder",
        "num_decoder_layers",
        "scale_decoder_outputs",
        "tie_word_embeddings",
        // The longest text in training.
        "n_positions",
    ];
    const PREFIX: &'static str = "transformer";
    const WORDS: &'static str = "shared";

    fn read(config: &Config) -> Result<Self, FieldError> {
        let (activation, gated) = feed_forward(config)?;
        let buckets = config.size("relative_attention_num_buckets", 4..=1 << 16, 32)?;
        // Configs from before the field leave it out.
        let far = "relative_attention_max_distance";
        let max_distance = match config.get(far) {
            None => 128,
            Some(_) => config.size(far, 1..=1 << 20, 128)?,
        };
        let buckets = Buckets::T5 {
            buckets: buckets as u32,
            max_distance: max_distance as u32,
            bidirectional: true,
        };
        buckets.check().map_err(|expected| {
            config.refusal(far, "above a quarter of relative_attention_num_buckets", expected)
        })?;
        Ok(Self {
            hidden: config.size("d_model", 1..=1 << 16, 512)?,
            layers: config.size("num_layers", 1..=512, 6)?,
            heads: config.size("num_heads", 1..=1 << 12, 8)?,
            head_size: config.size("d_kv", 1..=1 << 12, 64)?,
            intermediate: config.size("d_ff", 1..=1 << 20, 2048)?,
            vocab: config.size("vocab_size", 1..=1 << 24, 32128)?,
            eps: config.positive("layer_norm_epsilon", 0.1, "1e-6")?,
            activation,
            gated,
            buckets,
            own_tables: config.get("model_type").is_some_and(|name| name == "umt5"),
        })
    }

    /// Layers with their normalisation first, and one after the last.
    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let ids = token_ids(net, ANY_LENGTH);
        let words = base.child(Self::WORDS);
        let names = [words.tensor("weight"), base.child("encoder.embed_tokens").tensor("weight")];
        let table = net.weight(&names, &[self.vocab, self.hidden]);
        let mut x = net.builder.op(words.name(), Op::Gather {}, &[table, ids])?;
        for i in 0..self.layers {
            let block = base.child(&format!("encoder.block.{i}.layer"));
            let owner = if self.own_tables { i } else { 0 };
            let tables =
                format!("encoder.block.{owner}.layer.0.SelfAttention.relative_attention_bias");
            let table = net.table(&base.child(&tables), self.buckets.rows() as u64, self.heads);
            x = self.attention(net, &block.child("0"), table, x)?;
            x = self.feed_forward(net, &block.child("1"), x)?;
        }
        net.rms_norm(&base.child("encoder.final_layer_norm"), x, self.hidden, self.eps)
    }

    fn width(&self) -> u64 {
        self.hidden
    }

    fn words(&self) -> [u64; 2] {
        [self.vocab, self.hidden]
    }

    fn tied(&self) -> bool {
        true
    }

    fn segments(&self) -> bool {
        false
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((ANY_LENGTH, "positions without end"))
    }

    fn leftovers(base: &Module) -> Vec<String> {
        vec![base.child("encoder.embed_tokens").tensor("weight")]
    }
}

impl T5 {
    /// `x + O(attention(RMS(x)))`, scores without a scale.
    fn attention(&self, net: &mut Net<'_>, at: &Module, table: NodeId, x: NodeId) -> Built {
        let inner = self.heads * self.head_size;
        let normed = net.rms_norm(&at.child("layer_norm"), x, self.hidden, self.eps)?;
        let attention = at.child("SelfAttention");
        let mut qkv = [normed; 3];
        for (value, name) in qkv.iter_mut().zip(["q", "k", "v"]) {
            *value = net.linear_without_bias(&attention.child(name), normed, inner, self.hidden)?;
        }
        let part = Attention {
            scale: 1.0,
            bias: Bias::Relative(self.buckets),
            ..Attention::of(inner, self.heads)
        };
        let attended = part.build(net, &attention, qkv, &[table])?;
        let o = attention.child("o");
        let projected = net.linear_without_bias(&o, attended, self.hidden, inner)?;
        net.builder.binary(at.child("residual").name(), BinaryFn::Add, x, projected)
    }

    /// `x + Wo act(Wi RMS(x))`, or `x + Wo (act(Wi_0 RMS(x)) * Wi_1 RMS(x))`.
    fn feed_forward(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let (wide, narrow) = (self.intermediate, self.hidden);
        let normed = net.rms_norm(&at.child("layer_norm"), x, narrow, self.eps)?;
        let dense = at.child("DenseReluDense");
        let first = dense.child(if self.gated { "wi_0" } else { "wi" });
        let mut inner = net.linear_without_bias(&first, normed, wide, narrow)?;
        inner = net.builder.unary(first.child("act").name(), self.activation, inner)?;
        if self.gated {
            let up = net.linear_without_bias(&dense.child("wi_1"), normed, wide, narrow)?;
            inner = net.builder.binary(dense.child("gated").name(), BinaryFn::Mul, inner, up)?;
        }
        let projected = net.linear_without_bias(&dense.child("wo"), inner, narrow, wide)?;
        net.builder.binary(at.child("residual").name(), BinaryFn::Add, x, projected)
    }
}

/// The activation and whether it is a gate: `relu`, `gated-gelu`, .. `gated-gelu` is the tanh form, as T5 had it before
/// there were names for both. Configs from before the field leave it out, and mean `relu`.
fn feed_forward(config: &Config) -> Result<(UnaryFn, bool), FieldError> {
    let field = "feed_forward_proj";
    if config.get(field).is_none() {
        return Ok((UnaryFn::Relu, false));
    }
    let expected = "an activation, or gated- and an activation";
    let name = config.text(field, expected, "relu")?;
    let (name, gated) = match name.strip_prefix("gated-") {
        Some("gelu") => ("gelu_new", true),
        Some(gate) => (gate, true),
        None => (name, false),
    };
    let function = activation::named(name);
    function.map(|function| (function, gated)).ok_or_else(|| config.error(field, expected, "relu"))
}

const HEADS: &[Head<T5>] = &[
    Head { architecture: "T5EncoderModel", build: rows },
    Head { architecture: "T5ForTokenClassification", build: token_classification },
    Head { architecture: "MT5EncoderModel", build: rows },
    Head { architecture: "MT5ForTokenClassification", build: token_classification },
    Head { architecture: "UMT5EncoderModel", build: rows },
    Head { architecture: "UMT5ForTokenClassification", build: token_classification },
];
