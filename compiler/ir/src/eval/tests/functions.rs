//! Functions of one and two numbers against values known to many digits.

use crate::attrs::{BinaryFn, UnaryFn};
use crate::eval::{Rounding, binary, erf, erfc, unary};

/// erf and erfc by mpmath, 40 digits.
#[expect(clippy::excessive_precision, reason = "the digits of the reference")]
const ERF: &[(f64, f64, f64)] = &[
    (1e-300, 1.1283791670955126022e-300, 1.0),
    (1e-10, 1.128379167095512615e-10, 0.99999999988716208329),
    (0.1, 0.1124629160182848984, 0.8875370839817151016),
    (0.25, 0.27632639016823693299, 0.72367360983176306701),
    (0.46875, 0.49261347321793799159, 0.50738652678206200841),
    (0.5, 0.52049987781304653768, 0.47950012218695346232),
    (0.75, 0.7111556336535151316, 0.2888443663464848684),
    (1.0, 0.84270079294971486934, 0.15729920705028513066),
    (1.5, 0.96610514647531072707, 0.033894853524689272933),
    (2.0, 0.99532226501895273416, 0.0046777349810472658379),
    (2.5, 0.99959304798255504106, 0.00040695201744495893956),
    (3.0, 0.99997790950300141456, 0.000022090496998585441373),
    (3.9, 0.99999996520775140277, 3.4792248597231767129e-8),
    (4.0, 0.99999998458274209972, 1.5417257900280018852e-8),
    (4.1, 0.99999999329997234592, 6.7000276540849184417e-9),
    (5.0, 0.99999999999846254021, 1.5374597944280348502e-12),
    (5.5, 0.99999999999999264215, 7.3578479179743980631e-15),
    (6.0, 0.99999999999999997848, 2.1519736712498913117e-17),
    (7.5, 1.0, 2.7766493860305691007e-26),
    (10.0, 1.0, 2.088487583762544757e-45),
    (20.0, 1.0, 5.3958656116079009289e-176),
    (26.0, 1.0, 5.6631924088561428465e-296),
];

#[test]
fn erf_against_forty_digits() {
    let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-15 * expected.abs();
    for &(x, e, c) in ERF {
        assert!(near(erf(x), e) && near(erf(-x), -e), "erf({x}) = {e}, found {}", erf(x));
        assert!(near(erfc(x), c) && near(erfc(-x), 1.0 + e), "erfc({x}) = {c}, found {}", erfc(x));
    }
    assert!(erf(f64::NAN).is_nan() && erfc(f64::NAN).is_nan());
    assert_eq!(
        [erf(f64::INFINITY), erf(-30.0), erfc(f64::INFINITY), erfc(-30.0)],
        [1., -1., 0., 2.]
    );
}

#[test]
fn functions() {
    let cases = [
        (UnaryFn::Neg, 2.0, -2.0),
        (UnaryFn::Abs, -2.0, 2.0),
        (UnaryFn::Exp, 1.0, std::f64::consts::E),
        (UnaryFn::Sqrt, 6.25, 2.5),
        (UnaryFn::Rsqrt, 0.25, 2.0),
        (UnaryFn::Erf, 1.0, 0.842_700_792_949_714_9),
        (UnaryFn::Tanh, 0.5, 0.462_117_157_260_009_8),
        (UnaryFn::Sigmoid, 0.0, 0.5),
        (UnaryFn::Sigmoid, -1000.0, 0.0),
        (UnaryFn::Relu, -3.0, 0.0),
        (UnaryFn::Relu, 3.0, 3.0),
        (UnaryFn::Silu, 2.0, 1.761_594_155_955_764_9),
        (UnaryFn::GeluErf, 1.0, 0.841_344_746_068_542_9),
        (UnaryFn::GeluErf, -5.0, -1.4332578593959695e-06),
        (UnaryFn::GeluTanh, 1.0, 0.841_191_990_608_276_8),
    ];
    for (f, x, y) in cases {
        let found = unary(f, x);
        assert!((found - y).abs() <= 1e-14 * y.abs(), "{f}({x}) = {y}, found {found}");
    }
    for &f in UnaryFn::ALL {
        assert!(unary(f, f64::NAN).is_nan(), "{f} of NaN");
    }
    for &f in BinaryFn::ALL {
        assert!(
            binary(f, f64::NAN, 1.0).is_nan() && binary(f, 1.0, f64::NAN).is_nan(),
            "{f} of NaN"
        );
    }
    assert_eq!([binary(BinaryFn::Max, 1., 2.), binary(BinaryFn::Min, 1., 2.)], [2., 1.]);
    assert_eq!([binary(BinaryFn::Sub, 1., 2.), binary(BinaryFn::Div, 1., 2.)], [-1., 0.5]);
}

#[test]
fn rounding_is_to_nearest_even_and_agrees_with_half() {
    for bits in 0..=u16::MAX {
        let (h, b) = (half::f16::from_bits(bits), half::bf16::from_bits(bits));
        for (rounding, value, next) in [
            (Rounding::F16, h.to_f64(), half::f16::from_bits(bits.wrapping_add(1)).to_f64()),
            (Rounding::Bf16, b.to_f64(), half::bf16::from_bits(bits.wrapping_add(1)).to_f64()),
        ] {
            if !value.is_finite() || !next.is_finite() || bits & 0x7fff == 0x7fff {
                continue;
            }
            assert_eq!(rounding.round(value).to_bits(), value.to_bits());
            // Between a number and the next one of its sign: ties go to the even one, the rest to the nearer.
            let middle = (value + next) / 2.0;
            let even = if bits & 1 == 0 { value } else { next };
            assert_eq!(rounding.round(middle), even, "{rounding:?} {value} {next}");
            let (below, above) = (middle + (value - next) / 1e10, middle + (next - value) / 1e10);
            assert_eq!([rounding.round(below), rounding.round(above)], [value, next]);
        }
    }
    assert_eq!(Rounding::F16.round(65519.0), 65504.0);
    assert_eq!(Rounding::F16.round(-65520.0), f64::NEG_INFINITY);
    assert_eq!(Rounding::Bf16.round(f64::MAX), f64::INFINITY);
    assert_eq!(Rounding::F32.round(0.1), f64::from(0.1f32));
    assert!(Rounding::Bf16.round(f64::NAN).is_nan());
    assert_eq!(Rounding::F16.round(1e-300), 0.0);
}
