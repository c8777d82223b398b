//! MPNet (Song et al. 2020): BERT's layers with a bias by distance, from one table for all layers.

use bytec_ir::attention::Bias;
use bytec_ir::attrs::UnaryFn;
use bytec_ir::buckets::Buckets;
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;

use crate::bert::{self, Stack};
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{
    Vocabulary, classify, first_activated, multiple_choice, pooler, question_answering,
    rows_and_pooler, token_classification,
};
use crate::layers::{AddAndNorm, Attention, activated};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "mpnet",
    model_types: &["mpnet"],
    summary: "MPNet encoders (Song et al. 2020), every head of transformers, and sentence embeddings",
    architectures: architectures::<Mpnet>,
    build: build::<Mpnet>,
};

/// The rows of the table of biases and the distance from which on they are one: no config changes them.
const BUCKETS: u32 = 32;
const MAX_DISTANCE: u32 = 128;

/// The id that positions take as the padding token's, whatever the config says.
const PADDING: u64 = 1;

/// The sizes of an MPNet.
#[derive(Clone, Debug, PartialEq)]
pub struct Mpnet {
    stack: Stack,
    tied: bool,
}

impl Encoder for Mpnet {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["MPNetModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "relative_attention_num_buckets",
        "tie_word_embeddings",
        "vocab_size",
    ];
    const PREFIX: &'static str = "mpnet";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let mut stack = Stack::read_without_types(config)?;
        let positions = &mut stack.embeddings.positions;
        if positions.rows <= PADDING + 1 {
            let expected = "3 or more: the first position is 2";
            return Err(config.error("max_position_embeddings", expected, "514"));
        }
        positions.padding = Some(PADDING);
        let field = "relative_attention_num_buckets";
        let buckets = u64::from(BUCKETS);
        if config.size(field, 1..=1 << 16, buckets)? != buckets {
            let help = "the reference takes 32 whatever the config says";
            return Err(config.refusal(field, buckets.to_string(), help));
        }
        Ok(Self { stack, tied: config.flag("tie_word_embeddings", true)? })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let mut x = self.stack.embeddings.build(net, &base.child("embeddings"))?;
        let encoder = base.child("encoder");
        let at = encoder.child("relative_attention_bias");
        let table = net.table(&at, u64::from(BUCKETS), self.stack.heads);
        for i in 0..self.stack.layers {
            x = self.layer(net, &encoder.child(&format!("layer.{i}")), table, x)?;
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
        self.tied
    }

    fn segments(&self) -> bool {
        false
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.stack.embeddings.most_tokens(), "max_position_embeddings less 2"))
    }
}

impl Mpnet {
    /// `LN(x + O(attention(x)))`, then `LN(x + W2 act(W1 x))`.
    fn layer(&self, net: &mut Net<'_>, at: &Module, table: NodeId, x: NodeId) -> Built {
        let Stack { hidden, heads, eps, .. } = self.stack;
        let attention = at.child("attention");
        let attn = attention.child("attn");
        let [q, k, v] = net.linears(&attn, ["q", "k", "v"], x, [hidden, hidden])?;
        let buckets =
            Buckets::T5 { buckets: BUCKETS, max_distance: MAX_DISTANCE, bidirectional: true };
        let part = Attention { bias: Bias::Relative(buckets), ..Attention::of(hidden, heads) };
        let attended = part.build(net, &attn, [q, k, v], &[table])?;
        let part = AddAndNorm { inputs: hidden, width: hidden, eps };
        let modules = [&attn.child("o"), &attention.child("LayerNorm")];
        let x = part.build(net, &attention, modules, attended, x)?;
        self.stack.feed_forward(net, at, x)
    }
}

const HEADS: &[Head<Mpnet>] = &[
    Head { architecture: "MPNetModel", build: |mpnet| rows_and_pooler(mpnet, bert::POOLER) },
    Head { architecture: "MPNetForSequenceClassification", build: sequence_classification },
    Head { architecture: "MPNetForTokenClassification", build: token_classification },
    Head { architecture: "MPNetForMaskedLM", build: masked_lm },
    Head { architecture: "MPNetForQuestionAnswering", build: question_answering },
    Head { architecture: "MPNetForMultipleChoice", build: choice },
];

/// `logits` `[labels]`: `out_proj(tanh(dense(x[0])))`.
fn sequence_classification(mpnet: &mut Draft<'_, Mpnet>) -> Result<(), ModelError> {
    let x = first_activated(mpnet, "classifier.dense", UnaryFn::Tanh)?;
    classify(mpnet, "classifier.out_proj", x)
}

fn choice(mpnet: &mut Draft<'_, Mpnet>) -> Result<(), ModelError> {
    let pooled = pooler(mpnet, bert::POOLER)?;
    multiple_choice(mpnet, pooled)
}

/// `logits` `[L, vocab]`: `decoder(LN(gelu(dense(x))))`, whatever the layers' activation.
fn masked_lm(mpnet: &mut Draft<'_, Mpnet>) -> Result<(), ModelError> {
    let at = Module::at("lm_head");
    let (hidden, eps) = (mpnet.encoder.stack.hidden, mpnet.encoder.stack.eps);
    let (net, last) = (&mut mpnet.net, mpnet.last);
    let acted = activated(net, &at.child("dense"), last, [hidden, hidden], UnaryFn::GeluErf)?;
    let normed = net.layer_norm(&at.child("layer_norm"), acted, hidden, eps)?;
    let vocabulary = Vocabulary {
        decoder: "lm_head.decoder",
        biases: &["lm_head.bias", "lm_head.decoder.bias"],
        words_only: false,
    };
    let logits = vocabulary.build(mpnet, normed)?;
    mpnet.net.builder.output("logits", logits);
    Ok(())
}
