//! How attribute values, dimensions and expressions are written and read.

use std::fmt::Display;
use std::str::FromStr;

use super::cursor::{Cursor, ParseError};
use crate::attrs::{BinaryFn, Expr, MAX_EXPR_DEPTH, PoolKind, Real, ReduceFn, UnaryFn};
use crate::dim::Dim;

/// The deepest nesting of brackets and rounded divisions in a dimension.
const MAX_DIM_DEPTH: usize = 32;

/// An attribute's type: how it is printed and read.
pub(crate) trait Attr: Sized {
    fn print(&self) -> String;
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError>;
}

macro_rules! attr {
    ($($t:ty = $read:expr;)*) => {$(
        impl Attr for $t {
            fn print(&self) -> String {
                self.to_string()
            }
            fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
                $read(cursor)
            }
        }
    )*};
}

attr! {
    usize = |cursor: &mut Cursor<'_>| cursor.integer("a whole number");
    i64 = |cursor: &mut Cursor<'_>| cursor.integer("a whole number");
    Real = real;
    UnaryFn = |cursor: &mut Cursor<'_>| cursor.named("a function");
    BinaryFn = |cursor: &mut Cursor<'_>| cursor.named("a function");
    ReduceFn = |cursor: &mut Cursor<'_>| cursor.named("a reduction");
    PoolKind = |cursor: &mut Cursor<'_>| cursor.named("a pooling");
    Dim = dim;
    Expr = expr;
}

/// A list is written `[a, b]`.
impl<T: Attr> Attr for Vec<T> {
    fn print(&self) -> String {
        let items: Vec<_> = self.iter().map(Attr::print).collect();
        format!("[{}]", items.join(", "))
    }
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let mut items = Vec::new();
        cursor.list("[", "]", |cursor| {
            items.push(T::read(cursor)?);
            Ok(())
        })?;
        Ok(items)
    }
}

/// An absent value is written `none`.
impl<T: Attr + Display> Attr for Option<T> {
    fn print(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Attr::print)
    }
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        if cursor.eat("none") { Ok(None) } else { T::read(cursor).map(Some) }
    }
}

fn whole<T: Attr>(text: &str) -> Result<T, ParseError> {
    let mut cursor = Cursor::new(text);
    let value = T::read(&mut cursor)?;
    cursor.end()?;
    Ok(value)
}

/// Reads what [`Dim`]'s `Display` prints, brackets too.
impl FromStr for Dim {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        whole(text)
    }
}

/// Reads what [`Expr`]'s `Display` prints.
impl FromStr for Expr {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        whole(text)
    }
}

/// Reads what [`Real`]'s `Display` prints, and any decimal.
impl FromStr for Real {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        whole(text)
    }
}

fn real(cursor: &mut Cursor<'_>) -> Result<Real, ParseError> {
    let begin = cursor.position();
    let text = cursor.number();
    if text == "nan" && cursor.eat("(") {
        let hex = cursor.number();
        let bits = hex.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let value = bits.map(f64::from_bits).filter(|value| value.is_nan());
        cursor.expect(")")?;
        return value.map(Real).ok_or_else(|| {
            cursor.error_at(begin, format!("expected the bits of a NaN, found {hex:?}"))
        });
    }
    // Rust's own reader also takes other spellings, such as `infinity`; one is enough.
    let plain = matches!(text, "inf" | "-inf" | "NaN")
        || text.contains(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'));
    let value = text.parse::<f64>().ok().filter(|_| plain);
    let finite =
        value.filter(|value| value.is_finite() || !text.contains(|c: char| c.is_ascii_digit()));
    match (value, finite) {
        (_, Some(value)) => Ok(Real(value)),
        (Some(_), None) => Err(cursor
            .error_at(begin, format!("expected a number, found {text:?}, which is out of range"))),
        (None, None) if text.is_empty() => Err(cursor.expected("a number")),
        (None, None) => Err(cursor.error_at(begin, format!("expected a number, found {text:?}"))),
    }
}

/// A sum of products.
fn dim(cursor: &mut Cursor<'_>) -> Result<Dim, ParseError> {
    let begin = cursor.position();
    let too_large = |cursor: &Cursor<'_>| {
        cursor
            .error_at(begin, "the dimension is too large (numbers past 63 bits, or too many terms)")
    };
    let mut sum = Dim::fixed(0);
    let mut negative = cursor.eat("-");
    loop {
        let term = product(cursor)?;
        let next = if negative { sum.checked_sub(&term) } else { sum.checked_add(&term) };
        sum = next.ok_or_else(|| too_large(cursor))?;
        negative = match cursor.peek() {
            Some('+') => !cursor.eat("+"),
            Some('-') => cursor.eat("-"),
            _ => return Ok(sum),
        };
    }
}

fn product(cursor: &mut Cursor<'_>) -> Result<Dim, ParseError> {
    let begin = cursor.position();
    let mut product = factor(cursor)?;
    while cursor.eat("*") {
        product = product.checked_mul(&factor(cursor)?).ok_or_else(|| {
            cursor.error_at(
                begin,
                "the product is too large (numbers past 63 bits, or too many terms)",
            )
        })?;
    }
    Ok(product)
}

fn factor(cursor: &mut Cursor<'_>) -> Result<Dim, ParseError> {
    match cursor.peek() {
        Some(c) if c.is_ascii_digit() => {
            let n: i64 = cursor.integer("a size below 2^63")?;
            Ok(Dim::fixed(n.unsigned_abs()))
        }
        Some('(') => cursor.nested(MAX_DIM_DEPTH, |cursor| {
            cursor.expect("(")?;
            let inner = dim(cursor)?;
            cursor.expect(")")?;
            Ok(inner)
        }),
        Some('"') => Ok(Dim::symbol(&cursor.quoted()?)),
        _ => {
            let word = cursor.word("a dimension")?;
            match word {
                "ceil" | "floor" if cursor.peek() == Some('(') => {
                    let (inner, divisor) = cursor.nested(MAX_DIM_DEPTH, division)?;
                    Ok(if word == "ceil" {
                        inner.ceil_div(divisor)
                    } else {
                        inner.floor_div(divisor)
                    })
                }
                _ => Ok(Dim::symbol(word)),
            }
        }
    }
}

/// `(dim, divisor)`
fn division(cursor: &mut Cursor<'_>) -> Result<(Dim, u64), ParseError> {
    cursor.expect("(")?;
    let inner = dim(cursor)?;
    cursor.expect(",")?;
    let begin = cursor.position();
    let divisor = cursor.integer("a divisor")?;
    if divisor == 0 {
        return Err(cursor.error_at(begin, "expected a divisor of at least 1, found 0"));
    }
    cursor.expect(")")?;
    Ok((inner, divisor))
}

fn expr(cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
    cursor.nested(MAX_EXPR_DEPTH, |cursor| {
        if !cursor.peek().is_some_and(|c| c.is_ascii_alphabetic()) || cursor.at_number_word() {
            return real(cursor).map(Expr::Const);
        }
        let begin = cursor.position();
        let word = cursor.word("an expression")?;
        let index = word.strip_prefix('x').filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        if let Some(Ok(i)) = index.map(str::parse) {
            return Ok(Expr::Arg(i));
        }
        if let Ok(function) = word.parse() {
            cursor.expect("(")?;
            let x = expr(cursor)?;
            cursor.expect(")")?;
            return Ok(Expr::Unary(function, Box::new(x)));
        }
        if let Ok(function) = word.parse() {
            cursor.expect("(")?;
            let a = expr(cursor)?;
            cursor.expect(",")?;
            let b = expr(cursor)?;
            cursor.expect(")")?;
            return Ok(Expr::Binary(function, Box::new(a), Box::new(b)));
        }
        let message =
            format!("expected an operand such as x0, a number or a function, found {word:?}");
        Err(cursor.error_at(begin, message))
    })
}

impl Cursor<'_> {
    /// True before a number that is spelt as a word.
    fn at_number_word(&mut self) -> bool {
        let begin = self.position();
        let word = self.word("a word").unwrap_or_default();
        let found = matches!(word, "inf" | "NaN" | "nan");
        self.rewind(begin);
        found
    }
}
