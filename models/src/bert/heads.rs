//! The architectures: what each puts on top of the encoder. Output names are those of transformers.

use bytec_ir::attrs::BinaryFn;
use bytec_ir::builder::Built;
use bytec_ir::ops::Op;

use super::encoder::pooler;
use super::{Bert, Tied, labels};
use crate::error::ModelError;
use crate::net::Module;

/// The bare encoder.
pub const BASE: &str = "BertModel";

/// One architecture.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its name in a config.
    pub architecture: &'static str,
    /// Adds it to a built encoder.
    pub build: fn(&mut Bert<'_>) -> Result<(), ModelError>,
}

/// Every architecture.
pub const HEADS: &[Head] = &[
    Head { architecture: BASE, build: base },
    Head { architecture: "BertForSequenceClassification", build: sequence_classification },
    Head { architecture: "BertForTokenClassification", build: token_classification },
    Head { architecture: "BertForMaskedLM", build: masked_lm },
    Head { architecture: "BertForPreTraining", build: pre_training },
    Head { architecture: "BertForNextSentencePrediction", build: next_sentence },
    Head { architecture: "BertForQuestionAnswering", build: question_answering },
    Head { architecture: "BertForMultipleChoice", build: multiple_choice },
];

/// `last_hidden_state`, and `pooler_output` if the file has a pooler.
fn base(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    bert.net.builder.output("last_hidden_state", bert.last);
    let dense = bert.base.child("pooler.dense");
    let held = ["weight", "bias"].map(|name| bert.net.checkpoint.holds(&dense.tensor(name)));
    if held.contains(&true) {
        let pooled = pooled(bert)?;
        bert.net.builder.output("pooler_output", pooled);
    } else {
        bert.notes.push("the file has no pooler, so there is no pooler_output".to_owned());
    }
    Ok(())
}

fn pooled(bert: &mut Bert<'_>) -> Built {
    pooler(&mut bert.net, &bert.base, &bert.config, bert.last)
}

/// The classifier's class names, at least one.
fn classes(bert: &Bert<'_>, classifier: &Module) -> Result<Vec<String>, ModelError> {
    labels::labels(bert.fields, bert.net.checkpoint, &classifier.tensor("weight"))
}

/// `logits` `[labels]`: a linear of the pooler's result.
fn sequence_classification(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let classifier = Module::at("classifier");
    bert.labels = classes(bert, &classifier)?;
    let pooled = pooled(bert)?;
    let logits =
        bert.net.linear(&classifier, pooled, bert.labels.len() as u64, bert.config.hidden)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

/// `logits` `[L, labels]`: a linear of every row.
fn token_classification(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let classifier = Module::at("classifier");
    bert.labels = classes(bert, &classifier)?;
    let (last, count) = (bert.last, bert.labels.len() as u64);
    let logits = bert.net.linear(&classifier, last, count, bert.config.hidden)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

/// `logits` `[L, vocab]`.
fn masked_lm(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let logits = predictions(bert)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

/// `prediction_logits` `[L, vocab]` and `seq_relationship_logits` `[2]`.
fn pre_training(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let words = predictions(bert)?;
    bert.net.builder.output("prediction_logits", words);
    let pair = seq_relationship(bert)?;
    bert.net.builder.output("seq_relationship_logits", pair);
    Ok(())
}

/// `logits` `[2]`: is the second segment the sentence that follows the first.
fn next_sentence(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let logits = seq_relationship(bert)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

fn seq_relationship(bert: &mut Bert<'_>) -> Built {
    let pooled = pooled(bert)?;
    bert.net.linear(&Module::at("cls.seq_relationship"), pooled, 2, bert.config.hidden)
}

/// `start_logits` and `end_logits` `[L]`: the two columns of a linear of every row.
fn question_answering(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let at = Module::at("qa_outputs");
    let logits = bert.net.linear(&at, bert.last, 2, bert.config.hidden)?;
    for (index, name) in ["start_logits", "end_logits"].into_iter().enumerate() {
        let column =
            bert.net.builder.op(at.child(name).name(), Op::Select { axis: 1, index }, &[logits])?;
        bert.net.builder.output(name, column);
    }
    Ok(())
}

/// `logits` `[1]`: the score of one choice. A question's choices are samples of one batch; its logits are theirs side
/// by side.
fn multiple_choice(bert: &mut Bert<'_>) -> Result<(), ModelError> {
    let pooled = pooled(bert)?;
    let logits = bert.net.linear(&Module::at("classifier"), pooled, 1, bert.config.hidden)?;
    bert.net.builder.output("logits", logits);
    Ok(())
}

/// `decoder(LN(act(W x + b)))`, `[L, vocab]`.
fn predictions(bert: &mut Bert<'_>) -> Built {
    let (hidden, vocab, last) = (bert.config.hidden, bert.config.vocab, bert.last);
    let at = Module::at("cls.predictions");
    let transform = at.child("transform");
    let dense = bert.net.linear(&transform.child("dense"), last, hidden, hidden)?;
    let acted =
        bert.net.builder.unary(transform.child("act").name(), bert.config.activation, dense)?;
    let normed =
        bert.net.layer_norm(&transform.child("LayerNorm"), acted, hidden, bert.config.eps)?;
    let (matrix, help) = output_matrix(bert, &at);
    let weight = bert.net.weight_or(&[matrix], &[vocab, hidden], help);
    let bias = output_bias(bert, &at);
    let bias = bert.net.weight(&bias, &[vocab]);
    let decoder = at.child("decoder");
    let product = bert.net.builder.op(
        decoder.name(),
        Op::Linear { epilogue: Vec::new() },
        &[normed, weight],
    )?;
    let bias_name = decoder.child("add_bias");
    bert.net.builder.binary(bias_name.name(), BinaryFn::Add, product, bias)
}

/// The name of the output matrix: the word table if the two are tied, else the decoder's own weight.
///
/// A tied config over a file that holds both is only taken if the two are equal: libraries differ in which one they
/// would use.
fn output_matrix(bert: &mut Bert<'_>, at: &Module) -> (String, Option<&'static str>) {
    let words = bert.base.child("embeddings.word_embeddings").tensor("weight");
    let own = at.child("decoder").tensor("weight");
    if !bert.config.tied {
        return (
            own,
            Some("if the word table is the output matrix, pass --set tie_word_embeddings=true"),
        );
    }
    if bert.net.checkpoint.holds(&own) {
        bert.ignored.push(own.clone());
        if !bert.fields.is_set("tie_word_embeddings") {
            let help = "pass --set tie_word_embeddings=false to use the decoder's own, or =true to use the word table";
            bert.tied.push(Tied { used: words.clone(), other: own, help: help.to_owned() });
        }
    }
    (words, None)
}

/// The names of the output bias, best first: one parameter under two names. A file that holds both has to agree.
fn output_bias(bert: &mut Bert<'_>, at: &Module) -> [String; 2] {
    let names = [at.tensor("bias"), at.child("decoder").tensor("bias")];
    if names.iter().all(|name| bert.net.checkpoint.holds(name)) {
        let [used, other] = names.clone();
        bert.ignored.push(other.clone());
        let help = "remove the one that isn't meant from the file";
        bert.tied.push(Tied { used, other, help: help.to_owned() });
    }
    names
}
