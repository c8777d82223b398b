//! Golden data: each case in one batch, within the bound of its element type, and alone, by graphs, with the
//! same bits; in f16 and bf16 by the programs of both architectures.
//!
//! A simulated device is slow, so of most cases only the shortest samples run, and on Hopper one longer sample, another
//! for each case; [`WHOLE`] runs from the shortest to the longest.

use std::collections::BTreeMap;

use bytec_compiler::{FrontOptions, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_runtime::SessionOptions;
use bytec_tests::batches::{Outputs, assert_same_bits, run, run_alone};
use bytec_tests::figures::by_size;
use bytec_tests::golden::{Case, max_difference};
use bytec_tests::{interpreter, plans};

use super::{engine, options};

/// The case of which all samples run.
const WHOLE: &str = "bert/gelu";
/// How many samples of the other cases run.
const SHORTEST: usize = 4;

/// The case with its shortest samples, and with the one that is so many places longer, if a number is given.
fn short(case: &Case, longer: Option<usize>) -> Case {
    let mut short = case.clone();
    if case.name != WHOLE {
        let mut numbers = by_size(case);
        let rest = numbers.split_off(SHORTEST.min(numbers.len()));
        if let Some(longer) = longer.filter(|_| !rest.is_empty()) {
            // In the place of the longest of the short ones, which every other device runs.
            numbers.pop();
            numbers.push(rest[longer % rest.len()]);
        }
        short.inputs.retain(|number, _| numbers.contains(number));
        short.outputs.retain(|number, _| numbers.contains(number));
    }
    short
}

/// The largest error of each output over all samples, against the reference.
fn errors(case: &Case, found: &[Outputs]) -> BTreeMap<String, f64> {
    assert_eq!(found.len(), case.outputs.len());
    let mut errors: BTreeMap<String, f64> = BTreeMap::new();
    for (expected, found) in case.outputs.values().zip(found) {
        for (name, found) in found {
            let error = max_difference(found, expected[name].floats().unwrap());
            let worst = errors.entry(name.clone()).or_default();
            *worst = worst.max(error);
        }
    }
    errors
}

/// How far each output may be from the reference.
fn bounds(case: &Case, rounding: Rounding) -> BTreeMap<String, f64> {
    let loaded = front::load(&case.folder, &FrontOptions::default()).unwrap();
    if rounding == Rounding::F32 {
        let outputs = loaded.graph.outputs().iter().map(|output| output.name.clone());
        return outputs.map(|name| (name.clone(), case.f32_bound(&name).unwrap())).collect();
    }
    let rounded: Vec<Outputs> = case
        .inputs
        .values()
        .map(|inputs| {
            let inputs = interpreter::sample(inputs).unwrap();
            let outputs = eval(&loaded.graph, &inputs, &loaded.weights, rounding).unwrap();
            let single = |x: &bytec_ir::Tensor| {
                x.as_floats().unwrap().iter().map(|&x| x as f32).collect::<Vec<_>>()
            };
            outputs.iter().map(|(name, x)| (name.clone(), single(x))).collect()
        })
        .collect();
    errors(case, &rounded).into_iter().map(|(name, error)| (name, 2.0 * error)).collect()
}

/// Every case by the programs of these architectures, each with the compute capability of its device.
#[expect(clippy::print_stdout, reason = "a test says what it observed")]
fn check(float: &str, rounding: Rounding, devices: &[(&str, u32)]) {
    let Some(mut options) = options(&format!("sm_80:{float}"), FrontOptions::default()) else {
        return;
    };
    // Hopper's kernels are compiled in any case, for what the assembler says of them.
    options.targets.push(format!("sm_90a:{float}").parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.plan");
    for (nth, whole) in Case::all().unwrap().into_iter().enumerate() {
        plans::compile(&whole.folder, &options, &path).unwrap();
        let plan = std::fs::read(&path).unwrap();
        let bounds = bounds(&whole, rounding);
        for &(arch, major) in devices {
            let case = short(&whole, (arch == "sm_90a").then_some(nth));
            let what = format!("{} for {arch}:{float}", case.name);
            let engine = engine(&plan, major);
            assert_eq!(engine.program().target, arch);
            // Spills and the assembler's warnings would be among the notes.
            assert_eq!(engine.manifest().report.notes, [""; 0], "{what}");
            let mut session = engine.session();
            let batch = run(&engine, &mut session, case.inputs.values()).unwrap();
            let errors = errors(&case, &batch);
            assert!(errors.keys().eq(bounds.keys()), "{what}: the outputs' names");
            for ((name, error), bound) in errors.iter().zip(bounds.values()) {
                println!("{what}: {name}: max abs difference {error:.2e}, bound {bound:.2e}");
                assert!(error <= bound, "{what}: {name}: {error:e} is past {bound:e}");
            }
            let graphs = SessionOptions { graphs: true, ..SessionOptions::default() };
            let mut session = engine.session_with(graphs);
            let alone = run_alone(&engine, &mut session, case.inputs.values()).unwrap();
            assert_same_bits(&alone, &batch, &format!("{what}, alone and by graphs"));
        }
    }
}

#[test]
fn f32_agrees_with_the_reference() {
    check("f32", Rounding::F32, &[("sm_80", 8)]);
}

#[test]
fn f16_agrees_with_the_reference_on_both_architectures() {
    check("f16", Rounding::F16, &[("sm_80", 8), ("sm_90a", 9)]);
}

#[test]
fn bf16_agrees_with_the_reference_on_both_architectures() {
    check("bf16", Rounding::Bf16, &[("sm_80", 8), ("sm_90a", 9)]);
}
