//! DeBERTa v2 and v3: linears of their own, rows shared by far distances, and an optional convolution.

use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::buckets::Buckets;
use bytec_ir::builder::{BuildError, Built};
use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use serde_json::Value;

use super::{FIELDS, Parts, Terms, heads};
use crate::activation::activation;
use crate::bert;
use crate::encoder::{Encoder, Head, architectures, build};
use crate::heads::{question_answering, rows, token_classification};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError};

/// The family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "deberta-v2",
    model_types: &["deberta-v2"],
    summary: "DeBERTa v2 and v3 encoders (He et al. 2021), every head of transformers, and sentence embeddings",
    architectures: architectures::<DebertaV2>,
    build: build::<DebertaV2>,
};

/// The sizes of a DeBERTa v2 or v3.
#[derive(Clone, Debug, PartialEq)]
pub struct DebertaV2 {
    parts: Parts,
    /// Whether the distances go through the contents' own linears.
    shared_keys: bool,
    /// Whether the table of distances is normalised.
    normed: bool,
    convolution: Option<Convolution>,
}

/// A convolution over the embeddings, whose result joins that of the first layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Convolution {
    /// Rows that it sees; odd.
    size: u64,
    activation: UnaryFn,
}

impl AsRef<Parts> for DebertaV2 {
    fn as_ref(&self) -> &Parts {
        &self.parts
    }
}

impl Encoder for DebertaV2 {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["DebertaV2Model"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = FIELDS;
    const MORE_FIELDS: &'static [&'static str] = &[
        "conv_act",
        "conv_groups",
        "conv_kernel_size",
        "norm_rel_ebd",
        "position_buckets",
        "share_att_key",
    ];
    const PREFIX: &'static str = "deberta";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let parts = Parts::read(config, |furthest| bucketed(config, furthest))?;
        Ok(Self {
            parts,
            shared_keys: config.flag("share_att_key", false)?,
            normed: normed(config)?,
            convolution: convolution(config)?,
        })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let embedded = self.parts.embeddings(net, &base.child("embeddings"))?;
        let encoder = base.child("encoder");
        let table = match self.parts.terms {
            Some(terms) => Some(self.distances(net, base, &terms)?),
            None => None,
        };
        let mut x = embedded;
        for i in 0..self.parts.layers {
            x = self.layer(net, &encoder.child(&format!("layer.{i}")), table, x)?;
            if let (0, Some(convolution)) = (i, self.convolution) {
                x = self.convolve(net, &encoder.child("conv"), convolution, embedded, x)?;
            }
        }
        Ok(x)
    }

    fn width(&self) -> u64 {
        self.parts.hidden
    }

    fn words(&self) -> [u64; 2] {
        [self.parts.vocab, self.parts.narrow]
    }

    fn tied(&self) -> bool {
        self.parts.tied
    }

    fn segments(&self) -> bool {
        self.parts.types > 0
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.parts.positions, "max_position_embeddings"))
    }
}

impl DebertaV2 {
    fn distances(&self, net: &mut Net<'_>, base: &Module, terms: &Terms) -> Built {
        let table = self.parts.distances(net, base, terms);
        if !self.normed {
            return Ok(table);
        }
        net.layer_norm(&base.child("encoder.LayerNorm"), table, self.parts.hidden, self.parts.eps)
    }

    fn layer(&self, net: &mut Net<'_>, at: &Module, table: Option<NodeId>, x: NodeId) -> Built {
        let attention = at.child("attention.self");
        let width = self.parts.hidden;
        let names = ["query_proj", "key_proj", "value_proj"];
        let qkv = net.linears(&attention, names, x, [width, width])?;
        let tables = self.tables(net, &attention, table)?;
        let attended = self.parts.attend(net, &attention, qkv, &tables)?;
        self.parts.rest_of_layer(net, at, attended, x)
    }

    /// The projections of the table of distances that the terms need: made of weights alone.
    fn tables(
        &self,
        net: &mut Net<'_>,
        at: &Module,
        table: Option<NodeId>,
    ) -> Result<Vec<NodeId>, BuildError> {
        let (Some(table), Some(terms)) = (table, self.parts.terms) else { return Ok(Vec::new()) };
        let names = match self.shared_keys {
            true => ["key_proj", "query_proj"],
            false => ["pos_key_proj", "pos_query_proj"],
        };
        let width = self.parts.hidden;
        let mut made = Vec::new();
        for (wanted, name) in [terms.c2p, terms.p2c].into_iter().zip(names) {
            if wanted {
                made.push(net.linear(&at.child(name), table, width, width)?);
            }
        }
        Ok(made)
    }

    /// `LN(x + act(conv(embedded)))`, zeros past both ends of the sample.
    fn convolve(
        &self,
        net: &mut Net<'_>,
        at: &Module,
        convolution: Convolution,
        embedded: NodeId,
        x: NodeId,
    ) -> Built {
        let (width, size) = (self.parts.hidden, convolution.size);
        let conv = at.child("conv");
        let taps = net.weight(&[conv.tensor("weight")], &[width, width, size]);
        // Stored `[out, in, tap]`; a window's rows lie one after the other, so taps come before columns.
        let op = Op::Transpose { perm: vec![0, 2, 1] };
        let taps = net.builder.op(conv.child("taps").name(), op, &[taps])?;
        let shape = vec![Dim::from(width), Dim::from(size * width)];
        let matrix = net.builder.op(conv.child("matrix").name(), Op::Reshape { shape }, &[taps])?;
        let bias = net.weight(&[conv.tensor("bias")], &[width]);
        let op = Op::Unfold { size: size as usize, before: (size / 2) as usize };
        let windows = net.builder.op(conv.child("windows").name(), op, &[embedded])?;
        let product = net.builder.linear(conv.name(), windows, matrix, Some(bias))?;
        let acted = net.builder.unary(conv.child("act").name(), convolution.activation, product)?;
        let sum = net.builder.binary(at.child("residual").name(), BinaryFn::Add, x, acted)?;
        net.layer_norm(&at.child("LayerNorm"), sum, width, self.parts.eps)
    }
}

/// A row for every distance, or, with `position_buckets`, rows that far distances share.
fn bucketed(config: &Config, furthest: u64) -> Result<Buckets, FieldError> {
    let field = "position_buckets";
    let buckets = match config.get(field).map(Value::as_i64) {
        None => return Ok(Buckets::Clip { span: furthest as u32 }),
        Some(Some(n)) if n < 1 => return Ok(Buckets::Clip { span: furthest as u32 }),
        Some(_) => config.size(field, 2..=1 << 16, 256)?,
    };
    let rule = Buckets::Log { buckets: buckets as u32, max_position: furthest as u32 };
    rule.check().map_err(|problem| config.refusal(field, "fewer than the distances", problem))?;
    Ok(rule)
}

/// `norm_rel_ebd`: `none` or `layer_norm`.
fn normed(config: &Config) -> Result<bool, FieldError> {
    let field = "norm_rel_ebd";
    if config.get(field).is_none() {
        return Ok(false);
    }
    let expected = "\"layer_norm\" or \"none\"";
    match config.text(field, expected, "layer_norm")?.trim().to_lowercase().as_str() {
        "layer_norm" => Ok(true),
        "none" => Ok(false),
        _ => Err(config.error(field, expected, "layer_norm")),
    }
}

/// The convolution, if `conv_kernel_size` is above 0.
fn convolution(config: &Config) -> Result<Option<Convolution>, FieldError> {
    let field = "conv_kernel_size";
    let size = match config.get(field) {
        None => 0,
        Some(_) => config.size(field, 0..=255, 3)?,
    };
    if size == 0 {
        return Ok(None);
    }
    if size.is_multiple_of(2) {
        let help = "a window of even size has no middle, and the reference refuses it";
        return Err(config.refusal(field, "odd", help));
    }
    if config.get("conv_groups").is_some_and(|groups| groups != 1) {
        return Err(config.refusal("conv_groups", "1", "convolutions by groups aren't built"));
    }
    let activation = match config.get("conv_act") {
        None => UnaryFn::Tanh,
        Some(_) => activation(config, "conv_act")?,
    };
    Ok(Some(Convolution { size, activation }))
}

const HEADS: &[Head<DebertaV2>] = &[
    Head { architecture: "DebertaV2Model", build: rows },
    Head {
        architecture: "DebertaV2ForSequenceClassification",
        build: heads::sequence_classification,
    },
    Head { architecture: "DebertaV2ForTokenClassification", build: token_classification },
    Head { architecture: "DebertaV2ForMaskedLM", build: heads::masked_lm },
    Head { architecture: "DebertaV2ForQuestionAnswering", build: question_answering },
    Head { architecture: "DebertaV2ForMultipleChoice", build: heads::choice },
];
