//! DeBERTa (He et al. 2020), and DeBERTa v2 and v3 (He et al. 2021): attention to contents and to distances apart.

mod heads;
mod v1;
mod v2;

use bytec_ir::attention::Bias;
use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::buckets::Buckets;
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use serde_json::Value;

use crate::activation::activation;
use crate::layers::{
    ANY_LENGTH, AddAndNorm, Attention, activated, lookup, positions, segment_ids, token_ids,
};
use crate::net::{Module, Net};
use crate::{Config, FieldError};

pub use v1::{Deberta, FAMILY as V1};
pub use v2::{DebertaV2, FAMILY as V2};

/// What both versions have: the sizes, the embeddings, and which distances attention looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    hidden: u64,
    layers: u64,
    heads: u64,
    intermediate: u64,
    activation: UnaryFn,
    eps: f64,
    vocab: u64,
    /// Columns of the embeddings' tables.
    narrow: u64,
    /// Rows of the position table.
    positions: u64,
    /// Whether positions are among the embeddings.
    position_biased: bool,
    types: u64,
    /// The distances' terms; none without relative attention.
    terms: Option<Terms>,
    /// 1 and one for each term that the config names, whether or not there is relative attention.
    scale_factor: u64,
    /// The pooler's activation, for the heads that have one.
    pooler: UnaryFn,
    tied: bool,
    /// Whether the language model's head has the older layout.
    legacy: bool,
}

/// How distances enter the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    buckets: Buckets,
    /// Content to position.
    c2p: bool,
    /// Position to content.
    p2c: bool,
}

/// The fields that [`Parts::read`] and the heads read.
const FIELDS: &[&str] = &[
    "attention_head_size",
    "embedding_size",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "legacy",
    "max_position_embeddings",
    "max_relative_positions",
    "num_attention_heads",
    "num_hidden_layers",
    "pooler_hidden_act",
    "pooler_hidden_size",
    "pos_att_type",
    "position_biased_input",
    "relative_attention",
    "tie_word_embeddings",
    "type_vocab_size",
    "vocab_size",
];

impl Parts {
    /// Reads the fields that both versions have. `bucketed` says how a table of distances is laid out, given the largest
    /// distance.
    fn read(
        config: &Config,
        bucketed: impl FnOnce(u64) -> Result<Buckets, FieldError>,
    ) -> Result<Self, FieldError> {
        let hidden = config.size("hidden_size", 1..=1 << 16, 768)?;
        let heads = config.divisor("num_attention_heads", "hidden_size", hidden, 12)?;
        for (field, expected) in
            [("attention_head_size", hidden / heads), ("pooler_hidden_size", hidden)]
        {
            if config.get(field).is_some_and(|value| value.as_u64() != Some(expected)) {
                let help = "another width isn't built";
                return Err(config.refusal(field, expected.to_string(), help));
            }
        }
        let positions = config.size("max_position_embeddings", 1..=1 << 20, 512)?;
        let narrow = match config.get("embedding_size") {
            None => hidden,
            Some(_) => config.size("embedding_size", 1..=1 << 16, hidden)?,
        };
        let (c2p, p2c) = terms(config)?;
        let relative = config.flag("relative_attention", false)?;
        let terms = match relative && (c2p || p2c) {
            true => Some(Terms { buckets: bucketed(furthest(config, positions)?)?, c2p, p2c }),
            false => None,
        };
        let pooler = match config.get("pooler_hidden_act") {
            None => UnaryFn::GeluErf,
            Some(_) => activation(config, "pooler_hidden_act")?,
        };
        Ok(Self {
            hidden,
            layers: config.size("num_hidden_layers", 1..=512, 12)?,
            heads,
            intermediate: config.size("intermediate_size", 1..=1 << 20, 3072)?,
            activation: activation(config, "hidden_act")?,
            eps: config.positive("layer_norm_eps", 0.1, "1e-7")?,
            vocab: config.size("vocab_size", 1..=1 << 24, 50265)?,
            narrow,
            positions,
            position_biased: config.flag("position_biased_input", true)?,
            types: config.size("type_vocab_size", 0..=1 << 16, 0)?,
            terms,
            scale_factor: 1 + u64::from(c2p) + u64::from(p2c),
            pooler,
            tied: config.flag("tie_word_embeddings", true)?,
            legacy: config.flag("legacy", true)?,
        })
    }

    /// `LN(proj(word[input_ids] + position[0..L) + token_type[token_type_ids]))`, f32 `[L, hidden]`; every part but the
    /// words may be missing.
    fn embeddings(&self, net: &mut Net<'_>, at: &Module) -> Built {
        let ids = token_ids(net, self.longest());
        let mut sum = lookup(net, &at.child("word_embeddings"), [self.vocab, self.narrow], ids)?;
        if self.position_biased {
            let places = positions(net, at, 0)?;
            let at_positions = at.child("position_embeddings");
            let rows = lookup(net, &at_positions, [self.positions, self.narrow], places)?;
            let name = at.child("words_and_positions");
            sum = net.builder.binary(name.name(), BinaryFn::Add, sum, rows)?;
        }
        if self.types > 0 {
            let types = segment_ids(net);
            let at_types = at.child("token_type_embeddings");
            let rows = lookup(net, &at_types, [self.types, self.narrow], types)?;
            sum = net.builder.binary(at.child("sum").name(), BinaryFn::Add, sum, rows)?;
        }
        if self.narrow != self.hidden {
            sum =
                net.linear_without_bias(&at.child("embed_proj"), sum, self.hidden, self.narrow)?;
        }
        net.layer_norm(&at.child("LayerNorm"), sum, self.hidden, self.eps)
    }

    /// Without a table of positions any length will do: far distances share rows.
    fn longest(&self) -> u64 {
        if self.position_biased { self.positions } else { ANY_LENGTH }
    }

    /// Attention with the distances' terms, whose tables, those that there are, come as key and query table.
    fn attend(&self, net: &mut Net<'_>, at: &Module, qkv: [NodeId; 3], tables: &[NodeId]) -> Built {
        let size = self.hidden / self.heads;
        let scale = 1.0 / ((size * self.scale_factor) as f64).sqrt();
        let bias = match self.terms {
            Some(Terms { buckets, c2p, p2c }) => Bias::Disentangled { buckets, c2p, p2c },
            None => Bias::None,
        };
        let part = Attention { scale, bias, ..Attention::of(self.hidden, self.heads) };
        part.build(net, at, qkv, tables)
    }

    /// What follows attention in a layer: `LN(x + O(attended))`, then `LN(x + W2 act(W1 x))`.
    fn rest_of_layer(&self, net: &mut Net<'_>, at: &Module, attended: NodeId, x: NodeId) -> Built {
        let x = self.output(net, &at.child("attention.output"), self.hidden, attended, x)?;
        let wide = at.child("intermediate.dense");
        let sizes = [self.intermediate, self.hidden];
        let acted = activated(net, &wide, x, sizes, self.activation)?;
        self.output(net, &at.child("output"), self.intermediate, acted, x)
    }

    fn output(
        &self,
        net: &mut Net<'_>,
        at: &Module,
        inputs: u64,
        x: NodeId,
        residual: NodeId,
    ) -> Built {
        let part = AddAndNorm { inputs, width: self.hidden, eps: self.eps };
        part.build(net, at, [&at.child("dense"), &at.child("LayerNorm")], x, residual)
    }

    /// The table of distances, `[rows, hidden]`.
    fn distances(&self, net: &mut Net<'_>, base: &Module, terms: &Terms) -> NodeId {
        net.table(&base.child("encoder.rel_embeddings"), terms.buckets.rows() as u64, self.hidden)
    }
}

/// The largest distance with a row of its own: `max_relative_positions`, or the number of positions if that is below 1.
fn furthest(config: &Config, positions: u64) -> Result<u64, FieldError> {
    let field = "max_relative_positions";
    match config.get(field).map(Value::as_i64) {
        None => Ok(positions),
        Some(Some(n)) if n < 1 => Ok(positions),
        Some(_) => config.size(field, 1..=1 << 20, 512),
    }
}

/// `pos_att_type`: which of content to position and position to content there are, as a list or with `|` in between.
fn terms(config: &Config) -> Result<(bool, bool), FieldError> {
    let field = "pos_att_type";
    let expected = "a list of \"c2p\", \"p2c\" or both, each once";
    let wrong = || config.error(field, expected, "'[\"c2p\",\"p2c\"]'");
    let names: Vec<String> = match config.get(field) {
        None => Vec::new(),
        Some(Value::String(names)) => {
            names.to_lowercase().split('|').map(|name| name.trim().to_owned()).collect()
        }
        Some(Value::Array(names)) => {
            let name = |name: &Value| name.as_str().map(str::to_owned).ok_or_else(wrong);
            names.iter().map(name).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(wrong()),
    };
    let (mut c2p, mut p2c) = (false, false);
    for name in names {
        let term = match name.as_str() {
            "c2p" => &mut c2p,
            "p2c" => &mut p2c,
            _ => return Err(wrong()),
        };
        if std::mem::replace(term, true) {
            return Err(wrong());
        }
    }
    Ok((c2p, p2c))
}
