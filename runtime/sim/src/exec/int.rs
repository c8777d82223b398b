//! Integer instructions. Columns of 16-bit registers hold their value zero-extended.

use super::warp::{Warp, each, lanes};
use crate::inst::{Col, Int1, Int2, Int3, PrmtMode, Ty};

fn s16(x: u32) -> i32 {
    i32::from(x as u16 as i16)
}

/// The value that a narrow column's bits stand for.
fn number(x: u32, ty: Ty) -> i64 {
    match ty {
        Ty::S16 => i64::from(s16(x)),
        Ty::S32 => i64::from(x as i32),
        _ => i64::from(x),
    }
}

/// The exact product.
fn product(x: u32, y: u32, ty: Ty) -> i128 {
    i128::from(number(x, ty)) * i128::from(number(y, ty))
}

pub(super) fn int1(warp: &mut Warp, mask: u32, op: Int1, ty: Ty, d: Col, a: Col) {
    if ty.is_wide() {
        return int1_wide(warp, mask, op, ty, d, a);
    }
    let bits = ty.bits();
    let keep = u32::MAX >> (32 - bits);
    match op {
        Int1::Neg => warp.n1(mask, d, a, |x| x.wrapping_neg() & keep),
        Int1::Abs => warp.n1(mask, d, a, |x| number(x, ty).unsigned_abs() as u32 & keep),
        Int1::Not => warp.n1(mask, d, a, |x| !x & keep),
        Int1::Popc => warp.n1(mask, d, a, |x| x.count_ones()),
        Int1::Clz => warp.n1(mask, d, a, |x| x.leading_zeros()),
        Int1::Brev => warp.n1(mask, d, a, u32::reverse_bits),
        Int1::Cnot => warp.n1(mask, d, a, |x| u32::from(x == 0)),
        Int1::Bfind { shift_amount } => warp.n1(mask, d, a, |x| {
            let x = if ty.is_signed() && (x as i32) < 0 { !x } else { x };
            found(x.checked_ilog2(), 31, shift_amount)
        }),
    }
}

fn found(bit: Option<u32>, top: u32, shift_amount: bool) -> u32 {
    match bit {
        None => u32::MAX,
        Some(bit) if shift_amount => top - bit,
        Some(bit) => bit,
    }
}

fn int1_wide(warp: &mut Warp, mask: u32, op: Int1, ty: Ty, d: Col, a: Col) {
    match op {
        Int1::Neg => warp.w1(mask, d, a, u64::wrapping_neg),
        Int1::Abs => warp.w1(mask, d, a, |x| (x as i64).unsigned_abs()),
        Int1::Not => warp.w1(mask, d, a, |x| !x),
        Int1::Brev => warp.w1(mask, d, a, u64::reverse_bits),
        Int1::Cnot => warp.w1(mask, d, a, |x| u64::from(x == 0)),
        Int1::Popc | Int1::Clz | Int1::Bfind { .. } => {
            for lane in lanes(mask) {
                let x = warp.wide[a as usize][lane];
                warp.narrow[d as usize][lane] = match op {
                    Int1::Popc => x.count_ones(),
                    Int1::Clz => x.leading_zeros(),
                    _ => {
                        let x = if ty.is_signed() && (x as i64) < 0 { !x } else { x };
                        let shift_amount = op == Int1::Bfind { shift_amount: true };
                        found(x.checked_ilog2(), 63, shift_amount)
                    }
                };
            }
        }
    }
}

pub(super) fn int2(warp: &mut Warp, mask: u32, op: Int2, ty: Ty, d: Col, a: Col, b: Col) {
    if op == Int2::MulWide {
        return mul_wide(warp, mask, ty, d, a, b);
    }
    match ty.bytes() {
        8 => int2_wide(warp, mask, op, ty, d, a, b),
        4 => int2_narrow(warp, mask, op, ty, d, a, b),
        _ => int2_short(warp, mask, op, ty, d, a, b),
    }
}

fn mul_wide(warp: &mut Warp, mask: u32, ty: Ty, d: Col, a: Col, b: Col) {
    if ty.bytes() == 2 {
        return warp.n2(mask, d, a, b, |x, y| (number(x, ty) * number(y, ty)) as u32);
    }
    let (x, y) = (&warp.narrow[a as usize], &warp.narrow[b as usize]);
    let values = if ty == Ty::S32 {
        each(warp.isa, |lane| (i64::from(x[lane] as i32) * i64::from(y[lane] as i32)) as u64)
    } else {
        each(warp.isa, |lane| u64::from(x[lane]) * u64::from(y[lane]))
    };
    warp.set_wide(mask, d, &values);
}

fn int2_narrow(warp: &mut Warp, mask: u32, op: Int2, ty: Ty, d: Col, a: Col, b: Col) {
    let signed = ty.is_signed();
    match op {
        Int2::Add => warp.n2(mask, d, a, b, u32::wrapping_add),
        Int2::Sub => warp.n2(mask, d, a, b, u32::wrapping_sub),
        Int2::AddSat => warp.n2(mask, d, a, b, |x, y| (x as i32).saturating_add(y as i32) as u32),
        Int2::SubSat => warp.n2(mask, d, a, b, |x, y| (x as i32).saturating_sub(y as i32) as u32),
        Int2::MulLo | Int2::MulWide => warp.n2(mask, d, a, b, u32::wrapping_mul),
        Int2::MulHi => {
            warp.n2(mask, d, a, b, |x, y| (product(x, y, ty) >> 32) as u32);
        }
        // A division by zero has no defined result; GPUs give all ones and the dividend.
        Int2::Div if signed => warp.n2(mask, d, a, b, |x, y| match y {
            0 => u32::MAX,
            _ => (x as i32).wrapping_div(y as i32) as u32,
        }),
        Int2::Rem if signed => warp.n2(mask, d, a, b, |x, y| match y {
            0 => x,
            _ => (x as i32).wrapping_rem(y as i32) as u32,
        }),
        Int2::Div => warp.n2(mask, d, a, b, |x, y| x.checked_div(y).unwrap_or(u32::MAX)),
        Int2::Rem => warp.n2(mask, d, a, b, |x, y| x.checked_rem(y).unwrap_or(x)),
        Int2::Min if signed => warp.n2(mask, d, a, b, |x, y| (x as i32).min(y as i32) as u32),
        Int2::Max if signed => warp.n2(mask, d, a, b, |x, y| (x as i32).max(y as i32) as u32),
        Int2::Min => warp.n2(mask, d, a, b, u32::min),
        Int2::Max => warp.n2(mask, d, a, b, u32::max),
        Int2::And => warp.n2(mask, d, a, b, |x, y| x & y),
        Int2::Or => warp.n2(mask, d, a, b, |x, y| x | y),
        Int2::Xor => warp.n2(mask, d, a, b, |x, y| x ^ y),
        // Shifts clamp their amount at the width.
        Int2::Shl => warp.n2(mask, d, a, b, |x, y| x.checked_shl(y).unwrap_or(0)),
        Int2::Shr if signed => warp.n2(mask, d, a, b, |x, y| ((x as i32) >> y.min(31)) as u32),
        Int2::Shr => warp.n2(mask, d, a, b, |x, y| x.checked_shr(y).unwrap_or(0)),
    }
}

fn int2_short(warp: &mut Warp, mask: u32, op: Int2, ty: Ty, d: Col, a: Col, b: Col) {
    warp.n2(mask, d, a, b, |x, y| {
        let (p, q) = (number(x, ty), number(y, ty));
        let result = match op {
            Int2::Add | Int2::AddSat => p + q,
            Int2::Sub | Int2::SubSat => p - q,
            Int2::MulLo | Int2::MulWide => p * q,
            Int2::MulHi => (p * q) >> 16,
            Int2::Div => p.checked_div(q).unwrap_or(-1),
            Int2::Rem => p.checked_rem(q).unwrap_or(p),
            Int2::Min => p.min(q),
            Int2::Max => p.max(q),
            Int2::And => p & q,
            Int2::Or => p | q,
            Int2::Xor => p ^ q,
            Int2::Shl => p << y.min(16),
            Int2::Shr => p >> y.min(16),
        };
        result as u32 & 0xffff
    });
}

fn int2_wide(warp: &mut Warp, mask: u32, op: Int2, ty: Ty, d: Col, a: Col, b: Col) {
    let signed = ty.is_signed();
    match op {
        Int2::Add | Int2::AddSat => warp.w2(mask, d, a, b, u64::wrapping_add),
        Int2::Sub | Int2::SubSat => warp.w2(mask, d, a, b, u64::wrapping_sub),
        Int2::MulLo | Int2::MulWide => warp.w2(mask, d, a, b, u64::wrapping_mul),
        Int2::MulHi if signed => warp
            .w2(mask, d, a, b, |x, y| ((i128::from(x as i64) * i128::from(y as i64)) >> 64) as u64),
        Int2::MulHi => {
            warp.w2(mask, d, a, b, |x, y| ((u128::from(x) * u128::from(y)) >> 64) as u64);
        }
        Int2::Div if signed => warp.w2(mask, d, a, b, |x, y| match y {
            0 => u64::MAX,
            _ => (x as i64).wrapping_div(y as i64) as u64,
        }),
        Int2::Rem if signed => warp.w2(mask, d, a, b, |x, y| match y {
            0 => x,
            _ => (x as i64).wrapping_rem(y as i64) as u64,
        }),
        Int2::Div => warp.w2(mask, d, a, b, |x, y| x.checked_div(y).unwrap_or(u64::MAX)),
        Int2::Rem => warp.w2(mask, d, a, b, |x, y| x.checked_rem(y).unwrap_or(x)),
        Int2::Min if signed => warp.w2(mask, d, a, b, |x, y| (x as i64).min(y as i64) as u64),
        Int2::Max if signed => warp.w2(mask, d, a, b, |x, y| (x as i64).max(y as i64) as u64),
        Int2::Min => warp.w2(mask, d, a, b, u64::min),
        Int2::Max => warp.w2(mask, d, a, b, u64::max),
        Int2::And => warp.w2(mask, d, a, b, |x, y| x & y),
        Int2::Or => warp.w2(mask, d, a, b, |x, y| x | y),
        Int2::Xor => warp.w2(mask, d, a, b, |x, y| x ^ y),
        Int2::Shl | Int2::Shr => {
            let (x, y) = (&warp.wide[a as usize], &warp.narrow[b as usize]);
            let values = each(warp.isa, |lane| match op {
                Int2::Shl => x[lane].checked_shl(y[lane]).unwrap_or(0),
                _ if signed => ((x[lane] as i64) >> y[lane].min(63)) as u64,
                _ => x[lane].checked_shr(y[lane]).unwrap_or(0),
            });
            warp.set_wide(mask, d, &values);
        }
    }
}

pub(super) fn int3(warp: &mut Warp, mask: u32, op: Int3, ty: Ty, d: Col, abc: [Col; 3]) {
    let [a, b, c] = abc;
    match (op, ty.bytes()) {
        (Int3::MadWide, 4) => {
            let signed = ty.is_signed();
            let (x, y, z) =
                (&warp.narrow[a as usize], &warp.narrow[b as usize], &warp.wide[c as usize]);
            let values = each(warp.isa, |lane| {
                let product = if signed {
                    (i64::from(x[lane] as i32) * i64::from(y[lane] as i32)) as u64
                } else {
                    u64::from(x[lane]) * u64::from(y[lane])
                };
                product.wrapping_add(z[lane])
            });
            warp.set_wide(mask, d, &values);
        }
        (Int3::MadWide, _) => warp
            .n3(mask, d, abc, |x, y, z| ((number(x, ty) * number(y, ty)) as u32).wrapping_add(z)),
        (Int3::Bfe, 8) => {
            let (x, at, len) =
                (&warp.wide[a as usize], &warp.narrow[b as usize], &warp.narrow[c as usize]);
            let values =
                each(warp.isa, |lane| extract(x[lane], at[lane], len[lane], 64, ty.is_signed()));
            warp.set_wide(mask, d, &values);
        }
        (_, 8) => int3_wide(warp, mask, op, ty, d, abc),
        _ => int3_narrow(warp, mask, op, ty, d, abc),
    }
}

fn int3_wide(warp: &mut Warp, mask: u32, op: Int3, ty: Ty, d: Col, abc: [Col; 3]) {
    let signed = ty.is_signed();
    warp.w3(mask, d, abc, |x, y, z| match op {
        Int3::MadHi if signed => {
            (((i128::from(x as i64) * i128::from(y as i64)) >> 64) as u64).wrapping_add(z)
        }
        Int3::MadHi => (((u128::from(x) * u128::from(y)) >> 64) as u64).wrapping_add(z),
        Int3::Sad if signed => (x as i64).abs_diff(y as i64).wrapping_add(z),
        Int3::Sad => x.abs_diff(y).wrapping_add(z),
        _ => x.wrapping_mul(y).wrapping_add(z),
    });
}

fn int3_narrow(warp: &mut Warp, mask: u32, op: Int3, ty: Ty, d: Col, abc: [Col; 3]) {
    let keep = u32::MAX >> (32 - ty.bits());
    match op {
        Int3::MadLo | Int3::MadWide => {
            warp.n3(mask, d, abc, |x, y, z| x.wrapping_mul(y).wrapping_add(z) & keep);
        }
        Int3::MadHi => warp.n3(mask, d, abc, |x, y, z| {
            ((product(x, y, ty) >> ty.bits()) as u32).wrapping_add(z) & keep
        }),
        Int3::Sad => warp.n3(mask, d, abc, |x, y, z| {
            (number(x, ty).abs_diff(number(y, ty)) as u32).wrapping_add(z) & keep
        }),
        Int3::Bfe => warp.n3(mask, d, abc, |x, at, len| {
            let x = if ty.is_signed() { x as i32 as i64 as u64 } else { u64::from(x) };
            extract(x, at, len, 32, ty.is_signed()) as u32
        }),
        Int3::Lop3(table) => warp.n3(mask, d, abc, |x, y, z| {
            (0..8u32).filter(|row| table >> row & 1 == 1).fold(0, |sum, row| {
                let pick = |bits: u32, wanted: u32| if row & wanted != 0 { bits } else { !bits };
                sum | (pick(x, 4) & pick(y, 2) & pick(z, 1))
            })
        }),
        Int3::Prmt(mode) => warp.n3(mask, d, abc, |x, y, z| prmt(x, y, z, mode)),
        Int3::Shf { left, wrap } => warp.n3(mask, d, abc, |x, y, z| {
            let amount = if wrap { z & 31 } else { z.min(32) };
            let both = u64::from(y) << 32 | u64::from(x);
            if left { ((both << amount) >> 32) as u32 } else { (both >> amount) as u32 }
        }),
        Int3::Dp4a { a_signed, b_signed } => warp.n3(mask, d, abc, |x, y, z| {
            (0..4).fold(z, |sum, byte| {
                let part = |bits: u32, signed: bool| {
                    let bits = (bits >> (byte * 8)) as u8;
                    if signed { i32::from(bits as i8) } else { i32::from(bits) }
                };
                sum.wrapping_add((part(x, a_signed) * part(y, b_signed)) as u32)
            })
        }),
    }
}

/// `bfe`: bits `at .. at + len`, of which those beyond the top are zero, or the sign.
fn extract(x: u64, at: u32, len: u32, bits: u32, signed: bool) -> u64 {
    let (at, len) = (at & 255, len & 255);
    if len == 0 {
        return 0;
    }
    let x = if signed { ((x as i64) >> at.min(63)) as u64 } else { x.checked_shr(at).unwrap_or(0) };
    if len >= 64 {
        return x;
    }
    let kept = x & ((1 << len) - 1);
    // The sign is the field's top bit, or the value's where the field reaches beyond it.
    let sign = if at + len > bits { x >> 63 & 1 } else { x >> (len - 1) & 1 };
    if signed && sign == 1 { kept | (u64::MAX << len) } else { kept }
}

/// `bfi`: the low `len` bits of `a` over bits `at ..` of `b`.
pub(super) fn insert(a: u64, b: u64, at: u32, len: u32, bits: u32) -> u64 {
    let (at, len) = (at & 255, len & 255);
    if len == 0 || at >= bits {
        return b;
    }
    let field = if len >= 64 { u64::MAX } else { (1 << len) - 1 };
    let mask = field << at;
    (b & !mask) | ((a << at) & mask)
}

pub(super) fn prmt(x: u32, y: u32, selectors: u32, mode: PrmtMode) -> u32 {
    let bytes = u64::from(y) << 32 | u64::from(x);
    let byte = |index: u32| (bytes >> ((index & 7) * 8)) as u32 & 0xff;
    let by = |f: &dyn Fn(u32) -> u32| (0..4).fold(0, |sum, at| sum | byte(f(at)) << (at * 8));
    let s = selectors & 3;
    match mode {
        PrmtMode::Default => (0..4).fold(0, |sum, at| {
            let selector = selectors >> (at * 4) & 15;
            let value = byte(selector);
            let value = match (selector & 8 != 0, value & 0x80 != 0) {
                (false, _) => value,
                (true, true) => 0xff,
                (true, false) => 0,
            };
            sum | value << (at * 8)
        }),
        PrmtMode::F4e => by(&|at| s + at),
        PrmtMode::B4e => by(&|at| s.wrapping_sub(at) & 7),
        PrmtMode::Rc8 => by(&|_| s),
        PrmtMode::Ecl => by(&|at| at.max(s)),
        PrmtMode::Ecr => by(&|at| at.min(s)),
        PrmtMode::Rc16 => by(&|at| (s & 1) * 2 + at % 2),
    }
}
