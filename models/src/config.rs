//! A typed reader over a JSON object that remembers which file it came from.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::FieldError;

/// The fields of one JSON file, with values that an option may have put in their place.
#[derive(Clone, Debug)]
pub struct Config {
    file: String,
    fields: Map<String, Value>,
    set: BTreeSet<String>,
    help: Option<String>,
}

impl Config {
    /// The fields of `file`, which is named in every error.
    pub fn new(file: impl Into<String>, fields: Map<String, Value>) -> Self {
        Self { file: file.into(), fields, set: BTreeSet::new(), help: None }
    }

    /// Says what to do about a wrong field, in place of naming `--set`.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts a value in a field: `text` as JSON if it is JSON, else as a string.
    pub fn set(&mut self, field: &str, text: &str) {
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        self.fields.insert(field.to_owned(), value);
        self.set.insert(field.to_owned());
    }

    /// The file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// True if an option supplied the field.
    pub fn is_set(&self, field: &str) -> bool {
        self.set.contains(field)
    }

    /// A field's value. `null` counts as missing.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// All field names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// An error about a field: what it must be, and a value to pass.
    pub fn error(&self, field: &str, expected: impl Into<String>, example: &str) -> FieldError {
        let help = match &self.help {
            Some(help) => help.clone(),
            None => format!("pass the model's own, such as --set {field}={example}"),
        };
        self.refusal(field, expected, help)
    }

    /// An error about a field that no value of an option would mend.
    pub fn refusal(
        &self,
        field: &str,
        expected: impl Into<String>,
        help: impl Into<String>,
    ) -> FieldError {
        FieldError {
            file: if self.is_set(field) { "--set".to_owned() } else { self.file.clone() },
            field: field.to_owned(),
            expected: expected.into(),
            found: found(self.get(field)),
            help: help.into(),
        }
    }

    /// An integer within `range`.
    ///
    /// # Errors
    /// The field is missing, not an integer, or out of range.
    pub fn size(
        &self,
        field: &str,
        range: RangeInclusive<u64>,
        example: u64,
    ) -> Result<u64, FieldError> {
        self.get(field).and_then(Value::as_u64).filter(|n| range.contains(n)).ok_or_else(|| {
            let expected = format!("an integer from {} to {}", range.start(), range.end());
            self.error(field, expected, &example.to_string())
        })
    }

    /// An integer that divides `whole`, the value of the field `of`.
    ///
    /// # Errors
    /// The field is missing, not an integer, or no divisor.
    pub fn divisor(
        &self,
        field: &str,
        of: &str,
        whole: u64,
        example: u64,
    ) -> Result<u64, FieldError> {
        let part = self.size(field, 1..=1 << 12, example)?;
        if whole.is_multiple_of(part) {
            return Ok(part);
        }
        Err(self.error(field, format!("a divisor of {of} ({whole})"), &example.to_string()))
    }

    /// A number above 0 and at most `max`.
    ///
    /// # Errors
    /// The field is missing, not a number, or out of range.
    pub fn positive(&self, field: &str, max: f64, example: &str) -> Result<f64, FieldError> {
        self.get(field).and_then(Value::as_f64).filter(|&x| x > 0.0 && x <= max).ok_or_else(|| {
            self.error(field, format!("a number above 0 and at most {max}"), example)
        })
    }

    /// A string.
    ///
    /// # Errors
    /// The field is missing or not a string.
    pub fn text(&self, field: &str, expected: &str, example: &str) -> Result<&str, FieldError> {
        self.get(field).and_then(Value::as_str).ok_or_else(|| self.error(field, expected, example))
    }

    /// True or false; `default` when the field is missing.
    ///
    /// # Errors
    /// The field holds something else.
    pub fn flag(&self, field: &str, default: bool) -> Result<bool, FieldError> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.error(field, "true or false", &default.to_string())),
        }
    }
}

/// A value as it is shown in an error, cut to a line's length.
fn found(value: Option<&Value>) -> String {
    const LONGEST: usize = 60;
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}
