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
    /// Tokens of the shortest and the longest text; lengths are uniform between them.
    shortest: u64,
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
pub(crate) const NAMES: [&str; 7] = [
    "minilm",
    "bert_base",
    "bytetransformer_128",
    "bytetransformer_256",
    "bytetransformer_512",
    "bytetransformer_1024",
    "tiny",
];

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
        let name = *NAMES.iter().find(|known| **known == name)?;
        let batches = &[1, 8, 32, 64, 256];
        // What ByteTransformer's authors measured (Zhai et al. 2023): twelve layers of twelve heads of 64, batches of 1, 8
        // and 16, lengths uniform with a mean of 0.6 of the longest. Few words, whose table no time depends on.
        if let Some(longest) = name.strip_prefix("bytetransformer_") {
            let longest = longest.parse().ok()?;
            let model = TinyBert { positions: 1024, ..bert(12, 768, 12, 1000) };
            return Some(Self {
                name,
                model,
                shortest: longest / 5,
                longest,
                batches: &[1, 8, 16],
            });
        }
        Some(match name {
            "minilm" => {
                Self { name, model: bert(6, 384, 12, 30522), shortest: 1, longest: 256, batches }
            }
            "bert_base" => {
                Self { name, model: bert(12, 768, 12, 30522), shortest: 1, longest: 256, batches }
            }
            "tiny" => {
                Self { name, model: bert(1, 48, 2, 60), shortest: 1, longest: 24, batches: &[1, 3] }
            }
            _ => return None,
        })
    }

    /// The lengths of a batch's texts.
    pub(crate) fn lengths(&self, texts: usize) -> Vec<u64> {
        let mut random = SplitMix64(texts as u64);
        // One text is of middling length, so that a batch of one is neither all start-up nor luck.
        let Self { shortest, longest, .. } = *self;
        let length = |nth| match nth {
            0 => (shortest + longest) / 2,
            _ => shortest + random.below(longest - shortest + 1),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_shape_with_lengths_in_its_range() {
        for name in NAMES {
            let shape = Shape::named(name).unwrap();
            assert_eq!(shape.name, name);
            for texts in shape.batches {
                let lengths = shape.lengths(*texts);
                assert_eq!(lengths.len(), *texts);
                let range = shape.shortest..=shape.longest;
                assert!(lengths.iter().all(|length| range.contains(length)), "{name}: {lengths:?}");
                assert!(shape.longest <= shape.model.positions as u64, "{name}");
            }
        }
        assert!(Shape::named("large").is_none());
        let shape = Shape::named("bytetransformer_512").unwrap();
        let lengths = shape.lengths(10_000);
        let mean = lengths.iter().sum::<u64>() as f64 / lengths.len() as f64;
        assert!((mean / 512.0 - 0.6).abs() < 0.01, "{mean}");
    }
}
