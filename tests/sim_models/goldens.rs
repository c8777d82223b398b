//! Golden data: each case in one batch, within the bound of its element type, and alone, by graphs, with the
//! same bits.
//!
//! A simulated device is slow, so of most cases only the shortest samples run; [`WHOLE`] runs from the shortest to the
//! longest.

use std::collections::BTreeMap;

use bytec_compiler::{FrontOptions, front};
use bytec_ir::eval::{Rounding, eval};
use bytec_runtime::SessionOptions;
use bytec_tests::batches::{Outputs, assert_same_bits, run, run_alone};
use bytec_tests::golden::{Case, max_difference};
use bytec_tests::tensors::Tensor;
use bytec_tests::{interpreter, plans};

use super::{engine, options};

/// The case of which all samples run.
const WHOLE: &str = "bert/gelu";
/// How many samples of the other cases run.
const SHORTEST: usize = 4;

/// The case with the samples that run on the device.
fn short(case: &Case) -> Case {
    let mut short = case.clone();
    if case.name != WHOLE {
        let size = |number: &u64| {
            let tensor = |tensor: &Tensor| match tensor {
                Tensor::I64(values, _) => values.len(),
                Tensor::F32(values, _) => values.len(),
            };
            case.inputs[number].values().map(tensor).sum::<usize>()
        };
        let mut numbers: Vec<_> = case.inputs.keys().copied().collect();
        numbers.sort_by_key(size);
        numbers.truncate(SHORTEST);
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

#[expect(clippy::print_stdout, reason = "a test says what it observed")]
fn check(target: &str, major: u32, rounding: Rounding) {
    let Some(mut options) = options(target, FrontOptions::default()) else { return };
    // The other architecture's kernels are compiled as well, for what the assembler says of them.
    let (arch, float) = target.split_once(':').unwrap();
    let other = if arch == "sm_80" { "sm_90a" } else { "sm_80" };
    options.targets.push(format!("{other}:{float}").parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.plan");
    for whole in Case::all().unwrap() {
        let case = short(&whole);
        plans::compile(&case.folder, &options, &path).unwrap();
        let engine = engine(&std::fs::read(&path).unwrap(), major);
        assert_eq!(engine.program().target, arch);
        // Spills and the assembler's warnings would be among the notes.
        assert_eq!(engine.manifest().report.notes, [""; 0], "{} for {target}", case.name);
        let mut session = engine.session();
        let batch = run(&engine, &mut session, case.inputs.values()).unwrap();
        let (errors, bounds) = (errors(&case, &batch), bounds(&whole, rounding));
        assert!(errors.keys().eq(bounds.keys()), "{}: the outputs' names", case.name);
        for ((name, error), bound) in errors.iter().zip(bounds.values()) {
            let what = format!("{} {name} for {target}", case.name);
            println!("{what}: max abs difference {error:.2e}, bound {bound:.2e}");
            assert!(error <= bound, "{what}: {error:e} is past {bound:e}");
        }
        let graphs = SessionOptions { graphs: true, ..SessionOptions::default() };
        let mut session = engine.session_with(graphs);
        let alone = run_alone(&engine, &mut session, case.inputs.values()).unwrap();
        assert_same_bits(
            &alone,
            &batch,
            &format!("{} for {target}, alone and by graphs", case.name),
        );
    }
}

#[test]
fn f32_agrees_with_the_reference() {
    check("sm_80:f32", 8, Rounding::F32);
}

#[test]
fn f16_agrees_with_the_reference() {
    check("sm_80:f16", 8, Rounding::F16);
}

#[test]
fn bf16_agrees_with_the_reference() {
    check("sm_80:bf16", 8, Rounding::Bf16);
}

#[test]
fn f16_for_hopper_agrees_with_the_reference() {
    check("sm_90a:f16", 9, Rounding::F16);
}
