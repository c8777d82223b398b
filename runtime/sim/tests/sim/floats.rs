//! Floating-point instructions and conversions: NaN, infinities, subnormals, rounding, saturation.

use crate::instructions::{narrow, run, wide};

const ONE: u32 = 0x3f80_0000;
const TWO: u32 = 0x4000_0000;
const NAN: u32 = 0x7fff_ffff;
const INF: u32 = 0x7f80_0000;
const MINUS: u32 = 0x8000_0000;
/// The smallest subnormal, the largest one, and the smallest normal number.
const TINY: u32 = 1;
const SUB: u32 = 0x007f_ffff;
const NORMAL: u32 = 0x0080_0000;
/// 2^-24: half a unit in the last place of one.
const HALF_ULP: u32 = 0x3380_0000;
const LARGEST: u32 = 0x7f7f_ffff;

#[test]
fn f32_arithmetic() {
    narrow(&[
        ("add.f32 %d, %a0, %a1;", &[ONE, ONE], TWO),
        ("add.rn.f32 %d, %a0, %a1;", &[ONE, HALF_ULP], ONE),
        ("add.rp.f32 %d, %a0, %a1;", &[ONE, HALF_ULP], ONE + 1),
        ("add.rm.f32 %d, %a0, %a1;", &[ONE, HALF_ULP | MINUS], ONE - 1),
        ("add.rz.f32 %d, %a0, %a1;", &[ONE, TINY | MINUS], ONE - 1),
        ("add.rp.f32 %d, %a0, %a1;", &[ONE, TINY], ONE + 1),
        ("add.rm.f32 %d, %a0, %a1;", &[ONE, ONE | MINUS], MINUS),
        ("add.rn.f32 %d, %a0, %a1;", &[ONE, ONE | MINUS], 0),
        ("add.f32 %d, %a0, %a1;", &[INF, INF | MINUS], NAN),
        ("add.f32 %d, %a0, %a1;", &[0xffc0_1234, ONE], NAN),
        ("add.f32 %d, %a0, %a1;", &[TINY, TINY], 2),
        ("add.ftz.f32 %d, %a0, %a1;", &[TINY, TINY], 0),
        ("add.ftz.f32 %d, %a0, %a1;", &[SUB | MINUS, MINUS], MINUS),
        ("add.sat.f32 %d, %a0, %a1;", &[ONE, ONE], ONE),
        ("add.sat.f32 %d, %a0, %a1;", &[NAN, ONE], 0),
        ("add.sat.f32 %d, %a0, %a1;", &[MINUS, MINUS], 0),
        ("sub.f32 %d, %a0, %a1;", &[ONE, TWO], ONE | MINUS),
        ("sub.rz.f32 %d, %a0, %a1;", &[TWO, TINY], TWO - 1),
        ("mul.f32 %d, %a0, %a1;", &[LARGEST, TWO], INF),
        ("mul.rz.f32 %d, %a0, %a1;", &[LARGEST, TWO], LARGEST),
        ("mul.rp.f32 %d, %a0, %a1;", &[LARGEST, TWO | MINUS], LARGEST | MINUS),
        ("mul.rm.f32 %d, %a0, %a1;", &[TINY, TINY | MINUS], TINY | MINUS),
        ("mul.f32 %d, %a0, %a1;", &[NORMAL, 0x3f00_0000], 0x0040_0000),
        ("mul.ftz.f32 %d, %a0, %a1;", &[NORMAL, 0x3f00_0000], 0),
        ("mul.f32 %d, %a0, %a1;", &[0, INF], NAN),
        ("fma.rn.f32 %d, %a0, %a1, %a2;", &[ONE + 1, ONE + 1, ONE | MINUS], 0x3480_0000),
        ("fma.rn.f32 %d, %a0, %a1, %a2;", &[ONE + 1, ONE - 1, ONE | MINUS], 0x337f_fffe),
        ("fma.rz.f32 %d, %a0, %a1, %a2;", &[TINY | MINUS, TINY, ONE], ONE - 1),
        ("fma.rm.f32 %d, %a0, %a1, %a2;", &[TINY | MINUS, TINY, ONE], ONE - 1),
        ("fma.rp.f32 %d, %a0, %a1, %a2;", &[TINY, TINY, ONE], ONE + 1),
        ("fma.rn.sat.f32 %d, %a0, %a1, %a2;", &[TWO, TWO, ONE], ONE),
        ("fma.rn.ftz.f32 %d, %a0, %a1, %a2;", &[SUB, ONE, 0], 0),
        ("mad.rn.f32 %d, %a0, %a1, %a2;", &[TWO, TWO, ONE], 0x40a0_0000),
        ("min.f32 %d, %a0, %a1;", &[NAN, ONE], ONE),
        ("min.NaN.f32 %d, %a0, %a1;", &[0x7fc0_0001, ONE], NAN),
        ("min.f32 %d, %a0, %a1;", &[0, MINUS], MINUS),
        ("max.f32 %d, %a0, %a1;", &[MINUS, 0], 0),
        ("max.f32 %d, %a0, %a1;", &[NAN, NAN], NAN),
        ("max.ftz.f32 %d, %a0, %a1;", &[SUB, 0], 0),
        ("neg.f32 %d, %a0;", &[ONE], ONE | MINUS),
        ("abs.ftz.f32 %d, %a0;", &[TINY | MINUS], 0),
        ("copysign.f32 %d, %a0, %a1;", &[MINUS, TWO], TWO | MINUS),
    ]);
}

#[test]
fn f32_quotients_and_roots() {
    let third = (1f32 / 3.0).to_bits();
    narrow(&[
        ("div.rn.f32 %d, %a0, %a1;", &[ONE, 3f32.to_bits()], third),
        ("div.rz.f32 %d, %a0, %a1;", &[ONE, 3f32.to_bits()], third - 1),
        ("div.rp.f32 %d, %a0, %a1;", &[ONE, 3f32.to_bits()], third),
        ("div.rm.f32 %d, %a0, %a1;", &[ONE | MINUS, 3f32.to_bits()], third | MINUS),
        ("div.rn.f32 %d, %a0, %a1;", &[ONE, MINUS], INF | MINUS),
        ("div.rn.f32 %d, %a0, %a1;", &[0, 0], NAN),
        ("div.rn.ftz.f32 %d, %a0, %a1;", &[ONE, SUB], INF),
        ("div.full.f32 %d, %a0, %a1;", &[TWO, TWO], ONE),
        ("div.approx.f32 %d, %a0, %a1;", &[TWO, TWO], ONE),
        ("div.approx.f32 %d, %a0, %a1;", &[ONE, LARGEST], 0),
        ("div.approx.f32 %d, %a0, %a1;", &[INF, LARGEST], NAN),
        ("rcp.rn.f32 %d, %a0;", &[3f32.to_bits()], third),
        ("rcp.rz.f32 %d, %a0;", &[3f32.to_bits()], third - 1),
        ("rcp.approx.f32 %d, %a0;", &[MINUS], INF | MINUS),
        ("rcp.approx.ftz.f32 %d, %a0;", &[TINY], INF),
        ("rcp.approx.f32 %d, %a0;", &[INF], 0),
        ("sqrt.rn.f32 %d, %a0;", &[TWO], 2f32.sqrt().to_bits()),
        ("sqrt.rp.f32 %d, %a0;", &[4f32.to_bits()], TWO),
        ("sqrt.rm.f32 %d, %a0;", &[TWO], 2f32.sqrt().to_bits()),
        ("sqrt.rp.f32 %d, %a0;", &[TWO], 2f32.sqrt().to_bits() + 1),
        ("sqrt.rn.f32 %d, %a0;", &[ONE | MINUS], NAN),
        ("sqrt.approx.f32 %d, %a0;", &[MINUS], MINUS),
        ("rsqrt.approx.f32 %d, %a0;", &[4f32.to_bits()], 0x3f00_0000),
        ("rsqrt.approx.f32 %d, %a0;", &[0], INF),
        ("rsqrt.approx.f32 %d, %a0;", &[MINUS], INF | MINUS),
        ("ex2.approx.f32 %d, %a0;", &[(-149f32).to_bits()], TINY),
        ("ex2.approx.ftz.f32 %d, %a0;", &[(-149f32).to_bits()], 0),
        ("ex2.approx.ftz.f32 %d, %a0;", &[TINY], ONE),
        ("ex2.approx.f32 %d, %a0;", &[INF | MINUS], 0),
        ("ex2.approx.f32 %d, %a0;", &[INF], INF),
        ("lg2.approx.f32 %d, %a0;", &[8f32.to_bits()], 3f32.to_bits()),
        ("lg2.approx.f32 %d, %a0;", &[0], INF | MINUS),
        ("lg2.approx.ftz.f32 %d, %a0;", &[SUB], INF | MINUS),
        ("lg2.approx.f32 %d, %a0;", &[ONE | MINUS], NAN),
        ("sin.approx.f32 %d, %a0;", &[MINUS], MINUS),
        ("sin.approx.f32 %d, %a0;", &[INF], NAN),
        ("cos.approx.f32 %d, %a0;", &[0], ONE),
        ("tanh.approx.f32 %d, %a0;", &[INF], ONE),
        ("tanh.approx.f32 %d, %a0;", &[MINUS], MINUS),
    ]);
}

#[test]
fn f64_arithmetic() {
    let bits = f64::to_bits;
    let nan = u64::MAX >> 1;
    wide(&[
        ("add.f64 %ld, %l0, %l1;", &[], &[bits(1.5), bits(2.5)], bits(4.0)),
        ("sub.f64 %ld, %l0, %l1;", &[], &[bits(1.5), bits(2.5)], bits(-1.0)),
        ("mul.f64 %ld, %l0, %l1;", &[], &[bits(1.5), bits(-2.0)], bits(-3.0)),
        ("div.rn.f64 %ld, %l0, %l1;", &[], &[bits(1.0), bits(3.0)], bits(1.0 / 3.0)),
        ("div.rn.f64 %ld, %l0, %l1;", &[], &[0, 0], nan),
        ("rcp.rn.f64 %ld, %l0;", &[], &[bits(4.0)], bits(0.25)),
        ("sqrt.rn.f64 %ld, %l0;", &[], &[bits(-1.0)], nan),
        ("fma.rn.f64 %ld, %l0, %l1, %l2;", &[], &[bits(2.0), bits(3.0), bits(1.0)], bits(7.0)),
        ("min.f64 %ld, %l0, %l1;", &[], &[nan, bits(1.0)], bits(1.0)),
        ("max.f64 %ld, %l0, %l1;", &[], &[bits(-0.0), 0], 0),
        ("neg.f64 %ld, %l0;", &[], &[0], bits(-0.0)),
        ("abs.f64 %ld, %l0;", &[], &[bits(-2.0)], bits(2.0)),
        ("copysign.f64 %ld, %l0, %l1;", &[], &[bits(-0.0), bits(2.0)], bits(-2.0)),
        ("cvt.f64.f32 %ld, %a0;", &[TINY], &[], bits(f64::from(f32::from_bits(TINY)))),
        ("cvt.f64.ftz.f32 %ld, %a0;", &[TINY], &[], 0),
        ("cvt.rn.f64.s64 %ld, %l0;", &[], &[(1 << 53) + 1], bits(9_007_199_254_740_992.0)),
        ("cvt.rp.f64.s64 %ld, %l0;", &[], &[(1 << 53) + 1], bits(9_007_199_254_740_994.0)),
        ("cvt.rn.f64.u32 %ld, %a0;", &[u32::MAX], &[], bits(4_294_967_295.0)),
        ("cvt.rzi.s64.f64 %ld, %l0;", &[], &[bits(-1e30)], 1 << 63),
        ("cvt.rzi.u64.f64 %ld, %l0;", &[], &[bits(1e30)], u64::MAX),
        ("cvt.rzi.s64.f64 %ld, %l0;", &[], &[nan], 1 << 63),
        ("cvt.s64.s32 %ld, %a0;", &[u32::MAX], &[], u64::MAX),
        ("cvt.u64.u32 %ld, %a0;", &[u32::MAX], &[], 0xffff_ffff),
    ]);
}

#[test]
fn f32_to_integers_and_back() {
    let f = f32::to_bits;
    narrow(&[
        ("cvt.rni.s32.f32 %d, %a0;", &[f(2.5)], 2),
        ("cvt.rni.s32.f32 %d, %a0;", &[f(3.5)], 4),
        ("cvt.rzi.s32.f32 %d, %a0;", &[f(-2.9)], (-2i32) as u32),
        ("cvt.rmi.s32.f32 %d, %a0;", &[f(-2.1)], (-3i32) as u32),
        ("cvt.rpi.s32.f32 %d, %a0;", &[f(2.1)], 3),
        ("cvt.rzi.s32.f32 %d, %a0;", &[f(3e9)], 0x7fff_ffff),
        ("cvt.rzi.s32.f32 %d, %a0;", &[f(-3e9)], MINUS),
        ("cvt.rzi.u32.f32 %d, %a0;", &[f(-1.0)], 0),
        ("cvt.rzi.u32.f32 %d, %a0;", &[INF], u32::MAX),
        ("cvt.rzi.s32.f32 %d, %a0;", &[NAN], 0),
        ("cvt.rpi.ftz.s32.f32 %d, %a0;", &[TINY], 0),
        ("cvt.rpi.s32.f32 %d, %a0;", &[TINY], 1),
        ("cvt.rzi.u8.f32 %d, %a0;", &[f(300.0)], 255),
        ("cvt.rzi.s8.f32 %d, %a0;", &[f(-300.0)], (-128i32) as u32),
        ("cvt.rn.f32.s32 %d, %a0;", &[(1 << 24) + 1], f(16_777_216.0)),
        ("cvt.rp.f32.s32 %d, %a0;", &[(1 << 24) + 1], f(16_777_218.0)),
        ("cvt.rz.f32.u32 %d, %a0;", &[u32::MAX], f(4_294_967_040.0)),
        ("cvt.rn.f32.u32 %d, %a0;", &[u32::MAX], f(4_294_967_296.0)),
        ("cvt.sat.f32.f32 %d, %a0;", &[f(1.5)], ONE),
        ("cvt.sat.f32.f32 %d, %a0;", &[NAN], 0),
        ("cvt.ftz.f32.f32 %d, %a0;", &[TINY | MINUS], MINUS),
        ("cvt.rni.f32.f32 %d, %a0;", &[f(-0.5)], MINUS),
        ("cvt.rmi.f32.f32 %d, %a0;", &[f(-0.5)], ONE | MINUS),
        ("cvt.u32.u8 %d, %a0;", &[0x1ff], 0xff),
        ("cvt.s32.s8 %d, %a0;", &[0x80], 0xffff_ff80),
        ("cvt.s32.s16 %d, %a0;", &[0x8000], 0xffff_8000),
        ("cvt.sat.u8.s32 %d, %a0;", &[u32::MAX], 0),
        ("cvt.sat.s8.s32 %d, %a0;", &[200], 127),
        ("cvt.sat.s16.u32 %d, %a0;", &[u32::MAX], 0x7fff),
        ("cvt.sat.u32.s32 %d, %a0;", &[u32::MAX], 0),
    ]);
    let (found, _) = run("cvt.rn.f32.s64 %d, %l0;", &[], &[(1 << 60) + (1 << 36) + 1]);
    assert_eq!(found, 0x5d80_0001, "the tie is broken by the lowest bit");
    let (found, _) = run("cvt.rn.f32.f64 %d, %l0;", &[], &[(1.0 + 2f64.powi(-24)).to_bits() + 1]);
    assert_eq!(found, ONE + 1);
    let (found, _) = run("cvt.rz.f32.f64 %d, %l0;", &[], &[1e300f64.to_bits()]);
    assert_eq!(found, LARGEST);
    let (found, _) = run("cvt.u32.u64 %d, %l0;", &[], &[0x1_2345_6789]);
    assert_eq!(found, 0x2345_6789);
}

#[test]
fn halves() {
    let f = f32::to_bits;
    narrow(&[
        ("cvt.rn.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[f(65519.0)], 0x7bff),
        ("cvt.rn.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[f(65520.0)], 0x7c00),
        ("cvt.rz.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[f(1e9)], 0x7bff),
        ("cvt.rn.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[NAN], 0x7fff),
        ("cvt.rn.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[f(2f32.powi(-24))], 1),
        ("cvt.rn.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[f(2f32.powi(-25))], 0),
        ("cvt.rn.bf16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[0x3f80_8000], 0x3f80),
        ("cvt.rn.bf16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[0x3f81_8000], 0x3f82),
        ("cvt.rz.bf16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[LARGEST], 0x7f7f),
        ("cvt.rn.bf16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[LARGEST], 0x7f80),
        ("cvt.rn.relu.f16.f32 %h0, %a0; cvt.u32.u16 %d, %h0;", &[f(-2.0)], 0),
        ("cvt.rn.f16x2.f32 %d, %a0, %a1;", &[ONE, TWO], 0x3c00_4000),
        ("cvt.rn.bf16x2.f32 %d, %a0, %a1;", &[ONE, TWO], 0x3f80_4000),
        ("cvt.rna.tf32.f32 %d, %a0;", &[0x3f80_1000], 0x3f80_2000),
        ("cvt.rna.tf32.f32 %d, %a0;", &[0x3f80_0fff], ONE),
        ("cvt.u16.u32 %h0, %a0; cvt.f32.f16 %d, %h0;", &[0x3c01], f(1.0 + 2f32.powi(-10))),
        ("cvt.u16.u32 %h0, %a0; cvt.f32.f16 %d, %h0;", &[1], f(2f32.powi(-24))),
        ("cvt.u16.u32 %h0, %a0; cvt.f32.bf16 %d, %h0;", &[0x4000], TWO),
        ("add.f16x2 %d, %a0, %a1;", &[0x3c00_4000, 0x3c00_3c00], 0x4000_4200),
        ("add.rn.f16x2 %d, %a0, %a1;", &[0x7bff_0001, 0x7bff_0001], 0x7c00_0002),
        ("add.ftz.f16x2 %d, %a0, %a1;", &[0x0001_3c00, 0x0001_0001], 0x0000_3c00),
        ("sub.f16x2 %d, %a0, %a1;", &[0x3c00_4000, 0x3c00_3c00], 0x0000_3c00),
        ("mul.f16x2 %d, %a0, %a1;", &[0x4000_c000, 0x4000_4000], 0x4400_c400),
        ("mul.sat.f16x2 %d, %a0, %a1;", &[0x4000_c000, 0x4000_4000], 0x3c00_0000),
        ("fma.rn.f16x2 %d, %a0, %a1, %a2;", &[0x4000_4000, 0x4000_4000, 0x3c00_bc00], 0x4500_4200),
        ("fma.rn.relu.f16x2 %d, %a0, %a1, %a2;", &[0x4000_c000, 0x4000_4000, 0], 0x4400_0000),
        ("fma.rn.bf16x2 %d, %a0, %a1, %a2;", &[0x4000_4000, 0x4000_4000, 0x3f80_bf80], 0x40a0_4040),
        ("max.f16x2 %d, %a0, %a1;", &[0x7e00_8000, 0x3c00_0000], 0x3c00_0000),
        ("min.NaN.bf16x2 %d, %a0, %a1;", &[0x7fc0_4000, 0x3f80_3f80], 0x7fff_3f80),
        ("neg.bf16x2 %d, %a0;", &[0x3f80_bf80], 0xbf80_3f80),
        ("abs.f16x2 %d, %a0;", &[0xbc00_3c00], 0x3c00_3c00),
        ("ex2.approx.f16x2 %d, %a0;", &[0x4000_bc00], 0x4400_3800),
        ("ex2.approx.ftz.bf16x2 %d, %a0;", &[0x4000_bf80], 0x4080_3f00),
        ("tanh.approx.f16x2 %d, %a0;", &[0x7c00_0000], 0x3c00_0000),
        (
            "mov.b32 {%h0, %h1}, %a0; setp.lt.f16 %p0, %h0, %h1; selp.u32 %d, 1, 0, %p0;",
            &[0x4000_3c00],
            1,
        ),
        ("mov.b32 {%h0, %h1}, %a0; mov.b32 %d, {%h1, %h0};", &[0x1234_5678], 0x5678_1234),
        (
            "mov.b32 {%h0, %h1}, %a0; setp.gt.bf16 %p0, %h0, %h1; selp.u32 %d, 1, 0, %p0;",
            &[0x4000_3f80],
            0,
        ),
    ]);
}
