//! Characters to tokens. A word keeps its dots, so an opcode with its modifiers is one token.

use super::error::{ParseError, ParseErrorKind};

/// One token of a PTX text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name, a directive or an opcode with modifiers: letters, digits, `_ $ % .` and `::`.
    Word(&'a str),
    /// Anything that begins with a digit.
    Number(&'a str),
    /// A string without its quotes.
    Text(&'a str),
    /// One character of punctuation.
    Punct(char),
}

impl Token<'_> {
    /// The token as an error message shows it.
    pub(crate) fn show(self) -> String {
        match self {
            Token::Word(text) | Token::Number(text) => format!("`{text}`"),
            Token::Text(text) => format!("\"{text}\""),
            Token::Punct(c) => format!("`{c}`"),
        }
    }
}

/// A token and the line on which it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexed<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) line: u32,
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// Splits a text into tokens; comments vanish.
pub(crate) fn lex(text: &str) -> Result<Vec<Lexed<'_>>, ParseError> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while let Some(&c) = bytes.get(at) {
        match c {
            b'\n' => {
                line += 1;
                at += 1;
            }
            b' ' | b'\t' | b'\r' | 0 => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = find(bytes, at, b"\n").unwrap_or(bytes.len());
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = find(bytes, at + 2, b"*/")
                    .ok_or(ParseError::new(line, ParseErrorKind::Unterminated("a comment")))?;
                line += newlines(&bytes[at..end]);
                at = end + 2;
            }
            b'"' => {
                let end = find(bytes, at + 1, b"\"")
                    .ok_or(ParseError::new(line, ParseErrorKind::Unterminated("a string")))?;
                tokens.push(Lexed { token: Token::Text(&text[at + 1..end]), line });
                line += newlines(&bytes[at..end]);
                at = end + 1;
            }
            c if is_word(c) => {
                let start = at;
                while let Some(&c) = bytes.get(at) {
                    let double = c == b':' && bytes.get(at + 1) == Some(&b':');
                    match () {
                        () if is_word(c) => at += 1,
                        () if double => at += 2,
                        () => break,
                    }
                }
                let word = &text[start..at];
                let token =
                    if c.is_ascii_digit() { Token::Number(word) } else { Token::Word(word) };
                tokens.push(Lexed { token, line });
            }
            b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'<' | b'>' | b',' | b';' | b':' | b'@'
            | b'!' | b'|' | b'+' | b'-' | b'=' => {
                tokens.push(Lexed { token: Token::Punct(char::from(c)), line });
                at += 1;
            }
            _ => {
                let shown = text[at..].chars().next().unwrap_or('\u{fffd}');
                return Err(ParseError::new(line, ParseErrorKind::Character(shown)));
            }
        }
    }
    Ok(tokens)
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(what.len()).position(|window| window == what).map(|found| from + found)
}

fn newlines(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX / 2)
}
