//! A sample's bits are its own on a GPU as well, beside samples that are NaN throughout.

use bytec_compiler::FrontOptions;
use bytec_models::tiny::{SplitMix64, TinyBert};
use bytec_runtime::SessionOptions;
use bytec_tests::batches::{assert_same_bits, run, run_alone};

use super::{engine, options};
use crate::isolation;

/// Samples in a batch.
const BATCH: usize = 100;

fn check(target: &str) {
    let Some(options) = options(target, FrontOptions::default()) else { return };
    // One layer has every kernel, and a simulated device is slow.
    let tiny = TinyBert { layers: 1, ..isolation::tiny("BertModel") };
    let plan = isolation::plan(&tiny, &options);
    let engine = engine(&plan, 8);
    let mut random = SplitMix64(7);
    let samples = isolation::samples(&mut random);
    let inputs = samples.iter().map(|sample| &sample.inputs);
    let poisoned = |graphs| engine.session_with(SessionOptions { poison: true, graphs });
    let mut session = poisoned(false);
    let alone = run_alone(&engine, &mut session, inputs).unwrap();
    isolation::check_finite(&samples, &alone);
    // Batches of one size class: the first is captured, the others replay what it launched.
    let mut session = poisoned(true);
    for order in isolation::shuffled(&mut random).chunks(BATCH) {
        let batch = order.iter().map(|&i| &samples[i].inputs);
        let found = run(&engine, &mut session, batch).unwrap();
        let what = format!("a shuffled batch for {target}");
        assert_same_bits(&found, order.iter().map(|&i| &alone[i]), &what);
    }
}

#[test]
fn neighbours_that_are_not_finite_change_no_bit_in_f16() {
    check("sm_80:f16");
}

#[test]
fn neighbours_that_are_not_finite_change_no_bit_in_bf16() {
    check("sm_80:bf16");
}

#[test]
fn neighbours_that_are_not_finite_change_no_bit_in_f32() {
    check("sm_80:f32");
}
