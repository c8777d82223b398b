//! DeBERTa with heads that suit warpgroups, which those of the golden data don't: rows by distance on the tensor cores of
//! Hopper, in models of both versions.

use bytec_compiler::FrontOptions;
use bytec_ir::eval::Rounding;
use bytec_models::tiny::TinyModel;
use bytec_tests::plans;
use serde_json::{Value, json};

use super::{check_batch, engine, options};

/// Lengths of samples, past the distances that have buckets of their own, and past a tile.
const LENGTHS: [u64; 4] = [1, 64, 7, 70];

fn check(target: &str, rounding: Rounding, config: Value) {
    let Some(options) = options(target, FrontOptions::default()) else { return };
    let tiny = TinyModel { config, extra: Vec::new(), seed: 5 };
    let folder = tempfile::tempdir().unwrap();
    plans::write_folder(tiny.checkpoint().unwrap(), folder.path()).unwrap();
    let path = folder.path().join("model.plan");
    plans::compile(folder.path(), &options, &path).unwrap();
    let engine = engine(&std::fs::read(&path).unwrap(), 9);
    assert_eq!(engine.manifest().report.notes, [""; 0]);
    let modules = &engine.program().device.as_ref().unwrap().modules;
    let symbols = modules.iter().map(|module| module.symbol.as_str());
    let found = symbols.filter(|symbol| symbol.starts_with("attention_wgmma_")).collect::<Vec<_>>();
    assert!(found.iter().any(|symbol| symbol.contains("_disentangled")), "{found:?}");
    check_batch(&engine, folder.path(), &LENGTHS, rounding);
}

fn config(model_type: &str, own: Value) -> Value {
    let mut config = json!({
        "hidden_act": "gelu",
        "hidden_size": 64,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-7,
        "max_position_embeddings": 80,
        "num_hidden_layers": 2,
        "pos_att_type": ["c2p", "p2c"],
        "position_biased_input": false,
        "relative_attention": true,
        "type_vocab_size": 0,
        "vocab_size": 50,
    });
    config["model_type"] = json!(model_type);
    config.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    config
}

#[test]
fn deberta_runs_on_warpgroups() {
    let own = json!({
        "architectures": ["DebertaModel"],
        "max_relative_positions": 20,
        "num_attention_heads": 2,
    });
    check("sm_90a:f16", Rounding::F16, config("deberta", own));
}

#[test]
fn deberta_v3_runs_on_warpgroups() {
    let own = json!({
        "architectures": ["DebertaV2Model"],
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "num_attention_heads": 1,
        "position_buckets": 16,
        "share_att_key": true,
    });
    check("sm_90a:bf16", Rounding::Bf16, config("deberta-v2", own));
}
