//! DistilBERT (Sanh et al. 2019).

use bytec_ir::attrs::UnaryFn;
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;

use crate::activation::activation;
use crate::bert;
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{
    Vocabulary, classify, first_activated, multiple_choice, question_answering, rows,
    token_classification,
};
use crate::layers::{AddAndNorm, Embeddings, Positions, SelfAttention, activated};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "distilbert",
    model_types: &["distilbert"],
    summary: "DistilBERT encoders (Sanh et al. 2019), every head of transformers, and sentence embeddings",
    architectures: architectures::<DistilBert>,
    build: build::<DistilBert>,
};

/// Added to the variance in every layer normalisation, whatever a config says.
const EPS: f64 = 1e-12;

/// The sizes of a DistilBERT: BERT's layers under other names, without segments and pooler.
#[derive(Clone, Debug, PartialEq)]
pub struct DistilBert {
    embeddings: Embeddings,
    hidden: u64,
    layers: u64,
    heads: u64,
    intermediate: u64,
    activation: UnaryFn,
    tied: bool,
}

impl Encoder for DistilBert {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["DistilBertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "activation",
        "dim",
        "hidden_dim",
        "max_position_embeddings",
        "n_heads",
        "n_layers",
        // A table of sines is stored like any other.
        "sinusoidal_pos_embds",
        "tie_word_embeddings",
        "vocab_size",
    ];
    const PREFIX: &'static str = "distilbert";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let hidden = config.size("dim", 1..=1 << 16, 768)?;
        let heads = config.divisor("n_heads", "dim", hidden, 12)?;
        let embeddings = Embeddings {
            width: hidden,
            vocab: config.size("vocab_size", 1..=1 << 24, 30522)?,
            positions: Positions {
                rows: config.size("max_position_embeddings", 1..=1 << 20, 512)?,
                padding: None,
            },
            types: 0,
            eps: EPS,
        };
        Ok(Self {
            embeddings,
            hidden,
            layers: config.size("n_layers", 1..=512, 6)?,
            heads,
            intermediate: config.size("hidden_dim", 1..=1 << 20, 3072)?,
            activation: activation(config, "activation")?,
            tied: config.flag("tie_word_embeddings", true)?,
        })
    }

    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let mut x = self.embeddings.build(net, &base.child("embeddings"))?;
        for i in 0..self.layers {
            x = self.layer(net, &base.child(&format!("transformer.layer.{i}")), x)?;
        }
        Ok(x)
    }

    fn width(&self) -> u64 {
        self.hidden
    }

    fn words(&self) -> [u64; 2] {
        [self.embeddings.vocab, self.embeddings.width]
    }

    fn tied(&self) -> bool {
        self.tied
    }

    fn segments(&self) -> bool {
        false
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.embeddings.most_tokens(), "max_position_embeddings"))
    }
}

impl DistilBert {
    /// `LN(x + O(attention(x)))`, then `LN(x + W2 act(W1 x))`.
    fn layer(&self, net: &mut Net<'_>, at: &Module, x: NodeId) -> Built {
        let attention = at.child("attention");
        let part = SelfAttention { width: self.hidden, heads: self.heads };
        let attended = part.build(net, &attention, ["q_lin", "k_lin", "v_lin"], x)?;
        let part = AddAndNorm { inputs: self.hidden, width: self.hidden, eps: EPS };
        let modules = [&attention.child("out_lin"), &at.child("sa_layer_norm")];
        let x = part.build(net, &attention, modules, attended, x)?;
        let ffn = at.child("ffn");
        let sizes = [self.intermediate, self.hidden];
        let acted = activated(net, &ffn.child("lin1"), x, sizes, self.activation)?;
        let part = AddAndNorm { inputs: self.intermediate, width: self.hidden, eps: EPS };
        let modules = [&ffn.child("lin2"), &at.child("output_layer_norm")];
        part.build(net, &ffn, modules, acted, x)
    }
}

const HEADS: &[Head<DistilBert>] = &[
    Head { architecture: "DistilBertModel", build: rows },
    Head { architecture: "DistilBertForSequenceClassification", build: sequence_classification },
    Head { architecture: "DistilBertForTokenClassification", build: token_classification },
    Head { architecture: "DistilBertForMaskedLM", build: masked_lm },
    Head { architecture: "DistilBertForQuestionAnswering", build: question_answering },
    Head { architecture: "DistilBertForMultipleChoice", build: choice },
];

/// `logits` `[labels]`: `classifier(relu(pre_classifier(x[0])))`.
fn sequence_classification(model: &mut Draft<'_, DistilBert>) -> Result<(), ModelError> {
    let x = first_activated(model, "pre_classifier", UnaryFn::Relu)?;
    classify(model, "classifier", x)
}

fn choice(model: &mut Draft<'_, DistilBert>) -> Result<(), ModelError> {
    let x = first_activated(model, "pre_classifier", UnaryFn::Relu)?;
    multiple_choice(model, x)
}

/// `logits` `[L, vocab]`: `projector(LN(act(transform(x))))`.
fn masked_lm(model: &mut Draft<'_, DistilBert>) -> Result<(), ModelError> {
    let (hidden, function) = (model.encoder.hidden, model.encoder.activation);
    let (net, last) = (&mut model.net, model.last);
    let acted = activated(net, &Module::at("vocab_transform"), last, [hidden, hidden], function)?;
    let normed = net.layer_norm(&Module::at("vocab_layer_norm"), acted, hidden, EPS)?;
    let vocabulary = Vocabulary {
        decoder: "vocab_projector",
        biases: &["vocab_projector.bias"],
        words_only: false,
    };
    let logits = vocabulary.build(model, normed)?;
    model.net.builder.output("logits", logits);
    Ok(())
}
