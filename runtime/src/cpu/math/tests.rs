//! The functions against f64, and their bits in vector code against one number at a time.

use bytec_plan::kernel::{BinaryFn, UnaryFn};

use super::super::isa::{Body, Isa, Simd};
use super::{binary, unary};

/// A series whose terms are all of one sign, so that nothing cancels.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn reference(function: UnaryFn, x: f64) -> f64 {
    let gelu_tanh = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
        x / 2.0 * (1.0 + inner.tanh())
    };
    match function {
        UnaryFn::Neg => -x,
        UnaryFn::Abs => x.abs(),
        UnaryFn::Exp => x.exp(),
        UnaryFn::Sqrt => x.sqrt(),
        UnaryFn::Rsqrt => 1.0 / x.sqrt(),
        UnaryFn::Erf => erf(x),
        UnaryFn::Tanh => x.tanh(),
        UnaryFn::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryFn::Relu => x.max(0.0),
        UnaryFn::Silu => x / (1.0 + (-x).exp()),
        UnaryFn::GeluErf => x / 2.0 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        UnaryFn::GeluTanh => gelu_tanh(x),
        UnaryFn::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        UnaryFn::ReluSquared => x.max(0.0) * x.max(0.0),
        UnaryFn::Relu6 => x.clamp(0.0, 6.0),
        UnaryFn::LeakyRelu => x.max(0.01 * x),
        UnaryFn::Mish => x * x.min(100.0).exp().ln_1p().tanh(),
    }
}

struct Unary<'a>(UnaryFn, &'a mut [f32]);

impl Body for Unary<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        unary(self.0, self.1);
    }
}

/// Every 997th number from zero up to `limit`, of both signs.
fn numbers(limit: f32) -> Vec<f32> {
    (0..=limit.to_bits())
        .step_by(997)
        .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
        .collect()
}

/// The largest error in units of the last place, and the largest absolute error.
fn errors(function: UnaryFn, x: &[f32], least: f64) -> (f64, f64) {
    let mut y = x.to_vec();
    Isa::best().run(Unary(function, &mut y));
    let (mut units, mut absolute) = (0.0f64, 0.0f64);
    for (x, y) in x.iter().zip(&y) {
        let exact = reference(function, f64::from(*x));
        if exact.abs() > f64::from(f32::MAX) {
            assert!(y.is_infinite() || *y == f32::MAX, "{function:?}({x}) = {y}, exact {exact:e}");
            continue;
        }
        let error = (exact - f64::from(*y)).abs();
        let unit = (exact.abs().max(least)).log2().floor().exp2() * f64::from(f32::EPSILON);
        units = units.max(error / unit);
        absolute = absolute.max(error);
    }
    println!("{function:?}: {units:.2} ulp, {absolute:.2e} absolute");
    (units, absolute)
}

const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

#[test]
fn errors_are_small() {
    let wide = numbers(1e30);
    let near = numbers(30.0);
    let exp = numbers(110.0);
    assert!(errors(UnaryFn::Exp, &exp, SMALLEST).0 < 1.1);
    assert!(errors(UnaryFn::Erf, &wide, SMALLEST).0 < 1.5);
    assert!(errors(UnaryFn::Tanh, &near, SMALLEST).0 < 2.0);
    assert!(errors(UnaryFn::Tanh, &wide, SMALLEST).1 < 1.5e-7);
    assert!(errors(UnaryFn::Sigmoid, &numbers(80.0), SMALLEST).0 < 2.5);
    assert!(errors(UnaryFn::Sigmoid, &wide, SMALLEST).1 < 1.2e-7);
    assert!(errors(UnaryFn::Silu, &numbers(80.0), SMALLEST).0 < 3.5);
    assert!(errors(UnaryFn::GeluErf, &numbers(1.0), 1e-2).1 < 1e-7);
    assert!(errors(UnaryFn::GeluErf, &near, 1.0).0 < 1.0);
    assert!(errors(UnaryFn::GeluTanh, &numbers(1.0), 1e-2).1 < 1.5e-7);
    assert!(errors(UnaryFn::GeluTanh, &near, 1.0).0 < 4.0);
    assert!(errors(UnaryFn::QuickGelu, &near, 1e-2).1 < 2e-6);
    assert!(errors(UnaryFn::QuickGelu, &near, 1.0).0 < 4.0);
    assert!(errors(UnaryFn::ReluSquared, &numbers(1e15), SMALLEST).0 < 1.0);
    assert!(errors(UnaryFn::Relu6, &wide, SMALLEST).0 == 0.0);
    assert!(errors(UnaryFn::LeakyRelu, &wide, SMALLEST).0 < 1.5);
    assert!(errors(UnaryFn::Mish, &numbers(80.0), SMALLEST).0 < 5.0);
    let positive: Vec<_> = wide.iter().map(|x| x.abs()).collect();
    assert!(errors(UnaryFn::Sqrt, &positive, SMALLEST).0 <= 0.5);
    assert!(errors(UnaryFn::Rsqrt, &positive[2..], SMALLEST).0 < 1.6);
    assert!(errors(UnaryFn::Relu, &wide, SMALLEST).0 == 0.0);
    assert!(errors(UnaryFn::Abs, &wide, SMALLEST).0 == 0.0);
    assert!(errors(UnaryFn::Neg, &wide, SMALLEST).0 == 0.0);
}

#[test]
fn edges() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    assert_eq!(super::exp(-inf), 0.0);
    assert_eq!(super::exp(-200.0), 0.0);
    assert_eq!(super::exp(inf), inf);
    assert_eq!(super::exp(0.0), 1.0);
    assert_eq!(super::exp(-100.0), 3.78e-44);
    assert_eq!(super::erf(inf), 1.0);
    assert_eq!(super::erf(-inf), -1.0);
    assert_eq!(super::tanh(inf), 1.0);
    assert_eq!(super::tanh(-inf), -1.0);
    assert_eq!(super::sigmoid(-inf), 0.0);
    assert_eq!(super::sigmoid(inf), 1.0);
    assert_eq!(super::gelu_erf(inf), inf);
    for function in ALL {
        let mut x = [nan];
        unary(function, &mut x);
        assert!(x[0].is_nan(), "{function:?} of NaN is {}", x[0]);
    }
    for (a, b) in [(nan, 1.0), (1.0, nan), (nan, nan)] {
        assert!(super::max(a, b).is_nan() && super::min(a, b).is_nan());
    }
    assert_eq!((super::max(1.0, 2.0), super::min(1.0, 2.0)), (2.0, 1.0));
}

const ALL: [UnaryFn; 17] = [
    UnaryFn::Neg,
    UnaryFn::Abs,
    UnaryFn::Exp,
    UnaryFn::Sqrt,
    UnaryFn::Rsqrt,
    UnaryFn::Erf,
    UnaryFn::Tanh,
    UnaryFn::Sigmoid,
    UnaryFn::Relu,
    UnaryFn::Silu,
    UnaryFn::GeluErf,
    UnaryFn::GeluTanh,
    UnaryFn::QuickGelu,
    UnaryFn::ReluSquared,
    UnaryFn::Relu6,
    UnaryFn::LeakyRelu,
    UnaryFn::Mish,
];

#[test]
fn vector_code_gives_the_bits_of_one_number_at_a_time() {
    let x: Vec<f32> =
        (0..u32::MAX).step_by(2_097_143).map(f32::from_bits).filter(|x| !x.is_nan()).collect();
    for function in ALL {
        let mut expected = x.clone();
        for x in &mut expected {
            unary(function, std::slice::from_mut(x));
        }
        for isa in Isa::available() {
            for start in 0..3 {
                let mut y = x[start..].to_vec();
                isa.run(Unary(function, &mut y));
                for ((x, y), z) in x[start..].iter().zip(&y).zip(&expected[start..]) {
                    let same = y.to_bits() == z.to_bits() || (y.is_nan() && z.is_nan());
                    assert!(same, "{function:?}({x}) is {y} and {z} on {isa:?}");
                }
            }
        }
    }
}

#[test]
fn functions_of_two_numbers() {
    for (function, expected) in [
        (BinaryFn::Add, 8.0),
        (BinaryFn::Sub, 4.0),
        (BinaryFn::Mul, 12.0),
        (BinaryFn::Div, 3.0),
        (BinaryFn::Max, 6.0),
        (BinaryFn::Min, 2.0),
    ] {
        let mut x = [6.0];
        binary(function, &mut x, &[2.0]);
        assert_eq!(x, [expected]);
    }
}
