//! What a batch refuses, and what it says then.

use bytec_plan::extent::{Extent, Rows, Term};
use bytec_plan::kernel::{Kernel, PoolKind};
use bytec_plan::program::{DType, InputSpec};
use bytec_runtime::{Elements, Engine, Isa, PackedBatch, Sample};

use crate::programs::{Build, K, L};

/// Inputs `x: f32[L, 4]`, `k: f32[K, 4]`, `ids: i64[L] = 0, below 10`, `pairs: f32[2*L, 1]`, by default 0.
fn engine() -> Engine {
    let mut build = Build::new(true);
    build.program.symbols[0].max = 100;
    let x = build.input("x", L, 4);
    build.input("k", K, 4);
    build.ids("ids", 10, Some(0));
    let term = Term { coefficient: 2, factors: vec![Extent::Symbol(0)] };
    let pairs = Extent::Sum(vec![term]);
    build.program.extents.push(pairs.clone());
    build.add_input(InputSpec {
        name: "pairs".to_owned(),
        dtype: DType::F32,
        shape: vec![pairs, Extent::Fixed(1)],
        rows: Rows::Ragged(2),
        width: 1,
        default: Some(0),
        below: None,
    });
    let pool = Kernel::Pool { pooling: PoolKind::Sum, width: 4, normalize: None };
    let out = build.step(pool, vec![x], Rows::PerSample, 4);
    build.output("out", out);
    build.engine(1, Isa::best())
}

const NUMBERS: [f32; 404] = [1.0; 404];

fn good() -> Sample<'static> {
    Sample::new().with("x", &[2, 4], Elements::F32(&NUMBERS[..8])).with(
        "k",
        &[3, 4],
        Elements::F32(&NUMBERS[..12]),
    )
}

#[test]
fn refusals_name_what_is_wrong_and_leave_the_batch_as_it_was() {
    let x = |shape: &'static [u64], n: usize| {
        Sample::new().with("x", shape, Elements::F32(&NUMBERS[..n])).with(
            "k",
            &[3, 4],
            Elements::F32(&NUMBERS[..12]),
        )
    };
    let cases: Vec<(Sample<'_>, &str)> = vec![
        (
            good().with("z", &[1], Elements::I64(&[1])),
            "expected inputs out of: x, k, ids, pairs; found `z`",
        ),
        (
            good().with("x", &[2, 4], Elements::F32(&NUMBERS[..8])),
            "expected input `x` once, found it twice",
        ),
        (
            Sample::new().with("x", &[2, 4], Elements::F32(&NUMBERS[..8])),
            "expected input `k`, found none of that name; it has no default",
        ),
        (Sample::new(), "expected input `x`, found none of that name; it has no default"),
        (
            good().with("ids", &[2], Elements::F32(&[0.0; 2])),
            "input `ids`: expected elements of i64, found f32",
        ),
        (
            good().with("pairs", &[4, 1], Elements::I32(&[0; 4])),
            "input `pairs`: expected elements of f32, found i32",
        ),
        (x(&[8], 8), "input `x`: expected 2 axes [L, 4], found [8]"),
        (x(&[2, 4], 7), "input `x`: expected as many elements as shape [2, 4] has, found 7"),
        (
            x(&[u64::MAX, 4], 7),
            "input `x`: expected as many elements as shape [18446744073709551615, 4] has, found 7",
        ),
        (x(&[4, 2], 8), "input `x`, axis 1: expected 4, found 2"),
        (x(&[0, 4], 0), "input `x`, axis 0: expected L from 1 to 100, found 0"),
        (x(&[101, 4], 404), "input `x`, axis 0: expected L from 1 to 100, found 101"),
        (
            good().with("ids", &[3], Elements::I64(&[0; 3])),
            "input `ids`, axis 0: expected L = 2 as in input `x`, found 3",
        ),
        (
            good().with("pairs", &[5, 1], Elements::F32(&NUMBERS[..5])),
            "input `pairs`, axis 0: expected 2*L = 4, with L = 2 as in input `x`, K = 3 as in input `k`, found 5",
        ),
        (
            good().with("ids", &[2], Elements::I64(&[9, 10])),
            "input `ids`, element 1: expected an integer from 0 to below 10, found 10",
        ),
        (
            good().with("ids", &[2], Elements::I32(&[-1, 0])),
            "input `ids`, element 0: expected an integer from 0 to below 10, found -1",
        ),
        (
            good().with("ids", &[2], Elements::I64(&[i64::MIN, 0])),
            "input `ids`, element 0: expected an integer from 0 to below 10, found -9223372036854775808",
        ),
    ];
    let engine = engine();
    let mut batch = PackedBatch::new(&engine);
    batch.push(&good()).unwrap();
    for (sample, message) in cases {
        let error = batch.push(&sample).unwrap_err();
        assert_eq!(error.to_string(), format!("sample 1: {message}"));
        assert_eq!(batch.len(), 1);
    }
    batch.push(&x(&[3, 4], 12).with("ids", &[3], Elements::I32(&[9, 0, 1]))).unwrap();
    let mut session = engine.session();
    let outputs = session.run(&batch).unwrap();
    let out = outputs.get("out").unwrap();
    assert_eq!((out.sample(0), out.sample(1)), (Some(&[2.0; 4][..]), Some(&[3.0; 4][..])));
    assert_eq!((out.shape(1), out.shape(2), out.sample(2)), (Some(vec![4]), None, None));
    assert!(outputs.get("other").is_none());
    assert_eq!(outputs.names().collect::<Vec<_>>(), ["out"]);
}

#[test]
fn a_size_that_no_tensor_gives_is_asked_for() {
    let mut build = Build::new(false);
    let ids = build.ids("ids", 10, Some(0));
    let table = build.weight(&[10, 1], &[0.0; 10]);
    let sources = vec![bytec_plan::kernel::IdSource::Input];
    let out = build.step(Kernel::Embed { sources, width: 1, eps: None }, vec![table, ids], L, 1);
    build.output("out", out);
    let engine = build.engine(1, Isa::best());
    let error = PackedBatch::new(&engine).push(&Sample::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sample 0: expected an input that gives the size L, found none; give one of: ids"
    );
}

#[test]
fn a_batch_of_no_samples_gives_outputs_of_none() {
    let engine = engine();
    let mut session = engine.session();
    let mut batch = PackedBatch::new(&engine);
    assert!(session.run(&batch).unwrap().get("out").unwrap().is_empty());
    batch.push(&good()).unwrap();
    assert_eq!(session.run(&batch).unwrap().get("out").unwrap().len(), 1);
    batch.clear();
    assert!(session.run(&batch).unwrap().get("out").unwrap().is_empty());
    batch.push(&good()).unwrap();
    assert_eq!(session.run(&batch).unwrap().get("out").unwrap().sample(0), Some(&[2.0; 4][..]));
}

#[test]
fn a_batch_for_another_program_is_refused() {
    let engine = engine();
    let mut other = Build::new(false);
    let x = other.input("x", L, 4);
    let out = other.step(Kernel::Softmax { width: 4 }, vec![x], L, 4);
    other.output("out", out);
    let other = other.engine(1, Isa::best());
    let batch = PackedBatch::new(&other);
    let mut session = engine.session();
    let error = session.run(&batch).unwrap_err().to_string();
    assert!(error.starts_with("expected a batch for program `forward for cpu`"), "{error}");
    let mut batch = PackedBatch::new(&engine);
    batch.push(&good()).unwrap();
    session.run(&batch).unwrap();
}
