//! A `tokenizer.json` to a tokenizer.
//!
//! The library reads any file's model through copies of its whole vocabulary, since it finds out on the way which model it
//! is. A model that says so is read as what it says, in a fraction of the time.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TokenizerImpl,
};

use crate::template;

/// What is read of a file beforehand; its vocabulary is passed over.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    model: Kind,
}

#[derive(Default, Deserialize)]
struct Kind {
    #[serde(default, rename = "type")]
    name: Value,
}

/// The tokenizer of a file whose templates hold, or what is wrong with it.
pub(crate) fn read(json: &[u8]) -> Result<Tokenizer, String> {
    let outline: Result<Outline, _> = serde_json::from_slice(json);
    let kind = outline.as_ref().ok().and_then(|outline| outline.model.name.as_str());
    // What a model's own way can't read, as fields that it doesn't know, the library's may.
    let tokenizer = match kind.and_then(|kind| read_as(kind, json)) {
        Some(tokenizer) => tokenizer,
        None => Tokenizer::from_bytes(json).map_err(|error| error.to_string())?,
    };
    let outline = outline.map_err(|error| error.to_string())?;
    template::check(&outline.post_processor)?;
    Ok(tokenizer)
}

/// The tokenizer, if it can be read as one with this kind of model.
fn read_as(kind: &str, json: &[u8]) -> Option<Tokenizer> {
    match kind {
        "WordPiece" => with_model::<WordPiece>(json),
        "BPE" => with_model::<BPE>(json),
        "Unigram" => with_model::<Unigram>(json),
        _ => None,
    }
}

type Parts<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

fn with_model<M: DeserializeOwned + Model + Into<ModelWrapper>>(json: &[u8]) -> Option<Tokenizer> {
    Parts::<M>::from_bytes(json).ok().map(Tokenizer::from)
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use super::read_as;

    /// A file with this model and, among its tokens, one that the vocabulary lacks.
    fn file(model: &str) -> String {
        let token = |id: u32, content: &str| {
            format!(
                r#"{{"id": {id}, "content": "{content}", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}}"#
            )
        };
        format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{}, {}],
            "normalizer": {{"type": "Lowercase"}}, "pre_tokenizer": {{"type": "Whitespace"}},
            "post_processor": null, "decoder": null, "model": {model}}}"#,
            token(0, "<unk>"),
            token(9, "<new>")
        )
    }

    const MODELS: [(&str, &str); 3] = [
        (
            "WordPiece",
            r###"{"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"<unk>": 0, "a": 1, "##b": 2, "c\u0061": 3}}"###,
        ),
        (
            "BPE",
            r#"{"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]}"#,
        ),
        (
            "Unigram",
            r#"{"type": "Unigram", "unk_id": 0, "byte_fallback": false,
            "vocab": [["<unk>", 0], ["a", -0.1], ["ab", -1.25]]}"#,
        ),
    ];

    #[test]
    fn models_read_as_what_they_are_are_the_librarys() {
        for (kind, model) in MODELS {
            let file = file(model);
            let expected = Tokenizer::from_bytes(&file).expect("the library reads the file");
            let found = read_as(kind, file.as_bytes()).expect("the model's own way reads it");
            assert_eq!(found.to_string(false).unwrap(), expected.to_string(false).unwrap());
            for text in ["ab a", "cab <new> b", "<unk>AB"] {
                let ids = |tokenizer: &Tokenizer| {
                    tokenizer.encode(text, true).expect("it encodes").get_ids().to_vec()
                };
                assert_eq!(ids(&found), ids(&expected), "{kind}: {text}");
            }
        }
    }

    /// Fields that the model's own way stumbles over are left to the library.
    #[test]
    fn other_files_are_left_to_the_library() {
        let (kind, model) = MODELS[0];
        let file = file(&model.replacen('{', r#"{"unheard_of": 1,"#, 1));
        assert!(read_as(kind, file.as_bytes()).is_none());
        assert_eq!(
            super::read(file.as_bytes()).is_ok(),
            Tokenizer::from_bytes(&file).is_ok(),
            "the library's answer is the one that counts"
        );
        assert!(read_as("WordLevel", file.as_bytes()).is_none());
    }
}
