//! Parts that text encoders share: embeddings, multi-head attention, residual with normalisation, feed-forward, pooler.
//!
//! A part takes the modules that its tensors come from, so that families with other names build the same ops.

use bytec_ir::attention::{Band, Bias, Rotary};
use bytec_ir::attrs::{BinaryFn, Real, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use bytec_ir::types::{DType, TensorType};

use crate::net::{Module, Net};

/// The input of token ids.
pub const IDS: &str = "input_ids";
/// The symbol of a sample's tokens.
const LENGTH: &str = "L";
/// The input of segment ids.
pub const TYPE_IDS: &str = "token_type_ids";

/// The most tokens of a sample where the model itself sets no limit.
pub const ANY_LENGTH: u64 = 1 << 16;

/// Declares the tokens, at most `longest`, and gives their ids, i64 `[L]`.
pub fn token_ids(net: &mut Net<'_>, longest: u64) -> NodeId {
    let length = net.builder.symbol(LENGTH, 1, longest);
    net.builder.input(IDS, TensorType::new(DType::I64, [length]), None)
}

/// The segment of each token, i64 `[L]`; 0 unless a sample says otherwise.
pub fn segment_ids(net: &mut Net<'_>) -> NodeId {
    let ty = TensorType::new(DType::I64, [Dim::symbol(LENGTH)]);
    net.builder.input(TYPE_IDS, ty, Some(0))
}

/// `first, first + 1, ..`, i64 `[L]`.
///
/// # Errors
/// None that a first position below 2^63 leads to.
pub fn positions(net: &mut Net<'_>, at: &Module, first: u64) -> Built {
    let start = i64::try_from(first).unwrap_or(i64::MAX);
    let op = Op::Iota { extent: Dim::symbol(LENGTH), start };
    net.builder.op(at.child("position_ids").name(), op, &[])
}

/// A row of the module's table for each id, f32 `[L, width]`.
///
/// # Errors
/// If `ids` are no integers.
pub fn lookup(net: &mut Net<'_>, at: &Module, [rows, width]: [u64; 2], ids: NodeId) -> Built {
    let table = net.table(at, rows, width);
    net.builder.op(at.name(), Op::Gather {}, &[table, ids])
}

/// A table of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Rows.
    pub rows: u64,
    /// The padding token of fairseq's models: it has the row of its own id wherever it stands, and the sample's other
    /// tokens have those after it. Without one, a sample's first token has the first row.
    pub padding: Option<u64>,
}

impl Positions {
    /// The rows that no token has but the padding.
    fn unused(self) -> u64 {
        self.padding.map_or(0, |padding| padding + 1)
    }

    /// The row of each token, i64 `[L]`.
    ///
    /// # Errors
    /// None.
    fn of(self, net: &mut Net<'_>, at: &Module, ids: NodeId) -> Built {
        match self.padding {
            None => positions(net, at, 0),
            Some(padding) => {
                let op = Op::Places { skip: padding as usize };
                net.builder.op(at.child("position_ids").name(), op, &[ids])
            }
        }
    }
}

/// The tables that a token's first row is the sum of, and the normalisation of the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Columns of every table.
    pub width: u64,
    /// Rows of the word table.
    pub vocab: u64,
    /// The position table.
    pub positions: Positions,
    /// Rows of the segment table; 0 if there is none.
    pub types: u64,
    /// Added to the variance.
    pub eps: f64,
}

impl Embeddings {
    /// The most tokens that a sample may have.
    pub fn most_tokens(&self) -> u64 {
        self.positions.rows - self.positions.unused()
    }

    /// `LN(word[input_ids] + token_type[token_type_ids] + position[..])`, f32 `[L, width]`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(&self, net: &mut Net<'_>, at: &Module) -> Built {
        let ids = token_ids(net, self.most_tokens());
        let types = (self.types > 0).then(|| segment_ids(net));
        let places = self.positions.of(net, at, ids)?;
        let words = at.child("word_embeddings");
        let mut sum = lookup(net, &words, [self.vocab, self.width], ids)?;
        let mut segments = None;
        if let Some(types) = types {
            let at = at.child("token_type_embeddings");
            segments = Some(lookup(net, &at, [self.types, self.width], types)?);
        }
        let table = at.child("position_embeddings");
        let places = lookup(net, &table, [self.positions.rows, self.width], places)?;
        if let Some(segments) = segments {
            let at = at.child("words_and_types");
            sum = net.builder.binary(at.name(), BinaryFn::Add, sum, segments)?;
        }
        let sum = net.builder.binary(at.child("sum").name(), BinaryFn::Add, sum, places)?;
        net.layer_norm(&at.child("LayerNorm"), sum, self.width, self.eps)
    }
}

/// Attention of the sample's rows to one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfAttention {
    /// Width of a row; also that of all heads together.
    pub width: u64,
    /// Heads; they divide the width.
    pub heads: u64,
}

impl SelfAttention {
    /// Queries, keys and values by a linear each, then attention, f32 `[L, width]`. `at` names the ops.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(self, net: &mut Net<'_>, at: &Module, linears: [&str; 3], x: NodeId) -> Built {
        let [query, key, value] = net.linears(at, linears, x, [self.width, self.width])?;
        let (heads, size) = (self.heads as usize, (self.width / self.heads) as usize);
        net.builder.scoped(at.name(), |b| b.self_attention(query, key, value, heads, size))
    }
}

/// Attention of the sample's rows to one another, with what a family adds to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Heads.
    pub heads: u64,
    /// Columns of one head.
    pub head_size: u64,
    /// Multiplies the scores.
    pub scale: f64,
    /// Which keys a query sees.
    pub mask: Band,
    /// What is added to the scores.
    pub bias: Bias,
    /// How queries and keys are turned by their positions.
    pub rotary: Option<Rotary>,
}

impl Attention {
    /// Attention of `heads` heads, `width` columns together, scaled by the root of a head's size, with nothing added.
    pub fn of(width: u64, heads: u64) -> Self {
        let head_size = width / heads;
        let scale = 1.0 / (head_size as f64).sqrt();
        Self { heads, head_size, scale, mask: Band::ALL, bias: Bias::None, rotary: None }
    }

    /// The result, f32 `[L, heads * head_size]`, with the tables that the bias asks for.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(
        self,
        net: &mut Net<'_>,
        at: &Module,
        [q, k, v]: [NodeId; 3],
        tables: &[NodeId],
    ) -> Built {
        let op = Op::Attention {
            heads: self.heads as usize,
            head_size: self.head_size as usize,
            group: 1,
            scale: Real(self.scale),
            mask: self.mask,
            bias: self.bias,
            rotary: self.rotary,
        };
        let operands: Vec<_> = [q, k, v].into_iter().chain(tables.iter().copied()).collect();
        net.builder.op(at.child("attended").name(), op, &operands)
    }
}

/// A gated feed-forward part's product (Shazeer 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The gate's activation.
    pub function: UnaryFn,
}

impl Gate {
    /// `act(gate) * up`.
    ///
    /// # Errors
    /// If the two have different shapes.
    pub fn build(self, net: &mut Net<'_>, at: &Module, gate: NodeId, up: NodeId) -> Built {
        let acted = net.builder.unary(at.child("act").name(), self.function, gate)?;
        net.builder.binary(at.child("gated").name(), BinaryFn::Mul, acted, up)
    }
}

/// `LN(dense(x) + residual)`: the end of a block of a post-norm layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddAndNorm {
    /// Width of x.
    pub inputs: u64,
    /// Width of the residual and of the result.
    pub width: u64,
    /// Added to the variance.
    pub eps: f64,
}

impl AddAndNorm {
    /// The result, f32 `[L, width]`. `at` names the sum.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(
        self,
        net: &mut Net<'_>,
        at: &Module,
        [dense, norm]: [&Module; 2],
        x: NodeId,
        residual: NodeId,
    ) -> Built {
        let projected = net.linear(dense, x, self.width, self.inputs)?;
        let sum =
            net.builder.binary(at.child("residual").name(), BinaryFn::Add, projected, residual)?;
        net.layer_norm(norm, sum, self.width, self.eps)
    }
}

/// `act(W x + b)`, f32 `[.., outputs]`.
///
/// # Errors
/// If x has another width.
pub fn activated(
    net: &mut Net<'_>,
    dense: &Module,
    x: NodeId,
    [outputs, inputs]: [u64; 2],
    function: UnaryFn,
) -> Built {
    let product = net.linear(dense, x, outputs, inputs)?;
    net.builder.unary(dense.child("act").name(), function, product)
}

/// The first row of a sample, f32 `[width]`.
///
/// # Errors
/// If x has no rows.
pub fn first_row(net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
    net.builder.op(at.child("first").name(), Op::Select { axis: 0, index: 0 }, &[x])
}
