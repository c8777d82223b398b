//! Seeded tiny checkpoints: a config and tensors of random but not degenerate weights, for tests and examples.
//!
//! Weights are scaled so that layer normalisation, softmax and activations do real work: scores spread over a few
//! units, and no row is nearly constant. A tensor's values depend on the seed, its name and its shape alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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

/// A stored tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyTensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub values: Vec<f32>,
}

/// A config and the tensors that go with it.
#[derive(Clone, Debug, PartialEq)]
pub struct TinyCheckpoint {
    /// The content of `config.json`.
    pub config: Value,
    /// The tensors by name.
    pub tensors: BTreeMap<String, TinyTensor>,
}

/// What a tensor's values look like.
#[derive(Clone, Copy)]
enum Spread {
    /// Around zero.
    Zero(f32),
    /// Around one.
    One(f32),
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

#[derive(Default)]
struct Made {
    seed: u64,
    gamma_beta: bool,
    tensors: BTreeMap<String, TinyTensor>,
}

impl Made {
    fn linear(&mut self, module: &str, outputs: usize, inputs: usize) {
        let spread = 1.5 / (inputs as f32).sqrt();
        self.add(format!("{module}.weight"), &[outputs, inputs], Spread::Zero(spread));
        self.add(format!("{module}.bias"), &[outputs], Spread::Zero(0.1));
    }

    fn layer_norm(&mut self, module: &str, width: usize) {
        let (weight, bias) = if self.gamma_beta { ("gamma", "beta") } else { ("weight", "bias") };
        self.add(format!("{module}.{weight}"), &[width], Spread::One(0.2));
        self.add(format!("{module}.{bias}"), &[width], Spread::Zero(0.1));
    }

    fn add(&mut self, name: String, shape: &[usize], spread: Spread) {
        let mut random = SplitMix64(self.seed ^ fnv1a(name.as_bytes()));
        let (centre, width) = match spread {
            Spread::Zero(width) => (0.0, width),
            Spread::One(width) => (1.0, width),
        };
        let values =
            (0..shape.iter().product()).map(|_| centre + width * random.normal()).collect();
        self.tensors.insert(name, TinyTensor { shape: shape.to_vec(), values });
    }
}

/// Distinguishes the tensors of one seed (Fowler, Noll and Vo's hash).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Sebastiano Vigna's generator: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// A number of mean 0 and variance 1, within -3.5 and 3.5: the sum of four uniform ones, scaled. No library
    /// function takes part, so the bits are the same on every machine.
    pub fn normal(&mut self) -> f32 {
        const SQRT_3: f32 = 1.732_050_8;
        let sum: f32 = (0..4).map(|_| (self.bits() >> 40) as f32 / (1u64 << 24) as f32).sum();
        (sum - 2.0) * SQRT_3
    }
}

impl TinyCheckpoint {
    /// The content of `config.json`.
    pub fn config_json(&self) -> Vec<u8> {
        format!("{:#}\n", self.config).into_bytes()
    }

    /// The content of `model.safetensors`: f32, tensors in order of name.
    pub fn safetensors(&self) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, tensor) in &self.tensors {
            let start = data.len();
            data.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
            let entry = json!({
                "dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.len()],
            });
            header.insert(name.clone(), entry);
        }
        let mut text = Value::Object(header).to_string();
        text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend(text.into_bytes());
        file.extend(data);
        file
    }

    /// Names, element types and shapes, as a file of these tensors in `dtype` would give them.
    pub fn describe(&self, file: &str, dtype: &str) -> crate::Checkpoint {
        let info = |tensor: &TinyTensor| crate::TensorInfo {
            dtype: dtype.to_owned(),
            shape: tensor.shape.iter().map(|&n| n as u64).collect(),
        };
        let tensors = self.tensors.iter().map(|(name, t)| (name.clone(), info(t))).collect();
        crate::Checkpoint::new(file, tensors)
    }
}
