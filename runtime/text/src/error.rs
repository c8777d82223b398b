//! Why a text has no token ids.

/// Why a tokenizer or a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The `tokenizer.json` can't be used.
    #[error(
        "expected a tokenizer.json as Hugging Face tokenizers writes it, found one that can't be used: {cause}"
    )]
    Tokenizer {
        /// What the tokenizer library says.
        cause: String,
    },
    /// The special tokens leave no room for a text.
    #[error(
        "expected room for {special} special tokens, found a limit of {limit} tokens (from {limit_from})"
    )]
    LimitTooSmall {
        /// Special tokens that each text gets.
        special: usize,
        /// The most tokens.
        limit: usize,
        /// Where the limit was found.
        limit_from: String,
    },
    /// The text has too many tokens.
    #[error(
        "expected a text of at most {limit} tokens, special tokens included (from {limit_from}), found {found}: shorten \
         it, or let it be cut"
    )]
    TooLong {
        /// Tokens of the text, special tokens included.
        found: usize,
        /// The most tokens.
        limit: usize,
        /// Where the limit was found.
        limit_from: String,
    },
    /// The text has no tokens at all.
    #[error(
        "expected a text of at least one token, found none: the text is empty or blank, and the tokenizer adds nothing"
    )]
    NoTokens,
    /// The tokenizer fails on this text.
    #[error("the tokenizer can't encode the text: {cause}")]
    Encode {
        /// What the tokenizer library says.
        cause: String,
    },
    /// A token id that no model can have.
    #[error("expected token ids below 2^31, found {found}: the tokenizer's vocabulary is wrong")]
    IdTooLarge {
        /// The id.
        found: u32,
    },
}
