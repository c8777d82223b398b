//! Half floats to f32, which is exact, and from f32, rounded to nearest, ties to even.

/// The value of an f16.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    /// 2^112: the difference of the exponents' biases. The product is exact, for denormals too.
    const SCALE: f32 = f32::from_bits((112 + 127) << 23);
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let magnitude = if magnitude < 0x7c00 {
        (f32::from_bits(magnitude << 13) * SCALE).to_bits()
    } else {
        0x7f80_0000 | magnitude << 13
    };
    f32::from_bits(sign | magnitude)
}

/// The value of a bf16.
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest f16. A NaN stays one.
pub(crate) fn f32_to_f16(x: f32) -> u16 {
    /// 65,520: from here on the nearest is infinity.
    const OVERFLOW: u32 = 0x477f_f000;
    /// 2^-14: the smallest normal f16.
    const NORMAL: u32 = (127 - 14) << 23;
    let (sign, magnitude) = ((x.to_bits() >> 16) as u16 & 0x8000, x.to_bits() & 0x7fff_ffff);
    let magnitude = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= OVERFLOW {
        0x7c00
    } else if magnitude >= NORMAL {
        round_off(magnitude - ((127 - 15) << 23), 13)
    } else {
        // One half has the unit 2^-24 in its last place, so the sum is rounded to multiples of it, as f16's denormals.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()
    };
    sign | magnitude as u16
}

/// The nearest bf16. A NaN stays one.
#[inline(always)]
pub(crate) fn f32_to_bf16(x: f32) -> u16 {
    if x.is_nan() {
        return (x.to_bits() >> 16) as u16 | 0x0040;
    }
    round_off(x.to_bits(), 16) as u16
}

/// `n / 2^bits`, rounded to nearest, ties to even. A carry into the exponent is right as it is.
#[inline(always)]
fn round_off(n: u32, bits: u32) -> u32 {
    let odd = n >> bits & 1;
    (n + (1 << (bits - 1)) - 1 + odd) >> bits
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

    #[test]
    fn every_half_widens_exactly() {
        for bits in 0..=u16::MAX {
            for (got, expected) in [
                (f16_to_f32(bits), f16::from_bits(bits).to_f64()),
                (bf16_to_f32(bits), bf16::from_bits(bits).to_f64()),
            ] {
                if expected.is_nan() {
                    assert!(got.is_nan(), "{bits:#x}");
                } else {
                    assert_eq!(f64::from(got).to_bits(), expected.to_bits(), "{bits:#x}");
                }
            }
        }
    }

    /// Every half, the numbers half-way between neighbours, and the f32 next to each of these.
    #[test]
    fn numbers_narrow_to_the_nearest_half() {
        let mut seen = 0;
        for bits in 0..u16::MAX {
            for (low, high) in [
                (f16_to_f32(bits), f16_to_f32(bits + 1)),
                (bf16_to_f32(bits), bf16_to_f32(bits + 1)),
            ] {
                let middle = low + (high - low) / 2.0;
                for x in [low, middle].into_iter().flat_map(|x| [x.next_down(), x, x.next_up()]) {
                    let pairs = [
                        (f32_to_f16(x), f16::from_f32(x).to_bits(), f16::from_f32(x).is_nan()),
                        (f32_to_bf16(x), bf16::from_f32(x).to_bits(), bf16::from_f32(x).is_nan()),
                    ];
                    for (got, expected, nan) in pairs {
                        assert!(got == expected || nan, "{x:e}: {got:#x}, not {expected:#x}");
                    }
                    assert_eq!(f16_to_f32(f32_to_f16(x)).is_nan(), x.is_nan());
                    assert_eq!(bf16_to_f32(f32_to_bf16(x)).is_nan(), x.is_nan());
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 65_535 * 2 * 6);
    }
}
