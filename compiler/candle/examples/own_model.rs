//! A model of your own, written in candle, as a bytec graph.
//!
//! ```text
//! cargo run --locked --example own_model -- own.graph own.safetensors
//! bytec compile own.safetensors --graph own.graph -o own.plan
//! ```
//!
//! The model is plain candle: it knows nothing of bytec. What the trace needs beside it is in [`Options`]: the inputs and
//! their axes, which of them is the padding mask, and how long a sample may be.

use std::collections::BTreeMap;
use std::path::Path;

use bytec_trace_candle::{Input, MadeUp, Options, graph, trace, write};
use candle_core::{D, DType, Module, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder};

/// One layer of attention over word embeddings, and the mean of its rows.
struct Reader {
    words: Embedding,
    query: Linear,
    key: Linear,
    value: Linear,
    norm: LayerNorm,
}

const VOCABULARY: usize = 100;
const WIDTH: usize = 32;
const HEADS: usize = 4;

impl Reader {
    fn new(vars: VarBuilder) -> Result<Self> {
        Ok(Self {
            words: candle_nn::embedding(VOCABULARY, WIDTH, vars.pp("words"))?,
            query: candle_nn::linear(WIDTH, WIDTH, vars.pp("query"))?,
            key: candle_nn::linear(WIDTH, WIDTH, vars.pp("key"))?,
            value: candle_nn::linear(WIDTH, WIDTH, vars.pp("value"))?,
            norm: candle_nn::layer_norm(WIDTH, 1e-5, vars.pp("norm"))?,
        })
    }

    /// ids and mask `[batch, tokens]`, 1 in the mask for a token and 0 for padding; gives `[batch, tokens, WIDTH]`.
    fn forward(&self, ids: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, tokens) = ids.dims2()?;
        let x = self.words.forward(ids)?;
        let heads = |x: Tensor| {
            x.reshape((batch, tokens, HEADS, WIDTH / HEADS))?.transpose(1, 2)?.contiguous()
        };
        let (q, k) = (heads(self.query.forward(&x)?)?, heads(self.key.forward(&x)?)?);
        let v = heads(self.value.forward(&x)?)?;
        let scores = (q.matmul(&k.t()?)? / ((WIDTH / HEADS) as f64).sqrt())?;
        let hidden = (1.0 - mask.to_dtype(DType::F32)?)? * -1e9;
        let scores = scores.broadcast_add(&hidden?.unsqueeze(1)?.unsqueeze(1)?)?;
        let seen = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let seen = seen.transpose(1, 2)?.reshape((batch, tokens, WIDTH))?;
        self.norm.forward(&(x + seen)?)
    }
}

fn main() -> anyhow::Result<()> {
    let mut paths = std::env::args().skip(1);
    let (Some(out), Some(weights)) = (paths.next(), paths.next()) else {
        anyhow::bail!("usage: own_model GRAPH WEIGHTS: where the two files go");
    };
    let inputs = vec![Input::ids("ids", VOCABULARY as u32), Input::mask("mask")];
    let options = Options::tokens(256, inputs, "rows");
    // A trained model's weights come from candle's own loaders instead of `MadeUp`.
    let traced = trace(
        |vars| {
            let model = Reader::new(vars)?;
            Ok(move |x: &[Tensor]| Ok(vec![model.forward(&x[0], &x[1])?]))
        },
        Box::new(MadeUp),
        &options,
    )?;
    let lifted = graph(&traced, &options)?;
    write(Path::new(&out), &lifted.graph.to_string())?;
    let tensors: BTreeMap<_, _> = traced.weights.iter().collect();
    safetensors::serialize_to_file(tensors, None, Path::new(&weights))?;
    Ok(())
}
