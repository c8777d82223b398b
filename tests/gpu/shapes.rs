//! The models that are timed: shapes with weights from a seed, and batches of uneven lengths.

use std::collections::BTreeMap;

use bytec_models::tiny::{SplitMix64, TinyBert};
use bytec_tests::batches::Inputs;
use bytec_tests::tensors::Tensor;
use serde::{Deserialize, Serialize};

/// A shape.
pub(crate) struct Shape {
    /// Its name.
    pub(crate) name: &'static str,
    /// The model.
    pub(crate) model: TinyBert,
    /// Tokens of the longest text; lengths are uniform from 1 on.
    longest: u64,
    /// Texts of each batch.
    pub(crate) batches: &'static [usize],
}

/// What a peer needs to measure the same.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShapeFile {
    layers: usize,
    hidden: usize,
    heads: usize,
    intermediate: usize,
    vocab: usize,
    positions: usize,
    /// The lengths of each batch's texts.
    batches: Vec<Vec<u64>>,
}

/// The names of all shapes.
pub(crate) const NAMES: [&str; 3] = ["minilm", "bert_base", "tiny"];

impl Shape {
    /// The shape of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let bert = |layers, hidden, heads, vocab| TinyBert {
            architecture: "BertForSequenceClassification",
            prefix: true,
            layers,
            hidden,
            heads,
            intermediate: 4 * hidden,
            vocab,
            positions: 512,
            ..TinyBert::default()
        };
        let batches = &[1, 8, 32, 64, 256];
        Some(match name {
            "minilm" => {
                Self { name: "minilm", model: bert(6, 384, 12, 30522), longest: 256, batches }
            }
            "bert_base" => {
                Self { name: "bert_base", model: bert(12, 768, 12, 30522), longest: 256, batches }
            }
            "tiny" => {
                Self { name: "tiny", model: bert(1, 48, 2, 60), longest: 24, batches: &[1, 3] }
            }
            _ => return None,
        })
    }

    /// The lengths of a batch's texts.
    pub(crate) fn lengths(&self, texts: usize) -> Vec<u64> {
        let mut random = SplitMix64(texts as u64);
        // One text is of middling length, so that a batch of one is neither all start-up nor luck.
        let length = |nth| if nth == 0 { self.longest / 2 } else { 1 + random.below(self.longest) };
        (0..texts).map(length).collect()
    }

    /// Texts of these lengths, as ids.
    pub(crate) fn samples(&self, lengths: &[u64]) -> Vec<Inputs> {
        let mut random = SplitMix64(7);
        let mut sample = |length: u64| -> Inputs {
            let vocab = self.model.vocab as u64;
            let ids = (0..length).map(|_| random.below(vocab) as i64).collect();
            BTreeMap::from([("input_ids".to_owned(), Tensor::I64(ids, vec![length]))])
        };
        lengths.iter().map(|length| sample(*length)).collect()
    }

    /// For peers.
    pub(crate) fn file(&self) -> ShapeFile {
        let TinyBert { layers, hidden, heads, intermediate, vocab, positions, .. } = self.model;
        let batches = self.batches.iter().map(|texts| self.lengths(*texts)).collect();
        ShapeFile { layers, hidden, heads, intermediate, vocab, positions, batches }
    }
}
