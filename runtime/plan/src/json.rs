//! A plan's manifest and programs as text to read and to compare: stage golden `5.plan.json`.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use crate::manifest::Manifest;
use crate::program::Program;

/// Lines are broken where they would pass this many characters.
const LINE: usize = 120;

/// Manifest and programs as JSON, keys in the order of the types' fields, short lists and objects on one line.
///
/// The same values always give the same text, which ends in a line end.
pub fn render(manifest: &Manifest, programs: &[Program]) -> String {
    #[derive(Serialize)]
    struct Plan<'a> {
        manifest: &'a Manifest,
        programs: &'a [Program],
    }
    // Through text, because a value made directly from an f32 would print all digits of the f64 nearest to it.
    let plain = serde_json::to_string(&Plan { manifest, programs })
        .expect("these types have string keys only, and writing to memory can't fail");
    let value: Value = serde_json::from_str(&plain).expect("what serde_json wrote is JSON");
    let mut text = String::new();
    put(&mut text, &value, 0, 0);
    text.push('\n');
    text
}

/// Appends `value`; `before` characters of its line are taken.
fn put(text: &mut String, value: &Value, indent: usize, before: usize) {
    let line = one_line(value);
    if before + line.chars().count() < LINE {
        text.push_str(&line);
        return;
    }
    match value {
        Value::Array(items) => {
            put_lines(text, '[', ']', indent, items.iter().map(|item| (String::new(), item)));
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, item)| (format!("{}: ", quoted(key)), item));
            put_lines(text, '{', '}', indent, fields);
        }
        _ => text.push_str(&line),
    }
}

fn put_lines<'a>(
    text: &mut String,
    open: char,
    close: char,
    indent: usize,
    items: impl ExactSizeIterator<Item = (String, &'a Value)>,
) {
    text.push(open);
    let last = items.len() - 1;
    for (i, (key, item)) in items.enumerate() {
        let inner = indent + 2;
        write!(text, "\n{:inner$}{key}", "").expect("writing to a string can't fail");
        put(text, item, inner, inner + key.chars().count());
        if i != last {
            text.push(',');
        }
    }
    write!(text, "\n{:indent$}{close}", "").expect("writing to a string can't fail");
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, item)| format!("{}: {}", quoted(key), one_line(item)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn quoted(key: &str) -> String {
    Value::from(key).to_string()
}
