//! BERT (Devlin et al. 2018).

use bytec_ir::attrs::UnaryFn;
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;

use crate::activation::activation;
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{
    Vocabulary, classify, multiple_choice, pooler, question_answering, rows_and_pooler,
    token_classification,
};
use crate::layers::{AddAndNorm, Embeddings, Positions, SelfAttention, activated};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "bert",
    model_types: &["bert"],
    summary: "BERT encoders (Devlin et al. 2018), every head of transformers, and sentence embeddings",
    architectures: architectures::<Bert>,
    build: build::<Bert>,
};

/// The word table's module.
pub(crate) const WORDS: &str = "embeddings.word_embeddings";

/// A BERT encoder and whether its word table is tied.
#[derive(Clone, Debug, PartialEq)]
pub struct Bert {
    /// The encoder.
    pub stack: Stack,
    /// Whether the word table is also the output matrix of the masked language model.
    pub tied: bool,
}

/// The sizes and functions of an encoder that is laid out as BERT's: embeddings, then post-norm layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// The embeddings.
    pub embeddings: Embeddings,
    /// Width of a row.
    pub hidden: u64,
    /// Encoder layers.
    pub layers: u64,
    /// Attention heads; they divide `hidden`.
    pub heads: u64,
    /// Width of the feed-forward part.
    pub intermediate: u64,
    /// The feed-forward part's activation.
    pub activation: UnaryFn,
    /// Added to the variance in every layer normalisation.
    pub eps: f64,
}

impl Stack {
    /// Reads the fields of BERT's config.
    ///
    /// Every size must be there, since a checkpoint's shapes don't tell the heads, the epsilon or the activation.
    ///
    /// # Errors
    /// The first field that is missing, of the wrong type, out of range, or asks for what isn't built.
    pub fn read(config: &Config) -> Result<Self, FieldError> {
        Self::read_with(config, activation(config, "hidden_act")?, true)
    }

    /// As [`Stack::read`], for families without segments.
    ///
    /// # Errors
    /// As [`Stack::read`].
    pub fn read_without_types(config: &Config) -> Result<Self, FieldError> {
        Self::read_with(config, activation(config, "hidden_act")?, false)
    }

    /// As [`Stack::read`], with an activation from elsewhere, and with segments if `types` is set.
    ///
    /// # Errors
    /// As [`Stack::read`].
    pub fn read_with(
        config: &Config,
        activation: UnaryFn,
        types: bool,
    ) -> Result<Self, FieldError> {
        let hidden = config.size("hidden_size", 1..=1 << 16, 384)?;
        let layers = config.size("num_hidden_layers", 1..=512, 6)?;
        let heads = config.divisor("num_attention_heads", "hidden_size", hidden, 12)?;
        let intermediate = config.size("intermediate_size", 1..=1 << 20, 1536)?;
        let vocab = config.size("vocab_size", 1..=1 << 24, 30522)?;
        let rows = config.size("max_position_embeddings", 1..=1 << 20, 512)?;
        let types = match types {
            true => config.size("type_vocab_size", 1..=1 << 16, 2)?,
            false => 0,
        };
        let eps = config.positive("layer_norm_eps", 0.1, "1e-12")?;
        let positions = Positions { rows, padding: None };
        let embeddings = Embeddings { width: hidden, vocab, positions, types, eps };
        Ok(Self { embeddings, hidden, layers, heads, intermediate, activation, eps })
    }

    /// `LN(x + O(attention(x)))`, then `LN(x + W2 act(W1 x))`, for every layer `encoder.layer.i`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn layers(&self, net: &mut Net<'_>, base: &Module, mut x: NodeId) -> Built {
        for i in 0..self.layers {
            x = self.layer(net, &base.child(&format!("encoder.layer.{i}")), x)?;
        }
        Ok(x)
    }

    fn layer(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let attention = SelfAttention { width: self.hidden, heads: self.heads };
        let parts = ["query", "key", "value"];
        let attended = attention.build(net, &at.child("attention.self"), parts, x)?;
        let x = self.output(net, &at.child("attention.output"), self.hidden, attended, x)?;
        self.feed_forward(net, at, x)
    }

    /// `LN(x + W2 act(W1 x))`, with the linears `intermediate.dense` and `output.dense`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn feed_forward(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let wide = at.child("intermediate.dense");
        let sizes = [self.intermediate, self.hidden];
        let acted = activated(net, &wide, x, sizes, self.activation)?;
        self.output(net, &at.child("output"), self.intermediate, acted, x)
    }

    /// `LN(dense(x) + residual)`, with `dense` and `LayerNorm` at `at`.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn output(
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
}

impl Encoder for Bert {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["BertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "tie_word_embeddings",
        "type_vocab_size",
        "vocab_size",
    ];
    const PREFIX: &'static str = "bert";
    const WORDS: &'static str = WORDS;

    /// `tie_word_embeddings` may be missing: configs leave it out where it is true.
    fn read(config: &Config) -> Result<Self, FieldError> {
        let tied = config.flag("tie_word_embeddings", true)?;
        Ok(Self { stack: Stack::read(config)?, tied })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let x = self.stack.embeddings.build(net, &base.child("embeddings"))?;
        self.stack.layers(net, base, x)
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

const HEADS: &[Head<Bert>] = &[
    Head { architecture: "BertModel", build: |bert| rows_and_pooler(bert, POOLER) },
    Head { architecture: "BertForSequenceClassification", build: sequence_classification },
    Head { architecture: "BertForTokenClassification", build: token_classification },
    Head { architecture: "BertForMaskedLM", build: masked_lm },
    Head { architecture: "BertForPreTraining", build: pre_training },
    Head { architecture: "BertForNextSentencePrediction", build: next_sentence },
    Head { architecture: "BertForQuestionAnswering", build: question_answering },
    Head { architecture: "BertForMultipleChoice", build: choice },
];

/// The pooler's linear.
pub(crate) const POOLER: &str = "pooler.dense";

/// `logits` `[labels]`: a linear of the pooler's result.
fn sequence_classification(bert: &mut Draft<'_, Bert>) -> Result<(), ModelError> {
    let pooled = pooler(bert, POOLER)?;
    classify(bert, "classifier", pooled)
}

fn choice(bert: &mut Draft<'_, Bert>) -> Result<(), ModelError> {
    let pooled = pooler(bert, POOLER)?;
    multiple_choice(bert, pooled)
}

/// `logits` `[L, vocab]`.
fn masked_lm(bert: &mut Draft<'_, Bert>) -> Result<(), ModelError> {
    let logits = predictions(bert)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

/// `prediction_logits` `[L, vocab]` and `seq_relationship_logits` `[2]`.
fn pre_training(bert: &mut Draft<'_, Bert>) -> Result<(), ModelError> {
    let words = predictions(bert)?;
    bert.net.builder.output("prediction_logits", words);
    let pair = seq_relationship(bert)?;
    bert.net.builder.output("seq_relationship_logits", pair);
    Ok(())
}

/// `logits` `[2]`: is the second segment the sentence that follows the first.
fn next_sentence(bert: &mut Draft<'_, Bert>) -> Result<(), ModelError> {
    let logits = seq_relationship(bert)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

fn seq_relationship(bert: &mut Draft<'_, Bert>) -> Built {
    let pooled = pooler(bert, POOLER)?;
    bert.net.linear(&Module::at("cls.seq_relationship"), pooled, 2, bert.encoder.width())
}

/// `decoder(LN(act(W x + b)))`, `[L, vocab]`.
fn predictions(bert: &mut Draft<'_, Bert>) -> Built {
    let transform = Module::at("cls.predictions.transform");
    let (stack, last) = (bert.encoder.stack.clone(), bert.last);
    let dense = transform.child("dense");
    let product = bert.net.linear(&dense, last, stack.hidden, stack.hidden)?;
    let act = transform.child("act");
    let acted = bert.net.builder.unary(act.name(), stack.activation, product)?;
    let norm = transform.child("LayerNorm");
    let normed = bert.net.layer_norm(&norm, acted, stack.hidden, stack.eps)?;
    let vocabulary = Vocabulary {
        decoder: "cls.predictions.decoder",
        biases: &["cls.predictions.bias", "cls.predictions.decoder.bias"],
        words_only: false,
    };
    vocabulary.build(bert, normed)
}
