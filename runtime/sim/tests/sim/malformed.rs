//! Text that is wrong gives an error with its line, whatever was done to it.

use bytec_sim::{Arg, Checks, Device, Module};
use proptest::prelude::*;

const FIXTURES: [&str; 4] = [
    include_str!("../fixtures/vector_add.ptx"),
    include_str!("../fixtures/row_norm.ptx"),
    include_str!("../fixtures/gemm.ptx"),
    include_str!("../fixtures/odds_and_ends_13_5.ptx"),
];

fn body(line: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.entry k(.param .u64 x)\n{{\n.reg .b32 %r<4>;\n.reg .b64 %l<2>;\n\
         .reg .pred %p;\n.reg .f32 %f;\n{line}\nret;\n}}\n"
    )
}

#[test]
fn messages_name_the_line_and_the_thing() {
    for (line, expected) in [
        (
            "frobnicate.b32 %r0, %r1;",
            "PTX line 9: the simulator does not execute `frobnicate.b32`: unknown instruction",
        ),
        (
            "add.u32.odd %r0, %r1, %r2;",
            "PTX line 9: the simulator does not execute `add.u32.odd`: modifier `.odd` is unknown here",
        ),
        (
            "add %r0, %r1, %r2;",
            "PTX line 9: the simulator does not execute `add`: it names no type",
        ),
        ("add.u32 %r0, %r1;", "PTX line 9: `add.u32` takes 3 operands, found 2"),
        (
            "add.u32 %r0, %r1, %l0;",
            "PTX line 9: `add.u32`: operand 2 should be a value of type .u32, found `%l0`",
        ),
        ("add.u32 %r0, %r1, %r4;", "PTX line 9: %r4 is not declared"),
        (
            "add.u32 %r0, %r1, 0x100000000;",
            "PTX line 9: `add.u32`: operand 2 should be a value of type .u32, found 4294967296",
        ),
        (
            "add.u32 7, %r1, %r2;",
            "PTX line 9: `add.u32`: operand 0 should be a register of at most 32 bits, found 7",
        ),
        ("bra missing;", "PTX line 9: missing is not declared"),
        (".reg .b32 %r<2>;", "PTX line 9: %r<> is declared twice in one scope"),
        (
            ".reg .b32 %big<99999999>;",
            "PTX line 9: one register file takes 100000004, more than the limit of 65536",
        ),
        (
            ".shared .b8 big[99999999];",
            "PTX line 9: shared memory takes 99999999, more than the limit of 1048576",
        ),
        (".wobble 3;", "PTX line 9: unknown directive .wobble"),
        (
            "call.uni helper, (%r0);",
            "PTX line 9: the simulator does not execute `call.uni`: calls are not modelled; kernels inline their functions",
        ),
        (
            "ld.global.v3.b32 %r0, [%l0];",
            "PTX line 9: the simulator does not execute `ld.global.v3.b32`: modifier `.v3` is unknown here",
        ),
        (
            "st.const.b32 [%l0], %r0;",
            "PTX line 9: the simulator does not execute `st.const.b32`: parameters and constants are read-only",
        ),
        (
            "cvt.f16.f32 %r0, %f;",
            "PTX line 9: the simulator does not execute `cvt.f16.f32`: its rounding modifier does not fit its types",
        ),
        (
            "atom.global.add.f32 %f, [%l0], %f;",
            "PTX line 9: the simulator does not execute `atom.global.add.f32`: atomics on floats depend on the order of blocks, so none is modelled",
        ),
        (
            "cp.async.cg.shared.global [%r0], [%l0], 8;",
            "PTX line 9: the simulator does not execute `cp.async.cg.shared.global`: `.cg` copies 16 bytes",
        ),
        ("mov.b32 %r0, %warp_of_light;", "PTX line 9: %warp_of_light is not declared"),
        ("mov.b32 %r0 %r1;", "PTX line 9: expected `,`, found `%r1`"),
        ("mov.b32 %r0, ?;", "PTX line 9: character '?' begins no PTX token"),
        ("/* no end", "PTX line 9: a comment has no end"),
        ("@%r0 bra L; L:", "PTX line 9: `bra`: operand 0 should be a predicate, found `%r0`"),
        (
            "tcgen05.wait.ld.sync.aligned;",
            "PTX line 9: the simulator does not execute `tcgen05.wait.ld.sync.aligned`: unknown instruction",
        ),
    ] {
        let error = Module::parse(&body(line)).expect_err(line);
        assert_eq!(error.to_string(), expected, "{line}");
        assert_eq!(error.line, 9);
    }
    for (text, line) in
        [("", 1), (".version 5.0", 1), (".version 8.0\n.target", 2), (".target sm_80", 1)]
    {
        assert_eq!(Module::parse(text).expect_err(text).line, line, "{text}");
    }
}

/// Runs every kernel that parses, with arguments of the right sizes; faults are fine, panics not.
fn run(text: &str) {
    let Ok(module) = Module::parse(text) else { return };
    for kernel in module.kernels() {
        for checks in [Checks::NONE, Checks::ALL] {
            let mut device = Device::sm_80();
            device.checks = checks;
            device.branch_limit = 2000;
            let buffer = device.alloc("memory", 4096).expect("it is small");
            device.upload(buffer, 0, &[1; 4096]).expect("it fits");
            let total: u64 = kernel.params().iter().map(|param| u64::from(param.bytes)).sum();
            if total > 4096 {
                continue;
            }
            let args: Vec<Arg> = kernel
                .params()
                .iter()
                .map(|param| match param.bytes {
                    8 => Arg::Pointer(buffer, 0),
                    4 => Arg::U32(32),
                    bytes => Arg::Bytes(vec![0; bytes as usize]),
                })
                .collect();
            let _ = device.launch(kernel, [2, 1, 1], [64, 1, 1], 256, &args);
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Byte(usize, u8),
    Line(usize),
    Swap(usize, usize),
    Copy(usize, usize),
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut text = text.to_owned();
    for change in changes {
        match change {
            Change::Cut(at, count) => {
                let at = at % (text.len() + 1);
                let end = (at + count).min(text.len());
                text.replace_range(at..end, "");
            }
            Change::Byte(at, byte) => {
                let at = at % text.len().max(1);
                if at < text.len() {
                    let byte = char::from(byte & 0x7f).to_string();
                    text.replace_range(at..at + 1, &byte);
                }
            }
            Change::Line(_) | Change::Swap(..) | Change::Copy(..) => {
                let mut lines: Vec<&str> = text.lines().collect();
                let count = lines.len().max(1);
                if lines.is_empty() {
                    continue;
                }
                match change {
                    Change::Line(at) => {
                        lines.remove(at % count);
                    }
                    Change::Swap(a, b) => lines.swap(a % count, b % count),
                    Change::Copy(from, to) => lines.insert(to % count, lines[from % count]),
                    _ => {}
                }
                text = lines.join("\n");
            }
        }
    }
    text
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 1..20usize).prop_map(|(at, count)| Change::Cut(at, count)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        any::<usize>().prop_map(Change::Line),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Swap(a, b)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Change::Copy(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_text_never_panics(which in 0..FIXTURES.len(), changes in prop::collection::vec(change(), 1..4)) {
        run(&changed(FIXTURES[which], &changes));
    }
}
