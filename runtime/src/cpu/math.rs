//! Functions of one number, as branch-free f32 polynomials.
//!
//! Each is written for one number with explicit fma and selects only, and inlined into loops over slices, where the
//! compiler turns it into vector code. Vector body, tail and every instruction set therefore give the same bits; no
//! function of the system's maths library is used. The coefficients were fitted by iteratively reweighted least
//! squares at Chebyshev nodes; the largest errors against f64 are asserted in `math/tests.rs`.

use bytec_plan::kernel::{BinaryFn, UnaryFn};

/// Adding and subtracting this rounds to the nearest integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The high bits of ln 2; a product with an integer below 2^12 is exact.
const LN_2_HIGH: f32 = 0.693_115_23;
/// ln 2 less [`LN_2_HIGH`].
const LN_2_LOW: f32 = 3.194_618_3e-5;

/// `x` if it is no smaller than `low`, and NaN for NaN.
#[inline(always)]
fn at_least(x: f32, low: f32) -> f32 {
    if x < low { low } else { x }
}

/// `x` if it is no larger than `high`, and NaN for NaN.
#[inline(always)]
fn at_most(x: f32, high: f32) -> f32 {
    if x > high { high } else { x }
}

/// `2^n` for `n` in `-126..=127`, given as an integer.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `e^x`: 0 at minus infinity, infinity past 88.72, NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Past these bounds the result is 0 or infinity whatever x is, and n stays small enough for two powers of two.
    let x = at_most(at_least(x, -105.0), 90.0);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let whole = rounded - ROUND;
    let r = whole.mul_add(-LN_2_LOW, whole.mul_add(-LN_2_HIGH, x));
    let mut p = 0.000_197_902_63_f32;
    p = p.mul_add(r, 0.001_394_476_2);
    p = p.mul_add(r, 0.008_333_498);
    p = p.mul_add(r, 0.041_666_295);
    p = p.mul_add(r, 0.166_666_66);
    p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // Two steps, so that subnormal results and the last power before infinity come out right.
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `2^x`, for x that is at most zero: 0 below -126.5, NaN for NaN. Its relative error is some 2e-7.
#[inline(always)]
pub(crate) fn power(x: f32) -> f32 {
    let x = at_least(x, -127.0);
    let rounded = x + ROUND;
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let r = x - (rounded - ROUND);
    // The power of -127 is zero.
    power_of_rest(r) * power_of_two(n)
}

/// `2^r`, for r of at most a half either way.
#[inline(always)]
fn power_of_rest(r: f32) -> f32 {
    let mut p = 0.001_326_472_7_f32;
    p = p.mul_add(r, 0.009_671_513);
    p = p.mul_add(r, 0.055_507_336);
    p = p.mul_add(r, 0.240_222_42);
    p = p.mul_add(r, std::f32::consts::LN_2);
    p.mul_add(r, 1.0)
}

/// The Gauss error function.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let t = at_most(x.abs(), 4.0);
    let s = t * t;
    let mut small = 8.345_216e-5_f32;
    small = small.mul_add(s, -0.000_813_743_57);
    small = small.mul_add(s, 0.005_200_634);
    small = small.mul_add(s, -0.026_859_27);
    small = small.mul_add(s, 0.112_836_94);
    small = small.mul_add(s, -0.376_126_35);
    small = small.mul_add(s, 0.128_379_17);
    let small = small.mul_add(t, t);
    let mut large = 1.125_914_7e-5_f32;
    large = large.mul_add(t, -0.000_323_082);
    large = large.mul_add(t, 0.003_643_587_7);
    large = large.mul_add(t, -0.023_764_446);
    large = large.mul_add(t, 0.106_239_64);
    large = large.mul_add(t, 0.635_149_66);
    large = large.mul_add(t, 0.128_648_9);
    let large = 1.0 - exp(-large.mul_add(t, t));
    let magnitude = if t < 0.93 { small } else { large };
    magnitude.copysign(x)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let t = x.abs();
    let s = t * t;
    let mut small = -0.005_717_011_f32;
    small = small.mul_add(s, 0.020_650_554);
    small = small.mul_add(s, -0.053_743_485);
    small = small.mul_add(s, 0.133_314_91);
    small = small.mul_add(s, -0.333_332_84);
    let small = (small * s).mul_add(t, t);
    let large = 1.0 - 2.0 / (exp(t + t) + 1.0);
    let magnitude = if t < 0.625 { small } else { large };
    magnitude.copysign(x)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x * sigmoid(x)`
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `x/2 * (1 + erf(x / sqrt 2))`, as `max(x, 0) - |x|/2 * erfc(|x| / sqrt 2)`, in which nothing cancels for negative x.
///
/// The logarithm of erfc is a polynomial. Past 5.6 the second term is below 6e-8, and left out.
#[inline(always)]
pub(crate) fn gelu_erf(x: f32) -> f32 {
    const END: f32 = 5.6;
    let t = at_most(x.abs(), END);
    let mut p = -2.838_129_4e-7_f32;
    p = p.mul_add(t, 6.164_508e-6);
    p = p.mul_add(t, -5.435_864e-5);
    p = p.mul_add(t, 0.000_217_905_12);
    p = p.mul_add(t, 0.000_108_194_11);
    p = p.mul_add(t, -0.007_064_035_6);
    p = p.mul_add(t, 0.052_514_978);
    p = p.mul_add(t, 0.459_197_25);
    p = p.mul_add(t, 1.151_107);
    // The exponent -p t, as a whole number and the rest.
    let rounded = (-p).mul_add(t, ROUND);
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let r = (-p).mul_add(t, ROUND - rounded);
    let half = power_of_rest(r) * power_of_two(n.wrapping_sub(1));
    let tail = if t < END { half } else { 0.0 };
    (-t).mul_add(tail, relu(x))
}

/// `x/2 * (1 + tanh(u))` with `u = sqrt(2/pi) * (x + 0.044715 x^3)`, which is `x * sigmoid(2u)`.
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    let cubed = x * x * x;
    x * sigmoid(1.595_769 * cubed.mul_add(0.044_715, x))
}

/// `max(x, 0)`, NaN for NaN.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `x * sigmoid(1.702 x)`
#[inline(always)]
pub(crate) fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(1.702 * x)
}

/// `max(x, 0)^2`, NaN for NaN.
#[inline(always)]
pub(crate) fn relu_squared(x: f32) -> f32 {
    let x = relu(x);
    x * x
}

/// `min(max(x, 0), 6)`, NaN for NaN.
#[inline(always)]
pub(crate) fn relu6(x: f32) -> f32 {
    at_most(relu(x), 6.0)
}

/// `x` where it is not negative, `0.01 x` elsewhere.
#[inline(always)]
pub(crate) fn leaky_relu(x: f32) -> f32 {
    if x < 0.0 { 0.01 * x } else { x }
}

/// `x * tanh(ln(1 + e^x))`: with e for e^x, the factor is `e (e + 2) / (e (e + 2) + 2)`, which is 1 long before 20.
#[inline(always)]
pub(crate) fn mish(x: f32) -> f32 {
    let e = exp(at_most(x, 20.0));
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

/// The larger; NaN if either is.
#[inline(always)]
pub(crate) fn max(a: f32, b: f32) -> f32 {
    let larger = if a > b { a } else { b };
    if a.is_nan() { a } else { larger }
}

/// The smaller; NaN if either is.
#[inline(always)]
pub(crate) fn min(a: f32, b: f32) -> f32 {
    let smaller = if a < b { a } else { b };
    if a.is_nan() { a } else { smaller }
}

/// Replaces every number by the function of it.
#[inline(always)]
pub(crate) fn unary(function: UnaryFn, x: &mut [f32]) {
    match function {
        UnaryFn::Neg => each(x, |x| -x),
        UnaryFn::Abs => each(x, f32::abs),
        UnaryFn::Exp => each(x, exp),
        UnaryFn::Sqrt => each(x, f32::sqrt),
        UnaryFn::Rsqrt => each(x, |x| 1.0 / x.sqrt()),
        UnaryFn::Erf => each(x, erf),
        UnaryFn::Tanh => each(x, tanh),
        UnaryFn::Sigmoid => each(x, sigmoid),
        UnaryFn::Relu => each(x, relu),
        UnaryFn::Silu => each(x, silu),
        UnaryFn::GeluErf => each(x, gelu_erf),
        UnaryFn::GeluTanh => each(x, gelu_tanh),
        UnaryFn::QuickGelu => each(x, quick_gelu),
        UnaryFn::ReluSquared => each(x, relu_squared),
        UnaryFn::Relu6 => each(x, relu6),
        UnaryFn::LeakyRelu => each(x, leaky_relu),
        UnaryFn::Mish => each(x, mish),
    }
}

/// Replaces every `x[i]` by the function of `x[i]` and `y[i]`.
#[inline(always)]
pub(crate) fn binary(function: BinaryFn, x: &mut [f32], y: &[f32]) {
    match function {
        BinaryFn::Add => pairs(x, y, |a, b| a + b),
        BinaryFn::Sub => pairs(x, y, |a, b| a - b),
        BinaryFn::Mul => pairs(x, y, |a, b| a * b),
        BinaryFn::Div => pairs(x, y, |a, b| a / b),
        BinaryFn::Max => pairs(x, y, max),
        BinaryFn::Min => pairs(x, y, min),
    }
}

#[inline(always)]
fn each(x: &mut [f32], f: impl Fn(f32) -> f32) {
    for x in x {
        *x = f(*x);
    }
}

#[inline(always)]
fn pairs(x: &mut [f32], y: &[f32], f: impl Fn(f32, f32) -> f32) {
    for (x, y) in x.iter_mut().zip(y) {
        *x = f(*x, *y);
    }
}

/// Partial sums of a reduction over a row. Their number is the same on every instruction set.
const LANES: usize = 32;

/// The sum of `f` over a row, in an order that depends on the row's length alone: lane `i` takes elements
/// `i, i + 32, ..` and a fixed tree adds the lanes.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        lanes = std::array::from_fn(|i| f(lanes[i], chunk[i]));
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane = f(*lane, *x);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest number of a row; NaNs are passed over, and minus infinity is the largest of none.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane = if *x > *lane { *x } else { *lane };
    }
    lanes.iter().fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m })
}

#[cfg(test)]
mod tests;
