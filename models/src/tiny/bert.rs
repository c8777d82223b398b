//! A tiny BERT with every knob of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Made, Spread, TinyCheckpoint, TinyTensor};

/// A tiny BERT to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TinyBert {
    /// The architecture, by its name in a config.
    pub architecture: &'static str,
    /// Encoder layers.
    pub layers: usize,
    /// Width of a row.
    pub hidden: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Rows of the word table.
    pub vocab: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the segment table.
    pub types: usize,
    /// Classes, for the architectures that have them.
    pub labels: usize,
    /// The activation, by its name in a config.
    pub act: &'static str,
    /// Whether the base model's tensors carry the prefix `bert.`.
    pub prefix: bool,
    /// Whether layer normalisation has `gamma` and `beta` in place of `weight` and `bias`.
    pub gamma_beta: bool,
    /// Whether the word table is also the output matrix.
    pub tied: bool,
    /// Whether the file has a pooler even if the architecture doesn't need one.
    pub pooler: bool,
    /// Chooses the weights.
    pub seed: u64,
}

impl Default for TinyBert {
    fn default() -> Self {
        Self {
            architecture: "BertModel",
            layers: 2,
            hidden: 24,
            heads: 3,
            intermediate: 40,
            vocab: 50,
            positions: 32,
            types: 2,
            labels: 3,
            act: "gelu",
            prefix: false,
            gamma_beta: false,
            tied: true,
            pooler: true,
            seed: 1,
        }
    }
}

impl TinyBert {
    /// The checkpoint.
    pub fn checkpoint(&self) -> TinyCheckpoint {
        TinyCheckpoint { config: self.config(), tensors: self.tensors() }
    }

    fn config(&self) -> Value {
        let labels: BTreeMap<_, _> =
            (0..self.labels).map(|i| (i.to_string(), format!("LABEL_{i}"))).collect();
        json!({
            "architectures": [self.architecture],
            "hidden_act": self.act,
            "hidden_size": self.hidden,
            "id2label": labels,
            "intermediate_size": self.intermediate,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": self.positions,
            "model_type": "bert",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "tie_word_embeddings": self.tied,
            "type_vocab_size": self.types,
            "vocab_size": self.vocab,
        })
    }

    fn tensors(&self) -> BTreeMap<String, TinyTensor> {
        let base = if self.prefix { "bert." } else { "" };
        let mut made = Made { seed: self.seed, gamma_beta: self.gamma_beta, ..Made::default() };
        for (table, rows) in
            [("word", self.vocab), ("position", self.positions), ("token_type", self.types)]
        {
            let name = format!("{base}embeddings.{table}_embeddings.weight");
            made.add(name, &[rows, self.hidden], Spread::Zero(1.0));
        }
        made.layer_norm(&format!("{base}embeddings.LayerNorm"), self.hidden);
        for i in 0..self.layers {
            let at = format!("{base}encoder.layer.{i}");
            for part in ["query", "key", "value"] {
                made.linear(&format!("{at}.attention.self.{part}"), self.hidden, self.hidden);
            }
            made.linear(&format!("{at}.attention.output.dense"), self.hidden, self.hidden);
            made.layer_norm(&format!("{at}.attention.output.LayerNorm"), self.hidden);
            made.linear(&format!("{at}.intermediate.dense"), self.intermediate, self.hidden);
            made.linear(&format!("{at}.output.dense"), self.hidden, self.intermediate);
            made.layer_norm(&format!("{at}.output.LayerNorm"), self.hidden);
        }
        if self.pooler {
            made.linear(&format!("{base}pooler.dense"), self.hidden, self.hidden);
        }
        self.head(&mut made);
        made.tensors
    }

    fn head(&self, made: &mut Made) {
        let (predictions, relationship) = match self.architecture {
            "BertForMaskedLM" => (true, false),
            "BertForPreTraining" => (true, true),
            "BertForNextSentencePrediction" => (false, true),
            _ => (false, false),
        };
        if predictions {
            let at = "cls.predictions";
            made.linear(&format!("{at}.transform.dense"), self.hidden, self.hidden);
            made.layer_norm(&format!("{at}.transform.LayerNorm"), self.hidden);
            if !self.tied {
                let name = format!("{at}.decoder.weight");
                made.add(name, &[self.vocab, self.hidden], Spread::Zero(0.3));
            }
            made.add(format!("{at}.bias"), &[self.vocab], Spread::Zero(0.1));
        }
        if relationship {
            made.linear("cls.seq_relationship", 2, self.hidden);
        }
        match self.architecture {
            "BertForSequenceClassification" | "BertForTokenClassification" => {
                made.linear("classifier", self.labels, self.hidden);
            }
            "BertForMultipleChoice" => made.linear("classifier", 1, self.hidden),
            "BertForQuestionAnswering" => made.linear("qa_outputs", 2, self.hidden),
            _ => {}
        }
    }
}

impl From<&TinyBert> for TinyCheckpoint {
    fn from(tiny: &TinyBert) -> Self {
        tiny.checkpoint()
    }
}
