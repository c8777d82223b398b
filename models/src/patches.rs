//! Parts that image encoders share: images as rows of patches, tokens before them, positions, pre-norm layers.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::builder::Built;
use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use bytec_ir::types::{DType, TensorType};
use serde_json::Value;

use crate::Config;
use crate::error::FieldError;
use crate::net::{Module, Net};

/// The input of pixels.
pub const PIXELS: &str = "pixel_values";

/// The module of the patches' projection inside the base model.
pub const PROJECTION: &str = "embeddings.patch_embeddings.projection";

/// Tensors that the forward pass has no use for: the token that stands for hidden patches in training.
pub fn leftovers(base: &Module) -> Vec<String> {
    vec![base.child("embeddings").tensor("mask_token")]
}

/// An image of one size, cut into patches that don't overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Colours.
    pub channels: u64,
    /// Rows and columns of the image.
    pub image: [u64; 2],
    /// Rows and columns of a patch.
    pub patch: [u64; 2],
}

impl Patches {
    /// Reads `image_size` and `patch_size`, each a number or rows and columns, and `num_channels`.
    ///
    /// # Errors
    /// A field that is missing, of the wrong type or out of range, or a patch larger than the image.
    pub fn read(config: &Config) -> Result<Self, FieldError> {
        let image = pair(config, "image_size", 1 << 14, 224)?;
        let patch = pair(config, "patch_size", 1 << 10, 16)?;
        if image.iter().zip(&patch).any(|(image, patch)| patch > image) {
            let [rows, columns] = image;
            let expected = format!("at most the image's {rows} x {columns}");
            return Err(config.error("patch_size", expected, "16"));
        }
        let channels = config.size("num_channels", 1..=1 << 10, 3)?;
        Ok(Self { channels, image, patch })
    }

    /// Rows and columns of patches; pixels that make up no whole patch are left out.
    pub fn grid(&self) -> [u64; 2] {
        [0, 1].map(|axis| self.image[axis] / self.patch[axis])
    }

    /// How many patches.
    pub fn count(&self) -> u64 {
        self.grid().iter().product()
    }

    /// A linear of each patch's pixels, f32 `[patches, width]`, row by row over the image: a convolution whose steps are as
    /// long as its kernel. The input is the image, f32 `[channels, rows, columns]`.
    ///
    /// # Errors
    /// None that sizes from [`Patches::read`] lead to.
    pub fn build(&self, net: &mut Net<'_>, base: &Module, width: u64) -> Built {
        let at = base.child(PROJECTION);
        let shape = [self.channels, self.image[0], self.image[1]];
        let mut x = net.builder.input(PIXELS, TensorType::new(DType::F32, shape), None);
        let [high, wide] = self.grid();
        let [tall, broad] = self.patch;
        for (axis, used) in [(1, high * tall), (2, wide * broad)] {
            if used != shape[axis] {
                let op = Op::Slice { axis, start: 0, end: used as usize };
                x = net.builder.op(at.child("whole_patches").name(), op, &[x])?;
            }
        }
        let reshape = |net: &mut Net<'_>, name: &str, x: NodeId, shape: &[u64]| {
            let shape = shape.iter().map(|&extent| Dim::fixed(extent)).collect();
            net.builder.op(at.child(name).name(), Op::Reshape { shape }, &[x])
        };
        let x = reshape(net, "split", x, &[self.channels, high, tall, wide, broad])?;
        let turned = Op::Transpose { perm: vec![1, 3, 0, 2, 4] };
        let x = net.builder.op(at.child("turned").name(), turned, &[x])?;
        let pixels = self.channels * tall * broad;
        let x = reshape(net, "patches", x, &[high * wide, pixels])?;
        let kernel = net.weight(&[at.tensor("weight")], &[width, self.channels, tall, broad]);
        let weight = reshape(net, "weight_rows", kernel, &[width, pixels])?;
        let bias = net.weight(&[at.tensor("bias")], &[width]);
        net.builder.linear(at.name(), x, weight, Some(bias))
    }
}

/// A field that holds one number for both axes, or a list of two.
fn pair(config: &Config, field: &str, most: u64, example: u64) -> Result<[u64; 2], FieldError> {
    let wrong = || {
        let expected = format!("an integer from 1 to {most}, or a list of two (rows, columns)");
        config.error(field, expected, &example.to_string())
    };
    let size = |value: &Value| value.as_u64().filter(|n| (1..=most).contains(n)).ok_or_else(wrong);
    match config.get(field) {
        Some(Value::Array(sizes)) => match &sizes[..] {
            [rows, columns] => Ok([size(rows)?, size(columns)?]),
            _ => Err(wrong()),
        },
        Some(value) => size(value).map(|n| [n, n]),
        None => Err(wrong()),
    }
}

/// The rows that a sample begins with: tokens that are the same in every image, then its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Width of a row.
    pub width: u64,
    /// The tensors of tokens that have a position, in order.
    pub placed: &'static [&'static str],
    /// How many tokens without a position follow those, from the tensor `register_tokens`.
    pub registers: u64,
}

impl Tokens {
    /// How many rows come before those of the patches.
    pub fn before(&self) -> u64 {
        self.placed.len() as u64 + self.registers
    }

    /// The tokens and the patches, each with the position's row added, f32 `[before + patches, width]`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(&self, net: &mut Net<'_>, base: &Module, patches: &Patches) -> Built {
        let rows = patches.build(net, base, self.width)?;
        let (at, placed) = (base.child("embeddings"), self.placed.len());
        let count = placed + patches.count() as usize;
        let table = |net: &mut Net<'_>, tensor: &str, rows: u64| {
            let table = net.weight(&[at.tensor(tensor)], &[1, rows, self.width]);
            let shape = [rows, self.width].map(Dim::fixed).to_vec();
            net.builder.op(at.child(tensor).child("rows").name(), Op::Reshape { shape }, &[table])
        };
        let mut tokens = Vec::new();
        for tensor in self.placed {
            tokens.push(table(net, tensor, 1)?);
        }
        let tokens = net.builder.op(at.child("tokens").name(), Op::Concat { axis: 0 }, &tokens)?;
        let positions = table(net, "position_embeddings", count as u64)?;
        let mut parts = Vec::new();
        for (name, x, [start, end]) in
            [("placed_tokens", tokens, [0, placed]), ("placed_patches", rows, [placed, count])]
        {
            let at = at.child(name);
            let op = Op::Slice { axis: 0, start, end };
            let places = net.builder.op(at.child("positions").name(), op, &[positions])?;
            parts.push(net.builder.binary(at.name(), BinaryFn::Add, x, places)?);
        }
        if self.registers > 0 {
            parts.insert(1, table(net, "register_tokens", self.registers)?);
        }
        net.builder.op(at.child("all").name(), Op::Concat { axis: 0 }, &parts)
    }
}

/// Attention of all rows to one another before a linear: a layer's queries, keys and values with names as ViT has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageAttention {
    /// Width of a row; also that of all heads together.
    pub width: u64,
    /// Heads; they divide the width.
    pub heads: u64,
    /// Whether queries, keys and values have a bias.
    pub bias: bool,
}

impl ImageAttention {
    /// Reads `hidden_size`, `num_attention_heads` and `qkv_bias`, which is true where it is missing.
    ///
    /// # Errors
    /// A field that is missing, of the wrong type or out of range.
    pub fn read(config: &Config) -> Result<Self, FieldError> {
        let width = config.size("hidden_size", 1..=1 << 16, 768)?;
        let heads = config.divisor("num_attention_heads", "hidden_size", width, 12)?;
        Ok(Self { width, heads, bias: config.flag("qkv_bias", true)? })
    }

    /// `output(attention(query(x), key(x), value(x)))` with the modules of `attention.attention`, and the linear
    /// `attention.output.dense`, f32 `[rows, width]`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let inner = at.child("attention.attention");
        let sizes = [self.width, self.width];
        let mut linear = |name| net.linear_with(&inner.child(name), x, sizes, self.bias);
        let [query, key, value] = [linear("query")?, linear("key")?, linear("value")?];
        let (heads, size) = (self.heads as usize, (self.width / self.heads) as usize);
        let attended = net
            .builder
            .scoped(inner.name(), |b| b.self_attention(query, key, value, heads, size))?;
        net.linear(&at.child("attention.output.dense"), attended, self.width, self.width)
    }
}

/// `x + y`: the end of a block of a pre-norm layer.
///
/// # Errors
/// If the two have different shapes.
pub fn residual(net: &mut Net<'_>, at: &Module, x: NodeId, y: NodeId) -> Built {
    net.builder.binary(at.child("residual").name(), BinaryFn::Add, x, y)
}
