//! Each rule of device code, broken once.

use bytec_plan::check::{SectionSizes, check};
use bytec_plan::device::{
    Arg, Count, DeviceCode, FromRows, Image, Launch, Map, ModuleSpec, Of, Span,
};
use bytec_plan::program::{DType, Program};
use expect_test::{Expect, expect};

use crate::sample;

const SECTION: u64 = 1024;

fn image(offset: u64, bytes: u64) -> Image {
    Image { offset, bytes, hash: "0".repeat(64) }
}

/// The sample as a GPU program: one module, launched for every step.
fn program() -> (Program, SectionSizes) {
    let (mut program, weights) = sample::program();
    let launch = Launch {
        module: 0,
        grid: [Count::Rows { per: 4 }, Count::Fixed(1), Count::Fixed(1)],
        block: 128,
        shared: 0,
        overlaps: false,
        args: vec![Arg::Output, Arg::Rows(Of::Output)],
    };
    let launches = vec![launch; program.steps.len()];
    let module = ModuleSpec {
        symbol: "kernel".to_owned(),
        cubin: Some(image(0, 500)),
        ptx: Some(image(512, 512)),
        registers: 32,
        static_shared: 0,
    };
    let (arch, by_rows) = ("sm_80".to_owned(), Vec::new());
    program.device = Some(DeviceCode { arch, modules: vec![module], launches, by_rows });
    (program, SectionSizes { weights: weights.len(), modules: SECTION })
}

fn breaks(edit: impl FnOnce(&mut DeviceCode), message: Expect) {
    let (mut program, sizes) = program();
    edit(program.device.as_mut().expect("the sample has device code"));
    message.assert_eq(&check(&program, sizes).expect_err("the edit breaks a rule").to_string());
}

#[test]
fn the_sample_keeps_the_rules() {
    let (program, sizes) = program();
    check(&program, sizes).expect("nothing is broken yet");
}

#[test]
fn half_floats_are_for_gpus() {
    let (mut program, sizes) = program();
    program.device = None;
    program.dtype = DType::F16;
    let error = check(&program, sizes).expect_err("the CPU's buffers are f32").to_string();
    expect! {"program: expected buffers of a float type that its device has, found f16"}
        .assert_eq(&error);
}

#[test]
fn modules_lie_in_their_section() {
    breaks(
        |code| code.modules[0].cubin = Some(image(8, 16)),
        expect! {"module 0 `kernel`: expected an offset that is a multiple of 256, found 8"},
    );
    breaks(
        |code| code.modules[0].ptx = Some(image(512, 513)),
        expect! {"module 0 `kernel`: expected to end inside its section of 1024 bytes, found 513 bytes from 512"},
    );
    breaks(
        |code| code.modules[0].cubin.as_mut().unwrap().hash.clear(),
        expect! {"module 0 `kernel`: expected a hash of 64 hexadecimal digits in lower case, found ``"},
    );
    breaks(
        |code| code.launches[2].module = 1,
        expect! {"launch 2 `attended`: expected an index of modules below 1, found 1"},
    );
}

#[test]
fn a_module_has_an_image() {
    let strip = |code: &mut DeviceCode| {
        code.modules[0].cubin = None;
        code.modules[0].ptx = None;
    };
    breaks(strip, expect! {"module 0 `kernel`: expected a cubin or PTX, found neither"});
}

#[test]
fn every_step_has_a_launch_of_possible_size() {
    breaks(
        |code| code.launches.truncate(1),
        expect! {"launch 1: expected one launch for each of 9 steps, found 1"},
    );
    breaks(
        |code| code.launches[0].block = 2048,
        expect! {"launch 0 `embedded`: threads of a block: expected 1 to 1024, found 2048"},
    );
    breaks(
        |code| code.launches[0].shared = 1 << 20,
        expect! {"launch 0 `embedded`: bytes of shared memory: expected 1 to 232448, found 1048576"},
    );
    breaks(
        |code| code.launches[0].grid[0] = Count::Tiles { per: 0 },
        expect! {"launch 0 `embedded`: rows of a block: expected 1 to 4294967295, found 0"},
    );
    breaks(
        |code| code.launches[0].grid[0] = Count::Resident { per: 128, across: 0 },
        expect! {"launch 0 `embedded`: tiles of the same rows: expected 1 to 4294967295, found 0"},
    );
    breaks(
        |code| code.launches[0].grid[1] = Count::Fixed(70_000),
        expect! {"launch 0 `embedded`: blocks: expected 1 to 65535, found 70000"},
    );
}

#[test]
fn launches_by_rows_keep_the_same_rules_and_ascend() {
    let others = |all: &[(u32, u64)]| {
        let all = all.to_vec();
        move |code: &mut DeviceCode| {
            let launch = code.launches[0].clone();
            let from = |(step, rows)| FromRows { step, rows, launch: launch.clone() };
            code.by_rows = all.into_iter().map(from).collect();
        }
    };
    breaks(
        others(&[(1, 9), (0, 9)]),
        expect![
            "launch by rows 1 `embedded`: expected steps in order, and for each of them ascending rows from 1 on, found step 0 from 9 rows on"
        ],
    );
    breaks(
        others(&[(0, 9), (0, 9)]),
        expect![
            "launch by rows 1 `embedded`: expected steps in order, and for each of them ascending rows from 1 on, found step 0 from 9 rows on"
        ],
    );
    breaks(
        others(&[(0, 0)]),
        expect![
            "launch by rows 0 `embedded`: expected steps in order, and for each of them ascending rows from 1 on, found step 0 from 0 rows on"
        ],
    );
    breaks(
        others(&[(99, 1)]),
        expect!["launch by rows 0: expected an index of steps below 9, found 99"],
    );
    breaks(
        |code| {
            others(&[(0, 9)])(code);
            code.by_rows[0].launch.module = 1;
        },
        expect!["launch by rows 0 `embedded`: expected an index of modules below 1, found 1"],
    );
}

#[test]
fn a_launch_without_blocks_is_another_steps() {
    let nothing = |code: &mut DeviceCode| {
        let launch = code.launches[0].clone();
        let empty = Launch { grid: [Count::Fixed(0); 3], ..launch.clone() };
        code.by_rows = vec![
            FromRows { step: 2, rows: 9, launch: empty },
            FromRows { step: 3, rows: 9, launch },
        ];
    };
    breaks(
        nothing,
        expect![
            "launch by rows 0 `attended`: expected blocks, or a step that names this one's linear and is launched otherwise from 9 rows on as well"
        ],
    );
    breaks(
        |code| code.launches[0].grid[0] = Count::Fixed(0),
        expect!["launch 0 `embedded`: blocks: expected 1 to 4294967295, found 0"],
    );
    let (mut program, sizes) = program();
    sample::name_up(&mut program);
    nothing(program.device.as_mut().expect("the sample has device code"));
    check(&program, sizes).expect("the step behind names the linear");
    let code = program.device.as_mut().expect("the sample has device code");
    code.by_rows[1].rows = 10;
    let error = check(&program, sizes).expect_err("it is launched as ever").to_string();
    assert!(error.contains("from 9 rows on as well"), "{error}");
}

#[test]
fn the_launch_is_that_of_the_most_rows_which_are_there() {
    let (program, _) = program();
    let mut code = program.device.expect("the sample has device code");
    let launch = |block| Launch { block, ..code.launches[0].clone() };
    let from = |step, rows, block| FromRows { step, rows, launch: launch(block) };
    code.by_rows = vec![from(1, 10, 32), from(1, 20, 64), from(2, 5, 96)];
    let block = |step, rows| code.launch(step, rows).map(|launch| launch.block);
    let found = [(0, 99), (1, 9), (1, 10), (1, 19), (1, 20), (2, 4), (2, 5), (3, 99)];
    let found = found.map(|(step, rows)| block(step, rows).unwrap_or(0));
    assert_eq!(found, [128, 128, 32, 32, 64, 128, 96, 128]);
    assert_eq!(block(99, 1), None);
    assert_eq!(code.all_launches().count(), code.launches.len() + 3);
}

#[test]
fn arguments_are_what_the_step_has() {
    breaks(
        |code| code.launches[0].args.push(Arg::Operand(99)),
        expect! {"launch 0 `embedded`: expected an index of operands below 5, found 99"},
    );
    breaks(
        |code| code.launches[0].args.push(Arg::Rows(Of::Operand(0))),
        expect! {"launch 0 `embedded`: operand 0: expected a view of a buffer or an input, found a weight"},
    );
    breaks(
        |code| code.launches[0].args.push(Arg::Tiles { per: 0 }),
        expect! {"launch 0 `embedded`: rows of a tile: expected 1 to 4294967295, found 0"},
    );
}

#[test]
fn tensor_maps_come_first_and_their_rows_are_aligned() {
    let span = Span::Bytes128;
    let map = |operand, columns, rows| Arg::Map(Map { operand, columns, heads: None, rows, span });
    breaks(
        |code| code.launches[0].args.push(map(0, 8, 64)),
        expect![
            "launch 0 `embedded`: expected tensor maps before all pointers among the arguments, found one after a pointer"
        ],
    );
    breaks(
        |code| code.launches[0].args.insert(0, map(99, 8, 64)),
        expect!["launch 0 `embedded`: expected an index of operands below 5, found 99"],
    );
    breaks(
        |code| code.launches[0].args.insert(0, map(0, 8, 257)),
        expect!["launch 0 `embedded`: rows of a box: expected 1 to 256, found 257"],
    );
    breaks(
        |code| code.launches[0].args.insert(0, map(0, 8, 64)),
        expect![
            "launch 0 `embedded`: operand 0: expected rows and heads of two-byte elements that begin at multiples of 16 bytes, and columns within rows, for a tensor map; found rows of 16 bytes with columns from byte 0 to 32"
        ],
    );
}
