//! Archives of torch.export, from the file to results: what torch computes, and the plan that the checkpoint gives.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytec_compiler::{FrontOptions, Options, front};
use bytec_runtime::{Engine, EngineOptions};
use bytec_tests::archives::{Members, PROGRAM};
use bytec_tests::batches::{assert_same_bits, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::{plans, tensors};
use serde_json::{Value, json};

/// Cases of families, with a checkpoint.
const CASES: [&str; 5] = ["bert", "deberta_v2", "roberta", "t5_encoder", "vit"];

/// Cases that only an archive holds, and the kernels of their plans: heads of keys that queries share are never repeated.
const ALONE: [(&str, &[(&str, usize)]); 2] = [
    (
        "parts",
        &[
            ("attention", 1),
            ("concat", 8),
            ("embed", 6),
            ("layer_norm", 1),
            ("linear", 9),
            ("permute", 2),
            ("pointwise", 12),
            ("pool", 7),
            ("rotary", 1),
        ],
    ),
    ("qwen2", &[("attention", 2), ("embed", 1), ("linear", 8), ("pointwise", 6), ("rms_norm", 5)]),
];

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
fn a_length_that_an_archive_leaves_open_is_limited_by_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt2");
    let most = |of_archive: Value, max_length| {
        let mut members = Members::of_case("bert");
        members.edit(PROGRAM, |program| {
            let ranges = program["range_constraints"].as_object_mut().unwrap();
            ranges.values_mut().for_each(|range| range["max_val"] = of_archive.clone());
        });
        std::fs::write(&path, members.to_file()).unwrap();
        let loaded = front::load(&path, &FrontOptions { max_length, ..FrontOptions::default() });
        loaded.map(|model| model.graph.symbols()[0].max).map_err(|error| error.to_string())
    };
    assert_eq!(most(json!(null), Some(24)), Ok(24));
    assert_eq!(most(json!(64), Some(24)), Ok(24));
    assert_eq!(most(json!(24), Some(64)), Ok(24));
    let error = most(json!(null), None).unwrap_err();
    assert!(error.contains("anything above, expected limits; give --max-length N"), "{error}");
}

#[test]
fn plans_of_archives_agree_with_torch_and_have_the_kernels_of_plans_of_checkpoints() {
    for case in CASES.into_iter().chain(ALONE.map(|(case, _)| case)) {
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
        let expected = match ALONE.iter().find(|alone| alone.0 == case) {
            Some((_, kernels)) => kernels.iter().copied().collect(),
            None => kernels(&self::engine(&format!("{case}/checkpoint"), &[])),
        };
        assert_eq!(kernels(&engine), expected, "{case}");
    }
}
