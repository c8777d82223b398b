//! Dimensions: integers, or expressions over the symbols of one sample.
//!
//! A [`Dim`] is kept in one canonical form, a polynomial with integer coefficients over *atoms*, so that two equal
//! expressions compare equal: `L + L` is `2*L`, and `H*W` is `W*H`.
//!
//! Coefficients are 64-bit. The operators `+`, `-` and `*` saturate, and a saturated size is past every limit of
//! [`crate::verify`]; where sizes come from outside, [`Dim::checked_add`], [`Dim::checked_sub`] and [`Dim::checked_mul`]
//! say that a result can't be held.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use thiserror::Error;

use crate::text::{is_identifier, quote};
use crate::types::SymbolRange;

/// The most terms of a dimension that is read or inferred: `H*W + 1` has two.
pub const MAX_TERMS: usize = 64;

/// The most factors of a term that is read or inferred: `H*W` has two.
pub const MAX_DEGREE: u32 = 16;

/// A size that every sample brings with it, such as `L` tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The symbol called `name`.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// As in the text form: a name that is not an identifier is quoted.
impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_identifier(&self.0) { f.write_str(&self.0) } else { quote(&self.0, f) }
    }
}

/// What a symbol is worth for one sample.
pub type Bindings = BTreeMap<Symbol, u64>;

/// Why a dimension has no value for a sample.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum DimError {
    /// The expression names a symbol that the sample does not bind.
    #[error("symbol {0} has no value")]
    Unbound(Symbol),
    /// The value is negative, does not fit in 64 bits, or divides by zero.
    #[error("{0} is not a size for this sample (negative, past 64 bits, or divided by zero)")]
    OutOfRange(String),
}

/// A factor of a term: a symbol, or a rounded division that a polynomial can't express.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A symbol of the sample.
    Symbol(Symbol),
    /// `ceil(dim / divisor)`.
    CeilDiv(Box<Dim>, u64),
    /// `floor(dim / divisor)`.
    FloorDiv(Box<Dim>, u64),
}

/// A product of atoms with their powers; empty for the constant term.
pub type Monomial = BTreeMap<Atom, u32>;

/// A dimension: a polynomial over atoms, in canonical form (no zero coefficients).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    terms: BTreeMap<Monomial, i64>,
}

impl Dim {
    /// The number `n`; past `i64::MAX` it saturates.
    pub fn fixed(n: u64) -> Self {
        Self::constant(i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn constant(n: i64) -> Self {
        let mut terms = BTreeMap::new();
        if n != 0 {
            terms.insert(Monomial::new(), n);
        }
        Self { terms }
    }

    /// The symbol called `name`.
    pub fn symbol(name: &str) -> Self {
        Self::atom(Atom::Symbol(Symbol::new(name)))
    }

    fn atom(atom: Atom) -> Self {
        Self { terms: BTreeMap::from([(Monomial::from([(atom, 1)]), 1)]) }
    }

    /// `ceil(self / divisor)`, a number when `self` is one. A divisor of 0 gives a dimension without a value.
    pub fn ceil_div(&self, divisor: u64) -> Self {
        match self.as_fixed() {
            _ if divisor == 1 => self.clone(),
            Some(n) if divisor != 0 => Self::fixed(n.div_ceil(divisor)),
            _ => Self::atom(Atom::CeilDiv(Box::new(self.clone()), divisor)),
        }
    }

    /// `floor(self / divisor)`, a number when `self` is one. A divisor of 0 gives a dimension without a value.
    pub fn floor_div(&self, divisor: u64) -> Self {
        match self.as_fixed() {
            _ if divisor == 1 => self.clone(),
            Some(n) if divisor != 0 => Self::fixed(n / divisor),
            _ => Self::atom(Atom::FloorDiv(Box::new(self.clone()), divisor)),
        }
    }

    /// `self + other`, or `None` past 64 bits or [`MAX_TERMS`].
    pub fn checked_add(&self, other: &Dim) -> Option<Dim> {
        self.sum(other, false).exact()
    }

    /// `self - other`, or `None` past 64 bits or [`MAX_TERMS`].
    pub fn checked_sub(&self, other: &Dim) -> Option<Dim> {
        self.sum(other, true).exact()
    }

    /// `self * other`, or `None` past 64 bits, [`MAX_TERMS`] or [`MAX_DEGREE`].
    pub fn checked_mul(&self, other: &Dim) -> Option<Dim> {
        if self.terms.len() > MAX_TERMS || other.terms.len() > MAX_TERMS {
            return None;
        }
        self.product(other).exact()
    }

    fn sum(&self, other: &Dim, negate: bool) -> Outcome {
        let mut sum = Outcome { dim: self.clone(), saturated: false };
        for (monomial, &coefficient) in &other.terms {
            let signed = if negate { coefficient.checked_neg() } else { Some(coefficient) };
            sum.saturated |= signed.is_none();
            sum.accumulate(monomial.clone(), signed.unwrap_or(i64::MAX));
        }
        sum
    }

    fn product(&self, other: &Dim) -> Outcome {
        let mut product = Outcome { dim: Dim { terms: BTreeMap::new() }, saturated: false };
        for (left, &a) in &self.terms {
            for (right, &b) in &other.terms {
                let mut monomial = left.clone();
                for (atom, &power) in right {
                    let sum = monomial.entry(atom.clone()).or_insert(0);
                    *sum = sum.saturating_add(power);
                }
                product.saturated |= a.checked_mul(b).is_none();
                product.accumulate(monomial, a.saturating_mul(b));
            }
        }
        product
    }

    /// The number this is, if it holds no symbol.
    pub fn as_fixed(&self) -> Option<u64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Monomial::new()).and_then(|&n| u64::try_from(n).ok()),
            _ => None,
        }
    }

    /// The terms: monomial and coefficient, in canonical order.
    pub fn terms(&self) -> impl Iterator<Item = (&Monomial, i64)> {
        self.terms.iter().map(|(m, &c)| (m, c))
    }

    /// The symbols this depends on.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        let mut found = BTreeSet::new();
        for atom in self.terms.keys().flat_map(Monomial::keys) {
            match atom {
                Atom::Symbol(symbol) => {
                    found.insert(symbol.clone());
                }
                Atom::CeilDiv(dim, _) | Atom::FloorDiv(dim, _) => found.extend(dim.symbols()),
            }
        }
        found
    }

    /// The size for a sample that binds the symbols so.
    ///
    /// # Errors
    /// An unbound symbol, or a value that is not a size.
    pub fn eval(&self, bindings: &Bindings) -> Result<u64, DimError> {
        let out_of_range = || DimError::OutOfRange(self.to_string());
        let mut sum = 0i128;
        for (monomial, &coefficient) in &self.terms {
            let mut product = i128::from(coefficient);
            for (atom, &power) in monomial {
                let value = match atom {
                    Atom::Symbol(symbol) => {
                        *bindings.get(symbol).ok_or_else(|| DimError::Unbound(symbol.clone()))?
                    }
                    Atom::CeilDiv(_, 0) | Atom::FloorDiv(_, 0) => return Err(out_of_range()),
                    Atom::CeilDiv(dim, divisor) => dim.eval(bindings)?.div_ceil(*divisor),
                    Atom::FloorDiv(dim, divisor) => dim.eval(bindings)? / divisor,
                };
                for _ in 0..power {
                    product = product.checked_mul(i128::from(value)).ok_or_else(out_of_range)?;
                }
            }
            sum = sum.checked_add(product).ok_or_else(out_of_range)?;
        }
        u64::try_from(sum).map_err(|_| out_of_range())
    }

    /// Numbers that the value never goes below or above while the symbols keep to these ranges. They are exact where
    /// every coefficient is positive, and may be too wide elsewhere. `None` if a symbol is not in `symbols`, a rounded
    /// division has no value somewhere in the ranges, or a number is past 128 bits.
    pub fn bounds(&self, symbols: &[SymbolRange]) -> Option<(i128, i128)> {
        let (mut low, mut high) = (0i128, 0i128);
        for (monomial, &coefficient) in &self.terms {
            let (mut least, mut most) = (1i128, 1i128);
            for (atom, &power) in monomial {
                let (atom_least, atom_most) = atom.bounds(symbols)?;
                least = least.checked_mul(atom_least.checked_pow(power)?)?;
                most = most.checked_mul(atom_most.checked_pow(power)?)?;
            }
            let ends = [least, most].map(|end| end.checked_mul(i128::from(coefficient)));
            let (a, b) = (ends[0]?, ends[1]?);
            low = low.checked_add(a.min(b))?;
            high = high.checked_add(a.max(b))?;
        }
        Some((low, high))
    }
}

impl Atom {
    /// As [`Dim::bounds`]; never negative.
    fn bounds(&self, symbols: &[SymbolRange]) -> Option<(i128, i128)> {
        let (dim, divisor) = match self {
            Atom::Symbol(symbol) => {
                let range = symbols.iter().find(|range| range.symbol == *symbol)?;
                return Some((range.min.into(), range.max.into()));
            }
            Atom::CeilDiv(dim, divisor) | Atom::FloorDiv(dim, divisor) => (dim, *divisor),
        };
        let (low, high) = dim.bounds(symbols)?;
        if low < 0 || divisor == 0 {
            return None;
        }
        let divisor = i128::from(divisor);
        let up = if matches!(self, Atom::CeilDiv(..)) { divisor - 1 } else { 0 };
        Some((low.checked_add(up)? / divisor, high.checked_add(up)? / divisor))
    }
}

/// A result, and whether it had to be cut off at 64 bits.
struct Outcome {
    dim: Dim,
    saturated: bool,
}

impl Outcome {
    fn accumulate(&mut self, monomial: Monomial, coefficient: i64) {
        let terms = &mut self.dim.terms;
        let held = terms.get(&monomial).copied().unwrap_or(0);
        self.saturated |= held.checked_add(coefficient).is_none();
        match held.saturating_add(coefficient) {
            0 => terms.remove(&monomial),
            sum => terms.insert(monomial, sum),
        };
    }

    fn exact(self) -> Option<Dim> {
        let degree = |monomial: &Monomial| monomial.values().map(|&p| u64::from(p)).sum::<u64>();
        let fits = !self.saturated
            && self.dim.terms.len() <= MAX_TERMS
            && self.dim.terms.keys().all(|monomial| degree(monomial) <= u64::from(MAX_DEGREE));
        fits.then_some(self.dim)
    }
}

impl From<u64> for Dim {
    fn from(n: u64) -> Self {
        Self::fixed(n)
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Self::fixed(n as u64)
    }
}

impl Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        self.sum(&other, false).dim
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self.sum(&other, true).dim
    }
}

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        self.product(&other).dim
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Symbol(symbol) => write!(f, "{symbol}"),
            Atom::CeilDiv(dim, divisor) => write!(f, "ceil({dim}, {divisor})"),
            Atom::FloorDiv(dim, divisor) => write!(f, "floor({dim}, {divisor})"),
        }
    }
}

/// Prints `2*L + 1`, `H*W`, `ceil(L, 2)`; the highest terms first.
impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (i, (monomial, &coefficient)) in self.terms.iter().rev().enumerate() {
            match (i, coefficient < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            let magnitude = coefficient.unsigned_abs();
            let mut first = true;
            if magnitude != 1 || monomial.is_empty() {
                write!(f, "{magnitude}")?;
                first = false;
            }
            for (atom, &power) in monomial {
                for _ in 0..power {
                    if !first {
                        f.write_str("*")?;
                    }
                    write!(f, "{atom}")?;
                    first = false;
                }
            }
        }
        Ok(())
    }
}
