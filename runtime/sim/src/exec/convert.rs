//! `cvt`.

use super::warp::{Warp, each};
use crate::inst::{Col, Convert, Round, Ty};
use crate::num::{f32ops, half, round};

pub(super) fn convert(warp: &mut Warp, mask: u32, convert: Convert, d: Col, a: Col) {
    let Convert { to, from, .. } = convert;
    match (to, from) {
        (Ty::F16, Ty::F32) if nearest(convert) => {
            return warp.n1(mask, d, a, |x| half::nearest_f16(f32::from_bits(x)));
        }
        (Ty::Bf16, Ty::F32) if nearest(convert) => {
            return warp.n1(mask, d, a, |x| half::nearest_bf16(f32::from_bits(x)));
        }
        (Ty::F32, Ty::F16) if nearest(convert) => {
            return warp.n1(mask, d, a, |x| f32ops::canonical(half::f16_to_f32(x & 0xffff)));
        }
        (Ty::F32, Ty::Bf16) if nearest(convert) => {
            return warp.n1(mask, d, a, |x| f32ops::canonical(half::bf16_to_f32(x & 0xffff)));
        }
        _ => {}
    }
    match (to.is_wide(), from.is_wide()) {
        (false, false) => warp.n1(mask, d, a, |x| one(convert, u64::from(x)) as u32),
        (true, true) => warp.w1(mask, d, a, |x| one(convert, x)),
        (false, true) => {
            let x = &warp.wide[a as usize];
            let values = match plain_integers(convert) && to.bits() == 32 {
                true => each(warp.isa, |lane| x[lane] as u32),
                false => each(warp.isa, |lane| one(convert, x[lane]) as u32),
            };
            warp.set_narrow(mask, d, &values);
        }
        (true, false) => {
            let x = &warp.narrow[a as usize];
            let values = match from {
                Ty::U32 if plain_integers(convert) => each(warp.isa, |lane| u64::from(x[lane])),
                Ty::S32 if plain_integers(convert) => {
                    each(warp.isa, |lane| i64::from(x[lane] as i32) as u64)
                }
                _ => each(warp.isa, |lane| one(convert, u64::from(x[lane]))),
            };
            warp.set_wide(mask, d, &values);
        }
    }
}

/// `a` goes to the upper half.
pub(super) fn pair(warp: &mut Warp, mask: u32, convert: Convert, d: Col, a: Col, b: Col) {
    let f = f32::from_bits;
    match convert.to {
        Ty::F16 | Ty::F16x2 if nearest(convert) => {
            let both = |x, y| half::nearest_f16(f(x)) << 16 | half::nearest_f16(f(y));
            warp.n2(mask, d, a, b, both);
        }
        Ty::Bf16 | Ty::Bf16x2 if nearest(convert) => {
            let both = |x, y| half::nearest_bf16(f(x)) << 16 | half::nearest_bf16(f(y));
            warp.n2(mask, d, a, b, both);
        }
        _ => warp.n2(mask, d, a, b, |x, y| small(convert, f(x)) << 16 | small(convert, f(y))),
    }
}

/// To the nearest, with no modifier.
fn nearest(convert: Convert) -> bool {
    let Convert { round, ftz, sat, relu, .. } = convert;
    round.is_none_or(|round| round == Round::Nearest) && !ftz && !sat && !relu
}

fn plain_integers(convert: Convert) -> bool {
    convert.to.is_integer() && convert.from.is_integer() && !convert.sat
}

fn one(convert: Convert, x: u64) -> u64 {
    let Convert { to, from, .. } = convert;
    match (to.is_float(), from.is_float()) {
        (false, false) => between_integers(convert, integer(from, x)),
        (false, true) => float_to_integer(convert, x),
        (true, false) => integer_to_float(convert, integer(from, x)),
        (true, true) => between_floats(convert, x),
    }
}

fn integer(ty: Ty, x: u64) -> i128 {
    match ty {
        Ty::S8 => i128::from(x as u8 as i8),
        Ty::S16 => i128::from(x as u16 as i16),
        Ty::S32 => i128::from(x as u32 as i32),
        Ty::S64 => i128::from(x as i64),
        Ty::U8 => i128::from(x as u8),
        Ty::U16 => i128::from(x as u16),
        Ty::U32 => i128::from(x as u32),
        _ => i128::from(x),
    }
}

fn range(ty: Ty) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The bits as a register holds them: a result of 8 bits is extended by its own sign to 32,
/// one of 16 bits fills a 16-bit register.
fn register(ty: Ty, value: i128) -> u64 {
    match ty {
        Ty::S8 => u64::from(value as i8 as i32 as u32),
        Ty::U8 => u64::from(value as u8),
        Ty::U16 | Ty::S16 => u64::from(value as u16),
        Ty::U32 | Ty::S32 => u64::from(value as u32),
        _ => value as u64,
    }
}

fn between_integers(convert: Convert, value: i128) -> u64 {
    let (low, high) = range(convert.to);
    register(convert.to, if convert.sat { value.clamp(low, high) } else { value })
}

fn float(ty: Ty, x: u64, ftz: bool) -> f64 {
    match ty {
        Ty::F16 => f64::from(half::f16_to_f32(x as u32 & 0xffff)),
        Ty::Bf16 => f64::from(half::bf16_to_f32(x as u32 & 0xffff)),
        Ty::F64 => f64::from_bits(x),
        _ => {
            let x = f32::from_bits(x as u32);
            f64::from(if ftz { f32ops::flush(x) } else { x })
        }
    }
}

/// Out of range is clamped; NaN is 0, or the lowest number where 64 bits or f64 take part.
fn float_to_integer(convert: Convert, x: u64) -> u64 {
    let value = float(convert.from, x, convert.ftz);
    if value.is_nan() {
        let wide = convert.to.is_wide() || convert.from == Ty::F64;
        return if wide { 1 << (convert.to.bits() - 1) } else { 0 };
    }
    let (low, high) = range(convert.to);
    let whole = round::integral(value, convert.round.unwrap_or(Round::Zero));
    register(convert.to, (whole as i128).clamp(low, high))
}

fn integer_to_float(convert: Convert, value: i128) -> u64 {
    let direction = convert.round.unwrap_or(Round::Nearest);
    // 64 bits don't fit f64, so what they lose is kept as the odd bit.
    let near = value as f64;
    let odd = round::to_odd(near, (value - near as i128) as f64);
    let bits = match convert.to {
        Ty::F64 => return f64_from_odd(value, direction).to_bits(),
        Ty::F16 => round::encode(odd, round::F16, direction),
        Ty::Bf16 => round::encode(odd, round::BF16, direction),
        _ => round::encode(odd, round::F32, direction),
    };
    u64::from(bits)
}

/// An integer as f64 in a direction.
fn f64_from_odd(value: i128, direction: Round) -> f64 {
    let near = value as f64;
    let error = value - near as i128;
    let step = |up: bool| if up { near.next_up() } else { near.next_down() };
    match direction {
        Round::Down if error < 0 => step(false),
        Round::Up if error > 0 => step(true),
        Round::Zero if error != 0 && (error < 0) == (value > 0) => step(value < 0),
        _ => near,
    }
}

fn small(convert: Convert, x: f32) -> u32 {
    let direction = convert.round.unwrap_or(Round::Nearest);
    let (bits, nan) = match convert.to {
        Ty::Bf16 | Ty::Bf16x2 => (half::f32_to_bf16(x, direction), x.is_nan()),
        _ => (half::f32_to_f16(x, direction), x.is_nan()),
    };
    let one = if matches!(convert.to, Ty::Bf16 | Ty::Bf16x2) { 0x3f80 } else { 0x3c00 };
    match () {
        () if convert.sat && (nan || bits & 0x8000 != 0) => 0,
        () if convert.sat => bits.min(one),
        () if convert.relu && !nan && bits & 0x8000 != 0 => 0,
        () => bits,
    }
}

fn between_floats(convert: Convert, x: u64) -> u64 {
    let Convert { to, from, ftz, .. } = convert;
    if from == Ty::F32 && matches!(to, Ty::F16 | Ty::Bf16) {
        let x = f32::from_bits(x as u32);
        return u64::from(small(convert, if ftz { f32ops::flush(x) } else { x }));
    }
    let value = float(from, x, ftz);
    // `cvt.rni.f32.f32` rounds to an integral value; other pairs round to the format.
    let to_integral = to == from && convert.round.is_some();
    let value = match convert.round {
        Some(direction) if to_integral => round::integral(value, direction),
        _ => value,
    };
    let direction =
        if to_integral { Round::Nearest } else { convert.round.unwrap_or(Round::Nearest) };
    let bits = match to {
        Ty::F64 => return finish64(convert, value),
        Ty::F32 => finish32(convert, round::encode(value, round::F32, direction)),
        Ty::Tf32 => tf32(convert, value, direction),
        Ty::Bf16 => round::encode(value, round::BF16, direction),
        _ => round::encode(value, round::F16, direction),
    };
    u64::from(bits)
}

/// tf32 lives in the upper 19 bits of a 32-bit register.
fn tf32(convert: Convert, value: f64, direction: Round) -> u32 {
    if value.is_nan() {
        return round::NAN32;
    }
    let bits = round::encode(value, round::TF32, direction) << 13;
    if convert.relu && bits >> 31 == 1 { 0 } else { bits }
}

fn finish32(convert: Convert, bits: u32) -> u32 {
    let x = f32::from_bits(bits);
    match () {
        () if convert.sat => f32ops::saturate(x).to_bits(),
        () if convert.ftz => f32ops::canonical(f32ops::flush(x)),
        () => bits,
    }
}

fn finish64(convert: Convert, x: f64) -> u64 {
    match () {
        () if convert.sat && x > 0.0 => x.min(1.0).to_bits(),
        () if convert.sat => 0,
        () => f32ops::canonical64(x),
    }
}
