//! ViT (Dosovitskiy et al. 2020).

use bytec_ir::attrs::UnaryFn;
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;

use crate::activation::{activation, activation_or};
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{classify, rows};
use crate::layers::{activated, first_row};
use crate::net::{Module, Net};
use crate::patches::{self, ImageAttention, Patches, Tokens, residual};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "vit",
    model_types: &["vit"],
    summary: "ViT image encoders (Dosovitskiy et al. 2020), image classification",
    architectures: architectures::<Vit>,
    build: build::<Vit>,
};

/// A ViT encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Vit {
    /// The encoder.
    pub stack: Stack,
}

/// The sizes and functions of an encoder that is laid out as ViT's: patches, then pre-norm layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// The image.
    pub patches: Patches,
    /// The attention of every layer.
    pub attention: ImageAttention,
    /// Encoder layers.
    pub layers: u64,
    /// Width of the feed-forward part.
    pub intermediate: u64,
    /// The feed-forward part's activation.
    pub activation: UnaryFn,
    /// Added to the variance in every layer normalisation.
    pub eps: f64,
    /// The pooler.
    pub pooler: Pooler,
}

/// `act(W x[0] + b)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooler {
    /// Width of the result.
    pub width: u64,
    /// The activation.
    pub activation: UnaryFn,
}

impl Stack {
    /// The fields that [`Stack::read`] reads, beside those of its parts.
    pub const FIELDS: &'static [&'static str] = &[
        "hidden_act",
        "hidden_size",
        "image_size",
        "intermediate_size",
        "layer_norm_eps",
        "num_attention_heads",
        "num_channels",
        "num_hidden_layers",
        "patch_size",
        "pooler_act",
        "pooler_output_size",
        "qkv_bias",
    ];

    /// Fields without effect: the size of what masked image modeling gives out, and what only words have.
    pub const IDLE: &'static [&'static str] = &["encoder_stride", "tie_word_embeddings"];

    /// Reads the fields of ViT's config. The pooler's may be missing: it is then as wide as a row, and its activation tanh.
    ///
    /// # Errors
    /// The first field that is missing, of the wrong type, out of range, or asks for what isn't built.
    pub fn read(config: &Config) -> Result<Self, FieldError> {
        let attention = ImageAttention::read(config)?;
        let width = match config.get("pooler_output_size") {
            None => attention.width,
            Some(_) => config.size("pooler_output_size", 1..=1 << 16, attention.width)?,
        };
        Ok(Self {
            patches: Patches::read(config)?,
            attention,
            layers: config.size("num_hidden_layers", 1..=512, 12)?,
            intermediate: config.size("intermediate_size", 1..=1 << 20, 3072)?,
            activation: activation(config, "hidden_act")?,
            eps: config.positive("layer_norm_eps", 0.1, "1e-12")?,
            pooler: Pooler {
                width,
                activation: activation_or(config, "pooler_act", UnaryFn::Tanh)?,
            },
        })
    }

    /// `x + O attention(LN x)`, then `x + W2 act(W1 LN x)`, for every layer `encoder.layer.i`, and the last normalisation.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(&self, net: &mut Net<'_>, base: &Module, tokens: Tokens) -> Built {
        let mut x = tokens.build(net, base, &self.patches)?;
        for i in 0..self.layers {
            x = self.layer(net, &base.child(&format!("encoder.layer.{i}")), x)?;
        }
        self.norm(net, &base.child("layernorm"), x)
    }

    fn norm(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        net.layer_norm(at, x, self.attention.width, self.eps)
    }

    fn layer(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let (width, wide) = (self.attention.width, self.intermediate);
        let normed = self.norm(net, &at.child("layernorm_before"), x)?;
        let attended = self.attention.build(net, at, normed)?;
        let x = residual(net, &at.child("attention"), attended, x)?;
        let normed = self.norm(net, &at.child("layernorm_after"), x)?;
        let dense = at.child("intermediate.dense");
        let acted = activated(net, &dense, normed, [wide, width], self.activation)?;
        let fed = net.linear(&at.child("output.dense"), acted, width, wide)?;
        residual(net, &at.child("output"), fed, x)
    }
}

impl Pooler {
    /// `last_hidden_state`, and `pooler_output` if the file has the linear `pooler.dense`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build<E: Encoder>(self, draft: &mut Draft<'_, E>) -> Result<(), ModelError> {
        rows(draft)?;
        let (at, dense) = (draft.base.child("pooler"), draft.base.child("pooler.dense"));
        let held = ["weight", "bias"].map(|name| draft.net.checkpoint.holds(&dense.tensor(name)));
        if !held.contains(&true) {
            draft.notes.push("the file has no pooler, so there is no pooler_output".to_owned());
            return Ok(());
        }
        let first = first_row(&mut draft.net, &at, draft.last)?;
        let sizes = [self.width, draft.encoder.width()];
        let pooled = activated(&mut draft.net, &dense, first, sizes, self.activation)?;
        draft.net.builder.output("pooler_output", pooled);
        Ok(())
    }
}

impl Encoder for Vit {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["ViTModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = Stack::FIELDS;
    const IDLE: &'static [&'static str] = Stack::IDLE;
    const PREFIX: &'static str = "vit";
    const FIRST: &'static str = patches::PROJECTION;

    fn read(config: &Config) -> Result<Self, FieldError> {
        Ok(Self { stack: Stack::read(config)? })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let width = self.stack.attention.width;
        let tokens = Tokens { width, placed: &["cls_token"], registers: 0 };
        self.stack.build(net, base, tokens)
    }

    fn width(&self) -> u64 {
        self.stack.attention.width
    }

    fn leftovers(base: &Module) -> Vec<String> {
        patches::leftovers(base)
    }
}

const HEADS: &[Head<Vit>] = &[
    Head { architecture: "ViTModel", build: |vit| vit.encoder.stack.pooler.build(vit) },
    Head { architecture: "ViTForImageClassification", build: first_token },
];

/// `logits` `[labels]`: a linear of the first row.
///
/// # Errors
/// Class names that don't fit the classifier.
pub(crate) fn first_token<E: Encoder>(draft: &mut Draft<'_, E>) -> Result<(), ModelError> {
    let first = first_row(&mut draft.net, &Module::at("classifier"), draft.last)?;
    classify(draft, "classifier", first)
}
