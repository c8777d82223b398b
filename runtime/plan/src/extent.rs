//! Sizes that depend on the batch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A size of one sample: an expression over the program's symbols.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// A number.
    Fixed(u64),
    /// The program's symbol of this index.
    Symbol(u32),
    /// A sum of products of a coefficient and factors.
    Sum(Vec<Term>),
    /// `ceil(extent / divisor)`.
    CeilDiv(Box<Extent>, u64),
    /// `floor(extent / divisor)`.
    FloorDiv(Box<Extent>, u64),
}

/// A coefficient times its factors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// The coefficient.
    pub coefficient: i64,
    /// The factors.
    pub factors: Vec<Extent>,
}

impl Extent {
    /// The size for a sample with these symbol values, in the order of the program's symbols.
    ///
    /// `None` if it is negative, does not fit in 64 bits, divides by zero, or names a symbol that is not there.
    pub fn eval(&self, symbols: &[u64]) -> Option<u64> {
        match self {
            Extent::Fixed(n) => Some(*n),
            Extent::Symbol(i) => symbols.get(*i as usize).copied(),
            Extent::Sum(terms) => {
                let mut sum = 0i128;
                for term in terms {
                    let mut product = i128::from(term.coefficient);
                    for factor in &term.factors {
                        product = product.checked_mul(i128::from(factor.eval(symbols)?))?;
                    }
                    sum = sum.checked_add(product)?;
                }
                u64::try_from(sum).ok()
            }
            Extent::CeilDiv(extent, divisor) => {
                let size = extent.eval(symbols)?;
                (*divisor != 0).then(|| size.div_ceil(*divisor))
            }
            Extent::FloorDiv(extent, divisor) => extent.eval(symbols)?.checked_div(*divisor),
        }
    }

    /// The expression with symbol names, such as `2*L + 1`.
    pub fn display(&self, symbols: &[&str]) -> String {
        match self {
            Extent::Fixed(n) => n.to_string(),
            Extent::Symbol(i) => {
                symbols.get(*i as usize).map_or_else(|| format!("?{i}"), |s| (*s).to_owned())
            }
            Extent::Sum(terms) => {
                let terms: Vec<_> = terms
                    .iter()
                    .map(|term| {
                        let mut parts: Vec<_> =
                            term.factors.iter().map(|factor| factor.display(symbols)).collect();
                        if term.coefficient != 1 || parts.is_empty() {
                            parts.insert(0, term.coefficient.to_string());
                        }
                        parts.join("*")
                    })
                    .collect();
                terms.join(" + ")
            }
            Extent::CeilDiv(extent, divisor) => {
                format!("ceil({}, {divisor})", extent.display(symbols))
            }
            Extent::FloorDiv(extent, divisor) => {
                format!("floor({}, {divisor})", extent.display(symbols))
            }
        }
    }
}

/// How many rows a packed value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// One row a sample.
    PerSample,
    /// As many rows a sample as the program's extent of this index says; samples one after the other.
    Ragged(u32),
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rows::PerSample => f.write_str("one row a sample"),
            Rows::Ragged(extent) => write!(f, "rows by extent {extent}"),
        }
    }
}
