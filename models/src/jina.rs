//! Jina BERT v2 (Günther et al. 2023): BERT with a bias that falls with the distance in place of positions, and gated
//! feed-forward parts, in both layouts that its checkpoints have.

use bytec_ir::attention::Bias;
use bytec_ir::attrs::{BinaryFn, Real, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;

use crate::bert::{self, Stack};
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{classify, pooler, question_answering, rows_and_pooler, token_classification};
use crate::layers::{AddAndNorm, Attention, Gate, lookup, segment_ids, token_ids};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "jina_bert",
    model_types: &["jina_bert"],
    summary: "Jina BERT v2 encoders (Günther et al. 2023), classification heads, and sentence embeddings",
    architectures: architectures::<Jina>,
    build: build::<Jina>,
};

/// The sizes and functions of a Jina BERT.
#[derive(Clone, Debug, PartialEq)]
pub struct Jina {
    stack: Stack,
    /// The activation of the gate.
    gate: UnaryFn,
}

impl Encoder for Jina {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["JinaBertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "feed_forward_type",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "position_embedding_type",
        "tie_word_embeddings",
        "type_vocab_size",
        "vocab_size",
    ];
    const IDLE: &'static [&'static str] = &[
        // What the checkpoint's own `encode` does with the rows; pooling is asked for like any other model's.
        "emb_pooler",
        // The gate's activation is that of `feed_forward_type`.
        "hidden_act",
        "model_max_length",
    ];
    /// The checkpoints bring this code.
    const CODE: &'static [&'static str] =
        &["jinaai/jina-bert-implementation--", "jinaai/jina-bert-v2-qk-post-norm--"];
    const PREFIX: &'static str = "bert";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let field = "position_embedding_type";
        if config.text(field, "\"alibi\"", "alibi")? != "alibi" {
            return Err(config.refusal(
                field,
                "\"alibi\"",
                "other positions aren't built for this family",
            ));
        }
        let field = "feed_forward_type";
        let expected = "\"geglu\" or \"reglu\"";
        let gate = match config.text(field, expected, "geglu")? {
            "geglu" => UnaryFn::GeluErf,
            "reglu" => UnaryFn::Relu,
            _ => return Err(config.error(field, expected, "geglu")),
        };
        Ok(Self { stack: Stack::read_with(config, gate, true)?, gate })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let Stack { hidden, eps, ref embeddings, .. } = self.stack;
        let at = base.child("embeddings");
        let ids = token_ids(net, embeddings.positions.rows);
        let types = segment_ids(net);
        let words = lookup(net, &base.child(Self::WORDS), [embeddings.vocab, hidden], ids)?;
        let segments = at.child("token_type_embeddings");
        let segments = lookup(net, &segments, [embeddings.types, hidden], types)?;
        let sum = net.builder.binary(at.child("sum").name(), BinaryFn::Add, words, segments)?;
        let mut x = net.layer_norm(&at.child("LayerNorm"), sum, hidden, eps)?;
        for i in 0..self.stack.layers {
            x = self.layer(net, &base.child(&format!("encoder.layer.{i}")), x)?;
        }
        Ok(x)
    }

    fn width(&self) -> u64 {
        self.stack.hidden
    }

    fn words(&self) -> [u64; 2] {
        [self.stack.embeddings.vocab, self.stack.embeddings.width]
    }

    fn tied(&self) -> bool {
        true
    }

    fn segments(&self) -> bool {
        true
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.stack.embeddings.positions.rows, "max_position_embeddings"))
    }
}

impl Jina {
    fn layer(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let up_gated = at.child("mlp.up_gated_layer").tensor("weight");
        if net.checkpoint.holds(&up_gated) {
            return self.later_layer(net, at, x);
        }
        let attended = self.attention(net, at, false, x)?;
        let mlp = at.child("mlp");
        let [gate, up] = self.both(net, &mlp.child("gated_layers"), ["gate", "up"], attended)?;
        let inner = Gate { function: self.gate }.build(net, &mlp, gate, up)?;
        let Stack { hidden, intermediate, eps, .. } = self.stack;
        let part = AddAndNorm { inputs: intermediate, width: hidden, eps };
        part.build(net, &mlp, [&mlp.child("wo"), &mlp.child("layernorm")], inner, attended)
    }

    /// The layout with normalised queries and keys, a second normalisation after attention, and the gate last.
    fn later_layer(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let Stack { hidden, intermediate, eps, .. } = self.stack;
        let attended = self.attention(net, at, true, x)?;
        let sum = at.child("attention.residual");
        let sum = net.builder.binary(sum.name(), BinaryFn::Add, attended, x)?;
        let x = net.layer_norm(&at.child("layer_norm_1"), sum, hidden, eps)?;
        let mlp = at.child("mlp");
        let [up, gate] = self.both(net, &mlp.child("up_gated_layer"), ["up", "gate"], x)?;
        let inner = Gate { function: self.gate }.build(net, &mlp, gate, up)?;
        let part = AddAndNorm { inputs: intermediate, width: hidden, eps };
        part.build(net, &mlp, [&mlp.child("down_layer"), &at.child("layer_norm_2")], inner, x)
    }

    /// `LN(x + O(attention(x)))`, with queries and keys normalised over all heads if `normed` is set.
    fn attention(&self, net: &mut Net<'_>, at: &Module, normed: bool, x: NodeId) -> Built {
        let Stack { hidden, heads, eps, .. } = self.stack;
        let attention = at.child("attention.self");
        let names = ["query", "key", "value"];
        let [mut q, mut k, v] = net.linears(&attention, names, x, [hidden, hidden])?;
        if normed {
            q = net.layer_norm(&attention.child("layer_norm_q"), q, hidden, eps)?;
            k = net.layer_norm(&attention.child("layer_norm_k"), k, hidden, eps)?;
        }
        let part = Attention { bias: Bias::Alibi(slopes(heads)), ..Attention::of(hidden, heads) };
        let attended = part.build(net, &attention, [q, k, v], &[])?;
        self.stack.output(net, &at.child("attention.output"), hidden, attended, x)
    }

    /// Both halves of one linear without a bias.
    fn both(
        &self,
        net: &mut Net<'_>,
        at: &Module,
        names: [&str; 2],
        x: NodeId,
    ) -> Result<[NodeId; 2], bytec_ir::builder::BuildError> {
        let wide = self.stack.intermediate;
        let product = net.linear_without_bias(at, x, 2 * wide, self.stack.hidden)?;
        net.columns(at, product, names, wide)
    }
}

/// The slopes of Press et al. 2021: `2^(-8 (h + 1) / n)` for n heads, a power of two. For other numbers, those of the next
/// power below, and then every second one of the next power above.
fn slopes(heads: u64) -> Vec<Real> {
    let of_power = |n: u64| (1..=n).map(move |h| Real((-8.0 * h as f64 / n as f64).exp2()));
    let below = 1 << heads.ilog2();
    let rest = of_power(2 * below).step_by(2).take((heads - below) as usize);
    of_power(below).chain(rest).collect()
}

const HEADS: &[Head<Jina>] = &[
    Head { architecture: "JinaBertModel", build: base },
    Head { architecture: "JinaBertForSequenceClassification", build: sequence_classification },
    Head { architecture: "JinaBertForTokenClassification", build: token_classification },
    Head { architecture: "JinaBertForQuestionAnswering", build: question_answering },
];

fn base(jina: &mut Draft<'_, Jina>) -> Result<(), ModelError> {
    rows_and_pooler(jina, bert::POOLER)
}

/// `logits` `[labels]`: a linear of the pooler's result.
fn sequence_classification(jina: &mut Draft<'_, Jina>) -> Result<(), ModelError> {
    let pooled = pooler(jina, bert::POOLER)?;
    classify(jina, "classifier", pooled)
}
