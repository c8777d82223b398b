//! Buckets of distances: how relative positions name the rows of a table.
//!
//! A distance is **query index minus key index**, `i - j`, everywhere. What a reference calls its relative position is
//! sometimes the other way round; the formulas below say so.
//!
//! Two of the rules take logarithms, and the references take them in f32: a distance whose logarithm is a whole number of
//! buckets lands in the bucket that f32 arithmetic gives, which is not always the one of exact arithmetic. So the
//! functions below do the references' operations in their order and in f32. The logarithm is that of f64, rounded once,
//! which is the correctly rounded one.

use std::fmt;
use std::str::FromStr;

use crate::text::{Attr, Cursor, ParseError};

/// The largest number in a rule: all of them are exact in f32, and tables stay far below memory's size.
pub const MAX_PARAMETER: u32 = 1 << 20;

/// A distance at which every rule has long become constant.
const FAR: i64 = 1 << 40;

/// A rule that gives every distance a row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Buckets {
    /// `clamp(d + span, 0, 2 span - 1)`, printed `clip(span)` (DeBERTa, He et al. 2020).
    Clip {
        /// Half the rows.
        span: u32,
    },
    /// Printed `log(buckets, max_position)` (DeBERTa v2 and v3). With `mid = floor(buckets / 2)` the bucket of `d` is
    /// `d` for `|d| <= mid`, and `sign(d) (mid + ceil(ln(|d| / mid) / ln((max_position - 1) / mid) (mid - 1)))` past it;
    /// the row is `clamp(bucket + buckets, 0, 2 buckets - 1)`.
    Log {
        /// Half the rows.
        buckets: u32,
        /// The distance after the last one that has a bucket of its own kind.
        max_position: u32,
    },
    /// Printed `t5(buckets, max_distance, both)` or, for one that sees only the past, `t5(buckets, max_distance, past)`
    /// (T5, Raffel et al. 2019; MPNet). The reference's relative position is `-d`. With `both`, keys after the query take
    /// the upper half of the buckets, and n is half their number; with `past` such keys take row 0. In a half, with
    /// `exact = floor(n / 2)`, the row is `|d|` below `exact` and
    /// `min(n - 1, exact + trunc(ln(|d| / exact) / ln(max_distance / exact) (n - exact)))` from there on.
    T5 {
        /// All rows.
        buckets: u32,
        /// From here on there is one bucket.
        max_distance: u32,
        /// Whether keys after the query have buckets of their own.
        bidirectional: bool,
    },
}

impl Buckets {
    /// How many rows a table for this rule has.
    pub fn rows(self) -> usize {
        match self {
            Buckets::Clip { span } => 2 * span as usize,
            Buckets::Log { buckets, .. } => 2 * buckets as usize,
            Buckets::T5 { buckets, .. } => buckets as usize,
        }
    }

    /// The row of a distance, query index minus key index. Below [`Buckets::rows`] for a rule that [`Buckets::check`]
    /// accepts.
    pub fn index(self, distance: i64) -> usize {
        match self {
            Buckets::Clip { span } => clamped(distance, span),
            Buckets::Log { buckets, max_position } => {
                let mid = i64::from(buckets / 2);
                let bucket = if distance.saturating_abs() <= mid {
                    distance
                } else {
                    let (far, mid) = (distance.saturating_abs() as f32, mid as f32);
                    let top =
                        ln((f64::from(max_position.saturating_sub(1)) / f64::from(mid)) as f32);
                    let steps = (ln(far / mid) / top * (mid - 1.0)).ceil() + mid;
                    distance.signum().saturating_mul(steps as i64)
                };
                clamped(bucket, buckets)
            }
            Buckets::T5 { buckets, max_distance, bidirectional } => {
                let (n, first, far) = if bidirectional {
                    let n = buckets / 2;
                    (n, if distance < 0 { n } else { 0 }, distance.saturating_abs())
                } else {
                    (buckets, 0, distance.max(0))
                };
                let exact = n / 2;
                if far < i64::from(exact) {
                    return (i64::from(first) + far) as usize;
                }
                let top = (f64::from(max_distance) / f64::from(exact)).ln() as f32;
                let steps = ln(far as f32 / exact as f32) / top * (n - exact) as f32;
                let row = (i64::from(exact)).saturating_add(steps as i64).min(i64::from(n) - 1);
                (i64::from(first) + row) as usize
            }
        }
    }

    /// The least distance from which on, in both directions, the row no longer changes: rows for `-reach..=reach` are all
    /// that a table of rows needs.
    pub fn reach(self) -> u64 {
        self.settles(1).max(self.settles(-1))
    }

    /// The least distance in one direction from which on the row is that of far away. Rows rise or fall with the distance
    /// in one direction, so it can be searched for.
    fn settles(self, sign: i64) -> u64 {
        let there = |distance: i64| self.index(sign * distance) == self.index(sign * FAR);
        let (mut below, mut at) = (-1, 0);
        while !there(at) && at < FAR {
            (below, at) = (at, 2 * at + 1);
        }
        while at - below > 1 {
            let middle = below + (at - below) / 2;
            if there(middle) {
                at = middle;
            } else {
                below = middle;
            }
        }
        at.unsigned_abs()
    }

    /// Refuses numbers that the rule has no meaning for.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn check(self) -> Result<(), String> {
        let (what, least, found) = match self {
            Buckets::Clip { span } => ("a span", 1, [span, 0]),
            Buckets::Log { buckets, max_position } => {
                let least = (buckets / 2).saturating_add(2);
                if max_position < least {
                    return Err(format!(
                        "{self} needs a largest position of at least {least}, found {max_position}"
                    ));
                }
                ("buckets", 2, [buckets, max_position])
            }
            Buckets::T5 { buckets, max_distance, bidirectional } => {
                let exact = buckets / if bidirectional { 4 } else { 2 };
                if max_distance <= exact {
                    return Err(format!(
                        "{self} needs a largest distance above {exact}, found {max_distance}"
                    ));
                }
                ("buckets", if bidirectional { 4 } else { 2 }, [buckets, max_distance])
            }
        };
        if found[0] < least || found.iter().any(|&n| n > MAX_PARAMETER) {
            return Err(format!(
                "{self} needs {what} from {least} and no number above {MAX_PARAMETER}, found {found:?}"
            ));
        }
        Ok(())
    }
}

/// `clamp(x + span, 0, 2 span - 1)`
fn clamped(x: i64, span: u32) -> usize {
    let span = i64::from(span);
    x.saturating_add(span).clamp(0, (2 * span - 1).max(0)) as usize
}

/// The natural logarithm, correctly rounded.
fn ln(x: f32) -> f32 {
    f64::from(x).ln() as f32
}

impl fmt::Display for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Buckets::Clip { span } => write!(f, "clip({span})"),
            Buckets::Log { buckets, max_position } => write!(f, "log({buckets}, {max_position})"),
            Buckets::T5 { buckets, max_distance, bidirectional } => {
                let seen = if *bidirectional { "both" } else { "past" };
                write!(f, "t5({buckets}, {max_distance}, {seen})")
            }
        }
    }
}

/// Reads what `Display` prints.
impl FromStr for Buckets {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        let value = Self::read(&mut cursor)?;
        cursor.end()?;
        Ok(value)
    }
}

impl Attr for Buckets {
    fn print(&self) -> String {
        self.to_string()
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let begin = cursor.position();
        let rule = cursor.word("a rule for buckets")?;
        if !matches!(rule, "clip" | "log" | "t5") {
            let message =
                format!("unknown rule for buckets {rule:?}, expected one of clip, log, t5");
            return Err(cursor.error_at(begin, message));
        }
        cursor.expect("(")?;
        let first = cursor.integer("a whole number")?;
        let buckets = if rule == "clip" {
            Buckets::Clip { span: first }
        } else {
            cursor.expect(",")?;
            let second = cursor.integer("a whole number")?;
            if rule == "log" {
                Buckets::Log { buckets: first, max_position: second }
            } else {
                cursor.expect(",")?;
                let at = cursor.position();
                let bidirectional = match cursor.word("both or past")? {
                    "both" => true,
                    "past" => false,
                    found => {
                        let message = format!("expected both or past, found {found:?}");
                        return Err(cursor.error_at(at, message));
                    }
                };
                Buckets::T5 { buckets: first, max_distance: second, bidirectional }
            }
        };
        cursor.expect(")")?;
        buckets.check().map_err(|problem| cursor.error_at(begin, problem))?;
        Ok(buckets)
    }
}

#[cfg(test)]
mod tests;
