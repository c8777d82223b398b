//! Queries that are not the rows they look at: made of weights alone, one or several, or one row of each sample. The CPU
//! and the simulated GPUs give what the interpreter gives, and every sample the same bits alone.

use std::collections::BTreeMap;

use bytec_compiler::{FrontOptions, Options};
use bytec_ir::eval::{Rounding, eval};
use bytec_ir::sample;
use bytec_ir::text::parse;
use bytec_models::tiny::{TinyCheckpoint, TinyTensor};
use bytec_runtime::{Engine, EngineOptions};
use bytec_tests::batches::{Inputs, Outputs, assert_same_bits, run, run_alone};
use bytec_tests::golden::max_difference;
use bytec_tests::{interpreter, plans};

use super::{engine, options};

/// The end of a vision tower that a probe looks at, probes over rows, and a sample's first row as its query.
const GRAPH: &str = "bytec 1
symbol L in 1..=40
input %x: f32[L, 16]
input %image: f32[9, 16]
weight @probe: f32[1, 16]
weight @probes: f32[3, 16]
weight @w: f32[16, 16]
weight @b: f32[16]
weight @gamma: f32[16]
%q: f32[1, 16] = linear(@probe, @w, @b) {epilogue = []}
%k: f32[9, 16] = linear(%image, @w, @b) {epilogue = []}
%head: f32[1, 16] = attention(%q, %k, %image) {heads = 2, head_size = 8, scale = 0.35}
%normed: f32[1, 16] = layer_norm(%head, @gamma, @b) {eps = 1e-6}
%fed: f32[1, 16] = linear(%normed, @w, @b) {epilogue = [gelu_tanh]}
%sum: f32[1, 16] = binary(%head, %fed) {f = add}
%pooled: f32[16] = reshape(%sum) {shape = [16]}
%one: f32[1, 16] = attention(@probe, %x, %x) {heads = 2, head_size = 8, scale = 0.35}
%several: f32[3, 16] = attention(@probes, %x, %x) {heads = 2, head_size = 8, scale = 0.35}
%first: f32[1, 16] = slice(%image) {axis = 0, start = 0, end = 1}
%own: f32[1, 16] = attention(%first, %x, %x) {heads = 2, head_size = 8, scale = 0.35}
%other: f32[L, 16] = attention(%x, %several, %several) {heads = 2, head_size = 8, scale = 0.35}
%known: f32[L, 16] = attention(%x, @probes, @probes) {heads = 2, head_size = 8, scale = 0.35}
%single: f32[L, 16] = attention(%x, %one, %one) {heads = 2, head_size = 8, scale = 0.35}
output pooled = %pooled
output one = %one
output several = %several
output own = %own
output other = %other
output known = %known
output single = %single
";

#[test]
fn a_query_may_be_made_of_weights_or_be_one_row() {
    let graph = parse(GRAPH).unwrap();
    let weights = sample::weights(&graph, 5);
    let tensor = |x: &bytec_ir::Tensor| TinyTensor {
        shape: x.shape.clone(),
        values: x.as_floats().unwrap().iter().map(|&x| x as f32).collect(),
    };
    let tensors = weights.iter().map(|(name, x)| (name.clone(), tensor(x))).collect();
    let checkpoint = TinyCheckpoint { config: serde_json::Value::Null, tensors };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("model.safetensors"), checkpoint.safetensors()).unwrap();
    std::fs::write(path("graph.ir"), GRAPH).unwrap();

    let samples: Vec<_> =
        (0..20).map(|seed| sample::inputs(&graph, &sample::bindings(&graph, seed), seed)).collect();
    let inputs: Vec<Inputs> = samples.iter().map(interpreter::inputs).collect();
    let interpreted = |rounding| -> Vec<Outputs> {
        let single = |x: &bytec_ir::Tensor| {
            x.as_floats().unwrap().iter().map(|&x| x as f32).collect::<Vec<_>>()
        };
        let of = |inputs| eval(&graph, inputs, &weights, rounding).unwrap();
        let named = |outputs: BTreeMap<String, bytec_ir::Tensor>| {
            outputs.iter().map(|(name, x)| (name.clone(), single(x))).collect()
        };
        samples.iter().map(|inputs| named(of(inputs))).collect()
    };
    let front = || FrontOptions { graph: Some(path("graph.ir")), ..FrontOptions::default() };
    for target in ["cpu", "sm_80:f32", "sm_80:f16", "sm_90a:bf16"] {
        let options = match target {
            "cpu" => Some(Options { front: front(), ..Options::default() }),
            target => options(target, front()),
        };
        let Some(options) = options else { continue };
        plans::compile(&path("model.safetensors"), &options, &path("model.plan")).unwrap();
        let plan = std::fs::read(path("model.plan")).unwrap();
        let (engine, rounding) = match target {
            "cpu" => (Engine::from_bytes(&plan, EngineOptions::default()).unwrap(), Rounding::F32),
            "sm_80:f32" => (engine(&plan, 8), Rounding::F32),
            "sm_80:f16" => (engine(&plan, 8), Rounding::F16),
            _ => (engine(&plan, 9), Rounding::Bf16),
        };
        let mut session = engine.session();
        let found = run(&engine, &mut session, &inputs).unwrap();
        let alone = run_alone(&engine, &mut session, &inputs).unwrap();
        assert_same_bits(&found, &alone, target);
        let (exact, rounded) = (interpreted(Rounding::Exact), interpreted(rounding));
        for name in exact[0].keys() {
            let of = |outputs: &[Outputs]| outputs.iter().flat_map(|x| x[name].clone()).collect();
            let [exact, rounded, found]: [Vec<f32>; 3] = [of(&exact), of(&rounded), of(&found)];
            let scale = exact.iter().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
            let bound = (2.0 * max_difference(&rounded, &exact)).max(2e-6 * scale);
            let error = max_difference(&found, &exact);
            println!("{target} {name}: {error:.1e}, bound {bound:.1e}");
            assert!(error <= bound, "{target} {name}: {error:e} is past {bound:e}");
        }
    }
}
