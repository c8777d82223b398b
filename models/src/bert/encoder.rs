//! Embeddings, layers and pooler: what every BERT architecture shares.

use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;
use bytec_ir::types::{DType, TensorType};

use super::config::BertConfig;
use crate::net::{Module, Net};

/// The input of token ids.
pub const IDS: &str = "input_ids";
/// The input of segment ids.
pub const TYPE_IDS: &str = "token_type_ids";

/// The encoder: `last_hidden_state`, f32 `[L, hidden]`.
///
/// # Errors
/// If the sizes don't fit together.
pub fn encoder(net: &mut Net<'_>, base: &Module, config: &BertConfig) -> Built {
    let mut x = embeddings(net, &base.child("embeddings"), config)?;
    for i in 0..config.layers {
        x = layer(net, &base.child(&format!("encoder.layer.{i}")), config, x)?;
    }
    Ok(x)
}

/// `LN(word[input_ids] + position[0..L) + token_type[token_type_ids])`
fn embeddings(net: &mut Net<'_>, at: &Module, config: &BertConfig) -> Built {
    let length = net.builder.symbol("L", 1, config.positions);
    let rows = || TensorType::new(DType::I64, [length.clone()]);
    let ids = net.builder.input(IDS, rows(), None);
    let types = net.builder.input(TYPE_IDS, rows(), Some(0));
    let positions = net.builder.op(
        at.child("position_ids").name(),
        Op::Iota { extent: length.clone(), start: 0 },
        &[],
    )?;
    let words = gather(net, &at.child("word_embeddings"), config.vocab, config.hidden, ids)?;
    let segments =
        gather(net, &at.child("token_type_embeddings"), config.types, config.hidden, types)?;
    let places =
        gather(net, &at.child("position_embeddings"), config.positions, config.hidden, positions)?;
    let sum =
        net.builder.binary(at.child("words_and_types").name(), BinaryFn::Add, words, segments)?;
    let sum = net.builder.binary(at.child("sum").name(), BinaryFn::Add, sum, places)?;
    net.layer_norm(&at.child("LayerNorm"), sum, config.hidden, config.eps)
}

fn gather(net: &mut Net<'_>, at: &Module, rows: u64, width: u64, ids: NodeId) -> Built {
    let table = net.table(at, rows, width);
    net.builder.op(at.name(), Op::Gather {}, &[table, ids])
}

/// `x = LN(x + O(attention(x)))`, then `LN(x + W2 act(W1 x))`.
fn layer(net: &mut Net<'_>, at: &Module, config: &BertConfig, x: NodeId) -> Built {
    let attended = attention(net, &at.child("attention.self"), config, x)?;
    let x = add_and_norm(net, &at.child("attention.output"), config, attended, config.hidden, x)?;
    let wide = at.child("intermediate.dense");
    let widened = net.linear(&wide, x, config.intermediate, config.hidden)?;
    let acted = net.builder.unary(wide.child("act").name(), config.activation, widened)?;
    add_and_norm(net, &at.child("output"), config, acted, config.intermediate, x)
}

/// Queries, keys and values by a linear each, then attention over the sample's own rows.
fn attention(net: &mut Net<'_>, at: &Module, config: &BertConfig, x: NodeId) -> Built {
    let width = config.hidden;
    let query = net.linear(&at.child("query"), x, width, width)?;
    let key = net.linear(&at.child("key"), x, width, width)?;
    let value = net.linear(&at.child("value"), x, width, width)?;
    let (heads, size) = (config.heads as usize, config.head_size() as usize);
    net.builder.scoped(at.name(), |b| b.self_attention(query, key, value, heads, size))
}

/// `LN(dense(x) + residual)`
fn add_and_norm(
    net: &mut Net<'_>,
    at: &Module,
    config: &BertConfig,
    x: NodeId,
    width: u64,
    residual: NodeId,
) -> Built {
    let projected = net.linear(&at.child("dense"), x, config.hidden, width)?;
    let sum =
        net.builder.binary(at.child("residual").name(), BinaryFn::Add, projected, residual)?;
    net.layer_norm(&at.child("LayerNorm"), sum, config.hidden, config.eps)
}

/// `tanh(W x[0] + b)`, f32 `[hidden]`: from the first token only.
///
/// # Errors
/// If the sizes don't fit together.
pub fn pooler(net: &mut Net<'_>, base: &Module, config: &BertConfig, last: NodeId) -> Built {
    let at = base.child("pooler");
    let first =
        net.builder.op(at.child("first").name(), Op::Select { axis: 0, index: 0 }, &[last])?;
    let dense = net.linear(&at.child("dense"), first, config.hidden, config.hidden)?;
    net.builder.unary(at.child("tanh").name(), UnaryFn::Tanh, dense)
}
