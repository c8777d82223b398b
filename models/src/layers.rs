//! Parts that text encoders share: embeddings, multi-head attention, residual with normalisation, feed-forward, pooler.
//!
//! A part takes the modules that its tensors come from, so that families with other names build the same ops.

use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use bytec_ir::types::{DType, TensorType};

use crate::net::{Module, Net};

/// The input of token ids.
pub const IDS: &str = "input_ids";
/// The input of segment ids.
pub const TYPE_IDS: &str = "token_type_ids";

/// The tables that a token's first row is the sum of, and the normalisation of the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Columns of every table.
    pub width: u64,
    /// Rows of the word table.
    pub vocab: u64,
    /// Rows of the position table.
    pub positions: u64,
    /// The row of a sample's first token in the position table; those before it are never used.
    pub first_position: u64,
    /// Rows of the segment table; 0 if there is none.
    pub types: u64,
    /// Added to the variance.
    pub eps: f64,
}

impl Embeddings {
    /// The most tokens that a sample may have.
    pub fn most_tokens(&self) -> u64 {
        self.positions - self.first_position
    }

    /// `LN(word[input_ids] + token_type[token_type_ids] + position[first..])`, f32 `[L, width]`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build(&self, net: &mut Net<'_>, at: &Module) -> Built {
        let length = net.builder.symbol("L", 1, self.most_tokens());
        let rows = || TensorType::new(DType::I64, [length.clone()]);
        let ids = net.builder.input(IDS, rows(), None);
        let types = (self.types > 0).then(|| net.builder.input(TYPE_IDS, rows(), Some(0)));
        let start = i64::try_from(self.first_position).unwrap_or(i64::MAX);
        let positions = net.builder.op(
            at.child("position_ids").name(),
            Op::Iota { extent: length.clone(), start },
            &[],
        )?;
        let mut sum = self.rows(net, &at.child("word_embeddings"), self.vocab, ids)?;
        let mut segments = None;
        if let Some(types) = types {
            let at = at.child("token_type_embeddings");
            segments = Some(self.rows(net, &at, self.types, types)?);
        }
        let places = self.rows(net, &at.child("position_embeddings"), self.positions, positions)?;
        if let Some(segments) = segments {
            let at = at.child("words_and_types");
            sum = net.builder.binary(at.name(), BinaryFn::Add, sum, segments)?;
        }
        let sum = net.builder.binary(at.child("sum").name(), BinaryFn::Add, sum, places)?;
        net.layer_norm(&at.child("LayerNorm"), sum, self.width, self.eps)
    }

    fn rows(&self, net: &mut Net<'_>, at: &Module, rows: u64, ids: NodeId) -> Built {
        let table = net.table(at, rows, self.width);
        net.builder.op(at.name(), Op::Gather {}, &[table, ids])
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
        let mut made = [x; 3];
        for (value, name) in made.iter_mut().zip(linears) {
            *value = net.linear(&at.child(name), x, self.width, self.width)?;
        }
        let [query, key, value] = made;
        let (heads, size) = (self.heads as usize, (self.width / self.heads) as usize);
        net.builder.scoped(at.name(), |b| b.self_attention(query, key, value, heads, size))
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
