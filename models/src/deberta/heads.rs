//! Heads that both versions have.

use bytec_ir::builder::Built;

use super::Parts;
use crate::ModelError;
use crate::encoder::{Draft, Encoder};
use crate::heads::{Vocabulary, classify, first_activated, multiple_choice};
use crate::layers::activated;
use crate::net::Module;

/// `logits` `[labels]`: `classifier(act(dense(x[0])))`.
pub(super) fn sequence_classification<E: Encoder + AsRef<Parts>>(
    draft: &mut Draft<'_, E>,
) -> Result<(), ModelError> {
    let pooled = pooled(draft)?;
    classify(draft, "classifier", pooled)
}

pub(super) fn choice<E: Encoder + AsRef<Parts>>(
    draft: &mut Draft<'_, E>,
) -> Result<(), ModelError> {
    let pooled = pooled(draft)?;
    multiple_choice(draft, pooled)
}

/// The pooler is the head's own, not the encoder's.
fn pooled<E: Encoder + AsRef<Parts>>(draft: &mut Draft<'_, E>) -> Built {
    let function = draft.encoder.as_ref().pooler;
    first_activated(draft, "pooler.dense", function)
}

/// `logits` `[L, vocab]`: `decoder(LN(act(W x + b)))`. The older layout ends at the embeddings' width; the newer one has
/// the word table as its output matrix in any case.
pub(super) fn masked_lm<E: Encoder + AsRef<Parts>>(
    draft: &mut Draft<'_, E>,
) -> Result<(), ModelError> {
    let parts = draft.encoder.as_ref();
    let (hidden, eps, function) = (parts.hidden, parts.eps, parts.activation);
    let (at, width, vocabulary) = match parts.legacy {
        true => {
            let biases = &["cls.predictions.bias", "cls.predictions.decoder.bias"];
            let vocabulary =
                Vocabulary { decoder: "cls.predictions.decoder", biases, words_only: false };
            (Module::at("cls.predictions.transform"), parts.narrow, vocabulary)
        }
        false => {
            let vocabulary = Vocabulary {
                decoder: "lm_predictions.lm_head.decoder",
                biases: &["lm_predictions.lm_head.bias"],
                words_only: true,
            };
            (Module::at("lm_predictions.lm_head"), hidden, vocabulary)
        }
    };
    let (net, last) = (&mut draft.net, draft.last);
    let acted = activated(net, &at.child("dense"), last, [width, hidden], function)?;
    let normed = net.layer_norm(&at.child("LayerNorm"), acted, width, eps)?;
    let logits = vocabulary.build(draft, normed)?;
    draft.net.builder.output("logits", logits);
    Ok(())
}
