//! How values are spelt in CUDA.

use serde::{Serialize, Serializer};

/// An element type that kernels store. All of them compute in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Float {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The high half of binary32.
    Bf16,
}

impl Float {
    /// The name, as in symbols and safetensors, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Float::F32 => "f32",
            Float::F16 => "f16",
            Float::Bf16 => "bf16",
        }
    }

    /// Bytes of one element.
    pub fn bytes(self) -> u32 {
        match self {
            Float::F32 => 4,
            Float::F16 | Float::Bf16 => 2,
        }
    }

    /// The storage type's name in `lib/types.cuh`.
    pub(super) fn element(self) -> &'static str {
        match self {
            Float::F32 => "float",
            Float::F16 => "f16",
            Float::Bf16 => "bf16",
        }
    }
}

/// An f32 as a CUDA literal: the shortest digits that read back to the same bits.
///
/// Templates get it as text. As a number of Tera it would be an f64 and print other digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CFloat(pub f32);

impl std::fmt::Display for CFloat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_finite() {
            // Debug always has a point or an exponent, which the suffix needs.
            write!(f, "{:?}f", self.0)
        } else {
            write!(f, "__uint_as_float({:#010x}u)", self.0.to_bits())
        }
    }
}

impl Serialize for CFloat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A legal identifier that says the same as `label`.
pub(super) fn identifier(label: &str) -> String {
    let mut name: String = label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
        .collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert_str(0, "k_");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{CFloat, identifier};

    #[test]
    fn floats_are_shortest_and_read_back() {
        let cases = [
            (1e-12, "1e-12f"),
            (0.1, "0.1f"),
            (1.0, "1.0f"),
            (-0.0, "-0.0f"),
            (0.125, "0.125f"),
            (f32::MAX, "3.4028235e38f"),
            (f32::from_bits(1), "1e-45f"),
            (f32::INFINITY, "__uint_as_float(0x7f800000u)"),
            (f32::NEG_INFINITY, "__uint_as_float(0xff800000u)"),
        ];
        for (value, expected) in cases {
            let text = CFloat(value).to_string();
            assert_eq!(text, expected);
            if value.is_finite() {
                let digits = text.trim_end_matches('f');
                assert_eq!(digits.parse::<f32>().unwrap().to_bits(), value.to_bits());
            }
        }
    }

    #[test]
    fn labels_become_identifiers() {
        assert_eq!(identifier("layer_norm_384_f16"), "layer_norm_384_f16");
        assert_eq!(identifier("gelu(x) + 1"), "gelu_x____1");
        assert_eq!(identifier("3d"), "k_3d");
        assert_eq!(identifier(""), "k_");
    }
}
