//! A place in the token list, with the small steps that every parser takes.

use super::error::{ParseError, ParseErrorKind};
use super::lex::{Lexed, Token};

/// Reads tokens one after the other.
pub(crate) struct Cursor<'a> {
    tokens: Vec<Lexed<'a>>,
    at: usize,
    last_line: u32,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: Vec<Lexed<'a>>) -> Self {
        let last_line = tokens.last().map_or(1, |lexed| lexed.line);
        Self { tokens, at: 0, last_line }
    }

    pub(crate) fn line(&self) -> u32 {
        self.tokens.get(self.at).map_or(self.last_line, |lexed| lexed.line)
    }

    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|lexed| lexed.token)
    }

    pub(crate) fn peek_second(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at + 1).map(|lexed| lexed.token)
    }

    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    pub(crate) fn error(&self, kind: ParseErrorKind) -> ParseError {
        ParseError::new(self.line(), kind)
    }

    pub(crate) fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        let found = self.peek().map_or("the end of the text".to_owned(), Token::show);
        self.error(ParseErrorKind::Unexpected { expected: expected.into(), found })
    }

    pub(crate) fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(Token::Punct(c));
        self.at += usize::from(found);
        found
    }

    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(Token::Word(word));
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, c: char) -> Result<(), ParseError> {
        if self.eat(c) { Ok(()) } else { Err(self.unexpected(format!("`{c}`"))) }
    }

    pub(crate) fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    /// An unsigned integer; a `U` suffix and hexadecimal, binary and octal forms are taken.
    pub(crate) fn unsigned(&mut self, what: &str) -> Result<u64, ParseError> {
        match self.peek() {
            Some(Token::Number(text)) => {
                let value = integer(text)
                    .ok_or_else(|| self.error(ParseErrorKind::Number(text.to_owned())))?;
                self.at += 1;
                Ok(value)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    pub(crate) fn small(&mut self, what: &str) -> Result<u32, ParseError> {
        let line = self.line();
        let value = self.unsigned(what)?;
        u32::try_from(value)
            .map_err(|_| ParseError::new(line, ParseErrorKind::Number(value.to_string())))
    }
}

/// The value of an integer literal of PTX.
pub(crate) fn integer(text: &str) -> Option<u64> {
    let text = text.strip_suffix('U').unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16).ok()
    } else if let Some(binary) = text.strip_prefix("0b").or(text.strip_prefix("0B")) {
        u64::from_str_radix(binary, 2).ok()
    } else if text.len() > 1 && text.starts_with('0') {
        u64::from_str_radix(text, 8).ok()
    } else {
        text.parse().ok()
    }
}
