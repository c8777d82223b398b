//! DINOv2 (Oquab et al. 2023), and DINOv2 with registers (Darcet et al. 2023).

use bytec_ir::attrs::{BinaryFn, ReduceFn, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;

use crate::activation::activation;
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{classify_from, rows};
use crate::layers::{Gate, activated, first_row};
use crate::net::{Module, Net};
use crate::patches::{self, ImageAttention, Patches, Tokens, residual};
use crate::{Config, Family, FieldError, ModelError};

/// The line of DINOv2 in the table of models.
pub const FAMILY: Family = Family {
    name: "dinov2",
    model_types: &["dinov2"],
    summary: "DINOv2 image encoders (Oquab et al. 2023), image classification",
    architectures: architectures::<Dinov2>,
    build: build::<Dinov2>,
};

/// The line of DINOv2 with registers in the table of models.
pub const WITH_REGISTERS: Family = Family {
    name: "dinov2_with_registers",
    model_types: &["dinov2_with_registers"],
    summary: "DINOv2 with register tokens (Darcet et al. 2023), image classification",
    architectures: architectures::<Dinov2WithRegisters>,
    build: build::<Dinov2WithRegisters>,
};

/// A DINOv2 encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Dinov2(Stack);

/// A DINOv2 encoder with tokens that no patch stands behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Dinov2WithRegisters {
    stack: Stack,
    registers: u64,
}

/// The sizes and functions of both.
#[derive(Clone, Debug, PartialEq)]
struct Stack {
    patches: Patches,
    attention: ImageAttention,
    layers: u64,
    feed_forward: FeedForward,
    eps: f64,
}

/// A layer's feed-forward part; each has a width of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeedForward {
    /// `W2 act(W1 x)`.
    Plain(u64, UnaryFn),
    /// `W2 (silu(a) * b)` with `[a; b] = W1 x`.
    Gated(u64),
}

impl Stack {
    const FIELDS: &'static [&'static str] = &[
        "hidden_act",
        "hidden_size",
        "image_size",
        "layer_norm_eps",
        "mlp_ratio",
        "num_attention_heads",
        "num_channels",
        "num_hidden_layers",
        "patch_size",
        "qkv_bias",
        "use_swiglu_ffn",
    ];

    /// What training, masked images and backbones of other models go by.
    const IDLE: &'static [&'static str] = &[
        "_out_features",
        "_out_indices",
        "apply_layernorm",
        "drop_path_rate",
        "layerscale_value",
        "out_features",
        "out_indices",
        "reshape_hidden_states",
        "stage_names",
        "tie_word_embeddings",
        "use_mask_token",
    ];

    fn read(config: &Config) -> Result<Self, FieldError> {
        let attention = ImageAttention::read(config)?;
        let patches = Patches::read(config)?;
        let [rows, columns] = patches.image;
        if rows != columns {
            let help = "positions of other images are interpolated, which isn't built";
            return Err(config.refusal("image_size", "as many rows as columns", help));
        }
        let ratio = config.positive("mlp_ratio", 1024.0, "4")?;
        let wide = (attention.width as f64 * ratio) as u64;
        let activation = activation(config, "hidden_act")?;
        let feed_forward = match config.flag("use_swiglu_ffn", false)? {
            // Two thirds, so that the gate costs nothing, then the next multiple of 8.
            true => FeedForward::Gated((2 * wide / 3).next_multiple_of(8)),
            false => FeedForward::Plain(wide, activation),
        };
        let (FeedForward::Plain(inner, _) | FeedForward::Gated(inner)) = feed_forward;
        if inner == 0 {
            let expected = format!("at least one column of hidden_size ({})", attention.width);
            return Err(config.error("mlp_ratio", expected, "4"));
        }
        Ok(Self {
            patches,
            attention,
            layers: config.size("num_hidden_layers", 1..=512, 12)?,
            feed_forward,
            eps: config.positive("layer_norm_eps", 0.1, "1e-6")?,
        })
    }

    fn build(&self, net: &mut Net<'_>, base: &Module, registers: u64) -> Built {
        let tokens = Tokens { width: self.attention.width, placed: PLACED, registers };
        let mut x = tokens.build(net, base, &self.patches)?;
        for i in 0..self.layers {
            let at = base.child(&format!("encoder.layer.{i}"));
            let normed = self.norm(net, &at.child("norm1"), x)?;
            let attended = self.attention.build(net, &at, normed)?;
            x = self.scaled(net, &at.child("layer_scale1"), attended, x)?;
            let normed = self.norm(net, &at.child("norm2"), x)?;
            let fed = self.feed_forward(net, &at.child("mlp"), normed)?;
            x = self.scaled(net, &at.child("layer_scale2"), fed, x)?;
        }
        self.norm(net, &base.child("layernorm"), x)
    }

    fn norm(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        net.layer_norm(at, x, self.attention.width, self.eps)
    }

    /// `x + lambda * y`.
    fn scaled(&self, net: &mut Net<'_>, at: &Module, y: NodeId, x: NodeId) -> Built {
        let lambda = net.weight(&[at.tensor("lambda1")], &[self.attention.width]);
        let scaled = net.builder.binary(at.name(), BinaryFn::Mul, y, lambda)?;
        residual(net, at, scaled, x)
    }

    fn feed_forward(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let width = self.attention.width;
        match self.feed_forward {
            FeedForward::Plain(wide, function) => {
                let acted = activated(net, &at.child("fc1"), x, [wide, width], function)?;
                net.linear(&at.child("fc2"), acted, width, wide)
            }
            FeedForward::Gated(wide) => {
                let both = at.child("weights_in");
                let product = net.linear(&both, x, 2 * wide, width)?;
                let [gate, up] = net.columns(&both, product, ["gate", "up"], wide)?;
                let inner = Gate { function: UnaryFn::Silu }.build(net, at, gate, up)?;
                net.linear(&at.child("weights_out"), inner, width, wide)
            }
        }
    }
}

/// The tokens that have a position.
const PLACED: &[&str] = &["cls_token"];

impl Encoder for Dinov2 {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["Dinov2Model"];
    const HEADS: &'static [Head<Self>] = &[
        Head { architecture: "Dinov2Model", build: first },
        Head {
            architecture: "Dinov2ForImageClassification",
            build: |dino| classification(dino, PLACED.len() as u64),
        },
    ];
    const FIELDS: &'static [&'static str] = Stack::FIELDS;
    const IDLE: &'static [&'static str] = Stack::IDLE;
    const PREFIX: &'static str = "dinov2";
    const FIRST: &'static str = patches::PROJECTION;

    fn read(config: &Config) -> Result<Self, FieldError> {
        Stack::read(config).map(Self)
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        self.0.build(net, base, 0)
    }

    fn width(&self) -> u64 {
        self.0.attention.width
    }

    fn leftovers(base: &Module) -> Vec<String> {
        patches::leftovers(base)
    }
}

impl Encoder for Dinov2WithRegisters {
    const NAME: &'static str = WITH_REGISTERS.name;
    const BASES: &'static [&'static str] = &["Dinov2WithRegistersModel"];
    const HEADS: &'static [Head<Self>] = &[
        Head { architecture: "Dinov2WithRegistersModel", build: first },
        Head {
            architecture: "Dinov2WithRegistersForImageClassification",
            build: |dino| classification(dino, PLACED.len() as u64 + dino.encoder.registers),
        },
    ];
    const FIELDS: &'static [&'static str] = Stack::FIELDS;
    const MORE_FIELDS: &'static [&'static str] = &["num_register_tokens"];
    const IDLE: &'static [&'static str] = Stack::IDLE;
    const PREFIX: &'static str = "dinov2_with_registers";
    const FIRST: &'static str = patches::PROJECTION;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let registers = config.size("num_register_tokens", 1..=1 << 10, 4)?;
        Ok(Self { stack: Stack::read(config)?, registers })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        self.stack.build(net, base, self.registers)
    }

    fn width(&self) -> u64 {
        self.stack.attention.width
    }

    fn leftovers(base: &Module) -> Vec<String> {
        patches::leftovers(base)
    }
}

/// `last_hidden_state`, and its first row as `pooler_output`.
fn first<E: Encoder>(dino: &mut Draft<'_, E>) -> Result<(), ModelError> {
    rows(dino)?;
    let row = first_row(&mut dino.net, &dino.base.child("pooler"), dino.last)?;
    dino.net.builder.output("pooler_output", row);
    Ok(())
}

/// `logits` `[labels]`: a linear of the first row and the mean of the patches' rows, side by side.
fn classification<E: Encoder>(dino: &mut Draft<'_, E>, before: u64) -> Result<(), ModelError> {
    let (at, width, last) = (Module::at("classifier"), dino.encoder.width(), dino.last);
    let builder = &mut dino.net.builder;
    let end = builder.graph().ty(last).shape[0].as_fixed().unwrap_or(before) as usize;
    let patches = Op::Slice { axis: 0, start: before as usize, end };
    let patches = builder.op(at.child("patches").name(), patches, &[last])?;
    let mean = builder.reduce(at.child("mean").name(), ReduceFn::Mean, patches, 0)?;
    let first = first_row(&mut dino.net, &at, last)?;
    let both = Op::Concat { axis: 0 };
    let both = dino.net.builder.op(at.child("both").name(), both, &[first, mean])?;
    classify_from(dino, "classifier", both, 2 * width)
}
