//! Instructions of a whole warp: shuffles, votes, matches, matrix transposes, tensor products.

use bytec_runtime::Isa;
use bytec_sim::{Arg, Device, Module};

use crate::support::{bytes, download_u32, noise};

/// Runs a body on one warp. `%a` holds the lane's input word, `%lane` its number; `%d` is stored.
fn warp(body: &str, inputs: &[u32; 32]) -> Vec<u32> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 in, .param .u64 out)\n{{\n\
         .reg .b64 %in, %out, %at;\n.reg .b32 %a, %d, %lane;\n.reg .b32 %r<9>;\n.reg .pred %p<4>;\n\
         ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nmov.u32 %lane, %laneid;\n\
         mul.wide.u32 %at, %lane, 4;\nadd.s64 %in, %in, %at;\nadd.s64 %out, %out, %at;\n\
         ld.global.b32 %a, [%in];\nmov.b32 %d, 0;\n{body}\nst.global.b32 [%out], %d;\nret;\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{body}: {error}"));
    let results = Isa::available().into_iter().map(|isa| {
        let mut device = Device::sm_80();
        device.isa = isa;
        let input = device.alloc("in", 128).expect("it is small");
        let output = device.alloc("out", 128).expect("it is small");
        device.upload(input, 0, &bytes(inputs, u32::to_le_bytes)).expect("it fits");
        let args = [Arg::Pointer(input, 0), Arg::Pointer(output, 0)];
        let kernel = module.kernel("k").expect("it is there");
        device
            .launch(kernel, [1, 1, 1], [32, 1, 1], 0, &args)
            .unwrap_or_else(|fault| panic!("{body}: {fault}"));
        download_u32(&device, output, 32)
    });
    let mut results: Vec<_> = results.collect();
    let last = results.pop().expect("there is an instruction set");
    assert!(results.iter().all(|result| *result == last), "{body}: {results:x?}");
    last
}

fn each(f: impl Fn(u32) -> u32) -> [u32; 32] {
    std::array::from_fn(|lane| f(lane as u32))
}

#[test]
fn shuffles_and_votes() {
    let own = each(|lane| lane * 10);
    let cases: [(&str, [u32; 32]); 20] = [
        ("mov.pred %p0, 0; selp.u32 %d, 1, 2, %p0;", each(|_| 2)),
        (
            "setp.lt.u32 %p0, %lane, 7; mov.pred %p1, 0; @%p0 mov.pred %p1, -1; selp.u32 %d, 1, 2, %p1;",
            each(|lane| if lane < 7 { 1 } else { 2 }),
        ),
        ("shfl.sync.bfly.b32 %d, %a, 1, 31, -1;", each(|lane| (lane ^ 1) * 10)),
        (
            "shfl.sync.up.b32 %d, %a, 3, 0, -1;",
            each(|lane| if lane < 3 { lane } else { lane - 3 } * 10),
        ),
        (
            "shfl.sync.down.b32 %d, %a, 3, 31, -1;",
            each(|lane| if lane > 28 { lane } else { lane + 3 } * 10),
        ),
        ("shfl.sync.idx.b32 %d, %a, 5, 31, -1;", each(|_| 50)),
        // Segments of 8 lanes.
        ("shfl.sync.idx.b32 %d, %a, 5, 0x181f, -1;", each(|lane| (lane / 8 * 8 + 5) * 10)),
        (
            "shfl.sync.up.b32 %d, %a, 1, 0x1800, -1;",
            each(|lane| if lane % 8 == 0 { lane } else { lane - 1 } * 10),
        ),
        (
            "shfl.sync.down.b32 %r0|%p0, %a, 3, 31, -1; selp.u32 %d, 1, 0, %p0;",
            each(|lane| u32::from(lane <= 28)),
        ),
        ("setp.lt.u32 %p0, %lane, 7; vote.sync.ballot.b32 %d, %p0, -1;", each(|_| 0x7f)),
        (
            "setp.lt.u32 %p0, %lane, 7; vote.sync.any.pred %p1, %p0, -1; selp.u32 %d, 1, 0, %p1;",
            each(|_| 1),
        ),
        (
            "setp.lt.u32 %p0, %lane, 7; vote.sync.all.pred %p1, %p0, -1; selp.u32 %d, 1, 0, %p1;",
            each(|_| 0),
        ),
        (
            "setp.lt.u32 %p0, %lane, 7; vote.sync.uni.pred %p1, !%p0, -1; selp.u32 %d, 1, 0, %p1;",
            each(|_| 0),
        ),
        (
            "shr.u32 %r0, %lane, 4; match.any.sync.b32 %d, %r0, -1;",
            each(|lane| if lane < 16 { 0xffff } else { 0xffff_0000 }),
        ),
        ("match.all.sync.b32 %d|%p0, 5, -1; @!%p0 mov.b32 %d, 0;", each(|_| u32::MAX)),
        ("match.all.sync.b32 %d, %lane, -1;", each(|_| 0)),
        ("redux.sync.add.s32 %d, %lane, -1;", each(|_| 496)),
        ("redux.sync.max.u32 %d, %lane, -1;", each(|_| 31)),
        ("redux.sync.xor.b32 %d, %lane, -1;", each(|_| 0)),
        // Lanes that meet again after a branch are one part again.
        (
            "setp.lt.u32 %p0, %lane, 7; @%p0 bra L; mov.b32 %d, 9; bra.uni M; L: activemask.b32 %d; M: bar.warp.sync -1;",
            each(|lane| if lane < 7 { 0x7f } else { 9 }),
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(warp(body, &own), expected, "{body}");
    }
}

#[test]
fn special_registers() {
    for (register, expected) in [
        ("%laneid", each(|lane| lane)),
        ("%tid.x", each(|lane| lane)),
        ("%ntid.x", each(|_| 32)),
        ("%lanemask_lt", each(|lane| (1 << lane) - 1)),
        ("%lanemask_eq", each(|lane| 1 << lane)),
        ("%lanemask_le", each(|lane| u32::MAX >> (31 - lane))),
        ("%lanemask_gt", each(|lane| !(u32::MAX >> (31 - lane)))),
        ("%lanemask_ge", each(|lane| u32::MAX << lane)),
    ] {
        assert_eq!(warp(&format!("mov.u32 %d, {register};"), &[0; 32]), expected, "{register}");
    }
}

#[test]
fn matrices_turn() {
    // Element (row, col) is row * 8 + col; a lane holds two neighbours of its row.
    let held = each(|lane| (lane * 2) | (lane * 2 + 1) << 16);
    let turned = each(|lane| {
        let (row, col) = (lane / 4, lane % 4 * 2);
        (col * 8 + row) | ((col + 1) * 8 + row) << 16
    });
    assert_eq!(warp("movmatrix.sync.aligned.m8n8.trans.b16 %d, %a;", &held), turned);
}

/// A product with A and B of small integers, exact in every format, against its definition.
fn product(form: &str, k: usize, bits: u32, encode: impl Fn(f32) -> u32) {
    let small =
        |seed| noise(16 * k, seed).into_iter().map(|x| (x * 8.0).round()).collect::<Vec<f32>>();
    let (a, b) = (small(1), small(2));
    let per = (32 / bits) as usize;
    // Fragment layouts as the ISA draws them: group = lane / 4 is a row of A and a column of B.
    let registers = 16 * k / 32 / per;
    let pack = |values: &dyn Fn(usize) -> f32| {
        (0..per).fold(0, |sum, at| sum | encode(values(at)) << (at as u32 * bits))
    };
    let fragment_a = |register: usize, lane: usize| {
        let row = lane / 4 + register % 2 * 8;
        let first = lane % 4 * per + register / 2 * 4 * per;
        pack(&|at| a[row * k + first + at])
    };
    let fragment_b = |register: usize, lane: usize| {
        let first = lane % 4 * per + register * 4 * per;
        pack(&|at| b[lane / 4 * k + first + at])
    };
    let mut table = Vec::new();
    for register in 0..registers {
        table.extend((0..32).map(|lane| fragment_a(register, lane)));
    }
    for register in 0..registers / 2 {
        table.extend((0..32).map(|lane| fragment_b(register, lane)));
    }
    let loads: String = (0..registers * 3 / 2)
        .map(|at| format!("ld.global.b32 %r{at}, [%in+{}];\n", at * 128))
        .collect();
    let names = |from: usize, count: usize| {
        (from..from + count).map(|at| format!("%r{at}")).collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 in, .param .u64 out)\n{{\n\
         .reg .b64 %in, %out, %at;\n.reg .b32 %lane;\n.reg .b32 %r<9>;\n.reg .f32 %c<4>;\n\
         ld.param.u64 %in, [in];\nld.param.u64 %out, [out];\nmov.u32 %lane, %laneid;\n\
         mul.wide.u32 %at, %lane, 4;\nadd.s64 %in, %in, %at;\n{loads}\
         mul.wide.u32 %at, %lane, 16;\nadd.s64 %out, %out, %at;\n\
         mov.f32 %c0, 0f3F800000;\nmov.f32 %c1, %c0;\nmov.f32 %c2, %c0;\nmov.f32 %c3, %c0;\n\
         {form} {{%c0, %c1, %c2, %c3}}, {{{}}}, {{{}}}, {{%c0, %c1, %c2, %c3}};\n\
         st.global.v4.f32 [%out], {{%c0, %c1, %c2, %c3}};\nret;\n}}\n",
        names(0, registers),
        names(registers, registers / 2),
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{form}: {error}\n{text}"));
    let mut device = Device::sm_80();
    let input = device.alloc("in", table.len() as u64 * 4).expect("it is small");
    let output = device.alloc("out", 512).expect("it is small");
    device.upload(input, 0, &bytes(&table, u32::to_le_bytes)).expect("it fits");
    let args = [Arg::Pointer(input, 0), Arg::Pointer(output, 0)];
    let kernel = module.kernel("k").expect("it is there");
    let profile = device.launch(kernel, [1, 1, 1], [32, 1, 1], 0, &args).expect("no fault");
    assert_eq!(profile.tensor_ops, 16 * 8 * k as u64 * 2);
    let found = download_u32(&device, output, 128);
    for lane in 0..32 {
        for at in 0..4 {
            let (row, col) = (lane / 4 + at / 2 * 8, lane % 4 * 2 + at % 2);
            let sum: f32 = (0..k).map(|at| a[row * k + at] * b[col * k + at]).sum();
            assert_eq!(f32::from_bits(found[lane * 4 + at]), 1.0 + sum, "{form} {row} {col}");
        }
    }
}

#[test]
fn tensor_products_follow_the_fragment_layouts() {
    let f16 = |x| u32::from(half::f16::from_f32(x).to_bits());
    let bf16 = |x| u32::from(half::bf16::from_f32(x).to_bits());
    let tf32 = |x: f32| x.to_bits() | 0x1fff;
    product("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16, 16, f16);
    product("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16, bf16);
    product("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", 8, 16, f16);
    product("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", 8, 16, bf16);
    product("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 8, 32, tf32);
    product("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", 4, 32, tf32);
}
