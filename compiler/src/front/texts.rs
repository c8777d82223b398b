//! What a folder says about texts: the tokenizer, the longest text, and what it would do to a text beforehand.

use std::path::Path;

use bytec_models::{Config, FieldError, TextInputs};
use bytec_plan::manifest::TextSpec;
use serde_json::Value;

use super::error::FrontError;
use super::json;

/// The names under which sentence-transformers keeps the settings of its Transformer module.
const SENTENCE_CONFIGS: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// A tokenizer's file and how texts become the model's inputs.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) tokenizer: Option<Vec<u8>>,
    pub(super) spec: Option<TextSpec>,
    pub(super) notes: Vec<String>,
}

/// Reads what `folder` says, for a model with these inputs.
pub(super) fn read(folder: &Path, inputs: &TextInputs) -> Result<Texts, FrontError> {
    let file = folder.join("tokenizer.json");
    if !file.exists() {
        let mut notes = Vec::new();
        if folder.join("vocab.txt").exists() {
            notes.push(
                "vocab.txt without tokenizer.json isn't read: the plan takes token ids, not texts"
                    .to_owned(),
            );
        }
        return Ok(Texts { notes, ..Texts::default() });
    }
    let mut notes = Vec::new();
    let (mut max_tokens, mut max_tokens_from) = (inputs.max_tokens, inputs.max_tokens_from.clone());
    if let Some((tokens, from)) = longest_text(folder, &mut notes)?
        && tokens < max_tokens
    {
        (max_tokens, max_tokens_from) = (tokens, from);
    }
    note_prompt(folder, &mut notes)?;
    let spec = TextSpec {
        max_tokens,
        max_tokens_from,
        ids: inputs.ids.clone(),
        type_ids: inputs.type_ids.clone(),
        mask: mask_token(folder)?,
    };
    Ok(Texts { tokenizer: Some(json::bytes(&file)?), spec: Some(spec), notes })
}

/// The folder's own limit and where it stands: `max_seq_length`, else the tokenizer's `model_max_length`.
fn longest_text(
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<Option<(u64, String)>, FrontError> {
    for name in SENTENCE_CONFIGS {
        let Some(fields) = optional(folder, name)? else { continue };
        if fields.flag("do_lower_case", false)? {
            notes.push(format!(
                "{name} has do_lower_case, which is left to the tokenizer: texts aren't lower-cased before it"
            ));
        }
        if let Some(limit) = limit(&fields, "max_seq_length")? {
            return Ok(Some((limit, format!("{name}: max_seq_length"))));
        }
    }
    let name = "tokenizer_config.json";
    let Some(fields) = optional(folder, name)? else { return Ok(None) };
    let limit = limit(&fields, "model_max_length")?;
    Ok(limit.map(|limit| (limit, format!("{name}: model_max_length"))))
}

/// The token that stands for a word to be guessed: a string, or an object whose `content` is that.
fn mask_token(folder: &Path) -> Result<Option<String>, FrontError> {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let Some(fields) = optional(folder, name)? else { continue };
        let token = fields.get("mask_token");
        let content = token.and_then(|token| token.get("content")).or(token);
        if let Some(content) = content.and_then(Value::as_str) {
            return Ok(Some(content.to_owned()));
        }
    }
    Ok(None)
}

/// A number of tokens. Tokenizers without a limit write 1e30, which is past every model's.
fn limit(fields: &Config, name: &str) -> Result<Option<u64>, FieldError> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Number(n)) if n.as_u64().is_some_and(|n| n > 0) => Ok(n.as_u64()),
        Some(Value::Number(n)) if n.as_f64().is_some_and(|n| n >= 1e15) => Ok(None),
        Some(_) => Err(fields.error(name, "a number of tokens above 0", "")),
    }
}

/// sentence-transformers puts a default prompt before every text; a plan doesn't.
fn note_prompt(folder: &Path, notes: &mut Vec<String>) -> Result<(), FrontError> {
    let name = "config_sentence_transformers.json";
    let Some(fields) = optional(folder, name)? else { return Ok(()) };
    let Some(key) = fields.get("default_prompt_name").and_then(Value::as_str) else {
        return Ok(());
    };
    let prompt = fields.get("prompts").and_then(|prompts| prompts.get(key)).and_then(Value::as_str);
    if let Some(prompt) = prompt.filter(|prompt| !prompt.is_empty()) {
        notes.push(format!(
            "{name} has the default prompt {prompt:?}, which isn't put before texts: add it to them yourself"
        ));
    }
    Ok(())
}

fn optional(folder: &Path, name: &str) -> Result<Option<Config>, FrontError> {
    let file = folder.join(name);
    if !file.exists() {
        return Ok(None);
    }
    let fields = json::object(&file)?;
    Ok(Some(Config::new(file.display().to_string(), fields).with_help("correct the file")))
}
