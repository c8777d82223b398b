//! Class names.

use serde_json::Value;

use crate::error::ModelError;
use crate::{Checkpoint, Config};

/// More classes than any classifier has.
const MOST: u64 = 1 << 20;

/// The class names of a classifier with `tensor` as its weight, by index.
///
/// `id2label` gives them. Configs leave it out where it holds the default names, so without it the classes are named
/// `LABEL_0`, `LABEL_1`, .. as transformers does, one for each row of the classifier.
///
/// # Errors
/// Keys that aren't 0, 1, 2, .., names that aren't strings, or a count that differs from the rows.
pub fn labels(
    config: &Config,
    checkpoint: &Checkpoint,
    tensor: &str,
) -> Result<Vec<String>, ModelError> {
    // A missing classifier is reported by name when its weight is taken; 2 classes are transformers' default.
    let rows = checkpoint.rows(tensor);
    let (field, names) = match config.get("id2label") {
        Some(value) => ("id2label", id2label(config, value)?),
        None => {
            let field = "num_labels";
            let count = match config.get(field) {
                Some(_) => config.size(field, 1..=MOST, 2)?,
                None => rows.unwrap_or(2).clamp(1, MOST),
            };
            (field, (0..count).map(|i| format!("LABEL_{i}")).collect())
        }
    };
    match rows {
        Some(rows) if rows != names.len() as u64 => Err(ModelError::LabelCount {
            file: config.file().to_owned(),
            field: field.to_owned(),
            found: names.len() as u64,
            tensor: tensor.to_owned(),
            rows,
        }),
        _ => Ok(names),
    }
}

fn id2label(config: &Config, value: &Value) -> Result<Vec<String>, ModelError> {
    let wrong = || {
        let expected = "an object with the keys \"0\", \"1\", .. and a string for each";
        config.refusal("id2label", expected, format!("correct it in {}", config.file()))
    };
    let entries = value.as_object().filter(|entries| !entries.is_empty()).ok_or_else(wrong)?;
    (0..entries.len())
        .map(|i| {
            let name = entries.get(&i.to_string()).and_then(Value::as_str);
            Ok(name.ok_or_else(wrong)?.to_owned())
        })
        .collect()
}
