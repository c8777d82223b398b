//! Texts to token ids, and outputs to words, as the plan says.
//!
//! A plan carries the source folder's `tokenizer.json` and a [`TextSpec`]. [`TextEncoder`] turns texts into the inputs
//! that the plan's programs take: never padded, and never longer than the spec allows. What the outputs say about a text
//! is read by [`classes`], [`spans`] and [`answers`]; the plan's manifest says which of them fits.

pub mod answers;
pub mod classes;
mod error;
mod file;
pub mod spans;
mod template;

use std::ops::Range;

use bytec_plan::manifest::TextSpec;
use tokenizers::{
    Encoding, PostProcessor, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

pub use self::error::TextError;

/// What to do with a text that has more tokens than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Drop the text's last tokens, or its first if the tokenizer says so; special tokens such as `[SEP]` stay.
    Cut,
    /// Refuse the text.
    Refuse,
}

/// A text as the model's inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids, special tokens included. At least one, at most [`TextEncoder::limit`].
    pub ids: Vec<i64>,
    /// For each token, which of the two texts it belongs to.
    pub type_ids: Vec<i64>,
    /// Where each token comes from, `None` for special tokens; empty unless the encoder was made
    /// [`with_origins`](TextEncoder::with_origins).
    pub origins: Vec<Option<Origin>>,
    /// How many tokens were dropped.
    pub cut: usize,
}

/// The part of a text that became a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// 0 for the text or the first of a pair, 1 for the second.
    pub text: usize,
    /// Bytes of that text, whole characters.
    pub bytes: Range<usize>,
}

/// Encodes texts for one plan. Threads may share it.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    tokenizer: Tokenizer,
    limit: usize,
    limit_from: String,
    direction: TruncationDirection,
    origins: bool,
}

impl TextEncoder {
    /// An encoder from the bytes of a `tokenizer.json`.
    ///
    /// How long texts may be is the spec's to say: the file's own truncation length and padding are switched off. Which
    /// end of a text is cut stays as in the file.
    ///
    /// # Errors
    ///
    /// [`TextError::Tokenizer`] if the file can't be used, [`TextError::LimitTooSmall`] if the special tokens alone
    /// pass the spec's limit.
    pub fn new(tokenizer_json: &[u8], spec: &TextSpec) -> Result<TextEncoder, TextError> {
        let refuse = |error: tokenizers::Error| TextError::Tokenizer { cause: error.to_string() };
        let mut tokenizer =
            file::read(tokenizer_json).map_err(|cause| TextError::Tokenizer { cause })?;
        let direction =
            tokenizer.get_truncation().map_or(TruncationDirection::Right, |t| t.direction);
        tokenizer.with_truncation(None).map_err(refuse)?;
        tokenizer.with_padding(None);
        // A limit past what memory can hold is no limit.
        let limit = usize::try_from(spec.max_tokens).unwrap_or(usize::MAX);
        let limit_from = spec.max_tokens_from.clone();
        let encoder = TextEncoder { tokenizer, limit, limit_from, direction, origins: false };
        encoder.content_limit(false)?;
        Ok(encoder)
    }

    /// The same encoder, which also tells where each token comes from. That takes a little longer.
    #[must_use]
    pub fn with_origins(self) -> TextEncoder {
        TextEncoder { origins: true, ..self }
    }

    /// The id of a token by its name, such as `[MASK]`.
    pub fn id(&self, token: &str) -> Option<i64> {
        self.tokenizer.token_to_id(token).map(i64::from)
    }

    /// A token as it reads within a text; empty if the tokenizer has no such id.
    pub fn word(&self, id: u32) -> String {
        self.tokenizer.decode(&[id], false).unwrap_or_default()
    }

    /// The most tokens of an encoded text, special tokens included.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Encodes one text.
    ///
    /// # Errors
    ///
    /// [`TextError::TooLong`] for a text past the limit that may not be cut; [`TextError::NoTokens`] for a text without
    /// tokens, special ones included; [`TextError::Encode`] and [`TextError::IdTooLarge`] for what the tokenizer's own
    /// file gets wrong.
    pub fn encode(&self, text: &str, truncation: Truncation) -> Result<Encoded, TextError> {
        let encoding = self.content(text)?;
        self.finish([text, ""], encoding, None, truncation)
    }

    /// Encodes two texts as one input, for models that compare them. The longer is cut first.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), and [`TextError::LimitTooSmall`] if a pair's special tokens alone pass the limit.
    pub fn encode_pair(
        &self,
        first: &str,
        second: &str,
        truncation: Truncation,
    ) -> Result<Encoded, TextError> {
        let encodings = (self.content(first)?, self.content(second)?);
        self.finish([first, second], encodings.0, Some(encodings.1), truncation)
    }

    /// A text's own tokens.
    fn content(&self, text: &str) -> Result<Encoding, TextError> {
        let encoding = if self.origins {
            self.tokenizer.encode(text, false)
        } else {
            self.tokenizer.encode_fast(text, false)
        };
        encoding.map_err(failed)
    }

    /// How many tokens the texts themselves may have.
    fn content_limit(&self, pair: bool) -> Result<usize, TextError> {
        let special = self.tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(pair));
        self.limit.checked_sub(special).ok_or_else(|| TextError::LimitTooSmall {
            special,
            limit: self.limit,
            limit_from: self.limit_from.clone(),
        })
    }

    /// Cuts the texts to the limit and adds the special tokens.
    fn finish(
        &self,
        texts: [&str; 2],
        mut first: Encoding,
        mut second: Option<Encoding>,
        truncation: Truncation,
    ) -> Result<Encoded, TextError> {
        let content_limit = self.content_limit(second.is_some())?;
        let content = first.len() + second.as_ref().map_or(0, Encoding::len);
        let cut = content.saturating_sub(content_limit);
        if cut > 0 {
            if truncation == Truncation::Refuse {
                let special = self.limit - content_limit;
                return Err(self.too_long(content.saturating_add(special)));
            }
            let params = TruncationParams {
                direction: self.direction,
                max_length: content_limit,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            };
            (first, second) =
                tokenizers::truncate_encodings(first, second, &params).map_err(failed)?;
            // What was cut off is not needed; kept, it would get special tokens too.
            first.take_overflowing();
            if let Some(second) = &mut second {
                second.take_overflowing();
            }
        }
        let all = self.tokenizer.post_process(first, second, true).map_err(failed)?;
        if all.is_empty() {
            return Err(TextError::NoTokens);
        }
        // Only a template that repeats a text comes here.
        if all.len() > self.limit {
            return Err(self.too_long(all.len()));
        }
        if let Some(id) = all.get_ids().iter().find(|id| i32::try_from(**id).is_err()) {
            return Err(TextError::IdTooLarge { found: *id });
        }
        let signed = |ids: &[u32]| ids.iter().map(|id| i64::from(*id)).collect();
        let origins = if self.origins { origins(texts, &all) } else { Vec::new() };
        Ok(Encoded {
            ids: signed(all.get_ids()),
            type_ids: signed(all.get_type_ids()),
            origins,
            cut,
        })
    }

    fn too_long(&self, found: usize) -> TextError {
        TextError::TooLong { found, limit: self.limit, limit_from: self.limit_from.clone() }
    }
}

/// Where each token comes from. Tokens of single bytes may end inside a character, which then belongs to each of them.
fn origins(texts: [&str; 2], all: &Encoding) -> Vec<Option<Origin>> {
    let places = all.get_sequence_ids().into_iter().zip(all.get_offsets());
    places
        .map(|(sequence, &(start, end))| {
            let text = sequence?;
            let content = texts.get(text)?;
            let bytes = content.floor_char_boundary(start)..content.ceil_char_boundary(end);
            Some(Origin { text, bytes })
        })
        .collect()
}

fn failed(error: tokenizers::Error) -> TextError {
    TextError::Encode { cause: error.to_string() }
}
