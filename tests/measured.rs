//! What a plan's steps are counted to compute, against counts by hand; and devices' clocks and copies on the simulated
//! one.

use std::sync::Arc;

use bytec_compiler::Options;
use bytec_measure::ceilings::device_copy;
use bytec_measure::work::{self, Work};
use bytec_measure::{Meter, Timed};
use bytec_models::tiny::TinyBert;
use bytec_runtime::cuda::{Arch, Driver};
use bytec_runtime::{Elements, Engine, EngineOptions, PackedBatch, Sample, SessionOptions};
use bytec_sim::{Device, SimDriver};
use bytec_tests::{nvrtc, plans};
use tempfile::TempDir;

fn engine(model: &TinyBert) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    plans::write_folder(model, folder.path()).expect("a model folder");
    let plan = folder.path().join("a.plan");
    plans::compile(folder.path(), &Options::default(), &plan).expect("the model compiles");
    let engine = Engine::open(plan).expect("the plan opens");
    (folder, engine)
}

fn batch(engine: &Engine, lengths: &[usize]) -> PackedBatch {
    let mut batch = PackedBatch::new(engine);
    for length in lengths {
        let ids = vec![7; *length];
        let shape = [*length as u64];
        let sample = Sample::new().with("input_ids", &shape, Elements::I64(&ids));
        batch.push(&sample).expect("the sample fits");
    }
    batch
}

/// A layer of BERT-base: 12 heads of 64, an inner size of 3072.
#[test]
fn a_layer_of_bert_base_is_counted_as_by_hand() {
    let model = TinyBert {
        layers: 1,
        hidden: 768,
        heads: 12,
        intermediate: 3072,
        positions: 128,
        pooler: false,
        ..TinyBert::default()
    };
    let (_folder, engine) = engine(&model);
    let program = engine.program();
    let batch = batch(&engine, &[100, 28]);
    let found: Vec<(&str, Work)> = program
        .steps
        .iter()
        .map(|step| step.kernel.name())
        .zip(work::steps(program, &batch))
        .collect();
    let (rows, megabyte) = (128.0, 1_000_000.0);
    let value = |width: f64| rows * width * 4.0;
    let linear = |n: f64, k: f64, functions: f64| {
        let products = 2.0 * rows * n * k;
        // The weight, the bias, x, and the result.
        let bytes = 4.0 * (n * k + n) + value(k) + value(n);
        ("linear", products, rows * n * (1.0 + functions), bytes)
    };
    let pairs = 12.0 * f64::from(100 * 100 + 28 * 28);
    let attention =
        ("attention", 4.0 * 64.0 * pairs, 5.0 * pairs + rows * 768.0, 4.0 * value(768.0));
    let norm = ("layer_norm", 0.0, 8.0 * rows * 768.0, 3.0 * value(768.0) + 2.0 * 4.0 * 768.0);
    let expected = [
        linear(3.0 * 768.0, 768.0, 0.0),
        attention,
        linear(768.0, 768.0, 0.0),
        norm,
        linear(3072.0, 768.0, 1.0),
        linear(768.0, 3072.0, 0.0),
        norm,
    ];
    // The sum of three tables with LayerNorm: two sums and seven operations for each element. Of the words only 128 rows
    // could be read, but there are 50; of the places 128, and of the two types both.
    let (kernel, embed) = found[0];
    assert_eq!((kernel, embed.products, embed.others), ("embed", 0.0, 9.0 * rows * 768.0));
    let tables = (50.0 + 128.0 + 2.0) * 768.0 * 4.0;
    let ids = 2.0 * rows * 8.0;
    assert_eq!(embed.bytes, tables + ids + 2.0 * 768.0 * 4.0 + value(768.0));
    assert_eq!(found.len(), 1 + expected.len());
    for ((kernel, work), (name, products, others, bytes)) in found[1..].iter().zip(expected) {
        let shown = (*kernel, work.rows, work.products, work.others, work.bytes);
        assert_eq!(shown, (name, 128, products, others, bytes), "{:.1} MB", bytes / megabyte);
    }
    // By the usual formula, 24 T h^2 + 4 h sum L^2.
    let all: f64 = found.iter().map(|(_, work)| work.products).sum();
    assert_eq!(all, 24.0 * 128.0 * 768.0 * 768.0 + 4.0 * 768.0 * f64::from(100 * 100 + 28 * 28));
    assert_eq!(work::padding(&batch, work::tokens(program)), 1.0 - 128.0 / 200.0);
}

#[test]
fn a_batch_without_samples_is_no_work() {
    let (_folder, engine) = engine(&TinyBert::default());
    let batch = batch(&engine, &[]);
    let none = |work: &Work| work.products == 0.0 && work.others == 0.0 && work.rows == 0;
    assert!(work::steps(engine.program(), &batch).iter().all(none));
    assert_eq!(work::padding(&batch, work::tokens(engine.program())), 0.0);
}

#[test]
fn steps_of_the_processor_follow_each_other() {
    let (_folder, engine) = engine(&TinyBert::default());
    let mut meter = Meter::new(&engine, SessionOptions::default(), None);
    let run = meter.steps(&batch(&engine, &[3, 5])).expect("it runs");
    let places: Vec<_> = run.steps.iter().map(|step| step.index).collect();
    assert_eq!(places, (0..engine.program().steps.len()).collect::<Vec<_>>());
    assert!(run.steps.windows(2).all(|pair| pair[0].begin + pair[0].time == pair[1].begin));
    assert!(run.steps.last().is_some_and(|last| last.begin + last.time <= run.all));
}

fn simulated() -> Arc<SimDriver> {
    Arc::new(SimDriver::new(Device::sm_80(), Arch { major: 8, minor: 0, only: false }))
}

/// The kernel that measures a device's memory copies what it should, and looks at it.
#[test]
fn the_copy_that_is_measured_is_one() {
    let sim = simulated();
    let rate = device_copy(&*sim, 40_000, 2).expect("the copy runs");
    assert!(rate > 0.0 && rate.is_finite());
    let profiles = sim.take_profiles();
    let launches: u64 = profiles.iter().map(|step| step.launches).sum();
    // One more than asked for comes first, each of three blocks of 16 KiB.
    assert_eq!(launches, 3);
    let read: u64 = profiles.iter().map(|step| step.profile.global_reads.bytes).sum();
    assert_eq!(read, 3 * 3 * 16_384);
}

#[test]
fn each_launch_of_a_device_has_its_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(toolchain) = nvrtc::toolchain(&folder.path().join("kernels")) else { return };
    plans::write_folder(&TinyBert::default(), folder.path()).expect("a model folder");
    let plan = folder.path().join("a.plan");
    let targets = vec!["sm_80:f16".parse().expect("a target")];
    let options = Options { targets, toolchain, ..Options::default() };
    plans::compile(folder.path(), &options, &plan).expect("the model compiles");
    let timed = Arc::new(Timed::new(simulated()));
    let driver = Arc::clone(&timed) as Arc<dyn Driver>;
    let engine = Engine::with_driver(plan, driver, EngineOptions::default()).expect("it opens");
    for graphs in [false, true] {
        let options = SessionOptions { graphs, ..SessionOptions::default() };
        let mut meter = Meter::new(&engine, options, Some(Arc::clone(&timed)));
        let batch = batch(&engine, &[3, 5]);
        meter.run(&batch).expect("it runs");
        let run = meter.steps(&batch).expect("it runs");
        let places: Vec<_> = run.steps.iter().map(|step| step.index).collect();
        assert_eq!(places, (0..engine.program().steps.len()).collect::<Vec<_>>());
        assert!(run.steps.is_sorted_by_key(|step| step.begin));
    }
}
