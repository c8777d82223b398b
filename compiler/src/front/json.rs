//! JSON files, read whole.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::FrontError;

/// A file's bytes.
pub(super) fn bytes(file: &Path) -> Result<Vec<u8>, FrontError> {
    std::fs::read(file).map_err(|source| FrontError::Read { file: file.to_owned(), source })
}

/// The object that a file holds.
pub(super) fn object(file: &Path) -> Result<Map<String, Value>, FrontError> {
    parse_object(&file.display().to_string(), &bytes(file)?)
}

/// The object that `text`, found at `file`, holds.
pub(super) fn parse_object(file: &str, text: &[u8]) -> Result<Map<String, Value>, FrontError> {
    match parse(file, "a JSON object", text)? {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong(file, "a JSON object", kind(&other))),
    }
}

/// The list that a file holds.
pub(super) fn list(file: &Path) -> Result<Vec<Value>, FrontError> {
    let name = file.display().to_string();
    match parse(&name, "a JSON list", &bytes(file)?)? {
        Value::Array(items) => Ok(items),
        other => Err(wrong(&name, "a JSON list", kind(&other))),
    }
}

fn parse(file: &str, expected: &'static str, text: &[u8]) -> Result<Value, FrontError> {
    serde_json::from_slice(text).map_err(|e| wrong(file, expected, e.to_string()))
}

fn wrong(file: &str, expected: &'static str, found: impl Into<String>) -> FrontError {
    FrontError::Json { file: file.to_owned(), expected, found: found.into() }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
