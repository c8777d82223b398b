//! Random graphs from text to results: whatever compiles gives on the CPU what the interpreter gives in f64.

use std::collections::BTreeMap;

use bytec_compiler::{CompileError, FrontOptions, Options};
use bytec_ir::{Graph, Tensor, sample};
use bytec_models::tiny::{TinyCheckpoint, TinyTensor};
use bytec_runtime::{Engine, EngineOptions, SessionOptions};
use bytec_tests::batches::{Inputs, assert_same_bits, run, run_alone};
use bytec_tests::{interpreter, plans};

const GRAPHS: u64 = 600;
const SAMPLES: u64 = 5;
/// Reference data allow 2. A random graph may divide a row by the length of one that is almost zero, where the interpreter's
/// own error in f32 is a matter of luck.
const SLACK: f64 = 4.0;

/// The plan's bytes, or why there is none.
fn compile(graph: &Graph, weights: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, CompileError> {
    let tensor = |tensor: &Tensor| TinyTensor {
        shape: tensor.shape.clone(),
        values: tensor.as_floats().unwrap().iter().map(|&x| x as f32).collect(),
    };
    let tensors = weights.iter().map(|(name, x)| (name.clone(), tensor(x))).collect();
    let checkpoint = TinyCheckpoint { config: serde_json::Value::Null, tensors };
    let folder = tempfile::tempdir().unwrap();
    let (model, text) = (folder.path().join("model.safetensors"), folder.path().join("graph.ir"));
    std::fs::write(&model, checkpoint.safetensors()).unwrap();
    std::fs::write(&text, graph.to_string()).unwrap();
    let front = FrontOptions { graph: Some(text), ..FrontOptions::default() };
    let options = Options { front, threads: Some(1), ..Options::default() };
    let mut plan = Vec::new();
    bytec_compiler::compile(&model, &options, &mut plans::Silent, |emitted, _| {
        emitted.write(&mut plan)?;
        Ok::<_, CompileError>(())
    })?;
    Ok(plan)
}

/// Not every graph has kernels on the CPU, but each one without says so, and each one with is right.
#[test]
fn what_compiles_agrees_with_the_interpreter() {
    let mut compiled = 0;
    for seed in 0..GRAPHS {
        let graph = sample::graph(seed);
        let weights = sample::weights(&graph, seed);
        let plan = match compile(&graph, &weights) {
            Ok(plan) => plan,
            Err(CompileError::Pack(_) | CompileError::Schedule(_)) => continue,
            Err(other) => panic!("graph {seed}: {other}\n{graph}"),
        };
        compiled += 1;
        let of = |s: u64| sample::inputs(&graph, &sample::bindings(&graph, seed + s), seed + s);
        let samples: Vec<_> = (0..SAMPLES).map(of).collect();
        let inputs: Vec<Inputs> = samples.iter().map(interpreter::inputs).collect();
        let options = EngineOptions { threads: Some(1), ..EngineOptions::default() };
        let engine =
            Engine::from_bytes(&plan, options).unwrap_or_else(|e| panic!("graph {seed}: {e}"));
        let mut session =
            engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
        let found = run(&engine, &mut session, &inputs).unwrap();
        let alone = run_alone(&engine, &mut session, &inputs).unwrap();
        assert_same_bits(&found, &alone, &format!("graph {seed}"));
        interpreter::check_all(&graph, &weights, samples.iter().zip(&found), SLACK)
            .unwrap_or_else(|e| panic!("graph {seed}: {e}\n{graph}"));
    }
    println!("{compiled} of {GRAPHS} graphs compile");
    assert!(compiled > GRAPHS / 3, "only {compiled} of {GRAPHS} graphs compile");
}
