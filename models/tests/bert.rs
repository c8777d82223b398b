//! The BERT family: what its graph looks like, and the tiny checkpoints that tests build on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use bytec_ir::attrs::PoolKind;
use bytec_models::tiny::TinyBert;
use bytec_models::{Config, MODELS, Model, Pooling, Request, build};
use expect_test::expect;

fn model(tiny: &TinyBert, request: &Request) -> Model {
    let checkpoint = tiny.checkpoint();
    let fields = checkpoint.config.as_object().unwrap().clone();
    let config = Config::new("config.json", fields);
    build(&config, &checkpoint.describe("model.safetensors", "F32"), request).unwrap()
}

#[test]
fn the_forward_pass_reads_like_the_model() {
    let tiny = TinyBert { layers: 1, prefix: true, ..TinyBert::default() };
    let pooling = Pooling::new(PoolKind::Mean, true);
    let request = Request { architecture: None, pooling: Some(pooling) };
    expect![[r#"
        bytec 1
        symbol L in 1..=32
        input %input_ids: i64[L]
        input %token_type_ids: i64[L] = 0
        %embeddings.position_ids: i64[L] = iota() {extent = L, start = 0}
        weight @bert.embeddings.word_embeddings.weight: f32[50, 24]
        %embeddings.word_embeddings: f32[L, 24] = gather(@bert.embeddings.word_embeddings.weight, %input_ids)
        weight @bert.embeddings.token_type_embeddings.weight: f32[2, 24]
        %embeddings.token_type_embeddings: f32[L, 24] = gather(@bert.embeddings.token_type_embeddings.weight, %token_type_ids)
        weight @bert.embeddings.position_embeddings.weight: f32[32, 24]
        %embeddings.position_embeddings: f32[L, 24] = gather(@bert.embeddings.position_embeddings.weight, %embeddings.position_ids)
        %embeddings.words_and_types: f32[L, 24] = binary(%embeddings.word_embeddings, %embeddings.token_type_embeddings) {f = add}
        %embeddings.sum: f32[L, 24] = binary(%embeddings.words_and_types, %embeddings.position_embeddings) {f = add}
        weight @bert.embeddings.LayerNorm.weight: f32[24]
        weight @bert.embeddings.LayerNorm.bias: f32[24]
        %embeddings.LayerNorm: f32[L, 24] = layer_norm(%embeddings.sum, @bert.embeddings.LayerNorm.weight, @bert.embeddings.LayerNorm.bias) {eps = 1e-12}
        weight @bert.encoder.layer.0.attention.self.query.weight: f32[24, 24]
        weight @bert.encoder.layer.0.attention.self.query.bias: f32[24]
        %encoder.layer.0.attention.self.query: f32[L, 24] = linear(%embeddings.LayerNorm, @bert.encoder.layer.0.attention.self.query.weight) {epilogue = []}
        %encoder.layer.0.attention.self.query.add_bias: f32[L, 24] = binary(%encoder.layer.0.attention.self.query, @bert.encoder.layer.0.attention.self.query.bias) {f = add}
        weight @bert.encoder.layer.0.attention.self.key.weight: f32[24, 24]
        weight @bert.encoder.layer.0.attention.self.key.bias: f32[24]
        %encoder.layer.0.attention.self.key: f32[L, 24] = linear(%embeddings.LayerNorm, @bert.encoder.layer.0.attention.self.key.weight) {epilogue = []}
        %encoder.layer.0.attention.self.key.add_bias: f32[L, 24] = binary(%encoder.layer.0.attention.self.key, @bert.encoder.layer.0.attention.self.key.bias) {f = add}
        weight @bert.encoder.layer.0.attention.self.value.weight: f32[24, 24]
        weight @bert.encoder.layer.0.attention.self.value.bias: f32[24]
        %encoder.layer.0.attention.self.value: f32[L, 24] = linear(%embeddings.LayerNorm, @bert.encoder.layer.0.attention.self.value.weight) {epilogue = []}
        %encoder.layer.0.attention.self.value.add_bias: f32[L, 24] = binary(%encoder.layer.0.attention.self.value, @bert.encoder.layer.0.attention.self.value.bias) {f = add}
        %encoder.layer.0.attention.self.query.heads.split: f32[L, 3, 8] = reshape(%encoder.layer.0.attention.self.query.add_bias) {shape = [L, 3, 8]}
        %encoder.layer.0.attention.self.query.heads: f32[3, L, 8] = transpose(%encoder.layer.0.attention.self.query.heads.split) {perm = [1, 0, 2]}
        %encoder.layer.0.attention.self.key.heads.split: f32[L, 3, 8] = reshape(%encoder.layer.0.attention.self.key.add_bias) {shape = [L, 3, 8]}
        %encoder.layer.0.attention.self.key.heads: f32[3, 8, L] = transpose(%encoder.layer.0.attention.self.key.heads.split) {perm = [1, 2, 0]}
        %encoder.layer.0.attention.self.value.heads.split: f32[L, 3, 8] = reshape(%encoder.layer.0.attention.self.value.add_bias) {shape = [L, 3, 8]}
        %encoder.layer.0.attention.self.value.heads: f32[3, L, 8] = transpose(%encoder.layer.0.attention.self.value.heads.split) {perm = [1, 0, 2]}
        %encoder.layer.0.attention.self.scores: f32[3, L, L] = matmul(%encoder.layer.0.attention.self.query.heads, %encoder.layer.0.attention.self.key.heads)
        const %encoder.layer.0.attention.self.scale = 0.35355339059327373
        %encoder.layer.0.attention.self.scaled: f32[3, L, L] = binary(%encoder.layer.0.attention.self.scores, %encoder.layer.0.attention.self.scale) {f = mul}
        %encoder.layer.0.attention.self.softmax: f32[3, L, L] = softmax(%encoder.layer.0.attention.self.scaled)
        %encoder.layer.0.attention.self.context: f32[3, L, 8] = matmul(%encoder.layer.0.attention.self.softmax, %encoder.layer.0.attention.self.value.heads)
        %encoder.layer.0.attention.self.context.rows: f32[L, 3, 8] = transpose(%encoder.layer.0.attention.self.context) {perm = [1, 0, 2]}
        %encoder.layer.0.attention.self.merged: f32[L, 24] = reshape(%encoder.layer.0.attention.self.context.rows) {shape = [L, 24]}
        weight @bert.encoder.layer.0.attention.output.dense.weight: f32[24, 24]
        weight @bert.encoder.layer.0.attention.output.dense.bias: f32[24]
        %encoder.layer.0.attention.output.dense: f32[L, 24] = linear(%encoder.layer.0.attention.self.merged, @bert.encoder.layer.0.attention.output.dense.weight) {epilogue = []}
        %encoder.layer.0.attention.output.dense.add_bias: f32[L, 24] = binary(%encoder.layer.0.attention.output.dense, @bert.encoder.layer.0.attention.output.dense.bias) {f = add}
        %encoder.layer.0.attention.output.residual: f32[L, 24] = binary(%encoder.layer.0.attention.output.dense.add_bias, %embeddings.LayerNorm) {f = add}
        weight @bert.encoder.layer.0.attention.output.LayerNorm.weight: f32[24]
        weight @bert.encoder.layer.0.attention.output.LayerNorm.bias: f32[24]
        %encoder.layer.0.attention.output.LayerNorm: f32[L, 24] = layer_norm(%encoder.layer.0.attention.output.residual, @bert.encoder.layer.0.attention.output.LayerNorm.weight, @bert.encoder.layer.0.attention.output.LayerNorm.bias) {eps = 1e-12}
        weight @bert.encoder.layer.0.intermediate.dense.weight: f32[40, 24]
        weight @bert.encoder.layer.0.intermediate.dense.bias: f32[40]
        %encoder.layer.0.intermediate.dense: f32[L, 40] = linear(%encoder.layer.0.attention.output.LayerNorm, @bert.encoder.layer.0.intermediate.dense.weight) {epilogue = []}
        %encoder.layer.0.intermediate.dense.add_bias: f32[L, 40] = binary(%encoder.layer.0.intermediate.dense, @bert.encoder.layer.0.intermediate.dense.bias) {f = add}
        %encoder.layer.0.intermediate.dense.act: f32[L, 40] = unary(%encoder.layer.0.intermediate.dense.add_bias) {f = gelu_erf}
        weight @bert.encoder.layer.0.output.dense.weight: f32[24, 40]
        weight @bert.encoder.layer.0.output.dense.bias: f32[24]
        %encoder.layer.0.output.dense: f32[L, 24] = linear(%encoder.layer.0.intermediate.dense.act, @bert.encoder.layer.0.output.dense.weight) {epilogue = []}
        %encoder.layer.0.output.dense.add_bias: f32[L, 24] = binary(%encoder.layer.0.output.dense, @bert.encoder.layer.0.output.dense.bias) {f = add}
        %encoder.layer.0.output.residual: f32[L, 24] = binary(%encoder.layer.0.output.dense.add_bias, %encoder.layer.0.attention.output.LayerNorm) {f = add}
        weight @bert.encoder.layer.0.output.LayerNorm.weight: f32[24]
        weight @bert.encoder.layer.0.output.LayerNorm.bias: f32[24]
        %encoder.layer.0.output.LayerNorm: f32[L, 24] = layer_norm(%encoder.layer.0.output.residual, @bert.encoder.layer.0.output.LayerNorm.weight, @bert.encoder.layer.0.output.LayerNorm.bias) {eps = 1e-12}
        %embedding.pooled: f32[24] = reduce(%encoder.layer.0.output.LayerNorm) {f = mean, axis = 0}
        %embedding.normalized: f32[24] = l2_normalize(%embedding.pooled) {eps = 1e-12}
        output last_hidden_state = %encoder.layer.0.output.LayerNorm
        output embedding = %embedding.normalized
    "#]].assert_eq(&model(&tiny, &request).graph.to_string());
}

#[test]
fn every_architecture_passes_the_verifier_with_every_shape_of_file() {
    for architecture in (MODELS[0].architectures)() {
        for prefix in [false, true] {
            for gamma_beta in [false, true] {
                let tiny = TinyBert { architecture, prefix, gamma_beta, ..TinyBert::default() };
                let model = model(&tiny, &Request::default());
                bytec_ir::verify::verify(&model.graph).unwrap();
                let stored: BTreeSet<_> = tiny.checkpoint().tensors.into_keys().collect();
                let weights = model.graph.weights();
                let used: BTreeSet<_> =
                    weights.iter().map(|&id| model.graph.name(id).to_owned()).collect();
                assert!(used.is_subset(&stored), "{architecture}");
                let pooled = stored.difference(&used).all(|name| name.contains("pooler.dense"));
                assert!(pooled, "{architecture} leaves out more than the pooler");
                assert_eq!(model.aliases.is_empty(), !gamma_beta);
            }
        }
    }
}

#[test]
fn tiny_checkpoints_are_the_same_every_time_and_differ_by_seed() {
    let tiny = TinyBert::default();
    assert_eq!(tiny.checkpoint().safetensors(), tiny.checkpoint().safetensors());
    let other = TinyBert { seed: 2, ..TinyBert::default() };
    assert_ne!(tiny.checkpoint(), other.checkpoint());
    // The same values under another prefix would hide a mix-up of names, so a name takes part in the choice.
    let tensors = tiny.checkpoint().tensors;
    assert_ne!(
        tensors["encoder.layer.0.attention.self.key.weight"],
        tensors["encoder.layer.0.attention.self.query.weight"]
    );
}

#[test]
fn tiny_weights_are_spread_out() {
    let mut random = bytec_models::tiny::SplitMix64(3);
    let values: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
    assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean}, {variance}");
}
