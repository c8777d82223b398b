//! Seeded tiny checkpoints: a config and tensors of random but not degenerate weights, for tests and examples.
//!
//! Weights are scaled so that layer normalisation, softmax and activations do real work: scores spread over a few
//! units, and no row is nearly constant. A tensor's values depend on the seed, its name and its shape alone.

mod bert;
mod draw;
mod model;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use bert::TinyBert;
pub use draw::draw;
pub use model::TinyModel;

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

/// Tensors being made.
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
