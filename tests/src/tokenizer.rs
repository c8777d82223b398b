//! A WordPiece tokenizer whose ids lie within the tiny models' vocabulary, small enough to follow by hand.

use serde_json::{Value, json};

/// `[CLS]` in a text's ids.
pub const CLS: i64 = 2;
/// `[SEP]` in a text's ids.
pub const SEP: i64 = 3;

/// The words, with the rows of the word table that they stand for; `[UNK]` is 1.
pub const WORDS: &[(&str, u32)] =
    &[("the", 4), ("cat", 5), ("##s", 6), ("sat", 7), ("on", 8), ("mat", 9), (".", 10), ("a", 11)];

/// The content of a `tokenizer.json`.
pub fn json() -> Vec<u8> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let vocab: serde_json::Map<String, Value> = special
        .iter()
        .copied()
        .zip(0..)
        .chain(WORDS.iter().copied())
        .map(|(word, id)| (word.to_owned(), json!(id)))
        .collect();
    let added: Vec<_> = special
        .iter()
        .zip(0..)
        .map(|(content, id)| {
            json!({
                "id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let piece = |id: &str, type_id| json!({"SpecialToken": {"id": id, "type_id": type_id}});
    let text = |id: &str, type_id| json!({"Sequence": {"id": id, "type_id": type_id}});
    let placed = |id: &str, row: i64| json!({"id": id, "ids": [row], "tokens": [id]});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0)],
            "pair": [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), text("B", 1), piece("[SEP]", 1)],
            "special_tokens": {"[CLS]": placed("[CLS]", CLS), "[SEP]": placed("[SEP]", SEP)},
        },
        "decoder": null,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    });
    tokenizer.to_string().into_bytes()
}
