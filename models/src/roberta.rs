//! RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020).

use bytec_ir::attrs::UnaryFn;
use bytec_ir::builder::Built;

use crate::bert::{self, Stack};
use crate::encoder::{Draft, Encoder, Head, architectures, build};
use crate::heads::{
    Vocabulary, classify, first_activated, multiple_choice, pooler, question_answering,
    rows_and_pooler, token_classification,
};
use crate::layers::activated;
use crate::net::{Module, Net};
use crate::{Config, Family, FieldError, ModelError};

/// This family's line in the table of models.
pub const FAMILY: Family = Family {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta", "camembert"],
    summary: "RoBERTa, XLM-RoBERTa and CamemBERT encoders (Liu et al. 2019), every head of transformers, and sentence embeddings",
    architectures: architectures::<Roberta>,
    build: build::<Roberta>,
};

/// BERT's layers over positions that start after the padding token's id.
#[derive(Clone, Debug, PartialEq)]
pub struct Roberta {
    stack: Stack,
    tied: bool,
}

impl Encoder for Roberta {
    const NAME: &'static str = FAMILY.name;
    const BASES: &'static [&'static str] = &["RobertaModel", "XLMRobertaModel", "CamembertModel"];
    const HEADS: &'static [Head<Self>] = HEADS;
    const FIELDS: &'static [&'static str] = &[
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_norm_eps",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "pad_token_id",
        "tie_word_embeddings",
        "type_vocab_size",
        "vocab_size",
    ];
    const PREFIX: &'static str = "roberta";
    const WORDS: &'static str = bert::WORDS;

    /// A row of the position table belongs to the padding token and those before it to none, so `pad_token_id` has to be
    /// there.
    fn read(config: &Config) -> Result<Self, FieldError> {
        let mut stack = Stack::read(config)?;
        let positions = &mut stack.embeddings.positions;
        if positions.rows < 2 {
            let expected = "2 or more: the first position is after the padding token's";
            return Err(config.error("max_position_embeddings", expected, "514"));
        }
        positions.padding = Some(config.size("pad_token_id", 0..=positions.rows - 2, 1)?);
        Ok(Self { stack, tied: config.flag("tie_word_embeddings", true)? })
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

    /// With one row in the table, whatever a tokenizer says of segments would be past its end.
    fn segments(&self) -> bool {
        self.stack.embeddings.types > 1
    }

    fn most_tokens(&self) -> Option<(u64, &'static str)> {
        Some((self.stack.embeddings.most_tokens(), "max_position_embeddings less pad_token_id + 1"))
    }
}

const HEADS: &[Head<Roberta>] = &[
    Head { architecture: "RobertaModel", build: base },
    Head { architecture: "RobertaForSequenceClassification", build: sequence_classification },
    Head { architecture: "RobertaForTokenClassification", build: token_classification },
    Head { architecture: "RobertaForMaskedLM", build: masked_lm },
    Head { architecture: "RobertaForQuestionAnswering", build: question_answering },
    Head { architecture: "RobertaForMultipleChoice", build: choice },
    Head { architecture: "XLMRobertaModel", build: base },
    Head { architecture: "XLMRobertaForSequenceClassification", build: sequence_classification },
    Head { architecture: "XLMRobertaForTokenClassification", build: token_classification },
    Head { architecture: "XLMRobertaForMaskedLM", build: masked_lm },
    Head { architecture: "XLMRobertaForQuestionAnswering", build: question_answering },
    Head { architecture: "XLMRobertaForMultipleChoice", build: choice },
    Head { architecture: "CamembertModel", build: base },
    Head { architecture: "CamembertForSequenceClassification", build: sequence_classification },
    Head { architecture: "CamembertForTokenClassification", build: token_classification },
    Head { architecture: "CamembertForMaskedLM", build: masked_lm },
    Head { architecture: "CamembertForQuestionAnswering", build: question_answering },
    Head { architecture: "CamembertForMultipleChoice", build: choice },
];

fn base(roberta: &mut Draft<'_, Roberta>) -> Result<(), ModelError> {
    rows_and_pooler(roberta, bert::POOLER)
}

/// `logits` `[labels]`: `out_proj(tanh(dense(x[0])))`.
fn sequence_classification(roberta: &mut Draft<'_, Roberta>) -> Result<(), ModelError> {
    let x = first_activated(roberta, "classifier.dense", UnaryFn::Tanh)?;
    classify(roberta, "classifier.out_proj", x)
}

fn choice(roberta: &mut Draft<'_, Roberta>) -> Result<(), ModelError> {
    let pooled = pooler(roberta, bert::POOLER)?;
    multiple_choice(roberta, pooled)
}

/// `logits` `[L, vocab]`: `decoder(LN(gelu(dense(x))))`, whatever the layers' activation.
fn masked_lm(roberta: &mut Draft<'_, Roberta>) -> Result<(), ModelError> {
    let at = Module::at("lm_head");
    let (hidden, eps) = (roberta.encoder.stack.hidden, roberta.encoder.stack.eps);
    let (net, last) = (&mut roberta.net, roberta.last);
    let acted = activated(net, &at.child("dense"), last, [hidden, hidden], UnaryFn::GeluErf)?;
    let normed = net.layer_norm(&at.child("layer_norm"), acted, hidden, eps)?;
    let vocabulary = Vocabulary {
        decoder: "lm_head.decoder",
        biases: &["lm_head.bias", "lm_head.decoder.bias"],
        words_only: false,
    };
    let logits = vocabulary.build(roberta, normed)?;
    roberta.net.builder.output("logits", logits);
    Ok(())
}
