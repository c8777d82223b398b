//! Rounding an f64 to a smaller format in every direction.
//!
//! Results that f64 can't hold exactly are first rounded *to odd*: truncated, with the last bit set
//! if anything was lost. f64 has more than twice the bits of f32 and two more, so rounding such a
//! value again gives the same as rounding the exact one.

use crate::inst::Round;

/// The canonical NaN of f32 results.
pub(crate) const NAN32: u32 = 0x7fff_ffff;
/// The canonical NaN of f16 and bf16 results.
pub(crate) const NAN16: u32 = 0x7fff;

/// A binary floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) exponent_bits: u32,
    pub(crate) mantissa_bits: u32,
}

pub(crate) const F32: Format = Format { exponent_bits: 8, mantissa_bits: 23 };
pub(crate) const TF32: Format = Format { exponent_bits: 8, mantissa_bits: 10 };
pub(crate) const F16: Format = Format { exponent_bits: 5, mantissa_bits: 10 };
pub(crate) const BF16: Format = Format { exponent_bits: 8, mantissa_bits: 7 };

/// The bits of `x` in a format. NaN gives all ones below the sign.
pub(crate) fn encode(x: f64, format: Format, round: Round) -> u32 {
    let Format { exponent_bits, mantissa_bits } = format;
    let sign = u32::from(x.is_sign_negative()) << (exponent_bits + mantissa_bits);
    let infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
    if x.is_nan() {
        return (1 << (exponent_bits + mantissa_bits)) - 1;
    }
    if x.is_infinite() {
        return sign | infinity;
    }
    let bits = x.abs().to_bits();
    if bits == 0 {
        return sign;
    }
    let bias = (1 << (exponent_bits - 1)) - 1;
    let lowest = 1 - bias;
    // A subnormal f64 is far below the lowest f32, so its exponent's exact value is no matter.
    let exponent = (bits >> 52) as i32 - 1023;
    let significand = (bits & ((1 << 52) - 1)) | (1 << 52);
    let shift = 52 - mantissa_bits as i32 + (lowest - exponent).max(0);
    let (kept, lost, half) = if shift > 60 {
        (0, 1, 2)
    } else {
        (significand >> shift, significand & ((1 << shift) - 1), 1 << (shift - 1))
    };
    let up = match round {
        Round::Nearest => lost > half || (lost == half && kept & 1 == 1),
        Round::Away => lost >= half,
        Round::Zero => false,
        Round::Down => sign != 0 && lost != 0,
        Round::Up => sign == 0 && lost != 0,
    };
    let kept = kept as u32 + u32::from(up);
    // The implicit one adds itself to the exponent field; so does a carry.
    let field = (exponent.max(lowest) + bias - 1) as u32;
    if exponent > bias {
        return sign | overflow(sign != 0, infinity, round);
    }
    let result = (field << mantissa_bits) + kept;
    if result >= infinity { sign | overflow(sign != 0, infinity, round) } else { sign | result }
}

fn overflow(negative: bool, infinity: u32, round: Round) -> u32 {
    let away = match round {
        Round::Nearest | Round::Away => true,
        Round::Zero => false,
        Round::Down => negative,
        Round::Up => !negative,
    };
    if away { infinity } else { infinity - 1 }
}

/// Moves `value` to odd by the sign of what it lost: `error` is exact minus `value`.
pub(crate) fn to_odd(value: f64, error: f64) -> f64 {
    if error == 0.0 || !value.is_finite() || error.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    if bits & 1 == 1 {
        return value;
    }
    if value == 0.0 {
        return f64::from_bits(1).copysign(error);
    }
    let outward = (error > 0.0) == (value > 0.0);
    f64::from_bits(if outward { bits + 1 } else { bits - 1 })
}

/// `a + b`, rounded to odd.
pub(crate) fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    to_odd(sum, error)
}

/// The integer nearest in a direction, as an f64.
pub(crate) fn integral(x: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => x.round_ties_even(),
        Round::Away => x.round(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_agrees_with_the_machine_and_with_half() {
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let narrow = f32::from_bits((state >> 32) as u32);
            // The product of two f32 reaches every rounding case and both ends of the range.
            let x = f64::from(narrow) * f64::from(f32::from_bits(state as u32));
            if x.is_nan() || narrow.is_nan() {
                continue;
            }
            assert_eq!(encode(x, F32, Round::Nearest), (x as f32).to_bits(), "{x:e}");
            let wide = f64::from(narrow);
            assert_eq!(
                encode(wide, F16, Round::Nearest),
                u32::from(::half::f16::from_f32(narrow).to_bits())
            );
            assert_eq!(
                encode(wide, BF16, Round::Nearest),
                u32::from(::half::bf16::from_f32(narrow).to_bits())
            );
        }
    }

    #[test]
    fn directed_rounding_brackets_the_value() {
        for x in [1.0 + 1e-12, -1.0 - 1e-12, 1e-45, -1e-45, 3.5e38, -3.5e38, 65519.9, 1e-50] {
            for format in [F32, F16, BF16, TF32] {
                let value = |round| {
                    let bits = encode(x, format, round);
                    decode(bits, format)
                };
                assert!(value(Round::Down) <= x && x <= value(Round::Up), "{x:e}");
                assert!(value(Round::Zero).abs() <= x.abs(), "{x:e}");
                assert!(value(Round::Zero).is_finite(), "{x:e}");
            }
        }
    }

    fn decode(bits: u32, format: Format) -> f64 {
        let Format { exponent_bits: e, mantissa_bits: m } = format;
        let sign = if bits >> (e + m) & 1 == 1 { -1.0 } else { 1.0 };
        let exponent = (bits >> m & ((1 << e) - 1)) as i32;
        let mantissa = f64::from(bits & ((1 << m) - 1)) / f64::from(1u32 << m);
        let bias = (1 << (e - 1)) - 1;
        match exponent {
            0 => sign * mantissa * 2f64.powi(1 - bias),
            _ if exponent == (1 << e) - 1 => sign * f64::INFINITY,
            _ => sign * (1.0 + mantissa) * 2f64.powi(exponent - bias),
        }
    }
}
