//! A program for a device, its plans, and batches for it.

use std::sync::Arc;

use bytec_plan::device::{Arg, Count, DeviceCode, FromRows, Image, Launch, ModuleSpec, Of};
use bytec_plan::extent::Rows;
use bytec_plan::kernel::{IdSource, Kernel, PoolKind};
use bytec_plan::manifest::Manifest;
use bytec_plan::program::{DType, Program};
use bytec_plan::weights::{Placement, WeightTable};
use bytec_plan::writer::{Contents, write};
use bytec_runtime::{Elements, Engine, EngineError, EngineOptions, PackedBatch, Sample};

use crate::programs::{Build, L, Noise};
use crate::recorder::Recorder;

pub(crate) const WIDTH: u64 = 4;
/// All arguments that a launch can have; after these come its operands.
const ARGS: [Arg; 8] = [
    Arg::Output,
    Arg::Operand(0),
    Arg::Rows(Of::Output),
    Arg::Samples,
    Arg::Offsets(Of::Operand(0)),
    Arg::Positions(Of::Operand(0)),
    Arg::SampleOfRow(Of::Operand(0)),
    Arg::Tiles { per: 64 },
];

/// `out` is input `x` after three copies, of which the first and the third share a slot; `embedded` looks up `ids`;
/// `pooled` has one row a sample.
pub(crate) fn build() -> Build {
    let mut build = Build::new(false);
    build.program.symbols[0].min = 0;
    let x = build.input("x", L, WIDTH);
    let ids = build.ids("ids", 10, Some(3));
    let table = build.weight(&[10, WIDTH], &Noise(1).floats(10 * WIDTH as usize));
    let copy = || Kernel::Softmax { width: WIDTH as u32 };
    let a = build.step(copy(), vec![x], L, WIDTH);
    let b = build.step(copy(), vec![a], L, WIDTH);
    let c = build.step_in(0, copy(), vec![b], L, WIDTH);
    let embed = Kernel::Embed { sources: vec![IdSource::Input], width: WIDTH as u32, eps: None };
    let embedded = build.step(embed, vec![table, ids], L, WIDTH);
    let pool = Kernel::Pool { pooling: PoolKind::Sum, width: WIDTH as u32, normalize: None };
    let pooled = build.step(pool, vec![c], Rows::PerSample, WIDTH);
    build.output("out", c);
    build.output("embedded", embedded);
    build.output("pooled", pooled);
    build
}

/// The plan with the program for each of these architectures and element types.
pub(crate) fn plan(build: &Build, targets: &[(&str, DType)]) -> Vec<u8> {
    plan_after(build, targets, |_| {})
}

/// The same after a change of each program.
pub(crate) fn plan_after(
    build: &Build,
    targets: &[(&str, DType)],
    change: fn(&mut Program),
) -> Vec<u8> {
    let (mut weights, mut modules) = (WeightTable::new(), WeightTable::new());
    let mut image = |bytes: &'static [u8]| {
        let Placement { offset, bytes, hash } = modules.add(bytes);
        Some(Image { offset, bytes, hash })
    };
    let images = (image(b"machine code"), image(b"text"));
    let mut programs = Vec::new();
    for (target, dtype) in targets {
        let mut program = build.program.clone();
        if *target != "cpu" {
            for_device(&mut program, target, *dtype, &images);
        }
        for weight in &mut program.weights {
            let start = weight.offset as usize;
            let placed = weights.add(&build.weights[start..start + weight.bytes as usize]);
            (weight.offset, weight.hash) = (placed.offset, placed.hash);
        }
        change(&mut program);
        programs.push(program);
    }
    let manifest = Manifest { family: "test".to_owned(), ..Manifest::default() };
    let contents = Contents {
        manifest: &manifest,
        programs: &programs,
        weights: &weights,
        modules: Some(&modules),
        tokenizer: None,
    };
    let mut bytes = Vec::new();
    write(contents, &mut bytes).expect("memory takes all bytes");
    bytes
}

/// From how many rows on the first step of such a program is launched otherwise.
pub(crate) const MANY: u64 = 5000;

/// Makes a program one for a device: a launch for each step, each with another grid.
fn for_device(
    program: &mut Program,
    arch: &str,
    dtype: DType,
    (cubin, ptx): &(Option<Image>, Option<Image>),
) {
    program.target = arch.to_owned();
    program.dtype = dtype;
    for weight in &mut program.weights {
        weight.dtype = dtype;
        weight.bytes = weight.shape.iter().product::<u64>() * dtype.bytes();
    }
    let module = |symbol: String| {
        let (cubin, ptx) = (cubin.clone(), ptx.clone());
        ModuleSpec { symbol, cubin, ptx, registers: 32, static_shared: 0 }
    };
    let copy = format!("copy_{}", WIDTH * dtype.bytes());
    let one = Count::Fixed(1);
    let grids = [
        [Count::Rows { per: 4 }, one, one],
        [Count::Tiles { per: 64 }, Count::Fixed(3), one],
        [Count::Fixed(2), Count::Samples, one],
        [Count::Rows { per: 1 }, Count::Resident { per: 338, across: 2 }, Count::Fixed(2)],
        [Count::Samples, one, one],
    ];
    let launches = grids.into_iter().zip(&program.steps).enumerate().map(|(i, (grid, step))| {
        let mut args = ARGS.to_vec();
        if let Kernel::Embed { .. } = step.kernel {
            // Its first operand is a weight, which has no rows.
            args = vec![Arg::Output, Arg::Operand(0), Arg::Operand(1), Arg::Rows(Of::Operand(1))];
        }
        // All but the third could begin early.
        let (module, shared, overlaps) = (u32::from(i > 2), i as u32 * 16, i != 2);
        Launch { module, grid, block: 32 << i, shared, overlaps, args }
    });
    let launches: Vec<_> = launches.collect();
    // The first step has twice the threads from so many rows on.
    let many = Launch { block: 64, ..launches[0].clone() };
    program.device = Some(DeviceCode {
        arch: arch.to_owned(),
        launches,
        modules: vec![module(copy), module("nothing".to_owned())],
        by_rows: vec![FromRows { step: 0, rows: MANY, launch: many }],
    });
}

pub(crate) fn open(bytes: &[u8], driver: &Arc<Recorder>) -> Result<Engine, EngineError> {
    let driver = Arc::clone(driver);
    Engine::from_bytes_with_driver(bytes, driver, EngineOptions::default())
}

pub(crate) fn engine(dtype: DType) -> (Engine, Arc<Recorder>) {
    let driver = Arc::new(Recorder::new("sm_80", false));
    let engine = open(&plan(&build(), &[("sm_80", dtype)]), &driver).expect("the plan is good");
    (engine, driver)
}

/// Samples of these lengths: `x` counts up through the batch, `ids` are the row's place in it, by ten.
pub(crate) fn batch(engine: &Engine, lengths: &[usize]) -> PackedBatch {
    let mut batch = PackedBatch::new(engine);
    let mut row = 0;
    for length in lengths {
        let x: Vec<f32> = (row * 4..(row + length) * 4).map(|x| x as f32).collect();
        let ids: Vec<i64> = (row..row + length).map(|row| row as i64 % 10).collect();
        let shape = [*length as u64, WIDTH];
        let sample = Sample::new().with("x", &shape, Elements::F32(&x));
        batch.push(&sample.with("ids", &shape[..1], Elements::I64(&ids))).expect("the sample fits");
        row += length;
    }
    batch
}
