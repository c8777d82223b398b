//! A place in a text, and the tokens that can be read from there.

use thiserror::Error;

use super::attr::Attr;
use super::print::is_name_char;
use crate::ops::{OpKind, OpRow};

/// A text that is not a graph, a dimension or an expression.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

/// A place in a text. Every reading function first skips blanks and comments, but never the end of a line.
pub(crate) struct Cursor<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Where the next token begins, for [`Cursor::error_at`].
    pub(crate) fn position(&mut self) -> usize {
        self.rest();
        self.at
    }

    /// Goes back to a place that [`Cursor::position`] gave.
    pub(crate) fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    /// An error at a place that [`Cursor::position`] gave.
    pub(crate) fn error_at(&self, at: usize, message: impl Into<String>) -> ParseError {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    /// "expected .., found .." at the next token.
    pub(crate) fn expected(&mut self, what: &str) -> ParseError {
        let rest = self.rest();
        let found = match rest.chars().next() {
            None => "the end of the text".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(first) => {
                let word: String = rest.chars().take_while(|&c| is_name_char(c)).take(40).collect();
                format!("{:?}", if word.is_empty() { first.to_string() } else { word })
            }
        };
        self.error_at(self.at, format!("expected {what}, found {found}"))
    }

    /// The text from the next token on.
    fn rest(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let mut blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r']).len();
        if rest[blank..].starts_with('#') {
            blank += rest[blank..].find('\n').unwrap_or(rest.len() - blank);
        }
        self.at += blank;
        &self.text[self.at..]
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let token = &self.text[self.at..self.at + bytes];
        self.at += bytes;
        token
    }

    /// The next character, without reading it.
    pub(crate) fn peek(&mut self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Reads a punctuation mark if it comes next.
    pub(crate) fn eat(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len();
        }
        found
    }

    /// Reads a punctuation mark.
    pub(crate) fn expect(&mut self, mark: &str) -> Result<(), ParseError> {
        if self.eat(mark) { Ok(()) } else { Err(self.expected(&format!("{mark:?}"))) }
    }

    /// Reads empty lines and comments; true at the end of the text.
    pub(crate) fn skip_lines(&mut self) -> bool {
        while self.eat("\n") {}
        self.rest().is_empty()
    }

    /// Reads the end of a line, which the end of the text is too.
    pub(crate) fn end_of_line(&mut self) -> Result<(), ParseError> {
        if self.rest().is_empty() || self.eat("\n") {
            return Ok(());
        }
        Err(self.expected("the end of the line"))
    }

    /// Reads to the end of the text, which must be blank.
    pub(crate) fn end(&mut self) -> Result<(), ParseError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    /// Reads the characters that `belongs` accepts, at least one.
    fn run(&mut self, what: &str, belongs: impl Fn(char) -> bool) -> Result<&'t str, ParseError> {
        let rest = self.rest();
        match rest.find(|c| !belongs(c)).unwrap_or(rest.len()) {
            0 => Err(self.expected(what)),
            bytes => Ok(self.take(bytes)),
        }
    }

    /// Reads a word of letters, digits and `_`.
    pub(crate) fn word(&mut self, what: &str) -> Result<&'t str, ParseError> {
        self.run(what, |c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Reads a word and what it stands for.
    pub(crate) fn named<T: std::str::FromStr<Err = String>>(
        &mut self,
        what: &str,
    ) -> Result<T, ParseError> {
        let begin = self.position();
        let word = self.word(what)?;
        word.parse().map_err(|message: String| self.error_at(begin, message))
    }

    /// Reads a run of decimal digits that fits `T`.
    pub(crate) fn integer<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, ParseError> {
        let begin = self.position();
        let negative = self.text[begin..].starts_with('-');
        if negative {
            self.at += 1;
        }
        let digits = self.run(what, |c| c.is_ascii_alphanumeric())?;
        let text = &self.text[begin..self.at];
        if self.at - begin != digits.len() + usize::from(negative)
            || !digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(self.error_at(begin, format!("expected {what}, found {text:?}")));
        }
        text.parse().map_err(|_| {
            let message = format!("expected {what}, found {text:?}, which is out of range");
            self.error_at(begin, message)
        })
    }

    /// Reads the characters of a real number; [`crate::attrs::Real`] says what they mean.
    pub(crate) fn number(&mut self) -> &'t str {
        let rest = self.rest();
        let mut previous = None;
        let bytes = rest
            .find(|c: char| {
                let sign = (c == '-' || c == '+') && matches!(previous, None | Some('e' | 'E'));
                previous = Some(c);
                !(sign || c == '.' || c.is_ascii_alphanumeric())
            })
            .unwrap_or(rest.len());
        self.take(bytes)
    }

    /// Reads a name, bare or quoted.
    pub(crate) fn name(&mut self, what: &str) -> Result<String, ParseError> {
        if self.peek() == Some('"') {
            self.quoted()
        } else {
            self.run(what, is_name_char).map(str::to_owned)
        }
    }

    /// Reads a quoted name.
    pub(crate) fn quoted(&mut self) -> Result<String, ParseError> {
        let begin = self.position();
        self.expect("\"")?;
        let mut name = String::new();
        loop {
            let place = self.at;
            let Some(c) = self.text[place..].chars().next().filter(|&c| c != '\n') else {
                return Err(
                    self.error_at(begin, "expected a closing '\"' before the end of the line")
                );
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(name),
                '\\' => name.push(self.escape(place)?),
                _ => name.push(c),
            }
        }
    }

    /// Reads what follows the backslash at `begin`.
    fn escape(&mut self, begin: usize) -> Result<char, ParseError> {
        let rest = &self.text[self.at..];
        if let Some(c) = rest.chars().next().filter(|c| matches!(c, '"' | '\\')) {
            self.at += 1;
            return Ok(c);
        }
        let decoded = rest.strip_prefix("u{").and_then(|rest| {
            let digits = &rest[..rest.find('}').filter(|&end| end <= 6)?];
            let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let c = char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| hex)?)?;
            Some((c, "u{}".len() + digits.len()))
        });
        let (c, bytes) = decoded.ok_or_else(|| {
            self.error_at(begin, r#"expected one of the escapes \", \\ and \u{..}"#)
        })?;
        self.at += bytes;
        Ok(c)
    }

    /// Runs `body` one level deeper, at most `limit` levels deep.
    pub(crate) fn nested<T>(
        &mut self,
        limit: usize,
        body: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == limit {
            let begin = self.position();
            return Err(self.error_at(begin, format!("nested more than {limit} levels deep")));
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    /// Reads `open item, item close`.
    pub(crate) fn list(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.expect(open)?;
        if self.eat(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat(close) {
                return Ok(());
            }
            if !self.eat(",") {
                return Err(self.expected(&format!("\",\" or {close:?}")));
            }
        }
    }

    /// Reads `{name = value, ..}` or nothing; `read` reads the value of an attribute that the row has.
    pub(crate) fn attributes(
        &mut self,
        row: &OpRow,
        mut read: impl FnMut(&'static str, &mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        if self.peek() != Some('{') {
            return Ok(());
        }
        self.list("{", "}", |cursor| {
            let begin = cursor.position();
            let word = cursor.word("an attribute's name")?;
            let Some(name) = row.attributes.iter().find(|&&name| name == word) else {
                let all = row.attributes.join(", ");
                let known = if all.is_empty() { "none" } else { &all };
                let message =
                    format!("{} has no attribute {word:?}, expected {known}", row.mnemonic);
                return Err(cursor.error_at(begin, message));
            };
            cursor.expect("=")?;
            read(name, cursor)
        })
    }

    /// An attribute that should have been among those just read.
    pub(crate) fn missing(&mut self, kind: OpKind, name: &str) -> ParseError {
        let at = self.position();
        self.error_at(at, format!("{kind} needs the attribute {name:?} before this place"))
    }

    /// Reads a value into an attribute that must not have one yet.
    pub(crate) fn set_once<T: Attr>(
        &mut self,
        name: &str,
        slot: &mut Option<T>,
    ) -> Result<(), ParseError> {
        let begin = self.position();
        let value = T::read(self)?;
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.error_at(begin, format!("the attribute {name:?} is given twice"))),
        }
    }
}
