//! f16 and bf16: widening, narrowing, and arithmetic on single and packed values.

use super::round::{self, NAN16, add_odd};
use crate::inst::{Float1, Float2, FloatMode, Round, Ty};

/// Widens an f16. Exact.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fff) << 13;
    // Reading the exponent in f32's place is off by 2^112, also for subnormals.
    let value = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | special | ((bits & 0x8000) << 16))
}

/// Widens a bf16. Exact.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u32) -> f32 {
    f32::from_bits(bits << 16)
}

/// Narrows to f16.
pub(crate) fn f32_to_f16(x: f32, round: Round) -> u32 {
    if round == Round::Nearest {
        nearest_f16(x)
    } else {
        round::encode(f64::from(x), round::F16, round)
    }
}

/// Narrows to bf16.
pub(crate) fn f32_to_bf16(x: f32, round: Round) -> u32 {
    if round == Round::Nearest {
        nearest_bf16(x)
    } else {
        round::encode(f64::from(x), round::BF16, round)
    }
}

/// Narrows to the nearest f16, without a branch, so that it runs on vectors.
#[inline(always)]
pub(crate) fn nearest_f16(x: f32) -> u32 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let rebased = magnitude.wrapping_sub(0x3800_0000);
    let normal = rebased.wrapping_add(0xfff + ((rebased >> 13) & 1)) >> 13;
    // Added to one half, a number has its last bit where that of a subnormal f16 is.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let small = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let finite = if magnitude >= 0x477f_f000 { 0x7c00 } else { small };
    if magnitude > 0x7f80_0000 { NAN16 } else { finite | ((bits >> 16) & 0x8000) }
}

/// Narrows to the nearest bf16, without a branch.
#[inline(always)]
pub(crate) fn nearest_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { NAN16 } else { rounded }
}

fn widen(bits: u32, f16: bool) -> f64 {
    f64::from(if f16 { f16_to_f32(bits) } else { bf16_to_f32(bits) })
}

fn narrow(x: f64, f16: bool) -> u32 {
    round::encode(x, if f16 { round::F16 } else { round::BF16 }, Round::Nearest)
}

fn is_nan(bits: u32, f16: bool) -> bool {
    bits & 0x7fff > if f16 { 0x7c00 } else { 0x7f80 }
}

fn flush(bits: u32, f16: bool, mode: FloatMode) -> u32 {
    if mode.ftz && f16 && bits & 0x7c00 == 0 { bits & 0x8000 } else { bits }
}

fn finish(bits: u32, f16: bool, mode: FloatMode) -> u32 {
    let bits = flush(bits, f16, mode);
    let one = if f16 { 0x3c00 } else { 0x3f80 };
    if mode.sat {
        return if is_nan(bits, f16) || bits & 0x8000 != 0 { 0 } else { bits.min(one) };
    }
    match mode.relu && (bits & 0x8000 != 0) && !is_nan(bits, f16) {
        true => 0,
        false => bits,
    }
}

/// Applies `f` to one value or to both halves.
fn lanes(ty: Ty, f: impl Fn(u32, bool) -> u32) -> u32 {
    let f16 = matches!(ty, Ty::F16 | Ty::F16x2);
    let low = f(0, f16) & 0xffff;
    if ty.is_packed() { low | (f(16, f16) & 0xffff) << 16 } else { low }
}

/// A unary operation.
pub(crate) fn unary(op: Float1, ty: Ty, mode: FloatMode, a: u32) -> u32 {
    lanes(ty, |shift, f16| {
        let a = flush((a >> shift) & 0xffff, f16, mode);
        let value = widen(a, f16);
        match op {
            Float1::Neg => a ^ 0x8000,
            Float1::Abs => a & 0x7fff,
            Float1::Ex2Approx => finish(narrow(super::approx::ex2(value), f16), f16, mode),
            Float1::TanhApprox => finish(narrow(value.tanh(), f16), f16, mode),
            _ => NAN16,
        }
    })
}

/// A binary operation.
pub(crate) fn binary(op: Float2, ty: Ty, mode: FloatMode, a: u32, b: u32) -> u32 {
    lanes(ty, |shift, f16| {
        let a = flush((a >> shift) & 0xffff, f16, mode);
        let b = flush((b >> shift) & 0xffff, f16, mode);
        let (x, y) = (widen(a, f16), widen(b, f16));
        match op {
            Float2::Add => finish(narrow(add_odd(x, y), f16), f16, mode),
            Float2::Sub => finish(narrow(add_odd(x, -y), f16), f16, mode),
            Float2::Mul => finish(narrow(x * y, f16), f16, mode),
            Float2::Min | Float2::Max => select(op, (a, x), (b, y), f16, mode),
            _ => NAN16,
        }
    })
}

fn select(op: Float2, a: (u32, f64), b: (u32, f64), f16: bool, mode: FloatMode) -> u32 {
    match (is_nan(a.0, f16), is_nan(b.0, f16)) {
        (true, true) => return NAN16,
        (true, false) | (false, true) if mode.nan => return NAN16,
        (true, false) => return b.0,
        (false, true) => return a.0,
        (false, false) => {}
    }
    // -0 is less than +0.
    let a_less = a.1 < b.1 || (a.1 == b.1 && a.0 & 0x8000 != 0);
    if a_less == (op == Float2::Min) { a.0 } else { b.0 }
}

/// `a * b + c` with one rounding.
pub(crate) fn fma(ty: Ty, mode: FloatMode, a: u32, b: u32, c: u32) -> u32 {
    lanes(ty, |shift, f16| {
        let part = |bits: u32| widen(flush((bits >> shift) & 0xffff, f16, mode), f16);
        finish(narrow(add_odd(part(a) * part(b), part(c)), f16), f16, mode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_widens_and_comes_back() {
        for bits in 0..=0xffffu32 {
            let value = f16_to_f32(bits);
            let expected = ::half::f16::from_bits(bits as u16).to_f32();
            assert!(
                value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan()),
                "{bits:04x}"
            );
            if !value.is_nan() {
                assert_eq!(f32_to_f16(value, Round::Nearest), bits);
            }
        }
    }

    #[test]
    fn narrowing_rounds_to_nearest_even() {
        for step in 0..2_000_000u32 {
            let x = f32::from_bits(step.wrapping_mul(2147));
            if x.is_nan() {
                continue;
            }
            let expected = u32::from(::half::f16::from_f32(x).to_bits());
            assert_eq!(f32_to_f16(x, Round::Nearest), expected, "{x:e}");
            let expected = u32::from(::half::bf16::from_f32(x).to_bits());
            assert_eq!(f32_to_bf16(x, Round::Nearest), expected, "{x:e}");
        }
    }
}
