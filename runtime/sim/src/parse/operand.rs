//! Operands of instructions.

use super::cursor::{Cursor, integer};
use super::error::{ParseError, ParseErrorKind};
use super::lex::Token;
use super::syntax::Operand;

/// Reads one operand.
pub(crate) fn operand<'a>(cursor: &mut Cursor<'a>) -> Result<Operand<'a>, ParseError> {
    match cursor.peek() {
        Some(Token::Punct('{')) => vector(cursor),
        Some(Token::Punct('[')) => address(cursor),
        Some(Token::Punct('!')) => {
            cursor.next();
            Ok(Operand::Not(cursor.word("a predicate")?))
        }
        Some(Token::Punct('-') | Token::Number(_)) => number(cursor),
        Some(Token::Word(name)) => {
            cursor.next();
            if cursor.eat('|') {
                return Ok(Operand::Pair(name, cursor.word("a register after `|`")?));
            }
            Ok(Operand::Name(name, offset(cursor)?))
        }
        _ => Err(cursor.unexpected("an operand")),
    }
}

fn vector<'a>(cursor: &mut Cursor<'a>) -> Result<Operand<'a>, ParseError> {
    cursor.expect('{')?;
    let mut items = Vec::new();
    loop {
        let item = match cursor.peek() {
            Some(Token::Punct('{' | '[' | '!')) => {
                return Err(cursor.unexpected("a register or a number in a vector"));
            }
            _ => operand(cursor)?,
        };
        items.push(item);
        if cursor.eat('}') {
            return Ok(Operand::Vector(items));
        }
        cursor.expect(',')?;
    }
}

fn address<'a>(cursor: &mut Cursor<'a>) -> Result<Operand<'a>, ParseError> {
    cursor.expect('[')?;
    let base = match cursor.peek() {
        Some(Token::Word(name)) => {
            cursor.next();
            Operand::Name(name, 0)
        }
        Some(Token::Number(_)) => number(cursor)?,
        _ => return Err(cursor.unexpected("a register, a symbol or a number in an address")),
    };
    let offset = offset(cursor)?;
    if offset == 0 && cursor.eat(',') {
        let coordinates = match vector(cursor)? {
            Operand::Vector(coordinates) => coordinates,
            _ => Vec::new(),
        };
        cursor.expect(']')?;
        return Ok(Operand::Tensor(Box::new(base), coordinates));
    }
    cursor.expect(']')?;
    Ok(Operand::Address(Box::new(base), offset))
}

/// `+8`, `+-8`, `-8` or nothing.
fn offset(cursor: &mut Cursor<'_>) -> Result<i64, ParseError> {
    let negative = if cursor.eat('+') {
        cursor.eat('-')
    } else if cursor.eat('-') {
        true
    } else {
        return Ok(0);
    };
    let line = cursor.line();
    let value = cursor.unsigned("an offset")?;
    let value = i64::try_from(value)
        .map_err(|_| ParseError::new(line, ParseErrorKind::Number(value.to_string())))?;
    Ok(if negative { -value } else { value })
}

fn number<'a>(cursor: &mut Cursor<'a>) -> Result<Operand<'a>, ParseError> {
    let negative = cursor.eat('-');
    let Some(Token::Number(text)) = cursor.peek() else {
        return Err(cursor.unexpected("a number"));
    };
    let parsed = literal(text, negative)
        .ok_or_else(|| cursor.error(ParseErrorKind::Number(text.to_owned())))?;
    cursor.next();
    Ok(parsed)
}

fn literal<'a>(text: &str, negative: bool) -> Option<Operand<'a>> {
    let digits = |prefixes: [&str; 2], width: usize| {
        let digits = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        (digits.len() == width).then_some(digits)
    };
    if let Some(bits) = digits(["0f", "0F"], 8) {
        let bits = u32::from_str_radix(bits, 16).ok()?;
        return Some(Operand::F32(bits ^ (u32::from(negative) << 31)));
    }
    if let Some(bits) = digits(["0d", "0D"], 16) {
        let bits = u64::from_str_radix(bits, 16).ok()?;
        return Some(Operand::F64(bits ^ (u64::from(negative) << 63)));
    }
    let value = i128::from(integer(text)?);
    Some(Operand::Int(if negative { -value } else { value }))
}
