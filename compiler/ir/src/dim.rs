//! Dimensions: integers, or expressions over the symbols of one sample.
//!
//! A [`Dim`] is kept in one canonical form, a polynomial with integer coefficients over *atoms*, so that two equal
//! expressions compare equal: `L + L` is `2*L`, and `H*W` is `W*H`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use thiserror::Error;

/// A size that every sample brings with it, such as `L` tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The symbol called `name`.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name, as printed in the text form.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    /// The value is negative or does not fit in 64 bits.
    #[error("{0} is not a size (negative, or past 64 bits)")]
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
    /// The number `n`.
    pub fn fixed(n: u64) -> Self {
        let mut terms = BTreeMap::new();
        if n != 0 {
            terms.insert(Monomial::new(), n as i64);
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

    /// `ceil(self / divisor)`, a number when `self` is one.
    pub fn ceil_div(&self, divisor: u64) -> Self {
        match self.as_fixed() {
            _ if divisor == 1 => self.clone(),
            Some(n) => Self::fixed(n.div_ceil(divisor)),
            None => Self::atom(Atom::CeilDiv(Box::new(self.clone()), divisor)),
        }
    }

    /// `floor(self / divisor)`, a number when `self` is one.
    pub fn floor_div(&self, divisor: u64) -> Self {
        match self.as_fixed() {
            _ if divisor == 1 => self.clone(),
            Some(n) => Self::fixed(n / divisor),
            None => Self::atom(Atom::FloorDiv(Box::new(self.clone()), divisor)),
        }
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

fn accumulate(terms: &mut BTreeMap<Monomial, i64>, monomial: Monomial, coefficient: i64) {
    let sum = terms.get(&monomial).copied().unwrap_or(0).saturating_add(coefficient);
    if sum == 0 {
        terms.remove(&monomial);
    } else {
        terms.insert(monomial, sum);
    }
}

impl Add for Dim {
    type Output = Dim;
    fn add(mut self, other: Dim) -> Dim {
        for (monomial, coefficient) in other.terms {
            accumulate(&mut self.terms, monomial, coefficient);
        }
        self
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(mut self, other: Dim) -> Dim {
        for (monomial, coefficient) in other.terms {
            accumulate(&mut self.terms, monomial, -coefficient);
        }
        self
    }
}

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        let mut terms = BTreeMap::new();
        for (left, a) in &self.terms {
            for (right, b) in &other.terms {
                let mut monomial = left.clone();
                for (atom, power) in right {
                    *monomial.entry(atom.clone()).or_insert(0) += power;
                }
                accumulate(&mut terms, monomial, a.saturating_mul(*b));
            }
        }
        Dim { terms }
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

impl std::str::FromStr for Dim {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Dim::fixed).or_else(|_| Ok(Dim::symbol(text)))
    }
}
