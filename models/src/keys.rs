//! Every field of a config is read, known to have no effect on the forward pass, or refused by name.
//!
//! A field that nobody knows may change what the same tensors mean, so it isn't passed over: whoever knows better says so
//! with `--set FIELD=null`.

use serde_json::Value;

use crate::Config;
use crate::error::FieldError;

/// Read for every family.
const READ: &[&str] = &["architectures", "id2label", "model_type", "num_labels", "problem_type"];

/// Without effect on the forward pass: training, generation, tokens' roles, bookkeeping, and the sizes of parts that no
/// code has.
const NO_EFFECT: &[&str] = &[
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "_num_labels",
    "activation_dropout",
    "adapters",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_dropout",
    "attn_pdrop",
    "attn_implementation",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "classifier_dropout_prob",
    "classifier_activation_dropout",
    "cls_dropout",
    "cls_token_id",
    "custom_pipelines",
    "decoder_start_token_id",
    "directionality",
    "diversity_penalty",
    "do_sample",
    "down_scale_factor",
    "dropout",
    "dropout_rate",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embedding_dropout",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "fused_bias_fc",
    "fused_dropout_add_ln",
    "gap_size",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "ignore_index",
    "initializer_factor",
    "initializer_range",
    "label2id",
    "language",
    "length_penalty",
    "license",
    "mask_token_id",
    "max_length",
    "min_length",
    "mlp_dropout",
    "n_special",
    "net_structure_type",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_memory_blocks",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "pad_token_id",
    "pooler_dropout",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "prefix",
    "qa_dropout",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sentence_transformers",
    "sep_token_id",
    "seq_classif_dropout",
    "summary_first_dropout",
    "summary_last_dropout",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "use_bfloat16",
    "use_cache",
    "use_flash_attn",
    "xla_device",
];

/// The fields that a family knows.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Those that it reads.
    pub read: &'a [&'a [&'a str]],
    /// Those without effect on its forward pass.
    pub idle: &'a [&'a str],
    /// What `auto_map` may name.
    pub code: &'a [&'a str],
}

impl Known<'_> {
    /// The names of fields without effect, in the order of the file, if each other field is read or harmless.
    ///
    /// # Errors
    /// The first field that asks for what isn't built, or that the family doesn't know.
    pub fn check(&self, config: &Config) -> Result<Vec<String>, FieldError> {
        let mut without_effect = Vec::new();
        for name in config.names().filter(|name| config.get(name).is_some()) {
            if READ.contains(&name) || self.read.iter().any(|fields| fields.contains(&name)) {
                continue;
            }
            if !self.idle.contains(&name) && !NO_EFFECT.contains(&name) {
                self.harmless(config, name)?;
            }
            without_effect.push(name.to_owned());
        }
        Ok(without_effect)
    }

    /// Refuses a field that isn't known to be harmless.
    fn harmless(&self, config: &Config, name: &str) -> Result<(), FieldError> {
        let Some((_, harmless, expected, help)) = HARMLESS.iter().find(|row| row.0 == name) else {
            let help = format!(
                "the family doesn't know it; if it doesn't change the forward pass, pass --set {name}=null"
            );
            return Err(config.refusal(name, "absent", help));
        };
        let value = config.get(name);
        if value.is_some_and(harmless)
            || name == "auto_map" && value.is_some_and(|map| self.is(map))
        {
            return Ok(());
        }
        Err(config.refusal(name, *expected, *help))
    }

    /// True if all code that `auto_map` names is what this family is.
    fn is(&self, map: &Value) -> bool {
        let known = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            self.code.iter().any(|code| name.starts_with(code))
        };
        map.as_object().is_some_and(|map| map.values().all(known))
    }
}

/// What a value has to be so that the field has no effect, and what it would mean otherwise.
type Harmless = (&'static str, fn(&Value) -> bool, &'static str, &'static str);

/// Settings under which the same tensors mean another forward pass.
const HARMLESS: &[Harmless] = &[
    (
        "position_embedding_type",
        |value| value == "absolute",
        "\"absolute\"",
        "other positions aren't built for this family",
    ),
    ("is_decoder", is_false, "false", "decoders aren't built for this family"),
    ("add_cross_attention", is_false, "false", "decoders aren't built for this family"),
    ("cross_attention_hidden_size", |_| false, "absent", "decoders aren't built for this family"),
    (
        "auto_map",
        |_| false,
        "absent",
        "the model brings its own code, which may differ from this family's; if it doesn't, pass --set auto_map=null",
    ),
    (
        "quantization_config",
        |_| false,
        "absent",
        "quantised weights aren't read; save the model in F32, F16 or BF16",
    ),
    (
        "pruned_heads",
        |value| value.as_object().is_some_and(serde_json::Map::is_empty),
        "empty",
        "save the model with its remaining heads as a model of its own",
    ),
];

fn is_false(value: &Value) -> bool {
    value == &Value::Bool(false)
}
