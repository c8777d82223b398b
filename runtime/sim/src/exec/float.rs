//! Floating-point instructions, comparisons and selections.

use bytec_runtime::Isa;
use bytec_runtime::cpu::isa::Compiled;

use super::warp::{Warp, each, lanes};
use crate::inst::{Bool, Col, Combine, Compare, Float1, Float2, FloatMode, Round, Test, Ty};
use crate::num::{approx, f32ops, half};

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
            Float1::Ex2Approx => warp.n1(mask, d, a, |x| {
                let x = f64::from(f32ops::input(f32::from_bits(x), mode));
                f32ops::finish(approx::ex2(x) as f32, mode)
            }),
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
            Float2::Min if !mode.nan => warp.f2(mask, d, a, b, |x, y| f32ops::extreme(true, x, y)),
            Float2::Max if !mode.nan => warp.f2(mask, d, a, b, |x, y| f32ops::extreme(false, x, y)),
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
        Ty::F32 if plain(mode) => {
            warp.n3(mask, d, abc, |x, y, z| f32ops::canonical(f(x).mul_add(f(y), f(z))));
        }
        Ty::F32 => warp.n3(mask, d, abc, |x, y, z| f32ops::fma(f(x), f(y), f(z), mode)),
        _ => warp.n3(mask, d, abc, |x, y, z| half::fma(ty, mode, x, y, z)),
    }
}

/// How two columns compare, one bit a lane.
#[derive(Default)]
struct Relation {
    less: u32,
    equal: u32,
    /// Either is NaN.
    unordered: u32,
}

impl Relation {
    /// The lanes in which a comparison holds.
    fn holds(&self, compare: Compare) -> u32 {
        let Relation { less, equal, unordered } = *self;
        match compare {
            Compare::Eq => equal,
            Compare::Ne => !(equal | unordered),
            Compare::Lt => less,
            Compare::Le => less | equal,
            Compare::Gt => !(less | equal | unordered),
            Compare::Ge => !(less | unordered),
            Compare::Equ => equal | unordered,
            Compare::Neu => !equal,
            Compare::Ltu => less | unordered,
            Compare::Leu => less | equal | unordered,
            Compare::Gtu => !(less | equal),
            Compare::Geu => !less,
            Compare::Num => !unordered,
            Compare::Nan => unordered,
        }
    }
}

/// Compares lane by lane, by code compiled for every instruction set.
struct Relate<'a, T, U, F> {
    x: &'a [T; 32],
    y: &'a [T; 32],
    value: F,
    kind: std::marker::PhantomData<U>,
}

impl<T: Copy, U: PartialOrd, F: Fn(T) -> U> Compiled for Relate<'_, T, U, F> {
    type Output = Relation;

    #[inline(always)]
    #[expect(clippy::eq_op, reason = "NaN is not itself")]
    fn run(self) -> Relation {
        let mut relation = Relation::default();
        for lane in 0..32 {
            let (x, y) = ((self.value)(self.x[lane]), (self.value)(self.y[lane]));
            relation.less |= u32::from(x < y) << lane;
            relation.equal |= u32::from(x == y) << lane;
            relation.unordered |= u32::from(x != x || y != y) << lane;
        }
        relation
    }
}

/// The lanes in which a comparison holds.
fn compared(warp: &Warp, compare: Compare, ty: Ty, ftz: bool, a: Col, b: Col) -> u32 {
    fn relate<T: Copy, U: PartialOrd>(
        isa: Isa,
        x: &[T; 32],
        y: &[T; 32],
        value: impl Fn(T) -> U,
    ) -> Relation {
        isa.compiled(Relate { x, y, value, kind: std::marker::PhantomData })
    }
    let relation = if ty.is_wide() {
        let (x, y) = (&warp.wide[a as usize], &warp.wide[b as usize]);
        match ty {
            Ty::F64 => relate(warp.isa, x, y, f64::from_bits),
            _ if ty.is_signed() => relate(warp.isa, x, y, |x| x as i64),
            _ => relate(warp.isa, x, y, |x| x),
        }
    } else {
        let (x, y) = (&warp.narrow[a as usize], &warp.narrow[b as usize]);
        match ty {
            Ty::F32 if ftz => relate(warp.isa, x, y, |x| f32ops::flush(f32::from_bits(x))),
            Ty::F32 => relate(warp.isa, x, y, f32::from_bits),
            Ty::F16 => relate(warp.isa, x, y, half::f16_to_f32),
            Ty::Bf16 => relate(warp.isa, x, y, half::bf16_to_f32),
            Ty::S16 => relate(warp.isa, x, y, |x| x as u16 as i16),
            _ if ty.is_signed() => relate(warp.isa, x, y, |x| x as i32),
            _ => relate(warp.isa, x, y, |x| x),
        }
    };
    relation.holds(compare)
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
    let values = each(warp.isa, |lane| if held >> lane & 1 == 1 { yes } else { 0 });
    warp.set_narrow(mask, d, &values);
}

pub(super) fn selp(warp: &mut Warp, mask: u32, wide: bool, d: Col, [a, b]: [Col; 2], chosen: u32) {
    if wide {
        let (x, y) = (&warp.wide[a as usize], &warp.wide[b as usize]);
        let values = each(warp.isa, |lane| if chosen >> lane & 1 == 1 { x[lane] } else { y[lane] });
        warp.set_wide(mask, d, &values);
    } else {
        let (x, y) = (&warp.narrow[a as usize], &warp.narrow[b as usize]);
        let values = each(warp.isa, |lane| if chosen >> lane & 1 == 1 { x[lane] } else { y[lane] });
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
