//! Numbers in a storage type, and the bound that a kernel must keep.

use std::ops::Range;

use bytec_compiler::render::Float;
use bytec_models::tiny::SplitMix64;
use half::{bf16, f16};

/// Numbers as they lie in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) bytes: Vec<u8>,
    pub(super) dtype: Float,
}

impl Numbers {
    /// Rounded to nearest even.
    pub(super) fn of(data: &[f64], dtype: Float) -> Self {
        let bytes = data.iter().flat_map(|x| match dtype {
            Float::F32 => (*x as f32).to_le_bytes().to_vec(),
            Float::F16 => f16::from_f64(*x).to_le_bytes().to_vec(),
            Float::Bf16 => bf16::from_f64(*x).to_le_bytes().to_vec(),
        });
        Self { bytes: bytes.collect(), dtype }
    }

    pub(super) fn floats(&self) -> Vec<f64> {
        let chunks = self.bytes.chunks_exact(self.dtype.bytes() as usize);
        chunks
            .map(|bytes| match (self.dtype, bytes) {
                (Float::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
                (Float::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f64(),
                (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
                _ => panic!("chunks have the size of an element"),
            })
            .collect()
    }

    pub(super) fn bits(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bits_of(&self, elements: Range<usize>) -> &[u8] {
        let size = self.dtype.bytes() as usize;
        &self.bytes[elements.start * size..elements.end * size]
    }
}

/// Fails unless every number is within the bound of its reference: twice the error that rounding the reference to the
/// element type makes, and 2e-6 of the largest reference. NaN must be NaN, and infinities equal.
pub(super) fn assert_near(found: &Numbers, expected: &[f64], dtype: Float, label: &str) {
    let floats = found.floats();
    assert_eq!(floats.len(), expected.len(), "{label}");
    let finite = |x: &&f64| x.is_finite();
    let scale = expected.iter().filter(finite).fold(0.0, |m: f64, x| m.max(x.abs()));
    let rounded = Numbers::of(expected, dtype).floats();
    let pairs = expected.iter().zip(&rounded).filter(|(x, _)| x.is_finite());
    let rounding = pairs.fold(0.0, |m: f64, (x, y)| m.max((x - y).abs()));
    let bound = (2.0 * rounding).max(2e-6 * scale);
    for (at, (found, expected)) in floats.iter().zip(expected).enumerate() {
        let near = match (found.is_finite(), expected.is_finite()) {
            (true, true) => (found - expected).abs() <= bound,
            _ => found == expected || (found.is_nan() && expected.is_nan()),
        };
        assert!(near, "{label}: element {at} is {found}, expected {expected} within {bound:e}");
    }
}

/// Numbers of about the size of activations.
pub(super) fn random(count: usize, seed: u64) -> Vec<f64> {
    let mut random = SplitMix64(seed);
    (0..count).map(|_| 2.0 * f64::from(random.normal())).collect()
}
