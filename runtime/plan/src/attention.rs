//! The options of attention: who sees whom, what is added to the scores, how positions turn q and k.
//!
//! No kernel computes a logarithm or a power for them: what depends on the distance or the position comes in tables that
//! the compiler wrote, as weights of their own types.

use serde::{Deserialize, Serialize};

/// Which keys a query sees: key `j` is seen by query `i` of the same sample if `-before <= j - i <= after`. So a query
/// always sees the key of its own row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Band {
    /// How many keys before its own row; `None` for all of them.
    pub before: Option<u64>,
    /// How many keys after its own row; `None` for all of them.
    pub after: Option<u64>,
}

impl Band {
    /// True if every query sees every key.
    pub fn is_all(&self) -> bool {
        *self == Band::default()
    }
}

/// What is added to the scores. Distances are query row minus key row, cut off at `-reach..=reach`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// Nothing.
    #[default]
    None,
    /// `-slopes[h] * |i - j|`, after the scale.
    Alibi {
        /// One for each head.
        slopes: Vec<f32>,
    },
    /// `table[h, (i - j) + reach]`, after the scale. Operand after v: the table, an f32 weight `[heads, 2 * reach + 1]`.
    Relative {
        /// The largest distance that has a column.
        reach: u32,
    },
    /// `scale * (q_i . keys[r] + k_j . queries[r])` with `r = index[(i - j) + reach]`; an index past the tables' rows is
    /// taken as their last row. Operands after v: the index, an i32 weight `[2 * reach + 1]`; the keys if `c2p`; the
    /// queries if `p2c`: weights `[rows, heads * head_size]`.
    Disentangled {
        /// The largest distance that has an index.
        reach: u32,
        /// Whether there are keys: content to position.
        c2p: bool,
        /// Whether there are queries: position to content.
        p2c: bool,
    },
}

impl Bias {
    /// True if nothing is added.
    pub fn is_none(&self) -> bool {
        *self == Bias::None
    }

    /// How many operands it has.
    pub fn operands(&self) -> usize {
        match self {
            Bias::None | Bias::Alibi { .. } => 0,
            Bias::Relative { .. } => 1,
            Bias::Disentangled { c2p, p2c, .. } => 1 + usize::from(*c2p) + usize::from(*p2c),
        }
    }
}

/// Which columns of a head a rotation turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairs {
    /// Columns `c` and `c + dims / 2`.
    Half,
    /// Columns `2c` and `2c + 1`.
    Interleaved,
}

/// A rotation by position: in row `p` of a sample, pair `c` of the first `dims` columns of each head, `(a, b)`, becomes
/// `(a cos - b sin, b cos + a sin)`, in f32. Operand: the turns, an f32 weight `[positions, dims]` whose row `p` is the
/// `dims / 2` cosines and then the sines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rotary {
    /// Which columns belong together.
    pub pairs: Pairs,
    /// How many columns are turned; even.
    pub dims: u32,
}
