//! What attention may be told besides its heads: who sees whom, what is added to the scores, how positions turn q and k.

use std::fmt;

use crate::attrs::Real;
use crate::buckets::Buckets;
use crate::text::{Attr, Cursor, ParseError};

/// Which keys a query sees: key `j` is seen by query `i` if `-before <= j - i <= after`. Printed `all`, `causal` or
/// `band(before, after)`, where `*` is no limit. A query always sees the key of its own row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Band {
    /// How many keys before its own row; `None` for all of them.
    pub before: Option<u64>,
    /// How many keys after its own row; `None` for all of them.
    pub after: Option<u64>,
}

impl Band {
    /// Every key.
    pub const ALL: Band = Band { before: None, after: None };
    /// The keys up to the query's own row.
    pub const CAUSAL: Band = Band { before: None, after: Some(0) };

    /// The keys at most `n` rows away on either side.
    pub const fn within(n: u64) -> Band {
        Band { before: Some(n), after: Some(n) }
    }

    /// True if query `i` sees key `j`.
    pub fn sees(self, i: usize, j: usize) -> bool {
        let (i, j) = (i as u64, j as u64);
        self.before.is_none_or(|before| i.saturating_sub(j) <= before)
            && self.after.is_none_or(|after| j.saturating_sub(i) <= after)
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |n: Option<u64>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        match *self {
            Band::ALL => f.write_str("all"),
            Band::CAUSAL => f.write_str("causal"),
            Band { before, after } => write!(f, "band({}, {})", limit(before), limit(after)),
        }
    }
}

impl Attr for Band {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let begin = cursor.position();
        match cursor.word("a mask")? {
            "all" => Ok(Band::ALL),
            "causal" => Ok(Band::CAUSAL),
            "band" => {
                let limit = |cursor: &mut Cursor<'_>| match cursor.eat("*") {
                    true => Ok(None),
                    false => cursor.integer("a number of rows or *").map(Some),
                };
                cursor.expect("(")?;
                let before = limit(cursor)?;
                cursor.expect(",")?;
                let after = limit(cursor)?;
                cursor.expect(")")?;
                Ok(Band { before, after })
            }
            found => {
                let message =
                    format!("unknown mask {found:?}, expected one of all, causal, band(..)");
                Err(cursor.error_at(begin, message))
            }
        }
    }
}

/// What is added to the scores of a head, by the distance between query and key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// Nothing; printed `none`.
    #[default]
    None,
    /// `-slope[h] * |i - j|` after the scale; printed `alibi([0.5, 0.25])` (Press et al. 2021, in the form that sees both
    /// sides).
    Alibi(Vec<Real>),
    /// `table[row(i - j), h]` after the scale, of the operand after v, `[rows, heads]`; printed `relative(t5(32, 128, both))`.
    Relative(Buckets),
    /// `scale * (q_i . key_table[row(i - j)] + k_j . query_table[row(i - j)])`, where the tables, `[rows, heads * head_size]`
    /// with heads side by side, are the operands after v, those that there are in this order; printed
    /// `disentangled(log(256, 512), c2p, p2c)` (He et al. 2020).
    Disentangled {
        /// The row of a distance.
        buckets: Buckets,
        /// Whether there is a key table: content to position.
        c2p: bool,
        /// Whether there is a query table: position to content.
        p2c: bool,
    },
}

impl Bias {
    /// How many operands it has.
    pub fn tables(&self) -> usize {
        match self {
            Bias::None | Bias::Alibi(_) => 0,
            Bias::Relative(_) => 1,
            Bias::Disentangled { c2p, p2c, .. } => usize::from(*c2p) + usize::from(*p2c),
        }
    }
}

impl fmt::Display for Bias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bias::None => f.write_str("none"),
            Bias::Alibi(slopes) => write!(f, "alibi({})", slopes.print()),
            Bias::Relative(buckets) => write!(f, "relative({buckets})"),
            Bias::Disentangled { buckets, c2p, p2c } => {
                let (c2p, p2c) = (if *c2p { ", c2p" } else { "" }, if *p2c { ", p2c" } else { "" });
                write!(f, "disentangled({buckets}{c2p}{p2c})")
            }
        }
    }
}

impl Attr for Bias {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let begin = cursor.position();
        let word = cursor.word("a bias")?;
        if word == "none" {
            return Ok(Bias::None);
        }
        if !matches!(word, "alibi" | "relative" | "disentangled") {
            let message = format!(
                "unknown bias {word:?}, expected one of none, alibi, relative, disentangled"
            );
            return Err(cursor.error_at(begin, message));
        }
        cursor.expect("(")?;
        let bias = match word {
            "alibi" => Bias::Alibi(Attr::read(cursor)?),
            "relative" => Bias::Relative(Attr::read(cursor)?),
            _ => terms(cursor)?,
        };
        cursor.expect(")")?;
        Ok(bias)
    }
}

/// `buckets, c2p, p2c`
fn terms(cursor: &mut Cursor<'_>) -> Result<Bias, ParseError> {
    let buckets = Attr::read(cursor)?;
    let (mut c2p, mut p2c) = (false, false);
    while cursor.eat(",") {
        let begin = cursor.position();
        let term = match cursor.word("c2p or p2c")? {
            "c2p" if !p2c => &mut c2p,
            "p2c" => &mut p2c,
            found => {
                let message = format!("expected c2p, p2c or c2p, p2c, found {found:?}");
                return Err(cursor.error_at(begin, message));
            }
        };
        if std::mem::replace(term, true) {
            return Err(cursor.error_at(begin, "the term is given twice"));
        }
    }
    Ok(Bias::Disentangled { buckets, c2p, p2c })
}

/// Which columns of a head a rotation turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pairs {
    /// Columns `c` and `c + dims / 2`.
    Half,
    /// Columns `2c` and `2c + 1`.
    Interleaved,
}

/// Rotary positions (Su et al. 2021): in row `p` of a sample, pair `c` of the first `dims` columns of a head is turned by
/// `p * base^(-2c / dims)`: `(a, b)` becomes `(a cos - b sin, b cos + a sin)`. Printed `half(dims, base)` or
/// `interleaved(dims, base)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rotary {
    /// Which columns belong together.
    pub pairs: Pairs,
    /// How many columns are turned; even.
    pub dims: usize,
    /// The base of the frequencies.
    pub base: Real,
}

impl Rotary {
    /// By how much pair `pair` is turned from one row to the next.
    pub fn frequency(&self, pair: usize) -> f64 {
        self.base.0.powf(-2.0 * pair as f64 / self.dims as f64)
    }

    /// The columns of a pair.
    pub fn columns(&self, pair: usize) -> [usize; 2] {
        match self.pairs {
            Pairs::Half => [pair, pair + self.dims / 2],
            Pairs::Interleaved => [2 * pair, 2 * pair + 1],
        }
    }
}

impl fmt::Display for Rotary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = match self.pairs {
            Pairs::Half => "half",
            Pairs::Interleaved => "interleaved",
        };
        write!(f, "{pairs}({}, {})", self.dims, self.base)
    }
}

impl Attr for Rotary {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let begin = cursor.position();
        let pairs = match cursor.word("half or interleaved")? {
            "half" => Pairs::Half,
            "interleaved" => Pairs::Interleaved,
            found => {
                let message = format!("expected half or interleaved, found {found:?}");
                return Err(cursor.error_at(begin, message));
            }
        };
        cursor.expect("(")?;
        let dims = cursor.integer("a number of columns")?;
        cursor.expect(",")?;
        let base = Attr::read(cursor)?;
        cursor.expect(")")?;
        Ok(Rotary { pairs, dims, base })
    }
}
