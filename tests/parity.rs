//! Every case of golden data with weights, from the reference up the ladder: the fused graph in f64, then the CPU.

use std::collections::BTreeMap;

use bytec_compiler::{FrontOptions, Options, front, fuse};
use bytec_ir::eval::{Rounding, eval};
use bytec_runtime::{Engine, EngineOptions, Isa, SessionOptions};
use bytec_tests::batches::{Inputs, Outputs, assert_same_bits, run, run_alone};
use bytec_tests::golden::{Case, max_difference};
use bytec_tests::{interpreter, plans};

fn cases() -> Vec<Case> {
    let cases = Case::all().unwrap();
    assert!(cases.len() >= 5, "only {} cases", cases.len());
    cases
}

fn inputs(case: &Case) -> Vec<&Inputs> {
    assert!(case.inputs.len() >= 5, "{} has {} samples", case.name, case.inputs.len());
    case.inputs.values().collect()
}

/// The bytes of a case's plan.
fn plan(case: &Case) -> Vec<u8> {
    plan_for(case, "cpu")
}

/// The bytes of a case's plan for a target.
fn plan_for(case: &Case, target: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("case.plan");
    let options = Options { targets: vec![target.parse().unwrap()], ..Options::default() };
    plans::compile(&case.folder, &options, &plan).unwrap();
    std::fs::read(plan).unwrap()
}

fn engine(plan: &[u8], threads: usize, isa: Isa) -> Engine {
    let options =
        EngineOptions { threads: Some(threads), isa: Some(isa), ..EngineOptions::default() };
    Engine::from_bytes(plan, options).unwrap()
}

/// All samples in one batch, on one thread, with the fastest instructions.
fn batch(plan: &[u8], case: &Case) -> Vec<Outputs> {
    let engine = engine(plan, 1, Isa::best());
    run(&engine, &mut engine.session(), inputs(case)).unwrap()
}

/// Rules change how sums are grouped, not what is computed: in f64 that is worth a few units in the last place. The
/// unfused graph is compared with the reference by the compiler's own tests.
#[test]
fn fusing_changes_nothing_in_f64() {
    for case in cases() {
        let loaded = front::load(&case.folder, &FrontOptions::default()).unwrap();
        let (fused, rules) = fuse::run(&loaded.graph, fuse::RULES).unwrap();
        let fired = rules.iter().any(|rule| !rule.applied.is_empty());
        assert!(fired, "{}: nothing was fused", case.name);
        for (sample, inputs) in &case.inputs {
            let inputs = interpreter::sample(inputs).unwrap();
            let run = |graph| eval(graph, &inputs, &loaded.weights, Rounding::Exact).unwrap();
            let (before, after) = (run(&loaded.graph), run(&fused));
            assert!(before.keys().eq(after.keys()), "{}: the outputs' names", case.name);
            for (name, before) in &before {
                let what = format!("{} sample {sample} {name}", case.name);
                let after = &after[name];
                assert_eq!(before.shape, after.shape, "{what}");
                let (before, after) = (before.as_floats().unwrap(), after.as_floats().unwrap());
                let reference = case.outputs[sample][name].floats().unwrap();
                assert_eq!(after.len(), reference.len(), "{what}");
                for ((b, a), r) in before.iter().zip(after).zip(reference) {
                    let scale = b.abs().max(1.0);
                    assert!((a - b).abs() <= 1e-12 * scale, "{what}: {a}, unfused {b}");
                    let r = f64::from(*r);
                    assert!((a - r).abs() <= 1e-6 * scale, "{what}: {a}, reference {r}");
                }
            }
        }
    }
}

#[test]
fn the_cpu_agrees_with_the_reference_in_one_batch() {
    for case in cases() {
        let results = batch(&plan(&case), &case);
        let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
        for (expected, found) in case.outputs.values().zip(&results) {
            // The reference of some samples holds hidden states as well, which are no outputs.
            let outputs = || expected.iter().filter(|(name, _)| !name.starts_with("hidden."));
            let names: Vec<_> = outputs().map(|(name, _)| name).collect();
            assert!(found.keys().eq(names), "{}: the outputs' names", case.name);
            for (name, expected) in outputs() {
                let difference = max_difference(&found[name], expected.floats().unwrap());
                let worst = worst.entry(name).or_default();
                *worst = worst.max(difference);
            }
        }
        assert!(!worst.is_empty());
        for (name, worst) in worst {
            let bound = case.f32_bound(name).unwrap();
            println!("{} {name}: max abs difference {worst:.2e}, bound {bound:.2e}", case.name);
            assert!(worst <= bound, "{} {name}: {worst:e} is past {bound:e}", case.name);
        }
    }
}

#[test]
fn instructions_threads_and_poisoned_memory_change_no_bit() {
    let poison = SessionOptions { poison: true, ..SessionOptions::default() };
    for case in cases() {
        let plan = plan(&case);
        let expected = batch(&plan, &case);
        for isa in Isa::available() {
            for threads in [1, 2] {
                let engine = engine(&plan, threads, isa);
                assert_eq!((engine.threads(), engine.isa()), (threads, isa));
                let mut session = engine.session_with(poison);
                let what = format!("{}, {isa:?}, {threads} threads", case.name);
                let found = run(&engine, &mut session, inputs(&case)).unwrap();
                assert_same_bits(&found, &expected, &what);
                let found = run_alone(&engine, &mut session, inputs(&case)).unwrap();
                assert_same_bits(&found, &expected, &format!("{what}, alone"));
            }
        }
    }
}

/// Products in bf16, by the processor's instructions, by fma and by a matrix unit's emulation: within twice the error of rounding after each op, and a
/// sample's bits are its own on either way.
#[test]
fn in_bf16_the_cpu_is_within_the_bound_of_rounding() {
    for case in cases() {
        let loaded = front::load(&case.folder, &FrontOptions::default()).unwrap();
        let mut bounds: BTreeMap<String, f64> = BTreeMap::new();
        for (sample, inputs) in &case.inputs {
            let inputs = interpreter::sample(inputs).unwrap();
            let rounded = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Bf16).unwrap();
            for (name, rounded) in rounded {
                let rounded: Vec<_> =
                    rounded.as_floats().unwrap().iter().map(|&x| x as f32).collect();
                let expected = case.outputs[sample][&name].floats().unwrap();
                let bound = bounds.entry(name).or_default();
                *bound = bound.max(2.0 * max_difference(&rounded, expected));
            }
        }
        let plan = plan_for(&case, "cpu:bf16");
        let best = Isa::best();
        let mut ways = vec![best, best.without_amx(), best.without_bf16(), Isa::emulated_amx()];
        ways.dedup();
        for isa in ways {
            let with = engine(&plan, 2, isa);
            let found = run(&with, &mut with.session(), inputs(&case)).unwrap();
            let what = format!("{} on {isa:?}", case.name);
            for (name, bound) in &bounds {
                let pairs = case.outputs.values().zip(&found);
                let worst = pairs.map(|(expected, found)| {
                    max_difference(&found[name], expected[name].floats().unwrap())
                });
                let worst = worst.fold(0.0, f64::max);
                println!("{what} {name}: max abs difference {worst:.2e}, bound {bound:.2e}");
                assert!(worst <= *bound, "{what} {name}: {worst:e} is past {bound:e}");
            }
            let alone = engine(&plan, 1, isa);
            let alone = run_alone(&alone, &mut alone.session(), inputs(&case)).unwrap();
            assert_same_bits(&alone, &found, &format!("{what}, alone on one thread"));
        }
    }
}

/// Products in int8: near the reference, and the same bits by every instruction set, packed and alone, on any number of
/// threads, whatever memory held.
#[test]
fn in_int8_the_cpu_is_near_and_every_way_has_the_same_bits() {
    let poison = SessionOptions { poison: true, ..SessionOptions::default() };
    for case in cases() {
        let plan = plan_for(&case, "cpu:int8");
        let expected = batch(&plan, &case);
        for name in expected[0].keys() {
            let pairs = case.outputs.values().zip(&expected);
            let pairs =
                pairs.map(|(expected, found)| (expected[name].floats().unwrap(), &found[name]));
            let (mut error, mut size) = (0.0, 0.0);
            for (expected, found) in pairs.flat_map(|(a, b)| a.iter().zip(b)) {
                error += f64::from(found - expected).powi(2);
                size += f64::from(*expected).powi(2);
            }
            let error = f64::sqrt(error / size);
            println!("{} {name}: error {error:.1e} of the size", case.name);
            assert!(error < 0.05, "{} {name}: error {error:e} of the size", case.name);
        }
        let best = Isa::best();
        let ways = [best.without_amx(), best.without_amx().without_int8(), Isa::emulated_amx()];
        for isa in Isa::available().into_iter().chain(ways) {
            let engine = engine(&plan, 1, isa);
            let found =
                run_alone(&engine, &mut engine.session_with(poison), inputs(&case)).unwrap();
            assert_same_bits(&found, &expected, &format!("{}, alone on {isa:?}", case.name));
        }
    }
}

#[test]
fn two_sessions_at_once_change_no_bit() {
    for case in cases() {
        let plan = plan(&case);
        let expected = batch(&plan, &case);
        let engine = engine(&plan, 2, Isa::best());
        std::thread::scope(|scope| {
            for turn in 0..2 {
                let (engine, expected, case) = (&engine, &expected, &case);
                scope.spawn(move || {
                    let mut session = engine.session();
                    for round in 0..4 {
                        let mut samples = inputs(case);
                        let mut expected: Vec<_> = expected.iter().collect();
                        if (turn + round) % 2 == 1 {
                            samples.reverse();
                            expected.reverse();
                        }
                        let found = run(engine, &mut session, samples).unwrap();
                        let what = format!("{}, session {turn}, round {round}", case.name);
                        assert_same_bits(&found, expected, &what);
                    }
                });
            }
        });
    }
}
