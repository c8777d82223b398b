//! The templates that put special tokens around texts.
//!
//! The tokenizer library reads a template that names what is not there, and panics once a text is encoded. Such files are
//! found here before that.

use serde_json::Value;

/// Checks every template of a file's post-processor, or says what is wrong with one.
///
/// A post-processor is a template, a list of post-processors, or something that names no pieces.
pub(crate) fn check(processor: &Value) -> Result<(), String> {
    for part in processor["processors"].as_array().into_iter().flatten() {
        check(part)?;
    }
    for (form, texts) in [("single", &["A"][..]), ("pair", &["A", "B"])] {
        for piece in processor[form].as_array().into_iter().flatten() {
            if let Some(id) = piece["Sequence"]["id"].as_str()
                && !texts.contains(&id)
            {
                return Err(format!("its template `{form}` has no text `{id}` to place"));
            }
            if let Some(id) = piece["SpecialToken"]["id"].as_str()
                && processor["special_tokens"].get(id).is_none()
            {
                return Err(format!(
                    "its template `{form}` names `{id}`, which is no special token"
                ));
            }
        }
    }
    Ok(())
}
