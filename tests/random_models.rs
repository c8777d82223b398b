//! Random models of every family, from a folder to results: the CPU gives what the interpreter gives in f64, and each
//! sample alone has the same bits.

use bytec_compiler::front::PoolingChoice;
use bytec_compiler::{FrontOptions, Options, front};
use bytec_ir::{PoolKind, sample};
use bytec_models::tiny::{SplitMix64, TinyModel, draw};
use bytec_models::{Family, MODELS};
use bytec_runtime::{Engine, EngineOptions, SessionOptions};
use bytec_tests::batches::{Inputs, assert_same_bits, run, run_alone};
use bytec_tests::{interpreter, plans};
use serde_json::json;

/// How many models there are at least.
const MODELS_DRAWN: u64 = 300;
/// How far apart the seeds of two rounds are, whatever the number of families: a new one leaves the others' models alone.
const SEEDS_APART: u64 = 83;
/// Samples of each, of the shortest, the longest and other lengths.
const SAMPLES: u64 = 3;
/// Models without a limit of their own get samples up to this long.
const LONGEST: u64 = 48;
/// Reference data allow 2, over more samples: a random model of a few columns may round luckily, or make much of a small
/// difference where a row has little variance. A wrong op is off by far more.
const SLACK: f64 = 8.0;

/// A pooling for some of the bare encoders, which are the families' first architectures.
fn front_options(family: &Family, architecture: &str, seed: u64) -> FrontOptions {
    let mut random = SplitMix64(seed);
    let kinds = PoolKind::ALL;
    if architecture != (family.architectures)()[0] || random.below(2) == 0 {
        return FrontOptions::default();
    }
    let mut kind = || kinds[random.below(kinds.len() as u64) as usize];
    // Several side by side for every other seed.
    let pooling = (0..1 + seed % 2).map(|_| kind()).collect();
    FrontOptions {
        pooling: Some(PoolingChoice::Kinds(pooling)),
        normalize: Some(random.below(2) == 0),
        ..FrontOptions::default()
    }
}

fn check(family: &Family, architecture: &str, seed: u64) {
    let tiny = draw(family, architecture, seed);
    let what = format!("{architecture}, seed {seed}: {}", tiny.config);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = tiny.checkpoint().unwrap_or_else(|e| panic!("{what}: {e}"));
    plans::write_folder(checkpoint, folder.path()).unwrap();
    let front = front_options(family, architecture, seed);
    let loaded = front::load(folder.path(), &front).unwrap_or_else(|e| panic!("{what}: {e}"));
    let options = Options { front, threads: Some(1), ..Options::default() };
    let path = folder.path().join("model.plan");
    plans::compile(folder.path(), &options, &path).unwrap_or_else(|e| panic!("{what}: {e}"));

    let graph = &loaded.graph;
    let drawn = |i: u64| {
        let mut bindings = sample::bindings(graph, seed + i);
        for range in graph.symbols() {
            match i {
                0 => bindings.insert(range.symbol.clone(), range.min),
                1 => bindings.insert(range.symbol.clone(), range.max.min(LONGEST)),
                _ if range.max > LONGEST => {
                    bindings.insert(range.symbol.clone(), 1 + (seed + i) % LONGEST)
                }
                _ => None,
            };
        }
        sample::inputs(graph, &bindings, seed + i)
    };
    let samples: Vec<_> = (0..SAMPLES).map(drawn).collect();
    let inputs: Vec<Inputs> = samples.iter().map(interpreter::inputs).collect();
    let threads = EngineOptions { threads: Some(1), ..EngineOptions::default() };
    let engine = Engine::from_bytes(&std::fs::read(path).unwrap(), threads).unwrap();
    let mut session =
        engine.session_with(SessionOptions { poison: true, ..SessionOptions::default() });
    let found = run(&engine, &mut session, &inputs).unwrap();
    let alone = run_alone(&engine, &mut session, &inputs).unwrap();
    assert_same_bits(&found, &alone, &what);
    interpreter::check_all(graph, &loaded.weights, samples.iter().zip(&found), SLACK)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
}

/// The weights of the plan of an ALBERT with this many layers, by name and size.
fn shared_weights(layers: u64) -> Vec<(String, u64)> {
    let config = json!({
        "architectures": ["AlbertModel"], "embedding_size": 6, "hidden_act": "gelu_new", "hidden_size": 24,
        "inner_group_num": 1, "intermediate_size": 40, "layer_norm_eps": 1e-12, "max_position_embeddings": 9,
        "model_type": "albert", "num_attention_heads": 3, "num_hidden_groups": 1, "num_hidden_layers": layers,
        "type_vocab_size": 2, "vocab_size": 11,
    });
    let tiny = TinyModel { config, extra: Vec::new(), seed: 1 };
    let folder = tempfile::tempdir().unwrap();
    plans::write_folder(tiny.checkpoint().unwrap(), folder.path()).unwrap();
    let path = folder.path().join("model.plan");
    plans::compile(folder.path(), &Options::default(), &path).unwrap();
    let engine = Engine::open(&path).unwrap();
    assert!(engine.program().steps.len() as u64 > 4 * layers);
    engine.program().weights.iter().map(|weight| (weight.name.clone(), weight.bytes)).collect()
}

#[test]
fn a_plan_stores_a_shared_layer_once() {
    assert_eq!(shared_weights(1), shared_weights(4));
}

#[test]
fn every_architecture_of_every_family_agrees_with_the_interpreter() {
    let all: Vec<_> = MODELS
        .iter()
        .flat_map(|family| (family.architectures)().into_iter().map(move |name| (family, name)))
        .collect();
    let rounds = MODELS_DRAWN.div_ceil(all.len() as u64);
    for round in 0..rounds {
        for (i, (family, architecture)) in (0..).zip(&all) {
            check(family, architecture, round * SEEDS_APART + i);
        }
    }
    println!("{} models agree", rounds * all.len() as u64);
}
