//! Texts through a WordPiece tokenizer that is small enough to follow by hand.

use bytec_plan::manifest::TextSpec;
use bytec_text::{Encoded, TextEncoder, TextError, Truncation};

const CLS: i64 = 2;
const SEP: i64 = 3;

/// As sentence-transformers writes it: its truncation and padding lengths must not count.
const TOKENIZER: &str = r###"{
  "version": "1.0",
  "truncation": { "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0 },
  "padding": {
    "strategy": { "Fixed": 4 }, "direction": "Right", "pad_to_multiple_of": null,
    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
  },
  "added_tokens": [
    { "id": 2, "special": true, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false },
    { "id": 3, "special": true, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false }
  ],
  "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true },
  "pre_tokenizer": { "type": "BertPreTokenizer" },
  "post_processor": {
    "type": "TemplateProcessing",
    "single": [
      { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
      { "Sequence": { "id": "A", "type_id": 0 } },
      { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }
    ],
    "pair": [
      { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
      { "Sequence": { "id": "A", "type_id": 0 } },
      { "SpecialToken": { "id": "[SEP]", "type_id": 0 } },
      { "Sequence": { "id": "B", "type_id": 1 } },
      { "SpecialToken": { "id": "[SEP]", "type_id": 1 } }
    ],
    "special_tokens": {
      "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
      "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] }
    }
  },
  "decoder": null,
  "model": {
    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    "vocab": { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "cat": 5, "##s": 6, "cafe": 7, "中": 8, ".": 9 }
  }
}"###;

fn spec(max_tokens: u64) -> TextSpec {
    TextSpec {
        max_tokens,
        max_tokens_from: "sentence_bert_config.json".to_owned(),
        ids: "input_ids".to_owned(),
        type_ids: None,
        mask: None,
    }
}

fn encoder(max_tokens: u64) -> TextEncoder {
    TextEncoder::new(TOKENIZER.as_bytes(), &spec(max_tokens)).expect("the tokenizer above is valid")
}

/// The tokenizer with `from` replaced once.
fn edited(from: &str, to: &str) -> String {
    assert_eq!(TOKENIZER.matches(from).count(), 1, "{from}");
    TOKENIZER.replacen(from, to, 1)
}

#[test]
fn the_files_own_truncation_and_padding_do_not_count() {
    let long = encoder(512).encode("a cat. a cats.", Truncation::Refuse).unwrap();
    let ids = vec![CLS, 4, 5, 9, 4, 5, 6, 9, SEP];
    assert_eq!(long, Encoded { type_ids: vec![0; ids.len()], ids, origins: Vec::new(), cut: 0 });
    let short = encoder(512).encode("a", Truncation::Refuse).unwrap();
    assert_eq!(
        short,
        Encoded { ids: vec![CLS, 4, SEP], type_ids: vec![0; 3], origins: Vec::new(), cut: 0 }
    );
}

#[test]
fn empty_and_blank_texts_are_their_special_tokens() {
    for text in ["", " ", "\n\t", "\u{200b}"] {
        let encoded = encoder(512).encode(text, Truncation::Refuse).unwrap();
        assert_eq!(encoded.ids, [CLS, SEP], "{text:?}");
    }
}

#[test]
fn unicode_is_normalised_and_split() {
    let encoded = encoder(512).encode("CAFÉ中猫 \u{1f63a}", Truncation::Refuse).unwrap();
    assert_eq!(encoded.ids, [CLS, 7, 8, 1, 1, SEP]);
}

#[test]
fn the_limit_itself_is_allowed_and_one_more_is_not() {
    let encoder = encoder(5);
    let full = encoder.encode("a cat.", Truncation::Refuse).unwrap();
    assert_eq!((full.ids.len(), full.cut), (5, 0));
    assert_eq!(encoder.encode("a cat.", Truncation::Cut).unwrap(), full);

    let cut = encoder.encode("a cat. a", Truncation::Cut).unwrap();
    assert_eq!(
        cut,
        Encoded { ids: vec![CLS, 4, 5, 9, SEP], type_ids: vec![0; 5], origins: Vec::new(), cut: 1 }
    );
    let refused = encoder.encode("a cat. a", Truncation::Refuse).unwrap_err();
    let from = "sentence_bert_config.json".to_owned();
    assert_eq!(refused, TextError::TooLong { found: 6, limit: 5, limit_from: from });
    assert_eq!(
        refused.to_string(),
        "expected a text of at most 5 tokens, special tokens included (from sentence_bert_config.json), found 6: \
         shorten it, or let it be cut"
    );
}

#[test]
fn a_long_text_is_cut_to_the_same_tokens_as_a_short_one() {
    let text = "a cat ".repeat(10_000);
    let cut = encoder(6).encode(&text, Truncation::Cut).unwrap();
    assert_eq!(cut.ids, [CLS, 4, 5, 4, 5, SEP]);
    assert_eq!(cut.cut, 20_000 - 4);
    assert_eq!(encoder(2).encode(&text, Truncation::Cut).unwrap().ids, [CLS, SEP]);
}

#[test]
fn the_files_side_of_truncation_is_kept() {
    let json = edited(
        "\"direction\": \"Right\", \"max_length\"",
        "\"direction\": \"Left\", \"max_length\"",
    );
    let encoder = TextEncoder::new(json.as_bytes(), &spec(4)).unwrap();
    let cut = encoder.encode("a cat. a", Truncation::Cut).unwrap();
    assert_eq!((cut.ids, cut.cut), (vec![CLS, 9, 4, SEP], 2));
}

#[test]
fn pairs_have_their_own_types_and_lose_the_longer_text_first() {
    let whole = encoder(512).encode_pair("a cat", "cats.", Truncation::Refuse).unwrap();
    assert_eq!(whole.ids, [CLS, 4, 5, SEP, 5, 6, 9, SEP]);
    assert_eq!(whole.type_ids, [0, 0, 0, 0, 1, 1, 1, 1]);

    let cut = encoder(7).encode_pair("a", "cats. a a a", Truncation::Cut).unwrap();
    assert_eq!(cut.ids, [CLS, 4, SEP, 5, 6, 9, SEP]);
    assert_eq!((cut.type_ids, cut.cut), (vec![0, 0, 0, 1, 1, 1, 1], 3));
    let refused = encoder(7).encode_pair("a", "cats. a a a", Truncation::Refuse).unwrap_err();
    assert!(matches!(refused, TextError::TooLong { found: 10, limit: 7, .. }), "{refused}");
    let tight = encoder(2).encode_pair("a", "a", Truncation::Cut).unwrap_err();
    assert!(matches!(tight, TextError::LimitTooSmall { special: 3, limit: 2, .. }), "{tight}");
}

#[test]
fn a_limit_below_the_special_tokens_is_refused() {
    let error = TextEncoder::new(TOKENIZER.as_bytes(), &spec(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected room for 2 special tokens, found a limit of 1 tokens (from sentence_bert_config.json)"
    );
    assert_eq!(encoder(u64::MAX).encode("a", Truncation::Refuse).unwrap().ids.len(), 3);
}

#[test]
fn files_that_are_no_tokenizers_are_refused_with_the_reason() {
    let sep = r#""[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] }"#;
    let last_of_single = "{ \"SpecialToken\": { \"id\": \"[SEP]\", \"type_id\": 0 } }\n    ],";
    let text_b = "{ \"Sequence\": { \"id\": \"B\", \"type_id\": 0 } }\n    ],";
    let cases = [
        ("".to_owned(), "EOF while parsing"),
        ("{}".to_owned(), "Model missing"),
        (TOKENIZER[..TOKENIZER.len() / 2].to_owned(), "EOF while parsing"),
        (edited("\"WordPiece\"", "\"NoSuchModel\""), "ModelUntagged"),
        (edited("\"single\": [", "\"single\": [7,"), "PostProcessor"),
        (
            edited(sep, &sep.replace("[SEP]", "[END]")),
            "its template `single` names `[SEP]`, which is no special token",
        ),
        (edited(last_of_single, text_b), "its template `single` has no text `B` to place"),
    ];
    for (json, reason) in cases {
        let error = TextEncoder::new(json.as_bytes(), &spec(8)).unwrap_err();
        assert!(matches!(error, TextError::Tokenizer { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn texts_without_tokens_and_words_without_an_id_are_refused() {
    let start = TOKENIZER.find("\"post_processor\"").unwrap();
    let end = TOKENIZER.find("\"decoder\"").unwrap();
    let bare = TOKENIZER.replace(&TOKENIZER[start..end], "\"post_processor\": null,");
    let encoder = TextEncoder::new(bare.as_bytes(), &spec(8)).unwrap();
    assert_eq!(encoder.encode("a", Truncation::Cut).unwrap().ids, [4]);
    assert_eq!(encoder.encode("  ", Truncation::Cut).unwrap_err(), TextError::NoTokens);

    let json = edited("\"[UNK]\": 1, ", "");
    let encoder = TextEncoder::new(json.as_bytes(), &spec(8)).unwrap();
    let error = encoder.encode("dog", Truncation::Cut).unwrap_err();
    assert!(matches!(error, TextError::Encode { .. }), "{error}");
}

#[test]
fn ids_past_31_bits_are_refused() {
    let json = edited("\"cafe\": 7", "\"cafe\": 2147483648");
    let encoder = TextEncoder::new(json.as_bytes(), &spec(8)).unwrap();
    let error = encoder.encode("a cafe", Truncation::Cut).unwrap_err();
    assert_eq!(error, TextError::IdTooLarge { found: 2_147_483_648 });
}

#[test]
fn a_template_that_repeats_the_text_stays_inside_the_limit() {
    let once = "{ \"Sequence\": { \"id\": \"A\", \"type_id\": 0 } },\n      { \"SpecialToken\": { \"id\": \"[SEP]\", \"type_id\": 0 } }\n    ],\n    \"pair\"";
    let twice = format!("{{ \"Sequence\": {{ \"id\": \"A\", \"type_id\": 0 }} }},\n{once}");
    let json = edited(once, &twice);
    let encode = |limit, text| {
        TextEncoder::new(json.as_bytes(), &spec(limit)).unwrap().encode(text, Truncation::Cut)
    };
    let whole = encode(64, "a cat").unwrap().ids.len();
    assert!(whole > 4, "the text is there more than once");
    let error = encode(whole as u64 - 1, "a cat").unwrap_err();
    assert!(matches!(error, TextError::TooLong { found, .. } if found == whole), "{error}");
}

#[test]
fn threads_share_an_encoder() {
    let encoder = encoder(8);
    let alone = encoder.encode("a cat", Truncation::Cut).unwrap();
    std::thread::scope(|scope| {
        let others = [(); 4].map(|()| scope.spawn(|| encoder.encode("a cat", Truncation::Cut)));
        for other in others {
            assert_eq!(other.join().unwrap().unwrap(), alone);
        }
    });
}
