//! Numbers of each element type as bytes, and what rounding to it costs.

use bytec_compiler::render::Float;
use bytec_models::tiny::SplitMix64;
use half::{bf16, f16};

/// The nearest number of the type.
pub(crate) fn round(dtype: Float, x: f64) -> f64 {
    match dtype {
        Float::F32 => f64::from(x as f32),
        Float::F16 => f16::from_f64(x).to_f64(),
        Float::Bf16 => bf16::from_f64(x).to_f64(),
    }
}

/// The bytes of numbers, rounded.
pub(crate) fn encode(dtype: Float, numbers: &[f64]) -> Vec<u8> {
    match dtype {
        Float::F32 => numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
        Float::F16 => numbers.iter().flat_map(|x| f16::from_f64(*x).to_le_bytes()).collect(),
        Float::Bf16 => numbers.iter().flat_map(|x| bf16::from_f64(*x).to_le_bytes()).collect(),
    }
}

/// The numbers of bytes.
pub(crate) fn decode(dtype: Float, bytes: &[u8]) -> Vec<f64> {
    let two = |bytes: &[u8]| [bytes[0], bytes[1]];
    match dtype {
        Float::F32 => bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect(),
        Float::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(two(b)).to_f64()).collect(),
        Float::Bf16 => {
            bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(two(b)).to_f64()).collect()
        }
    }
}

/// Numbers of about unit size, which the type has.
pub(crate) fn normal(dtype: Float, random: &mut SplitMix64, count: usize) -> Vec<f64> {
    (0..count).map(|_| round(dtype, f64::from(random.normal()))).collect()
}

/// How far a kernel may be from f64: twice the error of rounding after each op, and in f32 a small part of the scale.
pub(crate) fn bound(dtype: Float, exact: &[f64], rounded: &[f64]) -> f64 {
    let error = exact.iter().zip(rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let scale = exact.iter().copied().map(f64::abs).fold(0.0, f64::max);
    match dtype {
        Float::F32 => (2.0 * error).max(2e-6 * scale),
        Float::F16 | Float::Bf16 => 2.0 * error,
    }
}

/// The largest difference; infinite if one is NaN.
pub(crate) fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |worst, d| {
        if d <= worst {
            worst
        } else if d.is_nan() {
            f64::INFINITY
        } else {
            d
        }
    })
}
