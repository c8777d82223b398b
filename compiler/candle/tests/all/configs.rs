//! Tiny configs of every encoder.

/// `(encoder, config.json, most tokens)`.
pub(crate) const TINY: &[(&str, &str, Option<u64>)] = &[
    ("bert", BERT, None),
    ("debertav2", DEBERTA, None),
    ("distilbert", DISTILBERT, None),
    ("jina_bert", JINA_BERT, None),
    ("modernbert", MODERNBERT, None),
    ("nomic_bert", NOMIC_BERT, None),
    ("siglip", SIGLIP, None),
    ("t5", T5, Some(40)),
    ("vit", VIT, None),
    ("xlm_roberta", XLM_ROBERTA, None),
];

const BERT: &str = r#"{"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 40,
    "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0}"#;

const DEBERTA: &str = r#"{"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 40, "type_vocab_size": 0, "initializer_range": 0.02, "layer_norm_eps": 1e-7,
    "relative_attention": true, "max_relative_positions": -1, "pad_token_id": 0, "position_biased_input": false,
    "pos_att_type": "p2c|c2p", "position_buckets": 8, "share_att_key": true, "norm_rel_ebd": "layer_norm"}"#;

const DISTILBERT: &str = r#"{"vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
    "activation": "gelu", "max_position_embeddings": 40, "initializer_range": 0.02, "pad_token_id": 0}"#;

const JINA_BERT: &str = r#"{"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "hidden_act": "gelu", "max_position_embeddings": 40, "type_vocab_size": 2,
    "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0, "position_embedding_type": "alibi"}"#;

const MODERNBERT: &str = r#"{"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 40, "layer_norm_eps": 1e-5, "pad_token_id": 0,
    "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_attention": 6,
    "local_rope_theta": 10000.0}"#;

const NOMIC_BERT: &str = r#"{"vocab_size": 60, "n_embd": 16, "n_head": 2, "n_layer": 2, "n_inner": 24,
    "n_positions": 40, "type_vocab_size": 2}"#;

const SIGLIP: &str = r#"{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_channels": 3, "image_size": 12, "patch_size": 4}"#;

const T5: &str = r#"{"vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16, "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6, "initializer_factor": 1.0, "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": true, "pad_token_id": 0, "eos_token_id": 1}"#;

const VIT: &str = r#"{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 12, "patch_size": 4, "num_channels": 3,
    "qkv_bias": true, "id2label": {"0": "a", "1": "b", "2": "c"}}"#;

const XLM_ROBERTA: &str = r#"{"hidden_size": 16, "layer_norm_eps": 1e-5, "attention_probs_dropout_prob": 0.1,
    "hidden_dropout_prob": 0.1, "num_attention_heads": 2, "position_embedding_type": "absolute",
    "intermediate_size": 32, "hidden_act": "gelu", "num_hidden_layers": 2, "vocab_size": 60,
    "max_position_embeddings": 42, "type_vocab_size": 1, "pad_token_id": 1}"#;
