//! The first rung of the evidence: the graph that a front end gives, evaluated in f64, against reference results.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytec_compiler::front::{self, FrontOptions, Loaded};
use bytec_ir::eval::{Rounding, Tensor, eval};
use safetensors::SafeTensors;

/// Reference results are rounded to f32, so they are exact to 6e-8 of each value.
const BOUND: f64 = 1e-6;

fn folder(case: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "tests", "golden_data", case].iter().collect()
}

/// `<sample>.<name>` to tensor, by sample.
fn samples(case: &str, file: &str) -> BTreeMap<usize, BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(folder(case).join(file)).unwrap();
    let mut samples: BTreeMap<usize, BTreeMap<String, Tensor>> = BTreeMap::new();
    for (key, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let (sample, name) = key.split_once('.').unwrap();
        let tensor = match view.dtype() {
            safetensors::Dtype::I64 => {
                let values = view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b));
                Tensor::ints(view.shape(), values.collect())
            }
            safetensors::Dtype::F32 => {
                let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                Tensor::floats(view.shape(), values.map(f64::from).collect())
            }
            other => panic!("{key} is {other:?}"),
        };
        samples
            .entry(sample.parse().unwrap())
            .or_default()
            .insert(name.to_owned(), tensor.unwrap());
    }
    samples
}

fn load(case: &str) -> Loaded {
    front::load(&folder(case), &FrontOptions::default()).unwrap()
}

/// The largest error of an output over all samples, relative to its largest value.
fn worst(case: &str, output: &str) -> f64 {
    let loaded = load(case);
    let (inputs, expected) =
        (samples(case, "inputs.safetensors"), samples(case, "outputs.safetensors"));
    assert!(inputs.len() >= 11, "{case} has {} samples", inputs.len());
    let (mut error, mut scale) = (0.0f64, 0.0f64);
    for (sample, inputs) in &inputs {
        let found = eval(&loaded.graph, inputs, &loaded.weights, Rounding::Exact).unwrap();
        let (found, expected) = (&found[output], &expected[sample][output]);
        assert_eq!(found.shape, expected.shape, "{case}, sample {sample}");
        for (a, b) in found.as_floats().unwrap().iter().zip(expected.as_floats().unwrap()) {
            // NaN has to count as an error, which f64::max would drop.
            assert!(a.is_finite(), "{case}, sample {sample}: {a}");
            error = error.max((a - b).abs());
            scale = scale.max(b.abs());
        }
    }
    error / scale
}

#[test]
fn every_case_agrees_with_its_reference() {
    let cases = [
        ("bert/gelu", "last_hidden_state"),
        ("bert/gelu", "pooler_output"),
        ("bert/gelu_new", "last_hidden_state"),
        ("bert/gelu_new", "pooler_output"),
        ("bert_mlm/base", "logits"),
        ("bert_seqcls/base", "logits"),
        ("bert_tokcls/base", "logits"),
    ];
    for (case, output) in cases {
        let error = worst(case, output);
        println!("{case} {output}: {error:.1e}");
        assert!(error <= BOUND, "{case} {output}: {error:e} is past {BOUND:e}");
    }
}

#[test]
fn outputs_are_exactly_those_of_the_reference() {
    for case in
        ["bert/gelu", "bert/gelu_new", "bert_mlm/base", "bert_seqcls/base", "bert_tokcls/base"]
    {
        let graph = load(case).graph;
        let mut found: Vec<_> = graph.outputs().iter().map(|output| output.name.clone()).collect();
        found.sort_unstable();
        let expected: Vec<_> = samples(case, "outputs.safetensors")[&1].keys().cloned().collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn every_tensor_of_every_case_is_used() {
    for case in
        ["bert/gelu", "bert/gelu_new", "bert_mlm/base", "bert_seqcls/base", "bert_tokcls/base"]
    {
        assert_eq!(load(case).unused_tensors, Vec::<String>::new(), "{case}");
    }
}

#[test]
fn token_types_change_the_result() {
    let loaded = load("bert/gelu");
    let mut inputs = samples("bert/gelu", "inputs.safetensors").remove(&1).unwrap();
    let with = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Exact).unwrap();
    inputs.remove("token_type_ids").unwrap();
    let zeros = eval(&loaded.graph, &inputs, &loaded.weights, Rounding::Exact).unwrap();
    assert_ne!(with["last_hidden_state"], zeros["last_hidden_state"]);
}

#[test]
fn classes_come_from_the_config() {
    let expected: Vec<_> = (0..5).map(|i| format!("LABEL_{i}")).collect();
    assert_eq!(load("bert_seqcls/base").labels, expected);
    assert_eq!(load("bert_tokcls/base").labels, expected);
    assert_eq!(load("bert_mlm/base").labels, Vec::<String>::new());
}
