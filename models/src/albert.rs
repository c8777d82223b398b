//! ALBERT (Lan et al. 2020): narrow embeddings, and layers that share their weights.

use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;

use crate::bert::{self, Stack};
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{
    Vocabulary, classify, multiple_choice, pooler, question_answering, rows_and_pooler,
    token_classification,
};
use crate::layers::{AddAndNorm, SelfAttention, activated};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "albert",
    model_types: &["albert"],
    summary: "ALBERT encoders (Lan et al. 2020), every head of transformers, and sentence embeddings",
    architectures: architectures::<Albert>,
    build: build::<Albert>,
};

/// The sizes of an ALBERT. A layer's weights go by one name wherever it is applied, so that a plan stores them once.
#[derive(Clone, Debug, PartialEq)]
pub struct Albert {
    stack: Stack,
    /// Groups that the layers are spread over.
    groups: u64,
    /// Layers of a group, each with its own weights.
    inner: u64,
    tied: bool,
}

impl Encoder for Albert {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["AlbertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "embedding_size",
        "hidden_act",
        "hidden_size",
        "inner_group_num",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_groups",
        "num_hidden_layers",
        "tie_word_embeddings",
        "type_vocab_size",
        "vocab_size",
    ];
    const PREFIX: &'static str = "albert";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let mut stack = Stack::read(config)?;
        stack.embeddings.width = config.size("embedding_size", 1..=1 << 16, 128)?;
        let groups = config.size("num_hidden_groups", 1..=stack.layers, 1)?;
        let inner = config.size("inner_group_num", 1..=64, 1)?;
        Ok(Self { stack, groups, inner, tied: config.flag("tie_word_embeddings", true)? })
    }

    /// Application `i` of `layers` takes group `floor(i * groups / layers)` and runs all of its layers.
    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let narrow = self.stack.embeddings.build(net, &base.child("embeddings"))?;
        let at = base.child("encoder.embedding_hidden_mapping_in");
        let mut x = net.linear(&at, narrow, self.stack.hidden, self.stack.embeddings.width)?;
        for i in 0..self.stack.layers {
            let group = i * self.groups / self.stack.layers;
            for inner in 0..self.inner {
                let path = format!("encoder.albert_layer_groups.{group}.albert_layers.{inner}");
                x = self.layer(net, &base.child(&path), x)?;
            }
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
        true
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.stack.embeddings.most_tokens(), "max_position_embeddings"))
    }
}

impl Albert {
    /// `LN(x + O(attention(x)))`, then `LN(x + W2 act(W1 x))`.
    fn layer(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let Stack { hidden, heads, intermediate, activation, eps, .. } = self.stack;
        let attention = at.child("attention");
        let part = SelfAttention { width: hidden, heads };
        let attended = part.build(net, &attention, ["query", "key", "value"], x)?;
        let part = AddAndNorm { inputs: hidden, width: hidden, eps };
        let modules = [&attention.child("dense"), &attention.child("LayerNorm")];
        let x = part.build(net, &attention, modules, attended, x)?;
        let acted = activated(net, &at.child("ffn"), x, [intermediate, hidden], activation)?;
        let part = AddAndNorm { inputs: intermediate, width: hidden, eps };
        let modules = [&at.child("ffn_output"), &at.child("full_layer_layer_norm")];
        part.build(net, at, modules, acted, x)
    }
}

/// The pooler's linear.
const POOLER: &str = "pooler";

const HEADS: &[Head<Albert>] = &[
    Head { architecture: "AlbertModel", build: |albert| rows_and_pooler(albert, POOLER) },
    Head { architecture: "AlbertForSequenceClassification", build: sequence_classification },
    Head { architecture: "AlbertForTokenClassification", build: token_classification },
    Head { architecture: "AlbertForMaskedLM", build: masked_lm },
    Head { architecture: "AlbertForPreTraining", build: pre_training },
    Head { architecture: "AlbertForQuestionAnswering", build: question_answering },
    Head { architecture: "AlbertForMultipleChoice", build: choice },
];

/// `logits` `[labels]`: a linear of the pooler's result.
fn sequence_classification(albert: &mut Draft<'_, Albert>) -> Result<(), ModelError> {
    let pooled = pooler(albert, POOLER)?;
    classify(albert, "classifier", pooled)
}

fn choice(albert: &mut Draft<'_, Albert>) -> Result<(), ModelError> {
    let pooled = pooler(albert, POOLER)?;
    multiple_choice(albert, pooled)
}

/// `logits` `[L, vocab]`.
fn masked_lm(albert: &mut Draft<'_, Albert>) -> Result<(), ModelError> {
    let logits = predictions(albert)?;
    albert.net.builder.output("logits", logits);
    Ok(())
}

/// `prediction_logits` `[L, vocab]` and `sop_logits` `[2]`: are the two segments in order.
fn pre_training(albert: &mut Draft<'_, Albert>) -> Result<(), ModelError> {
    let words = predictions(albert)?;
    albert.net.builder.output("prediction_logits", words);
    let pooled = pooler(albert, POOLER)?;
    let at = Module::at("sop_classifier.classifier");
    let order = albert.net.linear(&at, pooled, 2, albert.encoder.width())?;
    albert.net.builder.output("sop_logits", order);
    Ok(())
}

/// `decoder(LN(act(W x + b)))`, `[L, vocab]`, at the width of the embeddings.
fn predictions(albert: &mut Draft<'_, Albert>) -> Built {
    let at = Module::at("predictions");
    let Stack { hidden, activation, eps, ref embeddings, .. } = albert.encoder.stack;
    let (net, last, width) = (&mut albert.net, albert.last, embeddings.width);
    let acted = activated(net, &at.child("dense"), last, [width, hidden], activation)?;
    let normed = net.layer_norm(&at.child("LayerNorm"), acted, width, eps)?;
    let vocabulary = Vocabulary {
        decoder: "predictions.decoder",
        biases: &["predictions.bias", "predictions.decoder.bias"],
        words_only: false,
    };
    vocabulary.build(albert, normed)
}
