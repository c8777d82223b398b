//! The approximate functions of the special-function unit.
//!
//! A GPU's results differ from the exact value by a few units in the last place, in a way that
//! no document gives bit by bit. Here each function is computed in f64 and rounded once to nearest,
//! so its error is at most half a unit. The ISA's bounds for a GPU, which a test's tolerance should
//! allow: `rcp`, `sqrt` 1 ulp, `rsqrt` 2^-22.9 relative, `ex2` 2^-22.5 relative, `lg2` 2^-22.6,
//! `sin` and `cos` 2^-20.5 absolute within [-pi, pi], `tanh` 2^-11 relative, `div` 2 ulp.

/// Powers of ln 2 over factorials: the Taylor series of 2^x.
const EX2: [f64; 14] = [
    1.0,
    std::f64::consts::LN_2,
    0.240_226_506_959_100_7,
    0.055_504_108_664_821_58,
    0.009_618_129_107_628_477,
    0.001_333_355_814_642_844_3,
    1.540_353_039_338_161e-4,
    1.525_273_380_405_984e-5,
    1.321_548_679_014_431e-6,
    1.017_808_600_923_97e-7,
    7.054_911_620_801_123e-9,
    4.445_538_271_870_811e-10,
    2.567_843_599_348_820_6e-11,
    1.369_148_885_390_412_8e-12,
];

/// 2^x, to f64's precision but for the last bits.
#[inline(always)]
pub(crate) fn ex2(x: f64) -> f64 {
    // Beyond these the result is infinite or zero in every format that is narrowed to.
    let bounded = x.clamp(-1000.0, 1000.0);
    let whole = bounded.round_ties_even();
    let rest = bounded - whole;
    let mut sum = 0.0;
    for factor in EX2.iter().rev() {
        sum = sum * rest + factor;
    }
    // Beside 2^52 a whole number is in the low bits, from where it goes to the exponent.
    let exponent = (whole + (1023.0 + (1u64 << 52) as f64)).to_bits() << 52;
    if x.is_nan() { x } else { sum * f64::from_bits(exponent) }
}

/// The approximate quotient: as the exact one, except that it is zero (or NaN for an infinite
/// dividend) where the divisor is above 2^126.
pub(crate) fn div(a: f32, b: f32) -> f64 {
    let large = b.abs() > f32::from_bits(0x7e80_0000) && b.is_finite();
    match (large, a.is_finite()) {
        (true, true) => 0.0f64.copysign(f64::from(a) * f64::from(b)),
        (true, false) => f64::NAN,
        (false, _) => f64::from(a) / f64::from(b),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_of_two_agree_with_the_library() {
        for step in -40_000..40_000 {
            let x = f64::from(step) * 0.003_7;
            let expected = x.exp2();
            assert!((super::ex2(x) - expected).abs() <= expected * 4e-16, "{x}");
        }
        assert_eq!(super::ex2(f64::NEG_INFINITY) as f32, 0.0);
        assert_eq!(super::ex2(f64::INFINITY) as f32, f32::INFINITY);
        assert_eq!(super::ex2(10.0), 1024.0);
    }
}
