//! Archives of torch.export, from the file to results: what torch computes, and the plan that the checkpoint gives.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytec_compiler::{FrontOptions, Options};
use bytec_runtime::{Engine, EngineOptions};
use bytec_tests::batches::{assert_same_bits, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::{plans, tensors};

const CASES: [&str; 5] = ["bert", "deberta_v2", "roberta", "t5_encoder", "vit"];

fn folder(case: &str) -> PathBuf {
    bytec_tests::root().join("tests/golden_data/pt2").join(case)
}

/// An engine of one thread for the plan of a source, its outputs under these names if it has none.
fn engine(source: &str, outputs: &[String]) -> Engine {
    let target = tempfile::tempdir().unwrap();
    let plan = target.path().join("case.plan");
    let front = FrontOptions { outputs: outputs.to_vec(), ..FrontOptions::default() };
    plans::compile(&folder(source), &Options { front, ..Options::default() }, &plan).unwrap();
    let options = EngineOptions { threads: Some(1), ..EngineOptions::default() };
    Engine::from_bytes(&std::fs::read(plan).unwrap(), options).unwrap()
}

fn kernels(engine: &Engine) -> BTreeMap<&'static str, usize> {
    let mut kernels = BTreeMap::new();
    for step in &engine.program().steps {
        *kernels.entry(step.kernel.name()).or_insert(0) += 1;
    }
    kernels
}

#[test]
fn plans_of_archives_agree_with_torch_and_have_the_kernels_of_plans_of_checkpoints() {
    for case in CASES {
        let read = |file: &str| tensors::read(&folder(case).join(file)).unwrap();
        let (inputs, expected) = (read("inputs.safetensors"), read("outputs.safetensors"));
        let outputs: Vec<String> = expected.values().next().unwrap().keys().cloned().collect();
        let engine = self::engine(&format!("{case}/model.pt2"), &outputs);
        let found = run(&engine, &mut engine.session(), inputs.values()).unwrap();
        let alone = run_alone(&engine, &mut engine.session(), inputs.values()).unwrap();
        assert_same_bits(&found, &alone, case);
        for (sample, (found, expected)) in found.iter().zip(expected.values()).enumerate() {
            for (name, expected) in expected {
                let expected = expected.floats().unwrap();
                let scale = expected.iter().fold(0.0f32, |scale, x| scale.max(x.abs()));
                let error = max_difference(&found[name], expected) / f64::from(scale);
                assert!(error <= 4e-6, "{case}, sample {sample}, {name}: {error:e}");
            }
        }
        let checkpoint = self::engine(&format!("{case}/checkpoint"), &[]);
        let (found, expected) = (kernels(&engine), kernels(&checkpoint));
        assert_eq!(found, expected, "{case}");
    }
}
