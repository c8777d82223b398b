//! Variable declarations: alignment, type, name, dimensions, initial values.

use super::cursor::{Cursor, integer};
use super::error::{ParseError, ParseErrorKind};
use super::lex::Token;
use crate::inst::Ty;

/// A declared variable, in whatever space.
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    pub(crate) ty: Ty,
    pub(crate) align: u64,
    pub(crate) bytes: u64,
    /// `name[]`: the launch gives the size.
    pub(crate) unsized_array: bool,
}

/// Fails if `found` bytes are more than `limit`.
pub(crate) fn limit(
    cursor: &Cursor<'_>,
    what: &str,
    found: u64,
    limit: u64,
) -> Result<(), ParseError> {
    if found <= limit {
        return Ok(());
    }
    Err(cursor.error(ParseErrorKind::TooLarge { what: what.to_owned(), found, limit }))
}

/// Reads `.align 16 .b8 name[4][2]`, the space already taken.
pub(crate) fn variable<'a>(cursor: &mut Cursor<'a>) -> Result<Variable<'a>, ParseError> {
    let mut align = None;
    if cursor.eat_word(".align") {
        let value = cursor.unsigned("an alignment")?;
        if !value.is_power_of_two() || value > 4096 {
            return Err(cursor.error(ParseErrorKind::Number(value.to_string())));
        }
        align = Some(value);
    }
    let ty = ty(cursor)?;
    let name = cursor.word("a variable's name")?;
    let mut bytes = ty.bytes();
    let mut unsized_array = false;
    while cursor.eat('[') {
        if cursor.eat(']') {
            unsized_array = true;
            continue;
        }
        let count = cursor.unsigned("an array size")?;
        cursor.expect(']')?;
        bytes = bytes
            .checked_mul(count)
            .filter(|bytes| *bytes <= 1 << 40)
            .ok_or_else(|| cursor.error(ParseErrorKind::Number(count.to_string())))?;
    }
    Ok(Variable { name, ty, align: align.unwrap_or(ty.bytes().max(1)), bytes, unsized_array })
}

/// Reads a type directive such as `.b32`.
pub(crate) fn ty(cursor: &mut Cursor<'_>) -> Result<Ty, ParseError> {
    let line = cursor.line();
    let word = cursor.word("a type")?;
    word.strip_prefix('.').and_then(Ty::parse).ok_or_else(|| {
        let found = format!("`{word}`");
        ParseError::new(line, ParseErrorKind::Unexpected { expected: "a type".to_owned(), found })
    })
}

/// Reads `= {1, 2, ..}` or `= 5`; the bytes, shorter than the variable where the rest is zero.
pub(crate) fn initial(
    cursor: &mut Cursor<'_>,
    variable: &Variable<'_>,
) -> Result<Vec<u8>, ParseError> {
    let mut bytes = Vec::new();
    if !cursor.eat('=') {
        return Ok(bytes);
    }
    if !cursor.eat('{') {
        value(cursor, variable.ty, &mut bytes)?;
    } else {
        let mut depth = 1;
        while depth > 0 {
            match cursor.peek() {
                Some(Token::Punct('{')) => {
                    depth += 1;
                    cursor.next();
                }
                Some(Token::Punct('}')) => {
                    depth -= 1;
                    cursor.next();
                }
                Some(Token::Punct(',')) => {
                    cursor.next();
                }
                _ => value(cursor, variable.ty, &mut bytes)?,
            }
        }
    }
    if bytes.len() as u64 > variable.bytes {
        return Err(cursor.error(ParseErrorKind::TooLarge {
            what: format!("the initial value of {}", variable.name),
            found: bytes.len() as u64,
            limit: variable.bytes,
        }));
    }
    Ok(bytes)
}

fn value(cursor: &mut Cursor<'_>, ty: Ty, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
    let negative = cursor.eat('-');
    let Some(Token::Number(text)) = cursor.peek() else {
        return Err(cursor.unexpected("a number"));
    };
    let hex = |prefixes: [&str; 2]| {
        let digits = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        u64::from_str_radix(digits, 16).ok()
    };
    let bits = match ty {
        Ty::F32 => hex(["0f", "0F"]),
        Ty::F64 => hex(["0d", "0D"]),
        _ => integer(text),
    };
    let Some(bits) = bits else {
        return Err(cursor.error(ParseErrorKind::Number(text.to_owned())));
    };
    cursor.next();
    let bits = if negative { bits.wrapping_neg() } else { bits };
    bytes.extend_from_slice(&bits.to_le_bytes()[..ty.bytes() as usize]);
    Ok(())
}
