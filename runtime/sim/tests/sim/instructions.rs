//! One table for each group of instructions: a form, its operands, and what the PTX ISA gives.

use bytec_runtime::Isa;
use bytec_sim::{Arg, Device, Module};

use crate::support::{bytes, download_u32};

/// Runs a body on one thread. The body finds its inputs in `%a0..` (32 bits) and `%l0..` (64 bits)
/// and leaves results in `%d` and `%ld`, both stored: the same on every instruction set.
pub(crate) fn run(body: &str, narrow: &[u32], wide: &[u64]) -> (u32, u64) {
    let mut loads = String::new();
    for at in 0..narrow.len() {
        loads += &format!("ld.global.b32 %a{at}, [%in+{}];\n", at * 4);
    }
    for at in 0..wide.len() {
        loads += &format!("ld.global.b64 %l{at}, [%in+{}];\n", 64 + at * 8);
    }
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 in, .param .u64 out)\n{{\n\
         .reg .b64 %in, %out, %ld;\n.reg .b32 %d;\n.reg .b32 %a<8>;\n.reg .b64 %l<8>;\n\
         .reg .b16 %h<8>;\n.reg .pred %p<8>;\n\
         ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nmov.b32 %d, 0;\nmov.b64 %ld, 0;\n\
         {loads}{body}\n\
         st.global.b32 [%out], %d;\nst.global.b64 [%out+8], %ld;\nret;\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{body}: {error}\n{text}"));
    let results = Isa::available().into_iter().map(|isa| {
        let mut device = Device::sm_80();
        device.isa = isa;
        let input = device.alloc("in", 128).expect("it is small");
        let output = device.alloc("out", 16).expect("it is small");
        let mut data = bytes(narrow, u32::to_le_bytes);
        data.resize(64, 0);
        data.extend(bytes(wide, u64::to_le_bytes));
        device.upload(input, 0, &data).expect("it fits");
        let args = [Arg::Pointer(input, 0), Arg::Pointer(output, 0)];
        let kernel = module.kernel("k").expect("it is there");
        device
            .launch(kernel, [1, 1, 1], [1, 1, 1], 0, &args)
            .unwrap_or_else(|fault| panic!("{body}: {fault}"));
        device.upload(output, 4, &[0; 4]).expect("it fits");
        let words = download_u32(&device, output, 4);
        (words[0], u64::from(words[2]) | u64::from(words[3]) << 32)
    });
    let results: Vec<_> = results.collect();
    assert!(results.iter().all(|result| *result == results[0]), "{body}: {results:x?}");
    results[0]
}

pub(crate) fn narrow(cases: &[(&str, &[u32], u32)]) {
    for (form, inputs, expected) in cases {
        let (found, _) = run(form, inputs, &[]);
        assert_eq!(found, *expected, "{form} of {inputs:x?}: {found:08x} {expected:08x}");
    }
}

pub(crate) fn wide(cases: &[(&str, &[u32], &[u64], u64)]) {
    for (form, inputs, longs, expected) in cases {
        let (_, found) = run(form, inputs, longs);
        assert_eq!(
            found, *expected,
            "{form} of {inputs:x?} {longs:x?}: {found:016x} {expected:016x}"
        );
    }
}

const MIN: u32 = 0x8000_0000;
const MAX: u32 = 0x7fff_ffff;
const ONES: u32 = u32::MAX;

#[test]
fn integers_of_32_bits() {
    narrow(&[
        ("add.s32 %d, %a0, %a1;", &[MAX, 1], MIN),
        ("add.sat.s32 %d, %a0, %a1;", &[MAX, 1], MAX),
        ("sub.u32 %d, %a0, %a1;", &[0, 1], ONES),
        ("sub.sat.s32 %d, %a0, %a1;", &[MIN, 1], MIN),
        ("mul.lo.s32 %d, %a0, %a1;", &[0x10001, 0x10001], 0x20001),
        ("mul.hi.u32 %d, %a0, %a1;", &[ONES, ONES], 0xffff_fffe),
        ("mul.hi.s32 %d, %a0, %a1;", &[ONES, ONES], 0),
        ("mad.lo.s32 %d, %a0, %a1, %a2;", &[3, ONES, 10], 7),
        ("mad.hi.u32 %d, %a0, %a1, %a2;", &[ONES, ONES, 2], 0),
        ("mad.hi.s32 %d, %a0, %a1, %a2;", &[MIN, 2, 5], 4),
        ("div.s32 %d, %a0, %a1;", &[(-7i32) as u32, 2], (-3i32) as u32),
        ("div.s32 %d, %a0, %a1;", &[MIN, ONES], MIN),
        ("div.u32 %d, %a0, %a1;", &[7, 0], ONES),
        ("rem.s32 %d, %a0, %a1;", &[(-7i32) as u32, 2], ONES),
        ("rem.u32 %d, %a0, %a1;", &[7, 4], 3),
        ("min.s32 %d, %a0, %a1;", &[ONES, 1], ONES),
        ("min.u32 %d, %a0, %a1;", &[ONES, 1], 1),
        ("max.s32 %d, %a0, %a1;", &[ONES, 1], 1),
        ("max.u32 %d, %a0, %a1;", &[ONES, 1], ONES),
        ("abs.s32 %d, %a0;", &[(-5i32) as u32], 5),
        ("abs.s32 %d, %a0;", &[MIN], MIN),
        ("neg.s32 %d, %a0;", &[5], (-5i32) as u32),
        ("sad.s32 %d, %a0, %a1, %a2;", &[ONES, 1, 10], 12),
        ("sad.u32 %d, %a0, %a1, %a2;", &[3, 5, 10], 12),
        ("dp4a.s32.s32 %d, %a0, %a1, %a2;", &[0xff02_0304, 0x0101_0102, 1], 13),
        ("dp4a.u32.u32 %d, %a0, %a1, %a2;", &[0xff00_0000, 0xff00_0000, 1], 65026),
    ]);
}

#[test]
fn bits_of_32() {
    narrow(&[
        ("and.b32 %d, %a0, %a1;", &[0b1100, 0b1010], 0b1000),
        ("or.b32 %d, %a0, %a1;", &[0b1100, 0b1010], 0b1110),
        ("xor.b32 %d, %a0, %a1;", &[0b1100, 0b1010], 0b0110),
        ("not.b32 %d, %a0;", &[0], ONES),
        ("cnot.b32 %d, %a0;", &[0], 1),
        ("cnot.b32 %d, %a0;", &[9], 0),
        ("shl.b32 %d, %a0, %a1;", &[1, 31], MIN),
        ("shl.b32 %d, %a0, %a1;", &[1, 32], 0),
        ("shl.b32 %d, %a0, %a1;", &[1, ONES], 0),
        ("shr.u32 %d, %a0, %a1;", &[MIN, 31], 1),
        ("shr.u32 %d, %a0, %a1;", &[MIN, 32], 0),
        ("shr.s32 %d, %a0, %a1;", &[MIN, 40], ONES),
        ("shr.s32 %d, %a0, %a1;", &[MAX, 40], 0),
        ("bfe.u32 %d, %a0, %a1, %a2;", &[0x1234_5678, 8, 8], 0x56),
        ("bfe.s32 %d, %a0, %a1, %a2;", &[0x0000_8000, 8, 8], 0xffff_ff80),
        ("bfe.s32 %d, %a0, %a1, %a2;", &[MIN, 28, 20], 0xffff_fff8),
        ("bfe.s32 %d, %a0, %a1, %a2;", &[MIN, 200, 4], ONES),
        ("bfe.u32 %d, %a0, %a1, %a2;", &[ONES, 4, 0], 0),
        ("bfe.u32 %d, %a0, %a1, %a2;", &[ONES, 40, 4], 0),
        ("bfi.b32 %d, %a0, %a1, %a2, %a3;", &[0xab, 0x1234_5678, 8, 8], 0x1234_ab78),
        ("bfi.b32 %d, %a0, %a1, %a2, %a3;", &[ONES, 0, 28, 20], 0xf000_0000),
        ("bfi.b32 %d, %a0, %a1, %a2, %a3;", &[ONES, 7, 32, 4], 7),
        ("popc.b32 %d, %a0;", &[0xf0f0], 8),
        ("clz.b32 %d, %a0;", &[1], 31),
        ("clz.b32 %d, %a0;", &[0], 32),
        ("brev.b32 %d, %a0;", &[1], MIN),
        ("bfind.u32 %d, %a0;", &[0x100], 8),
        ("bfind.u32 %d, %a0;", &[0], ONES),
        ("bfind.s32 %d, %a0;", &[ONES], ONES),
        ("bfind.s32 %d, %a0;", &[0xffff_fff0], 3),
        ("bfind.shiftamt.u32 %d, %a0;", &[0x100], 23),
        ("lop3.b32 %d, %a0, %a1, %a2, 0xe8;", &[0b1100, 0b1010, 0b0110], 0b1110),
        ("lop3.b32 %d, %a0, %a1, %a2, 0x96;", &[0b1100, 0b1010, 0b0110], 0),
        ("shf.l.wrap.b32 %d, %a0, %a1, %a2;", &[MIN, 1, 33], 3),
        ("shf.l.clamp.b32 %d, %a0, %a1, %a2;", &[5, 1, 33], 5),
        ("shf.r.wrap.b32 %d, %a0, %a1, %a2;", &[2, 1, 1], MIN | 1),
        ("shf.r.clamp.b32 %d, %a0, %a1, %a2;", &[2, 7, 40], 7),
        ("prmt.b32 %d, %a0, %a1, %a2;", &[0x3322_1100, 0x7766_5544, 0x7531], 0x7755_3311),
        ("prmt.b32 %d, %a0, %a1, %a2;", &[0x0000_80f0, 0, 0x2a98], 0x0000_ffff),
        ("prmt.b32.f4e %d, %a0, %a1, %a2;", &[0x3322_1100, 0x7766_5544, 1], 0x4433_2211),
        ("prmt.b32.b4e %d, %a0, %a1, %a2;", &[0x3322_1100, 0x7766_5544, 0], 0x5566_7700),
        ("prmt.b32.rc8 %d, %a0, %a1, %a2;", &[0x3322_1100, 0, 2], 0x2222_2222),
        ("prmt.b32.ecl %d, %a0, %a1, %a2;", &[0x3322_1100, 0, 2], 0x3322_2222),
        ("prmt.b32.ecr %d, %a0, %a1, %a2;", &[0x3322_1100, 0, 2], 0x2222_1100),
        ("prmt.b32.rc16 %d, %a0, %a1, %a2;", &[0x3322_1100, 0, 1], 0x3322_3322),
    ]);
}

#[test]
fn integers_of_16_bits() {
    let with = |form: &str| {
        format!("cvt.u16.u32 %h0, %a0; cvt.u16.u32 %h1, %a1; {form} cvt.u32.u16 %d, %h2;")
    };
    for (form, inputs, expected) in [
        ("add.s16 %h2, %h0, %h1;", [0x7fff, 1], 0x8000u32),
        ("sub.u16 %h2, %h0, %h1;", [0, 1], 0xffff),
        ("mul.lo.u16 %h2, %h0, %h1;", [0x101, 0x101], 0x0201),
        ("mul.hi.s16 %h2, %h0, %h1;", [0x8000, 2], 0xffff),
        ("min.s16 %h2, %h0, %h1;", [0xffff, 1], 0xffff),
        ("max.u16 %h2, %h0, %h1;", [0xffff, 1], 0xffff),
        ("shr.s16 %h2, %h0, 4;", [0x8000, 0], 0xf800),
        ("shr.u16 %h2, %h0, 20;", [0x8000, 0], 0),
        ("shl.b16 %h2, %h0, 4;", [0xffff, 0], 0xfff0),
        ("neg.s16 %h2, %h0;", [1, 0], 0xffff),
        ("not.b16 %h2, %h0;", [1, 0], 0xfffe),
    ] {
        let (found, _) = run(&with(form), &inputs, &[]);
        assert_eq!(found, expected, "{form} of {inputs:x?}");
    }
    narrow(&[(
        "cvt.u16.u32 %h0, %a0; cvt.u16.u32 %h1, %a1; mul.wide.s16 %d, %h0, %h1;",
        &[0xffff, 3],
        (-3i32) as u32,
    )]);
}

#[test]
fn integers_of_64_bits() {
    let min = 1u64 << 63;
    wide(&[
        ("add.s64 %ld, %l0, %l1;", &[], &[u64::MAX, 2], 1),
        ("sub.s64 %ld, %l0, %l1;", &[], &[0, 1], u64::MAX),
        ("mul.lo.s64 %ld, %l0, %l1;", &[], &[1 << 32, (1 << 32) + 3], 3 << 32),
        ("mul.hi.u64 %ld, %l0, %l1;", &[], &[u64::MAX, 2], 1),
        ("mul.hi.s64 %ld, %l0, %l1;", &[], &[u64::MAX, 2], u64::MAX),
        ("mad.lo.s64 %ld, %l0, %l1, %l2;", &[], &[3, 4, 5], 17),
        ("mul.wide.s32 %ld, %a0, %a1;", &[ONES, 3], &[], (-3i64) as u64),
        ("mul.wide.u32 %ld, %a0, %a1;", &[ONES, 3], &[], 3 * 0xffff_ffff),
        ("mad.wide.s32 %ld, %a0, %a1, %l0;", &[ONES, 3], &[5], 2),
        ("mad.wide.u32 %ld, %a0, %a1, %l0;", &[ONES, 1], &[1], 1 << 32),
        ("div.s64 %ld, %l0, %l1;", &[], &[min, u64::MAX], min),
        ("div.u64 %ld, %l0, %l1;", &[], &[100, 7], 14),
        ("rem.s64 %ld, %l0, %l1;", &[], &[(-7i64) as u64, 4], (-3i64) as u64),
        ("shl.b64 %ld, %l0, %a0;", &[64], &[1], 0),
        ("shr.s64 %ld, %l0, %a0;", &[100], &[min], u64::MAX),
        ("shr.u64 %ld, %l0, %a0;", &[63], &[min], 1),
        ("bfe.u64 %ld, %l0, %a0, %a1;", &[32, 16], &[0x1234_5678_9abc_def0], 0x5678),
        ("bfe.s64 %ld, %l0, %a0, %a1;", &[60, 10], &[min], (-8i64) as u64),
        ("bfi.b64 %ld, %l0, %l1, %a0, %a1;", &[32, 32], &[0xab, 0xcd], 0xab_0000_00cd),
        ("min.s64 %ld, %l0, %l1;", &[], &[u64::MAX, 1], u64::MAX),
        ("max.u64 %ld, %l0, %l1;", &[], &[u64::MAX, 1], u64::MAX),
        ("abs.s64 %ld, %l0;", &[], &[(-9i64) as u64], 9),
        ("neg.s64 %ld, %l0;", &[], &[9], (-9i64) as u64),
        ("not.b64 %ld, %l0;", &[], &[0], u64::MAX),
        ("brev.b64 %ld, %l0;", &[], &[1], min),
        ("and.b64 %ld, %l0, %l1;", &[], &[12, 10], 8),
        ("or.b64 %ld, %l0, 1;", &[], &[12], 13),
        ("xor.b64 %ld, %l0, -1;", &[], &[0], u64::MAX),
        ("popc.b64 %d, %l0; cvt.u64.u32 %ld, %d;", &[], &[u64::MAX], 64),
        ("clz.b64 %d, %l0; cvt.u64.u32 %ld, %d;", &[], &[1], 63),
        ("mov.b64 %ld, {%a0, %a1};", &[1, 2], &[], 2 << 32 | 1),
        ("mov.b64 {%a0, %a1}, %l0; cvt.u64.u32 %ld, %a1;", &[0, 0], &[7 << 32], 7),
        ("selp.b64 %ld, %l0, %l1, %p0;", &[], &[1, 2], 2),
    ]);
}

#[test]
fn comparisons_and_selections() {
    let flag = |form: &str| format!("{form} selp.u32 %d, 1, 0, %p0;");
    let nan = f32::NAN.to_bits();
    let one = 1f32.to_bits();
    let tiny = 1u32;
    for (form, inputs, expected) in [
        ("setp.lt.s32 %p0, %a0, %a1;", [ONES, 0], 1),
        ("setp.lt.u32 %p0, %a0, %a1;", [ONES, 0], 0),
        ("setp.lo.u32 %p0, %a0, %a1;", [0, 1], 1),
        ("setp.hs.u32 %p0, %a0, %a1;", [1, 1], 1),
        ("setp.ne.b32 %p0, %a0, %a1;", [1, 1], 0),
        ("setp.eq.f32 %p0, %a0, %a1;", [0, MIN], 1),
        ("setp.ne.f32 %p0, %a0, %a1;", [nan, one], 0),
        ("setp.neu.f32 %p0, %a0, %a1;", [nan, one], 1),
        ("setp.ltu.f32 %p0, %a0, %a1;", [nan, one], 1),
        ("setp.geu.f32 %p0, %a0, %a1;", [0, one], 0),
        ("setp.num.f32 %p0, %a0, %a1;", [one, one], 1),
        ("setp.nan.f32 %p0, %a0, %a1;", [one, nan], 1),
        ("setp.gt.f32 %p0, %a0, %a1;", [tiny, 0], 1),
        ("setp.gt.ftz.f32 %p0, %a0, %a1;", [tiny, 0], 0),
        ("setp.eq.s32 %p1, 1, 1; setp.lt.and.s32 %p0, %a0, %a1, !%p1;", [0, 1], 0),
        ("setp.eq.s32 %p1, 1, 1; setp.lt.xor.s32 %p0, %a0, %a1, %p1;", [0, 1], 0),
        ("setp.lt.s32 %p1|%p0, %a0, %a1;", [1, 0], 1),
        ("testp.finite.f32 %p0, %a0;", [0x7f80_0000, 0], 0),
        ("testp.infinite.f32 %p0, %a0;", [0xff80_0000, 0], 1),
        ("testp.number.f32 %p0, %a0;", [nan, 0], 0),
        ("testp.notanumber.f32 %p0, %a0;", [nan, 0], 1),
        ("testp.normal.f32 %p0, %a0;", [tiny, 0], 0),
        ("testp.subnormal.f32 %p0, %a0;", [tiny, 0], 1),
        ("testp.subnormal.f32 %p0, %a0;", [0, 0], 0),
        ("setp.eq.s32 %p1, 1, 1; not.pred %p0, %p1;", [0, 0], 0),
        ("setp.eq.s32 %p1, 1, 1; mov.pred %p0, %p1;", [0, 0], 1),
        ("mov.pred %p0, 0;", [0, 0], 0),
        ("mov.pred %p0, 1;", [0, 0], 1),
        ("mov.pred %p0, -1;", [0, 0], 1),
        ("setp.eq.s32 %p1, 1, 1; setp.eq.s32 %p2, 1, 2; or.pred %p0, %p1, %p2;", [0, 0], 1),
        ("setp.eq.s32 %p1, 1, 1; setp.eq.s32 %p2, 1, 2; and.pred %p0, %p1, %p2;", [0, 0], 0),
    ] {
        let (found, _) = run(&flag(form), &inputs, &[]);
        assert_eq!(found, expected, "{form} of {inputs:x?}");
    }
    narrow(&[
        ("set.lt.u32.f32 %d, %a0, %a1;", &[0, one], ONES),
        ("set.lt.f32.s32 %d, %a0, %a1;", &[0, 1], one),
        ("slct.b32.s32 %d, %a0, %a1, %a2;", &[1, 2, ONES], 2),
        ("slct.b32.f32 %d, %a0, %a1, %a2;", &[1, 2, MIN], 1),
        ("slct.b32.f32 %d, %a0, %a1, %a2;", &[1, 2, nan], 2),
    ]);
}
