//! The text form of a graph, version 1. It prints and parses back to the same graph. `docs/graph-format.md` has its
//! grammar, and what a reader does with another version.
//!
//! ```text
//! bytec 1
//! symbol L in 1..=512
//! input %input_ids: i64[L]
//! input %token_type_ids: i64[L] = 0          # what a sample that leaves it out gets
//! weight @embeddings.word_embeddings.weight: f32[120, 48]
//! const %scale = 0.25
//! %words: f32[L, 48] = gather(@embeddings.word_embeddings.weight, %input_ids)
//! %scaled: f32[L, 48] = binary(%words, %scale) {f = mul}
//! output last_hidden_state = %scaled
//! ```
//!
//! - One statement a line. The first is `bytec` and the version. A `#` outside quotes begins a comment.
//! - `symbol L in 1..=512` declares a symbol and its limits, both included.
//! - `%` names a value, `@` a weight: two sorts of names, each unique. A name of letters, digits and `_ . / -` is
//!   written as it is; any other is quoted, as in `%"a b"`, with the escapes `\"`, `\\` and `\u{..}`.
//! - A value is defined before it is used, so a text can't hold a cycle. Its type is written out and must be the one
//!   that [`crate::infer`] gives. A `const` is a scalar of type f32.
//! - An op is written `mnemonic(operands) {attribute = value, ..}`; `bytec list ops` lists them, with all attributes.
//!   An attribute at its default is not written.
//! - Dimensions are sums and products of integers and symbols, `ceil(L, 2)` and `floor(L, 2)`; brackets group.
//! - Numbers are decimal, `inf`, `-inf`, `NaN`, or `nan(0x..)` for a NaN of other bits.
//!
//! A graph is printed in the order of [`crate::graph::Graph::topological`]. Node ids are not in the text.

mod attr;
mod cursor;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub(crate) use attr::Attr;
pub(crate) use cursor::Cursor;
pub use cursor::ParseError;
pub use parse::parse;
pub(crate) use print::{is_identifier, quote};

/// The version of the text form that is printed and read.
pub const VERSION: u32 = 1;
