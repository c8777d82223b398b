//! ELECTRA (Clark et al. 2020): BERT's layers over embeddings of another width, as generator or discriminator.

use bytec_ir::attrs::{ReduceFn, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;

use crate::activation::activation;
use crate::bert::{self, Stack};
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{
    Vocabulary, classify, first_activated, multiple_choice, question_answering, rows,
    token_classification,
};
use crate::layers::{activated, first_row};
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "electra",
    model_types: &["electra"],
    summary: "ELECTRA encoders (Clark et al. 2020), every head of transformers, and sentence embeddings",
    architectures: architectures::<Electra>,
    build: build::<Electra>,
};

/// The sizes of an ELECTRA.
#[derive(Clone, Debug, PartialEq)]
pub struct Electra {
    stack: Stack,
    tied: bool,
}

impl Encoder for Electra {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["ElectraModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "embedding_size",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "tie_word_embeddings",
        "type_vocab_size",
        "vocab_size",
    ];
    const PREFIX: &'static str = "electra";
    const WORDS: &'static str = bert::WORDS;

    fn read(config: &Config) -> Result<Self, FieldError> {
        let mut stack = Stack::read(config)?;
        stack.embeddings.width = config.size("embedding_size", 1..=1 << 16, 128)?;
        Ok(Self { stack, tied: config.flag("tie_word_embeddings", true)? })
    }

    /// A linear brings the embeddings to the layers' width where the two differ.
    fn encode(&self, net: &mut Net<'_>, base: &Module) -> Built {
        let (width, hidden) = (self.stack.embeddings.width, self.stack.hidden);
        let mut x = self.stack.embeddings.build(net, &base.child("embeddings"))?;
        if width != hidden {
            x = net.linear(&base.child("embeddings_project"), x, hidden, width)?;
        }
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

const HEADS: &[Head<Electra>] = &[
    Head { architecture: "ElectraModel", build: rows },
    Head { architecture: "ElectraForSequenceClassification", build: sequence_classification },
    Head { architecture: "ElectraForTokenClassification", build: token_classification },
    Head { architecture: "ElectraForMaskedLM", build: masked_lm },
    Head { architecture: "ElectraForPreTraining", build: pre_training },
    Head { architecture: "ElectraForQuestionAnswering", build: question_answering },
    Head { architecture: "ElectraForMultipleChoice", build: choice },
];

/// `logits` `[labels]`: `out_proj(gelu(dense(x[0])))`, whatever the layers' activation.
fn sequence_classification(electra: &mut Draft<'_, Electra>) -> Result<(), ModelError> {
    let x = first_activated(electra, "classifier.dense", UnaryFn::GeluErf)?;
    classify(electra, "classifier.out_proj", x)
}

/// `logits` `[L, vocab]` of the generator: `lm_head(LN(gelu(dense(x))))` at the width of the embeddings.
fn masked_lm(electra: &mut Draft<'_, Electra>) -> Result<(), ModelError> {
    let at = Module::at("generator_predictions");
    let Stack { hidden, eps, ref embeddings, .. } = electra.encoder.stack;
    let (net, last, width) = (&mut electra.net, electra.last, embeddings.width);
    let acted = activated(net, &at.child("dense"), last, [width, hidden], UnaryFn::GeluErf)?;
    let normed = net.layer_norm(&at.child("LayerNorm"), acted, width, eps)?;
    let vocabulary = Vocabulary {
        decoder: "generator_lm_head",
        biases: &["generator_lm_head.bias"],
        words_only: false,
    };
    let logits = vocabulary.build(electra, normed)?;
    electra.net.builder.output("logits", logits);
    Ok(())
}

/// `logits` `[L]` of the discriminator: the higher, the more likely is the token a replaced one.
fn pre_training(electra: &mut Draft<'_, Electra>) -> Result<(), ModelError> {
    let at = Module::at("discriminator_predictions");
    let Stack { hidden, activation, .. } = electra.encoder.stack;
    let (net, last) = (&mut electra.net, electra.last);
    let acted = activated(net, &at.child("dense"), last, [hidden, hidden], activation)?;
    let column = net.linear(&at.child("dense_prediction"), acted, 1, hidden)?;
    let op = Op::Select { axis: 1, index: 0 };
    let logits = net.builder.op(at.child("logits").name(), op, &[column])?;
    net.builder.output("logits", logits);
    Ok(())
}

/// `logits` `[1]`: the score of a summary of the rows, which the `summary_` fields describe.
fn choice(electra: &mut Draft<'_, Electra>) -> Result<(), ModelError> {
    let at = Module::at("sequence_summary");
    let summary = summarised(electra, &at)?;
    multiple_choice(electra, summary)
}

/// The row that stands for the sample, through a linear and an activation if the config has them.
fn summarised(electra: &mut Draft<'_, Electra>, at: &Module) -> Result<NodeId, ModelError> {
    let (fields, hidden, last) = (electra.fields, electra.encoder.stack.hidden, electra.last);
    let net = &mut electra.net;
    let mut row = match fields.text("summary_type", "\"first\" or \"mean\"", "first")? {
        "first" => first_row(net, at, last)?,
        "mean" => net.builder.reduce(at.child("mean").name(), ReduceFn::Mean, last, 0)?,
        _ => return Err(fields.error("summary_type", "\"first\" or \"mean\"", "first").into()),
    };
    if fields.flag("summary_proj_to_labels", false)? {
        let help = "the classifier after it takes rows of hidden_size";
        return Err(fields.refusal("summary_proj_to_labels", "false", help).into());
    }
    if fields.flag("summary_use_proj", true)? {
        row = net.linear(&at.child("summary"), row, hidden, hidden)?;
    }
    if fields.get("summary_activation").is_some_and(|value| value != "") {
        let function = activation(fields, "summary_activation")?;
        row = net.builder.unary(at.child("act").name(), function, row)?;
    }
    Ok(row)
}
