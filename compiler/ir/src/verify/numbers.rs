//! The real numbers among the attributes, and what they may be.

use crate::attention::Bias;
use crate::attrs::Real;
use crate::ops::Op;

/// What a finite number of an attribute may be.
#[derive(Clone, Copy)]
pub(super) enum Range {
    Finite,
    NotNegative,
    Positive,
}

impl Range {
    /// True for a finite number in the range.
    pub(super) fn holds(self, number: f64) -> bool {
        let inside = match self {
            Range::Finite => true,
            Range::NotNegative => number >= 0.0,
            Range::Positive => number > 0.0,
        };
        number.is_finite() && inside
    }

    /// What the range is.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Range::Finite => "a finite number",
            Range::NotNegative => "a finite number that is not negative",
            Range::Positive => "a finite number above 0",
        }
    }
}

/// The real numbers among an op's attributes.
pub(super) fn of(op: &Op) -> Vec<(&'static str, Real, Range)> {
    match op {
        Op::LayerNorm { eps }
        | Op::RmsNorm { eps }
        | Op::AddLayerNorm { eps }
        | Op::EmbedLayerNorm { eps }
        | Op::L2Normalize { eps }
        | Op::Pool { normalize: Some(eps), .. } => vec![("eps", *eps, Range::NotNegative)],
        Op::Attention { scale, bias, rotary, .. } => {
            let mut numbers = vec![("scale", *scale, Range::Finite)];
            if let Bias::Alibi(slopes) = bias {
                numbers.extend(slopes.iter().map(|&slope| ("a slope", slope, Range::Finite)));
            }
            numbers.extend(rotary.map(|rotary| ("the base", rotary.base, Range::Positive)));
            numbers
        }
        Op::Rotary { rotary, .. } => vec![("the base", rotary.base, Range::Positive)],
        _ => Vec::new(),
    }
}
