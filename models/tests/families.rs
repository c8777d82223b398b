//! Every family: random configs build, and every tensor that they ask for is used.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use bytec_models::tiny::{TinyCheckpoint, TinyModel, draw};
use bytec_models::{Config, MODELS, Model, ModelError, Request, build};
use serde_json::{Value, json};

fn model(tiny: &TinyCheckpoint) -> Result<Model, ModelError> {
    let config = Config::new("config.json", tiny.config.as_object().unwrap().clone());
    build(&config, &tiny.describe("model.safetensors", "F32"), &Request::default())
}

fn weights(model: &Model) -> BTreeSet<String> {
    let graph = &model.graph;
    graph.weights().into_iter().map(|id| graph.name(id).to_owned()).collect()
}

#[test]
fn random_configs_build_and_use_every_tensor() {
    for family in MODELS {
        for architecture in (family.architectures)() {
            for seed in 0..12 {
                let tiny = draw(family, architecture, seed).checkpoint().unwrap();
                let what = format!("{architecture}, seed {seed}: {}", tiny.config);
                let model = model(&tiny).unwrap_or_else(|e| panic!("{what}: {e}"));
                bytec_ir::verify::verify(&model.graph).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(model.family, family.name, "{what}");
                let stored: BTreeSet<_> = tiny.tensors.into_keys().collect();
                assert_eq!(weights(&model), stored, "{what}");
            }
        }
    }
}

#[test]
fn layers_that_share_their_weights_have_one_name_for_them() {
    let of_layers = |layers: u64| {
        let config = json!({
            "architectures": ["AlbertModel"], "embedding_size": 6, "hidden_act": "gelu_new", "hidden_size": 8,
            "inner_group_num": 1, "intermediate_size": 12, "layer_norm_eps": 1e-12, "max_position_embeddings": 9,
            "model_type": "albert", "num_attention_heads": 2, "num_hidden_groups": 1, "num_hidden_layers": layers,
            "type_vocab_size": 2, "vocab_size": 11,
        });
        let tiny = TinyModel { config, extra: Vec::new(), seed: 1 }.checkpoint().unwrap();
        weights(&model(&tiny).unwrap())
    };
    assert_eq!(of_layers(1), of_layers(4));
}

/// The errors for random models of `family` whose configs have `field` set to `value`. A setting may have no meaning
/// beside others, and is refused only where it has one.
fn refusals(family: &str, field: &str, value: &Value) -> Vec<String> {
    let family = MODELS.iter().find(|known| known.name == family).unwrap();
    let refusal = |seed| {
        let mut tiny = draw(family, (family.architectures)()[0], seed).checkpoint().unwrap();
        tiny.config[field] = value.clone();
        model(&tiny).err().map(|error| error.to_string())
    };
    (0..16).filter_map(refusal).collect()
}

#[test]
fn settings_that_mean_another_model_are_refused_by_name() {
    let cases = [
        ("roberta", "pad_token_id", json!(null)),
        ("roberta", "pad_token_id", json!(1000)),
        ("albert", "num_hidden_groups", json!(0)),
        ("electra", "position_embedding_type", json!("relative_key")),
        ("mpnet", "relative_attention_num_buckets", json!(64)),
        ("deberta", "talking_head", json!(true)),
        ("deberta", "pos_att_type", json!(["p2p"])),
        ("deberta", "pooler_hidden_size", json!(1)),
        ("deberta-v2", "conv_groups", json!(2)),
        ("deberta-v2", "conv_kernel_size", json!(4)),
        ("deberta-v2", "norm_rel_ebd", json!("rms_norm")),
        ("t5", "feed_forward_proj", json!("gated-swiglu")),
        ("t5", "is_decoder", json!(true)),
        ("modernbert", "layer_types", json!(["full_attention"].repeat(9))),
        ("modernbert", "rope_parameters", json!({"full_attention": {"rope_type": "yarn"}})),
        ("nomic_bert", "rope_parameters", json!({"rope_type": "dynamic", "rope_theta": 1000.0})),
        ("jina_bert", "feed_forward_type", json!("original")),
        ("jina_bert", "position_embedding_type", json!("absolute")),
    ];
    for (family, field, value) in cases {
        let messages = refusals(family, field, &value);
        assert!(!messages.is_empty(), "{family} {field} = {value} is taken");
        for message in messages {
            let named = message.contains(&format!("`{field}`"));
            assert!(named, "{family} {field} = {value}: {message}");
        }
    }
}

/// A Nomic checkpoint with the config of its own code is the model that transformers' fields describe.
#[test]
fn both_ways_to_say_nomic_mean_one_model() {
    let family = MODELS.iter().find(|known| known.name == "nomic_bert").unwrap();
    let tiny = TinyModel { extra: Vec::new(), ..draw(family, "NomicBertModel", 5) };
    let mut theirs = tiny.checkpoint().unwrap();
    theirs.config["hidden_act"] = json!("silu");
    theirs.config.as_object_mut().unwrap().remove("head_dim");
    theirs.config["hidden_size"] = json!(24);
    theirs.config["num_attention_heads"] = json!(3);
    let theirs = TinyModel { config: theirs.config, ..tiny }.checkpoint().unwrap();
    let get = |field: &str| theirs.config[field].clone();
    let mut own = theirs.clone();
    own.config = json!({
        "activation_function": "swiglu",
        "architectures": ["NomicBertModel"],
        "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
        "causal": false,
        "layer_norm_epsilon": get("layer_norm_eps"),
        "max_trained_positions": 2048,
        "mlp_fc1_bias": false,
        "model_type": "nomic_bert",
        "n_embd": 24,
        "n_head": 3,
        "n_inner": get("intermediate_size"),
        "n_layer": get("num_hidden_layers"),
        "n_positions": get("max_position_embeddings"),
        "pad_vocab_size_multiple": 64,
        "prenorm": false,
        "qkv_proj_bias": false,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1,
        "rotary_emb_interleaved": false,
        "rotary_emb_scale_base": null,
        "rotary_scaling_factor": null,
        "type_vocab_size": get("type_vocab_size"),
        "use_rms_norm": false,
        "vocab_size": get("vocab_size"),
    });
    let graph = |tiny| model(tiny).unwrap().graph.to_string();
    assert_eq!(graph(&own), graph(&theirs));
    own.config["prenorm"] = json!(true);
    assert!(model(&own).expect_err("another layout").to_string().contains("`prenorm`"));
}
