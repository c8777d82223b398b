//! Floating-point instructions, comparisons and selections.

use super::warp::{Warp, lanes};
use crate::inst::{Bool, Col, Combine, Compare, Float1, Float2, FloatMode, Round, Test, Ty};
use crate::num::{f32ops, half};

pub(super) fn float1(
    warp: &mut Warp,
    mask: u32,
    op: Float1,
    ty: Ty,
    mode: FloatMode,
    d: Col,
    a: Col,
) {
    match ty {
        Ty::F64 => warp.w1(mask, d, a, |x| f32ops::unary64(op, f64::from_bits(x))),
        Ty::F32 => match op {
            Float1::Neg if !mode.ftz => warp.n1(mask, d, a, |x| x ^ 0x8000_0000),
            Float1::Abs if !mode.ftz => warp.n1(mask, d, a, |x| x & 0x7fff_ffff),
            _ => warp.n1(mask, d, a, |x| f32ops::unary(op, f32::from_bits(x), mode)),
        },
        _ => warp.n1(mask, d, a, |x| half::unary(op, ty, mode, x)),
    }
}

/// No modifier changes what the machine's own operation gives, but for the bits of NaN.
fn plain(mode: FloatMode) -> bool {
    mode.round == Round::Nearest && !mode.ftz && !mode.sat
}

pub(super) fn float2(
    warp: &mut Warp,
    mask: u32,
    op: Float2,
    ty: Ty,
    mode: FloatMode,
    d: Col,
    [a, b]: [Col; 2],
) {
    match ty {
        Ty::F64 => warp.w2(mask, d, a, b, |x, y| {
            f32ops::binary64(op, f64::from_bits(x), f64::from_bits(y), mode)
        }),
        Ty::F32 if plain(mode) => match op {
            Float2::Add => warp.f2(mask, d, a, b, |x, y| f32ops::canonical(x + y)),
            Float2::Sub => warp.f2(mask, d, a, b, |x, y| f32ops::canonical(x - y)),
            Float2::Mul => warp.f2(mask, d, a, b, |x, y| f32ops::canonical(x * y)),
            _ => warp.f2(mask, d, a, b, |x, y| f32ops::binary(op, x, y, mode)),
        },
        Ty::F32 => warp.f2(mask, d, a, b, |x, y| f32ops::binary(op, x, y, mode)),
        _ => warp.n2(mask, d, a, b, |x, y| half::binary(op, ty, mode, x, y)),
    }
}

pub(super) fn fma(warp: &mut Warp, mask: u32, ty: Ty, mode: FloatMode, d: Col, abc: [Col; 3]) {
    let f = f32::from_bits;
    match ty {
        Ty::F64 => warp.w3(mask, d, abc, |x, y, z| {
            f32ops::fma64(f64::from_bits(x), f64::from_bits(y), f64::from_bits(z))
        }),
        Ty::F32 => warp.n3(mask, d, abc, |x, y, z| f32ops::fma(f(x), f(y), f(z), mode)),
        _ => warp.n3(mask, d, abc, |x, y, z| half::fma(ty, mode, x, y, z)),
    }
}

/// The lanes in which a comparison holds, and those in which its negation does: with a NaN an
/// ordered comparison is false, and so is what `set` and `setp` make of it.
fn compared(warp: &Warp, compare: Compare, ty: Ty, ftz: bool, a: Col, b: Col) -> u32 {
    let bits =
        |f: &dyn Fn(usize) -> bool| (0..32).fold(0, |sum, lane| sum | u32::from(f(lane)) << lane);
    if !ty.is_float() {
        return if ty.is_wide() {
            let (x, y) = (&warp.wide[a as usize], &warp.wide[b as usize]);
            let signed = ty.is_signed();
            bits(&|lane| match signed {
                true => ordered(compare, (x[lane] as i64).cmp(&(y[lane] as i64))),
                false => ordered(compare, x[lane].cmp(&y[lane])),
            })
        } else {
            let (x, y) = (&warp.narrow[a as usize], &warp.narrow[b as usize]);
            integers(compare, ty, x, y)
        };
    }
    if ty == Ty::F64 {
        let (x, y) = (&warp.wide[a as usize], &warp.wide[b as usize]);
        return bits(&|lane| {
            f32ops::compare(compare, f64::from_bits(x[lane]), f64::from_bits(y[lane]))
        });
    }
    let (x, y) = (&warp.narrow[a as usize], &warp.narrow[b as usize]);
    let value = |x: u32| match ty {
        Ty::F16 => half::f16_to_f32(x),
        Ty::Bf16 => half::bf16_to_f32(x),
        _ if ftz => f32ops::flush(f32::from_bits(x)),
        _ => f32::from_bits(x),
    };
    bits(&|lane| f32ops::compare(compare, f64::from(value(x[lane])), f64::from(value(y[lane]))))
}

fn integers(compare: Compare, ty: Ty, x: &[u32; 32], y: &[u32; 32]) -> u32 {
    // Flipping the sign bit makes signed order unsigned; 16-bit values are moved to the top first.
    let (shift, flip) = match ty {
        Ty::S16 => (16, 0x8000_0000),
        Ty::S32 => (0, 0x8000_0000u32),
        _ => (0, 0),
    };
    let mut less = 0;
    let mut equal = 0;
    for lane in 0..32 {
        let (p, q) = ((x[lane] << shift) ^ flip, (y[lane] << shift) ^ flip);
        less |= u32::from(p < q) << lane;
        equal |= u32::from(p == q) << lane;
    }
    match compare {
        Compare::Eq | Compare::Equ => equal,
        Compare::Ne | Compare::Neu => !equal,
        Compare::Lt | Compare::Ltu => less,
        Compare::Le | Compare::Leu => less | equal,
        Compare::Gt | Compare::Gtu => !(less | equal),
        Compare::Ge | Compare::Geu => !less,
        Compare::Num => u32::MAX,
        Compare::Nan => 0,
    }
}

fn ordered(compare: Compare, order: std::cmp::Ordering) -> bool {
    match compare {
        Compare::Eq | Compare::Equ => order.is_eq(),
        Compare::Ne | Compare::Neu => order.is_ne(),
        Compare::Lt | Compare::Ltu => order.is_lt(),
        Compare::Le | Compare::Leu => order.is_le(),
        Compare::Gt | Compare::Gtu => order.is_gt(),
        Compare::Ge | Compare::Geu => order.is_ge(),
        Compare::Num => true,
        Compare::Nan => false,
    }
}

pub(super) fn logic(op: Bool, a: u32, b: u32) -> u32 {
    match op {
        Bool::And => a & b,
        Bool::Or => a | b,
        Bool::Xor => a ^ b,
    }
}

/// The comparison of a `setp` or `set`.
pub(super) struct Comparison {
    pub(super) compare: Compare,
    pub(super) ty: Ty,
    pub(super) ftz: bool,
    pub(super) a: Col,
    pub(super) b: Col,
}

impl Comparison {
    fn bits(&self, warp: &Warp) -> u32 {
        compared(warp, self.compare, self.ty, self.ftz, self.a, self.b)
    }
}

pub(super) fn setp(
    warp: &mut Warp,
    mask: u32,
    comparison: &Comparison,
    combine: Option<Combine>,
    d: Col,
    other: Option<Col>,
) {
    let held = comparison.bits(warp);
    let (yes, no) = match combine {
        None => (held, !held),
        Some(Combine { op, pred, negated }) => {
            let pred = warp.preds[pred as usize] ^ if negated { u32::MAX } else { 0 };
            (logic(op, held, pred), logic(op, !held, pred))
        }
    };
    warp.set_pred(mask, d, yes);
    if let Some(other) = other {
        warp.set_pred(mask, other, no);
    }
}

pub(super) fn set(warp: &mut Warp, mask: u32, comparison: &Comparison, to: Ty, d: Col) {
    let held = comparison.bits(warp);
    let yes = if to == Ty::F32 { 1.0f32.to_bits() } else { u32::MAX };
    let values = std::array::from_fn(|lane| if held >> lane & 1 == 1 { yes } else { 0 });
    warp.set_narrow(mask, d, &values);
}

pub(super) fn selp(warp: &mut Warp, mask: u32, wide: bool, d: Col, [a, b]: [Col; 2], chosen: u32) {
    if wide {
        let (x, y) = (&warp.wide[a as usize], &warp.wide[b as usize]);
        let values =
            std::array::from_fn(|lane| if chosen >> lane & 1 == 1 { x[lane] } else { y[lane] });
        warp.set_wide(mask, d, &values);
    } else {
        let (x, y) = (&warp.narrow[a as usize], &warp.narrow[b as usize]);
        let values =
            std::array::from_fn(|lane| if chosen >> lane & 1 == 1 { x[lane] } else { y[lane] });
        warp.set_narrow(mask, d, &values);
    }
}

/// The lanes in which `slct` takes its first operand: those whose third is at least zero.
pub(super) fn at_least_zero(warp: &Warp, float: bool, ftz: bool, c: Col) -> u32 {
    let column = &warp.narrow[c as usize];
    (0..32).fold(0, |sum, lane| {
        let x = column[lane];
        let holds = if float {
            let x = f32::from_bits(x);
            (if ftz { f32ops::flush(x) } else { x }) >= 0.0
        } else {
            x as i32 >= 0
        };
        sum | u32::from(holds) << lane
    })
}

pub(super) fn testp(warp: &mut Warp, mask: u32, test: Test, wide: bool, d: Col, a: Col) {
    let mut bits = 0;
    for lane in lanes(mask) {
        let holds = if wide {
            let x = f64::from_bits(warp.wide[a as usize][lane]);
            f32ops::test(test, x.is_finite(), x.is_nan(), x.is_normal(), x == 0.0)
        } else {
            let x = f32::from_bits(warp.narrow[a as usize][lane]);
            f32ops::test(test, x.is_finite(), x.is_nan(), x.is_normal(), x == 0.0)
        };
        bits |= u32::from(holds) << lane;
    }
    warp.set_pred(mask, d, bits);
}
