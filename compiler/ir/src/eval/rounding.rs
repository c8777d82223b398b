//! Rounding to an element type, to nearest and ties to even, the same on every machine.

use super::{Data, Tensor};
use crate::types::DType;

/// What every float is rounded to after each op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Stays f64.
    Exact,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl Rounding {
    /// The rounding to an element type; integers are exact.
    pub fn to(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Rounding::F32,
            DType::F16 => Rounding::F16,
            DType::Bf16 => Rounding::Bf16,
            DType::I64 => Rounding::Exact,
        }
    }

    /// The nearest number of the type; infinite past its largest.
    pub fn round(self, x: f64) -> f64 {
        match self {
            Rounding::Exact => x,
            Rounding::F32 => f64::from(x as f32),
            Rounding::F16 => nearest(x, 11, -14, 65504.0),
            Rounding::Bf16 => nearest(x, 8, -126, f64::from(f32::from_bits(0x7f7f_0000))),
        }
    }

    pub(super) fn apply(self, tensor: &mut Tensor) {
        if let (Data::Float(data), true) = (&mut tensor.data, self != Rounding::Exact) {
            data.iter_mut().for_each(|x| *x = self.round(*x));
        }
    }
}

/// `x` in a type of `digits` binary digits, least normal exponent `least`, and this largest number.
///
/// The `half` crate is not used: its conversion from f64 rounds twice, and differently with and without F16C.
fn nearest(x: f64, digits: i32, least: i32, largest: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least);
    // Both products are exact: the type's own range is far inside that of f64.
    let unit = 2f64.powi(exponent - (digits - 1));
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > largest { f64::INFINITY.copysign(x) } else { rounded }
}
