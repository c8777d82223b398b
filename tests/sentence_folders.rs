//! sentence-transformers folders with a dense module: the CPU gives what the interpreter gives in f64, and each sample
//! alone has the same bits.

use std::collections::BTreeMap;
use std::fs;

use bytec_compiler::{FrontOptions, Options, front};
use bytec_ir::sample;
use bytec_models::tiny::{TinyBert, TinyCheckpoint, TinyTensor};
use bytec_runtime::{Engine, EngineOptions, SessionOptions};
use bytec_tests::batches::{Inputs, assert_same_bits, run, run_alone};
use bytec_tests::{interpreter, plans};
use serde_json::{Value, json};

const WIDTH: usize = 24;
const OUTPUTS: usize = 10;

/// Writes a folder that pools in these modes, goes through a dense module with this activation and normalises.
fn write(folder: &std::path::Path, modes: &[&str], activation: &str, bias: bool) {
    plans::write_folder(&TinyBert::default(), folder).unwrap();
    let module = |path: &str, class: &str| json!({"path": path, "type": format!("sentence_transformers.models.{class}")});
    let modules = json!([
        module("", "Transformer"),
        module("1_Pooling", "Pooling"),
        module("2_Dense", "Dense"),
        module("3_Normalize", "Normalize"),
    ]);
    fs::write(folder.join("modules.json"), modules.to_string()).unwrap();
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    let pooling = json!({"word_embedding_dimension": WIDTH, "pooling_mode": modes});
    fs::write(folder.join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    let inputs = modes.len() * WIDTH;
    let config = json!({
        "in_features": inputs, "out_features": OUTPUTS, "bias": bias,
        "activation_function": format!("torch.nn.modules.{activation}"),
    });
    let numbers = |count: usize| (0..count).map(|i| (i * 7 % 11) as f32 / 8.0 - 0.6).collect();
    let weight = TinyTensor { shape: vec![OUTPUTS, inputs], values: numbers(OUTPUTS * inputs) };
    let mut tensors = BTreeMap::from([("linear.weight".to_owned(), weight)]);
    if bias {
        let bias = TinyTensor { shape: vec![OUTPUTS], values: numbers(OUTPUTS) };
        tensors.insert("linear.bias".to_owned(), bias);
    }
    let dense = TinyCheckpoint { config: Value::Null, tensors };
    fs::create_dir(folder.join("2_Dense")).unwrap();
    fs::write(folder.join("2_Dense/config.json"), config.to_string()).unwrap();
    fs::write(folder.join("2_Dense/model.safetensors"), dense.safetensors()).unwrap();
}

#[test]
fn a_dense_module_agrees_with_the_interpreter() {
    for (modes, activation, bias) in [
        (&["mean"][..], "activation.Tanh", true),
        (&["mean_sqrt_len_tokens"], "linear.Identity", false),
        (&["weightedmean"], "activation.GELU", true),
        (&["lasttoken"], "activation.ReLU", false),
        (&["cls", "mean", "max"], "activation.Tanh", true),
    ] {
        let mode = &modes.join(",");
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), modes, activation, bias);
        let loaded = front::load(folder.path(), &FrontOptions::default()).unwrap();
        let path = folder.path().join("model.plan");
        let options = Options { threads: Some(1), ..Options::default() };
        plans::compile(folder.path(), &options, &path).unwrap();
        let graph = &loaded.graph;
        let drawn = |seed| sample::inputs(graph, &sample::bindings(graph, seed), seed);
        let samples: Vec<_> = (0..4).map(drawn).collect();
        let inputs: Vec<Inputs> = samples.iter().map(interpreter::inputs).collect();
        let threads = EngineOptions { threads: Some(1), ..EngineOptions::default() };
        let engine = Engine::from_bytes(&fs::read(path).unwrap(), threads).unwrap();
        let poison = SessionOptions { poison: true, ..SessionOptions::default() };
        let mut session = engine.session_with(poison);
        let found = run(&engine, &mut session, &inputs).unwrap();
        let alone = run_alone(&engine, &mut session, &inputs).unwrap();
        assert_same_bits(&found, &alone, mode);
        interpreter::check_all(graph, &loaded.weights, samples.iter().zip(&found), 2.0)
            .unwrap_or_else(|e| panic!("{mode}: {e}"));
    }
}
