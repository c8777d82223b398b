//! f32 and f64 operations with rounding directions, flushing and saturation.

use super::approx;
use super::round::{self, NAN32, add_odd, encode, to_odd};
use crate::inst::{Float1, Float2, FloatMode, Round, Test};

/// Subnormals become zeros of the same sign.
#[inline(always)]
pub(crate) fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

/// The bits of a result. NaN is replaced as an integer: a NaN that stays a float may come out with
/// any bits.
#[inline(always)]
pub(crate) fn canonical(x: f32) -> u32 {
    if x.is_nan() { NAN32 } else { x.to_bits() }
}

#[inline(always)]
pub(crate) fn input(x: f32, mode: FloatMode) -> f32 {
    if mode.ftz { flush(x) } else { x }
}

/// What every arithmetic result goes through.
#[inline(always)]
pub(crate) fn finish(x: f32, mode: FloatMode) -> u32 {
    let x = if mode.ftz { flush(x) } else { x };
    if mode.sat { saturate(x).to_bits() } else { canonical(x) }
}

/// Clamped to [0, 1]; NaN gives +0.
#[inline(always)]
pub(crate) fn saturate(x: f32) -> f32 {
    // Written so that -0 and NaN give +0.
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}

fn rounded(x: f64, round: Round) -> f32 {
    if round == Round::Nearest { x as f32 } else { f32::from_bits(encode(x, round::F32, round)) }
}

/// An exact zero from opposite terms is -0 when rounding down.
fn zero_sign(sum: f64, a: f64, b: f64, round: Round) -> f64 {
    if sum == 0.0 && round == Round::Down && a.is_sign_negative() != b.is_sign_negative() {
        -0.0
    } else {
        sum
    }
}

fn sum(a: f64, b: f64, round: Round) -> f32 {
    rounded(zero_sign(add_odd(a, b), a, b, round), round)
}

/// `a * b + c` with one rounding.
pub(crate) fn fma(a: f32, b: f32, c: f32, mode: FloatMode) -> u32 {
    let (a, b, c) = (input(a, mode), input(b, mode), input(c, mode));
    if mode.round == Round::Nearest {
        return finish(a.mul_add(b, c), mode);
    }
    // The product of two f32 is exact in f64.
    finish(sum(f64::from(a) * f64::from(b), f64::from(c), mode.round), mode)
}

/// A binary operation.
pub(crate) fn binary(op: Float2, a: f32, b: f32, mode: FloatMode) -> u32 {
    let (x, y) = (input(a, mode), input(b, mode));
    let (wide_x, wide_y) = (f64::from(x), f64::from(y));
    let nearest = mode.round == Round::Nearest;
    let result = match op {
        Float2::Add if nearest => x + y,
        Float2::Sub if nearest => x - y,
        Float2::Mul if nearest => x * y,
        Float2::Add => sum(wide_x, wide_y, mode.round),
        Float2::Sub => sum(wide_x, -wide_y, mode.round),
        Float2::Mul => rounded(wide_x * wide_y, mode.round),
        Float2::Div if nearest => x / y,
        Float2::Div => {
            let quotient = wide_x / wide_y;
            // The remainder's sign says on which side of the quotient the exact one lies.
            let rest = (-quotient).mul_add(wide_y, wide_x);
            rounded(to_odd(quotient, rest * wide_y.signum()), mode.round)
        }
        Float2::DivApprox => approx::div(x, y) as f32,
        Float2::DivFull => x / y,
        Float2::Min | Float2::Max => return minmax(op, x, y, mode),
        Float2::Copysign => {
            return (b.to_bits() & 0x7fff_ffff) | (a.to_bits() & 0x8000_0000);
        }
    };
    finish(result, mode)
}

fn minmax(op: Float2, x: f32, y: f32, mode: FloatMode) -> u32 {
    if mode.nan && (x.is_nan() || y.is_nan()) { NAN32 } else { extreme(op == Float2::Min, x, y) }
}

/// The smaller or the larger number of two: -0 is below +0, and NaN is none.
#[inline(always)]
pub(crate) fn extreme(smaller: bool, x: f32, y: f32) -> u32 {
    let x_less = x < y || (x == y && x.is_sign_negative());
    let chosen = if x_less == smaller { x } else { y };
    let number = if y.is_nan() { x } else { chosen };
    canonical(if x.is_nan() { y } else { number })
}

/// A unary operation.
pub(crate) fn unary(op: Float1, a: f32, mode: FloatMode) -> u32 {
    let x = input(a, mode);
    let wide = f64::from(x);
    let result = match op {
        Float1::Neg => return x.to_bits() ^ 0x8000_0000,
        Float1::Abs => return x.to_bits() & 0x7fff_ffff,
        Float1::Rcp => return binary(Float2::Div, 1.0, x, mode),
        Float1::Sqrt => {
            let root = wide.sqrt();
            let rest = (-root).mul_add(root, wide);
            rounded(to_odd(root, rest), mode.round)
        }
        Float1::RcpApprox => (1.0 / wide) as f32,
        Float1::SqrtApprox => wide.sqrt() as f32,
        // The root of -0 is -0, and so is its reciprocal's sign.
        Float1::RsqrtApprox => (1.0 / wide.sqrt()) as f32,
        Float1::Ex2Approx => approx::ex2(wide) as f32,
        Float1::Lg2Approx => wide.log2() as f32,
        Float1::TanhApprox => wide.tanh() as f32,
        Float1::SinApprox => wide.sin() as f32,
        Float1::CosApprox => wide.cos() as f32,
    };
    finish(result, mode)
}

/// The same for f64.
pub(crate) fn canonical64(x: f64) -> u64 {
    if x.is_nan() { 0x7fff_ffff_ffff_ffff } else { x.to_bits() }
}

/// A binary operation on f64, rounded to nearest.
pub(crate) fn binary64(op: Float2, a: f64, b: f64, mode: FloatMode) -> u64 {
    canonical64(match op {
        Float2::Add => a + b,
        Float2::Sub => a - b,
        Float2::Mul => a * b,
        Float2::Div | Float2::DivApprox | Float2::DivFull => a / b,
        Float2::Copysign => {
            let magnitude = b.to_bits() & (u64::MAX >> 1);
            return magnitude | (a.to_bits() & (1 << 63));
        }
        Float2::Min | Float2::Max => match (a.is_nan(), b.is_nan()) {
            (true, true) => f64::NAN,
            (true, false) | (false, true) if mode.nan => f64::NAN,
            (true, false) => b,
            (false, true) => a,
            (false, false) => {
                let a_less = a < b || (a == b && a.is_sign_negative());
                if a_less == (op == Float2::Min) { a } else { b }
            }
        },
    })
}

/// A unary operation on f64, rounded to nearest.
pub(crate) fn unary64(op: Float1, a: f64) -> u64 {
    match op {
        Float1::Neg => a.to_bits() ^ (1 << 63),
        Float1::Abs => a.to_bits() & (u64::MAX >> 1),
        Float1::Rcp | Float1::RcpApprox => canonical64(1.0 / a),
        Float1::Sqrt | Float1::SqrtApprox => canonical64(a.sqrt()),
        Float1::RsqrtApprox => canonical64(1.0 / a.sqrt()),
        Float1::Ex2Approx => canonical64(a.exp2()),
        Float1::Lg2Approx => canonical64(a.log2()),
        Float1::TanhApprox => canonical64(a.tanh()),
        Float1::SinApprox => canonical64(a.sin()),
        Float1::CosApprox => canonical64(a.cos()),
    }
}

/// `a * b + c` on f64, rounded to nearest.
pub(crate) fn fma64(a: f64, b: f64, c: f64) -> u64 {
    canonical64(a.mul_add(b, c))
}

/// `testp`, on the classes of the value in its own format.
pub(crate) fn test(op: Test, finite: bool, nan: bool, normal: bool, zero: bool) -> bool {
    match op {
        Test::Finite => finite,
        Test::Infinite => !finite && !nan,
        Test::Number => !nan,
        Test::NotANumber => nan,
        Test::Normal => normal,
        Test::Subnormal => finite && !normal && !zero,
    }
}
