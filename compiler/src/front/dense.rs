//! A dense module of a sentence-transformers folder: a linear layer with a config and tensors of its own.

use std::path::Path;

use bytec_ir::attrs::UnaryFn;
use bytec_models::{Config, Dense, FieldError};
use serde_json::Value;

use super::error::FrontError;
use super::json;

/// The fields of its config.
const FIELDS: &[&str] = &[
    "in_features",
    "out_features",
    "bias",
    "activation_function",
    "module_input_name",
    "module_output_name",
];

/// The activations that are built, by their classes in `torch.nn`, each as it is without arguments.
const ACTIVATIONS: &[(&str, Option<UnaryFn>)] = &[
    ("Identity", None),
    ("Tanh", Some(UnaryFn::Tanh)),
    ("ReLU", Some(UnaryFn::Relu)),
    ("GELU", Some(UnaryFn::GeluErf)),
    ("SiLU", Some(UnaryFn::Silu)),
    ("Sigmoid", Some(UnaryFn::Sigmoid)),
    ("ReLU6", Some(UnaryFn::Relu6)),
    ("LeakyReLU", Some(UnaryFn::LeakyRelu)),
    ("Mish", Some(UnaryFn::Mish)),
];

const MOST_COLUMNS: u64 = 1 << 16;

/// The layer in `folder`, whose tensors are to carry `prefix`.
pub(super) fn read(folder: &Path, prefix: &str) -> Result<Dense, FrontError> {
    let path = folder.join("config.json");
    let file = path.display().to_string();
    let fields = Config::new(file.clone(), json::object(&path)?).with_help("correct the file");
    if let Some(name) = fields.names().find(|name| !FIELDS.contains(name)) {
        let expected = format!("left out: a dense module has the fields {}", FIELDS.join(", "));
        return Err(fields.error(name, expected, "").into());
    }
    for name in ["module_input_name", "module_output_name"] {
        let other = |value: &Value| !value.is_null() && value != "sentence_embedding";
        if fields.get(name).is_some_and(other) {
            return Err(fields.error(name, "\"sentence_embedding\"", "").into());
        }
    }
    Ok(Dense {
        config: file,
        prefix: prefix.to_owned(),
        inputs: fields.size("in_features", 1..=MOST_COLUMNS, 768)?,
        outputs: fields.size("out_features", 1..=MOST_COLUMNS, 768)?,
        bias: fields.flag("bias", true)?,
        function: activation(&fields)?,
    })
}

fn activation(fields: &Config) -> Result<Option<UnaryFn>, FieldError> {
    const FIELD: &str = "activation_function";
    let names: Vec<_> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
    let expected = format!("a class of torch.nn, one of {}", names.join(", "));
    let class = fields.text(FIELD, &expected, "")?;
    let name = class.strip_prefix("torch.nn.").and_then(|path| path.rsplit('.').next());
    let known = ACTIVATIONS.iter().find(|(known, _)| Some(*known) == name);
    known.map(|(_, function)| *function).ok_or_else(|| fields.error(FIELD, expected, ""))
}
