//! Heads that families share. Output names are those of transformers.

use bytec_ir::attrs::{BinaryFn, UnaryFn};
use bytec_ir::builder::Built;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;

use crate::encoder::{Draft, Encoder};
use crate::error::ModelError;
use crate::layers::{activated, first_row};
use crate::net::Module;
use crate::{Tied, labels};

/// `last_hidden_state` alone, for encoders without a pooler.
///
/// # Errors
/// None.
pub fn rows<E: Encoder>(draft: &mut Draft<'_, E>) -> Result<(), ModelError> {
    draft.net.builder.output("last_hidden_state", draft.last);
    Ok(())
}

/// `last_hidden_state`, and `pooler_output` if the file has the pooler `tanh(W x[0] + b)` at `dense`.
///
/// # Errors
/// If the sizes don't fit together.
pub fn rows_and_pooler<E: Encoder>(
    draft: &mut Draft<'_, E>,
    dense: &str,
) -> Result<(), ModelError> {
    rows(draft)?;
    let module = draft.base.child(dense);
    let held = ["weight", "bias"].map(|name| draft.net.checkpoint.holds(&module.tensor(name)));
    if held.contains(&true) {
        let pooled = pooler(draft, dense)?;
        draft.net.builder.output("pooler_output", pooled);
    } else {
        draft.notes.push("the file has no pooler, so there is no pooler_output".to_owned());
    }
    Ok(())
}

/// `tanh(W x[0] + b)` with the linear `dense` of the base model, f32 `[width]`: from the first token only.
///
/// # Errors
/// If the sizes don't fit together.
pub fn pooler<E: Encoder>(draft: &mut Draft<'_, E>, dense: &str) -> Built {
    let (at, width) = (draft.base.child("pooler"), draft.encoder.width());
    let dense = draft.base.child(dense);
    let first = first_row(&mut draft.net, &at, draft.last)?;
    let product = draft.net.linear(&dense, first, width, width)?;
    draft.net.builder.unary(at.child("tanh").name(), UnaryFn::Tanh, product)
}

/// `act(W x[0] + b)` with the linear at `dense`, f32 `[width]`.
///
/// # Errors
/// If the sizes don't fit together.
pub fn first_activated<E: Encoder>(
    draft: &mut Draft<'_, E>,
    dense: &str,
    function: UnaryFn,
) -> Built {
    let (at, width) = (Module::at(dense), draft.encoder.width());
    let first = first_row(&mut draft.net, &at, draft.last)?;
    activated(&mut draft.net, &at, first, [width, width], function)
}

/// `logits` `[labels]` or `[L, labels]`: the linear at `classifier` of x, which has the encoder's width.
///
/// # Errors
/// Class names that don't fit the classifier.
pub fn classify<E: Encoder>(
    draft: &mut Draft<'_, E>,
    classifier: &str,
    x: NodeId,
) -> Result<(), ModelError> {
    let width = draft.encoder.width();
    classify_from(draft, classifier, x, width)
}

/// As [`classify`], of x of this width.
///
/// # Errors
/// Class names that don't fit the classifier.
pub fn classify_from<E: Encoder>(
    draft: &mut Draft<'_, E>,
    classifier: &str,
    x: NodeId,
    width: u64,
) -> Result<(), ModelError> {
    let classifier = Module::at(classifier);
    draft.labels =
        labels::labels(draft.fields, draft.net.checkpoint, &classifier.tensor("weight"))?;
    let classes = draft.labels.len() as u64;
    let logits = draft.net.linear(&classifier, x, classes, width)?;
    draft.net.builder.output("logits", logits);
    Ok(())
}

/// `logits` `[L, labels]`: a linear of every row.
///
/// # Errors
/// Class names that don't fit the classifier.
pub fn token_classification<E: Encoder>(draft: &mut Draft<'_, E>) -> Result<(), ModelError> {
    classify(draft, "classifier", draft.last)
}

/// `start_logits` and `end_logits` `[L]`: the two columns of a linear of every row.
///
/// # Errors
/// If the sizes don't fit together.
pub fn question_answering<E: Encoder>(draft: &mut Draft<'_, E>) -> Result<(), ModelError> {
    spans(draft, "qa_outputs", draft.last)
}

/// As [`question_answering`], with the linear at `classifier` of x, which has the encoder's width.
///
/// # Errors
/// If the sizes don't fit together.
pub fn spans<E: Encoder>(
    draft: &mut Draft<'_, E>,
    classifier: &str,
    x: NodeId,
) -> Result<(), ModelError> {
    let at = Module::at(classifier);
    let logits = draft.net.linear(&at, x, 2, draft.encoder.width())?;
    for (index, name) in ["start_logits", "end_logits"].into_iter().enumerate() {
        let column = draft.net.builder.op(
            at.child(name).name(),
            Op::Select { axis: 1, index },
            &[logits],
        )?;
        draft.net.builder.output(name, column);
    }
    Ok(())
}

/// `logits` `[1]`: the score of one choice, a linear of x. A question's choices are samples of one batch; its logits are
/// theirs side by side.
///
/// # Errors
/// If the sizes don't fit together.
pub fn multiple_choice<E: Encoder>(draft: &mut Draft<'_, E>, x: NodeId) -> Result<(), ModelError> {
    let logits = draft.net.linear(&Module::at("classifier"), x, 1, draft.encoder.width())?;
    draft.net.builder.output("logits", logits);
    Ok(())
}

/// Where a language model's output layer has its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// The module with the output matrix, which is left out of files where the word table takes its place.
    pub decoder: &'static str,
    /// The bias, full names, best first: one parameter. Without names there is none.
    pub biases: &'static [&'static str],
    /// Whether the word table is the output matrix whatever the config says.
    pub words_only: bool,
}

impl Vocabulary {
    /// `W x + b` with a row for each word, f32 `[L, vocab]`. x has the word table's width.
    ///
    /// # Errors
    /// If the sizes don't fit together.
    pub fn build<E: Encoder>(self, draft: &mut Draft<'_, E>, x: NodeId) -> Built {
        let [vocab, width] = draft.encoder.words();
        let decoder = Module::at(self.decoder);
        let (matrix, help) = self.matrix(draft, &decoder);
        let weight = draft.net.weight_or(&[matrix], &[vocab, width], help);
        let product = draft.net.builder.op(
            decoder.name(),
            Op::Linear { epilogue: Vec::new() },
            &[x, weight],
        )?;
        if self.biases.is_empty() {
            return Ok(product);
        }
        let biases = self.biases(draft);
        let bias = draft.net.weight(&biases, &[vocab]);
        let sum = decoder.child("add_bias");
        draft.net.builder.binary(sum.name(), BinaryFn::Add, product, bias)
    }

    /// The name of the output matrix: the word table if the two are tied, else the decoder's own weight.
    ///
    /// A tied config over a file that holds both is only taken if the two are equal: libraries differ in which one they
    /// would use.
    fn matrix<E: Encoder>(
        self,
        draft: &mut Draft<'_, E>,
        decoder: &Module,
    ) -> (String, Option<&'static str>) {
        let words = draft.base.child(E::WORDS).tensor("weight");
        let own = decoder.tensor("weight");
        if self.words_only {
            return (words, None);
        }
        if !draft.encoder.tied() {
            return (
                own,
                Some("if the word table is the output matrix, pass --set tie_word_embeddings=true"),
            );
        }
        if draft.net.checkpoint.holds(&own) {
            draft.ignored.push(own.clone());
            if !draft.fields.is_set("tie_word_embeddings") {
                let help = "pass --set tie_word_embeddings=false to use the decoder's own, or =true to use the word table";
                draft.tied.push(Tied { used: words.clone(), other: own, help: help.to_owned() });
            }
        }
        (words, None)
    }

    /// The names of the output bias, best first. A file that holds several has to agree, unless the output matrix is the
    /// decoder's own: then so is the bias.
    fn biases<E: Encoder>(self, draft: &mut Draft<'_, E>) -> Vec<String> {
        let mut names: Vec<_> = self.biases.iter().map(|name| (*name).to_owned()).collect();
        if !draft.encoder.tied() && !self.words_only {
            let own = Module::at(self.decoder).tensor("bias");
            if draft.net.checkpoint.holds(&own) {
                draft.ignored.extend(names.drain(..).filter(|name| *name != own));
                return vec![own];
            }
        }
        let held: Vec<_> =
            names.iter().filter(|name| draft.net.checkpoint.holds(name)).cloned().collect();
        if let [used, others @ ..] = &held[..] {
            for other in others {
                draft.ignored.push(other.clone());
                let help = "remove the one that isn't meant from the file";
                let tied = Tied { used: used.clone(), other: other.clone(), help: help.to_owned() };
                draft.tied.push(tied);
            }
        }
        names
    }
}
