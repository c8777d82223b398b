//! Sizes in an archive: sympy's `srepr` text, such as `Add(Mul(Integer(2), Symbol('s18', integer=True)), Integer(-1))`.

use std::collections::{BTreeMap, BTreeSet};

use bytec_ir::dim::Dim;
use bytec_ir::types::SymbolRange;
use thiserror::Error;

/// The deepest nesting of an expression.
const MAX_DEPTH: usize = 32;

/// A size that no dimension can stand for.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ExprError {
    /// Not the text of an expression.
    #[error("expected {expected} at byte {at} of the size {text:?}")]
    Syntax {
        /// What should stand there.
        expected: &'static str,
        /// The place.
        at: usize,
        /// The whole text.
        text: String,
    },
    /// A function that dimensions don't have.
    #[error(
        "the size {text:?} uses {function}; sums, products, powers and divisions rounded down by a number can be read"
    )]
    Function {
        /// The function.
        function: String,
        /// The whole text.
        text: String,
    },
    /// A symbol without a range.
    #[error(
        "the size {text:?} is over {symbol}, which is no size of an input: it would depend on values"
    )]
    Symbol {
        /// The symbol.
        symbol: String,
        /// The whole text.
        text: String,
    },
    /// More terms, factors or digits than a dimension holds.
    #[error("the size {0:?} is past the limits of a dimension")]
    TooLarge(String),
}

/// `dim / divisor`, exactly.
struct Ratio {
    dim: Dim,
    divisor: u64,
}

impl Ratio {
    fn whole(dim: Dim) -> Self {
        Self { dim, divisor: 1 }
    }

    /// The integer that this is known to be.
    fn dim(self) -> Dim {
        self.dim.floor_div(self.divisor)
    }

    fn plus(self, other: Ratio) -> Option<Ratio> {
        if self.divisor == other.divisor {
            return Some(Ratio { dim: self.dim.checked_add(&other.dim)?, divisor: self.divisor });
        }
        let scaled = |dim: Dim, by: u64| dim.checked_mul(&number(i64::try_from(by).ok()?));
        let sum =
            scaled(self.dim, other.divisor)?.checked_add(&scaled(other.dim, self.divisor)?)?;
        Some(Ratio { dim: sum, divisor: self.divisor.checked_mul(other.divisor)? })
    }

    fn times(self, other: Ratio) -> Option<Ratio> {
        let dim = self.dim.checked_mul(&other.dim)?;
        Some(Ratio { dim, divisor: self.divisor.checked_mul(other.divisor)? })
    }
}

/// A number of either sign.
pub(super) fn number(n: i64) -> Dim {
    let magnitude = Dim::fixed(n.unsigned_abs());
    if n < 0 { Dim::fixed(0) - magnitude } else { magnitude }
}

/// What an expression may be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'s> {
    /// The sizes of inputs.
    pub(super) symbols: &'s BTreeSet<&'s str>,
    /// The sizes that the program computes and what they are.
    pub(super) bound: &'s BTreeMap<String, Dim>,
    /// The limits of the inputs' sizes, by which the larger and the smaller of two are told.
    pub(super) ranges: &'s [SymbolRange],
}

/// The name, if the expression is a symbol alone.
pub(super) fn symbol(text: &str) -> Option<&str> {
    let (name, rest) = text.strip_prefix("Symbol('")?.split_once('\'')?;
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let alone = rest.strip_suffix(')').is_some_and(|rest| !rest.contains(')'));
    (word && alone).then_some(name)
}

/// Reads an expression.
pub(super) fn parse(text: &str, scope: Scope<'_>) -> Result<Dim, ExprError> {
    let mut parser = Parser { text, at: 0, depth: 0, scope };
    let ratio = parser.expression()?;
    if parser.at != text.len() {
        return Err(parser.syntax("the end"));
    }
    Ok(ratio.dim())
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    scope: Scope<'t>,
}

impl<'t> Parser<'t> {
    fn syntax(&self, expected: &'static str) -> ExprError {
        ExprError::Syntax { expected, at: self.at, text: self.text.to_owned() }
    }

    fn too_large(&self) -> ExprError {
        ExprError::TooLarge(self.text.to_owned())
    }

    fn eat(&mut self, token: char) -> bool {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start_matches(' ');
        let found = trimmed.starts_with(token);
        if found {
            self.at += rest.len() - trimmed.len() + token.len_utf8();
        }
        found
    }

    fn expect(&mut self, token: char, expected: &'static str) -> Result<(), ExprError> {
        if self.eat(token) { Ok(()) } else { Err(self.syntax(expected)) }
    }

    /// A run of letters, digits, `_` and dots.
    fn word(&mut self) -> &'t str {
        self.eat_spaces();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn eat_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(' ').len();
    }

    fn integer(&mut self) -> Result<i64, ExprError> {
        let negative = self.eat('-');
        let digits = self.word();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.syntax("an integer"));
        }
        let magnitude: i64 = digits.parse().map_err(|_| self.too_large())?;
        Ok(if negative { -magnitude } else { magnitude })
    }

    fn expression(&mut self) -> Result<Ratio, ExprError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_large());
        }
        let word = self.word();
        let function = word.rsplit('.').next().unwrap_or_default();
        if !self.eat('(') {
            return Err(self.syntax("a function and `(`"));
        }
        let ratio = match function {
            "Symbol" => self.symbol()?,
            "Integer" => Ratio::whole(number(self.integer()?)),
            "Rational" => {
                let over = self.integer()?;
                self.expect(',', "`,`")?;
                let under = self.integer()?;
                let divisor = u64::try_from(under).ok().filter(|&under| under > 0);
                let divisor = divisor.ok_or_else(|| self.syntax("a divisor above 0"))?;
                Ratio { dim: number(over), divisor }
            }
            "Add" => self.fold(0, Ratio::plus)?,
            "Mul" => self.fold(1, Ratio::times)?,
            "Pow" => self.power()?,
            "FloorDiv" | "CleanDiv" => self.quotient()?,
            "floor" | "FloorToInt" | "TruncToInt" => Ratio::whole(self.expression()?.dim()),
            "CeilToInt" | "ceiling" => {
                let Ratio { dim, divisor } = self.expression()?;
                Ratio::whole(dim.ceil_div(divisor))
            }
            "Min" | "Max" => Ratio::whole(self.extreme(function)?),
            "One" => Ratio::whole(Dim::fixed(1)),
            "Zero" => Ratio::whole(Dim::fixed(0)),
            _ => {
                let (function, text) = (function.to_owned(), self.text.to_owned());
                return Err(ExprError::Function { function, text });
            }
        };
        self.expect(')', "`)`")?;
        self.depth -= 1;
        Ok(ratio)
    }

    /// `'name', positive=True, integer=True`; what is assumed of it is of no matter.
    fn symbol(&mut self) -> Result<Ratio, ExprError> {
        self.expect('\'', "a quoted name")?;
        let symbol = self.word();
        self.expect('\'', "`'`")?;
        while self.eat(',') {
            self.word();
            self.expect('=', "`=`")?;
            self.word();
        }
        if let Some(dim) = self.scope.bound.get(symbol) {
            return Ok(Ratio::whole(dim.clone()));
        }
        if !self.scope.symbols.contains(symbol) {
            let (symbol, text) = (symbol.to_owned(), self.text.to_owned());
            return Err(ExprError::Symbol { symbol, text });
        }
        Ok(Ratio::whole(Dim::symbol(symbol)))
    }

    /// The smallest or the largest of several, if it is the same one whatever the sizes.
    fn extreme(&mut self, function: &str) -> Result<Dim, ExprError> {
        let mut found = self.expression()?.dim();
        while self.eat(',') {
            let other = self.expression()?.dim();
            let apart = other.checked_sub(&found).ok_or_else(|| self.too_large())?;
            let (low, high) = apart.bounds(self.scope.ranges).unwrap_or((-1, 1));
            let takes = match (low >= 0, high <= 0) {
                (true, _) => function == "Max",
                (_, true) => function == "Min",
                _ => {
                    let (function, text) = (function.to_owned(), self.text.to_owned());
                    return Err(ExprError::Function { function, text });
                }
            };
            if takes {
                found = other;
            }
        }
        Ok(found)
    }

    fn fold(
        &mut self,
        unit: u64,
        f: fn(Ratio, Ratio) -> Option<Ratio>,
    ) -> Result<Ratio, ExprError> {
        let mut result = Ratio::whole(Dim::fixed(unit));
        loop {
            let operand = self.expression()?;
            result = f(result, operand).ok_or_else(|| self.too_large())?;
            if !self.eat(',') {
                return Ok(result);
            }
        }
    }

    fn power(&mut self) -> Result<Ratio, ExprError> {
        let base = self.expression()?;
        self.expect(',', "`,`")?;
        let exponent = self.expression()?.dim().as_fixed();
        let exponent = exponent.ok_or_else(|| self.syntax("a power that is a number"))?;
        if exponent > u64::from(bytec_ir::dim::MAX_DEGREE) {
            return Err(self.too_large());
        }
        let mut result = Ratio::whole(Dim::fixed(1));
        for _ in 0..exponent {
            let factor = Ratio { dim: base.dim.clone(), divisor: base.divisor };
            result = result.times(factor).ok_or_else(|| self.too_large())?;
        }
        Ok(result)
    }

    fn quotient(&mut self) -> Result<Ratio, ExprError> {
        let over = self.expression()?;
        self.expect(',', "`,`")?;
        let by = self.expression()?.dim().as_fixed().filter(|&by| by > 0);
        let by = by.ok_or_else(|| self.syntax("a divisor that is a number above 0"))?;
        let divisor = over.divisor.checked_mul(by).ok_or_else(|| self.too_large())?;
        Ok(Ratio::whole(over.dim.floor_div(divisor)))
    }
}

#[cfg(test)]
mod tests {
    use bytec_ir::dim::Symbol;

    use super::*;

    fn read(text: &str) -> Result<String, ExprError> {
        let symbols = BTreeSet::from(["s1", "s2"]);
        let bound = BTreeMap::from([("u1".to_owned(), Dim::symbol("s1") * Dim::fixed(2))]);
        let range = |name: &str, max| SymbolRange { symbol: Symbol::new(name), min: 1, max };
        let ranges = [range("s1", 40), range("s2", 64)];
        let scope = Scope { symbols: &symbols, bound: &bound, ranges: &ranges };
        parse(text, scope).map(|dim| dim.to_string())
    }

    #[test]
    fn a_symbol_alone_has_a_name() {
        assert_eq!(symbol("Symbol('u0', integer=True)"), Some("u0"));
        for other in
            ["Symbol('u0", "Integer(1)", "Symbol('u 0')", "Add(Symbol('u0'), Symbol('u1'))"]
        {
            assert_eq!(symbol(other), None, "{other}");
        }
    }

    #[test]
    fn sizes_read_as_dimensions() {
        let s = "Symbol('s1', positive=True, integer=True)";
        let cases = [
            (s.to_owned(), "s1"),
            ("Integer(-7)".to_owned(), "-7"),
            (format!("Add(Mul(Integer(40), {s}), Integer(-40))"), "40*s1 - 40"),
            (format!("Pow({s}, Integer(2))"), "s1*s1"),
            (format!("Mul({s}, Symbol('s2'))"), "s1*s2"),
            (
                format!("Add(FloorDiv(Add({s}, Integer(-16)), Integer(16)), Integer(1))"),
                "floor(s1 - 16, 16) + 1",
            ),
            (format!("Mul(Rational(1, 2), Add({s}, Symbol('s2')))"), "floor(s2 + s1, 2)"),
            (format!("Add(Mul(Rational(1, 2), {s}), Mul(Rational(1, 2), {s}))"), "floor(2*s1, 2)"),
            (format!("FloorDiv(Mul(Rational(1, 2), {s}), Integer(3))"), "floor(s1, 6)"),
            (
                format!("torch.utils._sympy.functions.CeilToInt(Mul(Rational(1, 4), {s}))"),
                "ceil(s1, 4)",
            ),
            ("FloorDiv(Integer(-1), Integer(2))".to_owned(), "floor(-1, 2)"),
            (format!("Min(Integer(40), {s})"), "s1"),
            (format!("Max({s}, Integer(0), Integer(40))"), "40"),
            ("Add(Symbol('u1', integer=True), Integer(1))".to_owned(), "2*s1 + 1"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_dimension_is_refused_by_name() {
        let deep = "Add(".repeat(40);
        let wide = "Pow(Add(Symbol('s1'), Integer(1)), Integer(17))";
        let cases = [
            ("Mod(Symbol('s1'), Integer(2))", "uses Mod"),
            ("Max(Integer(2), Symbol('s1'))", "uses Max"),
            ("Min(Integer(39), Symbol('s1'))", "uses Min"),
            ("Symbol('u0', integer=True)", "over u0"),
            ("Symbol('s1'", "expected `)` at byte 11"),
            ("", "expected a function and `(` at byte 0"),
            ("Integer(1) ", "expected the end at byte 10"),
            ("Integer(x)", "an integer"),
            ("Integer(99999999999999999999)", "past the limits"),
            ("FloorDiv(Integer(1), Integer(0))", "a divisor that is a number above 0"),
            ("FloorDiv(Integer(1), Symbol('s1'))", "a divisor that is a number above 0"),
            ("Rational(1, 0)", "a divisor above 0"),
            ("Pow(Integer(2), Symbol('s1'))", "a power that is a number"),
            ("Pow(Integer(3), Integer(16000))", "past the limits"),
            ("Mul(Integer(9223372036854775807), Integer(2))", "past the limits"),
            (wide, "past the limits"),
            (&deep, "past the limits"),
        ];
        for (text, expected) in cases {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
